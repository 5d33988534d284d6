"""Alerts that repeat are one *story*: it is told at once some times, and counted up after that (decision 0026).

Pure: what waits on the disk belongs to `adapters/callhome.py`, which asks here. It must never drop an alert.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core.damper import HOUR_S, Damper
from avance.core.model import Alert

AT_ONCE = 3  # of one story in an hour; what comes then is counted, and told together when the hour has passed
STORIES_MAX = 500  # far more than codes and subjects give; beyond that the oldest one is forgotten

Key = tuple[str, str]


def key_of(alert: Alert) -> Key:
    """Return what makes two alerts the same story: what happens, and to what."""
    return alert.code, alert.about


@dataclass(frozen=True, slots=True)
class Story:
    """One story: the number of its newest alert, how often it has happened since `since` (wall clock), and when it may
    be told again."""

    seq: int
    count: int
    since: str
    damper: Damper
    held: bool = False

    @property
    def name(self) -> str:
        """The name of its newest alert in the queue; one that is held has an ending that nobody delivers."""
        return f"{self.seq:012}.{'later' if self.held else 'json'}"


@dataclass(slots=True)
class AlertGroups:
    """All stories that are going on."""

    window_s: float = HOUR_S
    stories: dict[Key, Story] = field(default_factory=dict)

    def take(self, key: Key, seq: int, wall: str, now: float, *, waits: bool) -> Story:
        """Take in one more alert of a story; `waits`: the one before has not been delivered yet, and is replaced."""
        before = self.stories.pop(key, None)
        damper = Damper(AT_ONCE, self.window_s) if before is None else before.damper
        if before is not None and waits:
            story = replace(before, seq=seq, count=before.count + 1)
        elif damper.full(now):
            story = Story(seq, 1, wall, damper, held=True)
        else:
            story = Story(seq, 1, wall, damper.counted(now))
        self.stories[key] = story  # the newest one is the last
        if len(self.stories) > STORIES_MAX:
            del self.stories[next(iter(self.stories))]
        return story

    def found(self, key: Key, seq: int, count: int, since: str) -> None:
        """Note an alert of an earlier run that has not been delivered yet."""
        self.stories.setdefault(key, Story(seq, count, since, Damper(AT_ONCE, self.window_s)))

    def due(self, now: float) -> list[tuple[Story, Story]]:
        """Return the stories that were held and may be told now, each as it was and as it is told."""
        told = []
        for key, story in self.stories.items():
            if story.held and not story.damper.full(now):
                self.stories[key] = replace(story, held=False, damper=story.damper.counted(now))
                told.append((story, self.stories[key]))
        return told

    def next_due(self) -> float | None:
        """When the first one that is held may be told; None when none is held."""
        return min((story.damper.free_at for story in self.stories.values() if story.held), default=None)


__all__ = ["AT_ONCE", "AlertGroups", "Story", "key_of"]

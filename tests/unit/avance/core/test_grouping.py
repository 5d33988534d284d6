"""Alerts that repeat are one story: told at once three times in an hour, and counted up after that."""

from __future__ import annotations

from avance.core import alerts
from avance.core.grouping import AT_ONCE, STORIES_MAX, AlertGroups, key_of
from avance.core.model import VmId
from tests.playbook import BIZ, PRIV, WEB

KEY = ("vm_crashed", "web")
WALL = "2026-01-01T00:00:00+00:00"


def test_the_same_thing_about_the_same_subject_is_one_story() -> None:
    """What happened and to what make the story; the words, which hold numbers, do not."""
    assert key_of(alerts.link_down(PRIV)) != key_of(alerts.link_down(BIZ))
    assert key_of(alerts.vm_crashed(WEB)) != key_of(alerts.vm_crashed(VmId("db")))
    assert key_of(alerts.alone(3, "consent")) == key_of(alerts.alone(4, "consent"))


def told_at(groups: AlertGroups, *times: float, waits: bool = False) -> list[bool]:
    """Let a story repeat at these times; returns which of them may be told at once."""
    return [not groups.take(KEY, seq, WALL, at, waits=waits).held for seq, at in enumerate(times, start=1)]


def test_three_are_told_at_once_and_the_fourth_waits() -> None:
    """What has been delivered each time is told three times; the next one waits for the end of the hour."""
    groups = AlertGroups()
    assert told_at(groups, 0.0, 10.0, 20.0, 30.0) == [True, True, True, False]
    assert groups.next_due() == 3600.0
    assert groups.due(3599.0) == []
    assert [(held.name, told.name) for held, told in groups.due(3600.0)] == [
        ("000000000004.later", "000000000004.json")
    ]


def test_it_begins_anew_after_the_hour() -> None:
    """A story that was quiet for an hour is told at once again."""
    groups = AlertGroups()
    assert told_at(groups, 0.0, 1.0, 2.0, 3603.0) == [True] * 4


def test_what_waits_is_counted_up() -> None:
    """One that nobody has taken yet is replaced by one that says how often it has happened, and since when."""
    groups = AlertGroups()
    groups.take(KEY, 1, "first", 0.0, waits=False)
    groups.take(KEY, 2, "second", 1.0, waits=True)
    story = groups.take(KEY, 3, "third", 2.0, waits=True)
    assert (story.seq, story.count, story.since, story.held) == (3, 3, "first", False)
    assert story.damper.recent(3.0) == 1, "the story has been told once"


def test_what_is_held_is_counted_up_and_stays_held() -> None:
    """The count goes on while it waits for the hour to pass."""
    groups = AlertGroups()
    told_at(groups, *[float(at) for at in range(AT_ONCE + 1)])
    story = groups.take(KEY, 9, WALL, 100.0, waits=True)
    assert (story.count, story.held, story.name) == (2, True, "000000000009.later")


def test_an_alert_of_an_earlier_run_is_counted_on() -> None:
    """A daemon that was started anew goes on with what still waits."""
    groups = AlertGroups()
    groups.found(KEY, 7, 5, "long ago")
    story = groups.take(KEY, 8, WALL, 0.0, waits=True)
    assert (story.count, story.since) == (6, "long ago")


def test_stories_are_bounded() -> None:
    """However many subjects there are, the oldest story is forgotten, not the newest."""
    groups = AlertGroups()
    for number in range(STORIES_MAX + 10):
        groups.take(("any", str(number)), number, WALL, 0.0, waits=False)
    assert len(groups.stories) == STORIES_MAX
    assert ("any", str(STORIES_MAX + 9)) in groups.stories

"""The parts of this node as they were seen last: what does its work, and whether the node is guarded.

A node is *guarded* when its gate is in place and its watchdog, if the site has one, is armed. They stop a node that can
no longer stop itself, so the pair is not protected without them (docs/safety.md, S37).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core.decision import Draft
from avance.core.model import NodePart


def guards_of(*, watchdog: bool) -> tuple[NodePart, ...]:
    """Return the parts that stop a node when nothing else does; `watchdog`: the site has one."""
    return (NodePart.GATE, NodePart.WATCHDOG) if watchdog else (NodePart.GATE,)


@dataclass(slots=True)
class OwnParts:
    """What was told of the parts of this node; `guards` are those that stop it when nothing else does.

    A guard that nobody has looked at yet counts as missing (docs/safety.md, S2).
    """

    guards: tuple[NodePart, ...]
    _sound: set[NodePart] = field(default_factory=set)

    def seen(self, part: NodePart, problem: str, name: str, draft: Draft) -> None:
        """Note whether a part does its work, and tell people; the peer has to know of a guard at once."""
        before = self.unguarded
        (self._sound.discard if problem else self._sound.add)(part)
        draft.part(part, problem, name)
        if self.unguarded != before:
            draft.tell_peer()

    def works(self, part: NodePart) -> bool:
        """It was looked at, and does its work."""
        return part in self._sound

    @property
    def unguarded(self) -> tuple[NodePart, ...]:
        """The guards of this node that do not do their work, or are not known to."""
        return tuple(part for part in self.guards if part not in self._sound)


__all__ = ["OwnParts", "guards_of"]

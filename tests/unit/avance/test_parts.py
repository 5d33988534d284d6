"""What the core cannot see of its node is told when it changes, each with its sentence."""

from __future__ import annotations

from avance.core.events import PartSeen
from avance.core.model import NodePart
from avance.parts import LOOK_S, LOOK_SOON_S, NodeParts


def test_each_change_is_told_once() -> None:
    """The first look tells what is wrong, the next ones what has changed."""
    said: dict[NodePart, str | None] = {NodePart.GATE: "", NodePart.JOURNAL: "The journal cannot be written"}
    parts = NodeParts({part: lambda part=part: said[part] for part in said})  # type: ignore[misc]  # one for each part
    assert list(parts.changed()) == [
        PartSeen(NodePart.GATE, ""),
        PartSeen(NodePart.JOURNAL, "The journal cannot be written"),
    ]
    assert list(parts.changed()) == []
    said |= {NodePart.GATE: "no map {}", NodePart.JOURNAL: ""}
    gate, journal = parts.changed()
    assert "The gate of the lease is not in place: no map {}. After a pause" in gate.problem
    assert journal == PartSeen(NodePart.JOURNAL, "")


def test_what_nobody_knows_is_not_told() -> None:
    """A watchdog that was never fed is neither armed nor broken: the core must not hear that it protects."""
    said: dict[NodePart, str | None] = {NodePart.WATCHDOG: None}
    parts = NodeParts({NodePart.WATCHDOG: lambda: said[NodePart.WATCHDOG]})
    assert list(parts.changed()) == []
    assert parts.pause_s == LOOK_SOON_S
    said[NodePart.WATCHDOG] = ""
    assert list(parts.changed()) == [PartSeen(NodePart.WATCHDOG, "")]
    assert parts.pause_s == LOOK_S

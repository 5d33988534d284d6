"""Proves how a node is known that came back by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from faults.kinds.evidence.comeback import boots_since
from testbed.bed import Bed
from testbed.history import History


@pytest.mark.parametrize(
    ("source", "kind", "fields", "boots"),
    [
        ("qmp.a", "event", {"event": "RESET"}, True),
        ("machine.a", "started", {}, True),
        ("qmp.b", "event", {"event": "RESET"}, False),
        ("qmp.a", "event", {"event": "STOP"}, False),
        ("machine.a", "killed", {}, False),
    ],
)
def test_a_reset_or_a_start_after_the_mark_is_a_comeback(
    source: str, kind: str, fields: dict[str, object], boots: bool
) -> None:
    """Of this node, and not before."""
    with History() as history:
        bed = cast("Bed", SimpleNamespace(history=history))
        before = history.mark()
        history.record(source, kind, **fields)
        assert boots_since(bed, "a", before) is boots
        assert not boots_since(bed, "a", history.mark())

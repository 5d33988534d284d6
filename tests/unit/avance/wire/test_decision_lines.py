"""What is worth a line of the journal, and what stands in it."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision
from avance.core.model import DiskRole
from avance.wire.decision_lines import Before, decision_lines, is_routine, told
from tests.playbook import WEB, A, paired, peer_gone

BEAT = c.SendHeartbeat(paired(A).engine.view(1.0))


@pytest.mark.parametrize(
    ("decision", "routine"),
    [
        (Decision((), (), ()), True),
        (Decision((BEAT, c.FeedWatchdog(), c.TeachWitness("w1", 3, A, paired=True)), (), ()), True),
        (Decision((BEAT, c.AskWitness("w1", 4, "n")), (), ()), False),
        (Decision((), ("because",), ()), False),
        (Decision((), (), ("paired",)), False),
    ],
)
def test_routine_is_not_worth_a_line(decision: Decision, routine: bool) -> None:
    """Heartbeats, feeds and lessons alone make no line; a question, a reason or a milestone does."""
    engine = paired(A).engine
    assert is_routine(decision) is routine
    assert bool(decision_lines(e.Tick(), Before.of(engine), engine, decision, 1.0)) is not routine


def test_a_line_says_what_changed() -> None:
    """Event, states before and after, commands and reasons stand in one line, each further milestone in another."""
    engine = paired(A).engine
    before = Before.of(engine)
    decision = Decision((BEAT, c.PauseVms()), ("one", "two"), ("peer_lost", "paired"))
    event = e.DiskChanged(WEB, peer_gone(DiskRole.PRIMARY))
    first, second = decision_lines(event, before, engine, decision, 7.5)
    assert first["event"]["type"] == "DiskChanged"
    assert first["vms"] == {"web": ["RUNNING", "RUNNING"]}
    assert (first["milestone"], second["milestone"]) == ("peer_lost", "paired")
    assert first["commands"] == [{"type": "PauseVms"}]
    assert first["reason"] == "one; two"
    assert told(decision) == [c.PauseVms()]

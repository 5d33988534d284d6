"""The simulated live move itself, without any core: how both ends of it end, whatever breaks, and what is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskState, NodeId, Outcome
from tests.playbook import WEB, A, B
from tests.sim import moves
from tests.sim.daemon import Arrived, Daemon
from tests.sim.judge_moves import WITHDRAWN_S
from tests.sim.judges import Violation
from tests.sim.machine import Machine
from tests.sim.rows import WITNESS, Row

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


class Deaf(Daemon):
    """A daemon that does what a test says, and decides nothing."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, f"{machine.name}-deaf", f"{machine.name}-machine")
        self.outcomes: list[Outcome] = []

    def deliver(self, event: e.Event | Arrived) -> None:
        """Hear nothing."""

    def done(self, command: c.Work, outcome: Outcome, detail: str = "") -> None:
        """Note how a command ended."""
        del command, detail
        self.outcomes.append(outcome)


class Move(Row):
    """A pair without a core: the VM runs on A, and both ends of a move have been begun."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(WITNESS, seed)
        self.daemons: dict[NodeId, Deaf] = {}
        for name, machine in self.world.machines.items():
            assert machine.daemon is not None
            machine.daemon.die()
            machine.useless.add("watchdog")
            machine.daemon = self.daemons[name] = Deaf(machine)

    def begins(self, *nodes: NodeId, move: str = "a.1") -> None:
        """Begin the ends of these nodes, of both if none is named."""
        self.world.judges.moves_said()
        for node in nodes or (A, B):
            kind = c.SendDomain if node == A else c.ReceiveDomain
            moves.begin(self.daemons[node], kind(WEB, move))

    def reaches(self, phase: str, node: NodeId = A) -> None:
        """Let time pass until an end stands somewhere."""
        ends = self.world.machines[node].moves
        while WEB in ends and ends[WEB].phase != phase:
            self.passes(0.01)
        assert WEB in ends, f"it ended before it was {phase}"

    def kill_daemon(self, node: NodeId) -> None:
        """End a daemon, and let another one live."""
        machine = self.world.machines[node]
        self.daemons[node].die()
        moves.daemon_died(machine)
        old, machine.daemon = self.daemons[node], Deaf(machine)
        self.daemons[node] = machine.daemon
        machine.daemon.outcomes = old.outcomes

    def ended(self, sent: Outcome | None, received: Outcome | None, limit_s: float = 30.0) -> None:
        """Both ends end so, None: never, for their daemon is gone."""
        self.passes(limit_s)
        assert [*self.daemons[A].outcomes] == ([] if sent is None else [sent])
        assert [*self.daemons[B].outcomes] == ([] if received is None else [received])
        assert not self.world.machines[A].moves
        assert not self.world.machines[B].moves

    def is_home(self) -> None:
        """The VM runs on A, nothing of it is on B, and DRBD has one writer."""
        a, b = (self.world.machines[node] for node in (A, B))
        assert a.runs(WEB)
        assert not b.holds(WEB)
        sides = self.world.resources[WEB].sides
        assert sides[A].primary
        assert not sides[B].primary
        assert not all(side.two_writers for side in sides.values())

    def is_still(self, node: NodeId, *, complete: bool) -> None:
        """The domain stands still on a node, and never ran there."""
        machine = self.world.machines[node]
        assert machine.domains == {WEB: False}
        assert WEB in machine.half_made
        assert (WEB in machine.images) is complete


def test_a_move_that_works() -> None:
    """The guest writes until it stands still, and goes on on B, where nothing is missing; then there is one writer."""
    row = Move()
    row.begins()
    row.reaches("copies")
    side = row.world.resources[WEB].sides[B]
    assert side.primary
    count = len(row.world.acknowledged)
    row.reaches("suspended")
    assert len(row.world.acknowledged) > count
    row.ended(OK, OK)
    a, b = (row.world.machines[node] for node in (A, B))
    assert not a.holds(WEB)
    row.is_still(B, complete=True)
    b.pause_domains(paused=True)
    assert not b.resume_received(WEB), "every domain is paused"
    b.pause_domains(paused=False)
    assert not b.runs(WEB), "what never ran stands still"
    assert row.world.resources[WEB].demote(A)
    for daemon in row.daemons.values():
        moves.withdraw(daemon, WEB)
    assert not any(side.two_writers for side in row.world.resources[WEB].sides.values())
    b.store.record = replace(b.store.record, epoch=2, owner=B)
    count = len(row.world.acknowledged)
    assert b.resume_received(WEB)
    row.passes(3.0)
    assert b.runs(WEB)
    assert len(row.world.acknowledged) > count
    assert b.resume_received(WEB), "it runs already"


@pytest.mark.parametrize("phase", ["copies", "suspended"])
@pytest.mark.parametrize("how", ["cut", "in", "out", "large", "end at a", "end at b", "daemon of b", "xl of a"])
def test_a_transport_that_breaks(phase: str, how: str) -> None:
    """The domain goes on at A within 10 s, B has nothing, and DRBD has one writer again."""
    row = Move()
    row.begins()
    row.reaches(phase)
    sent, received = FAILED, FAILED if how != "daemon of b" else None
    fault = None
    match how:
        case "cut" | "in" | "out":
            fault = row.breaks("link.cut", "a.priv0", direction={"cut": "both"}.get(how, how))
        case "large":
            fault = row.breaks("link.no_large", "priv0")
        case "end at a":
            moves.break_off(row.world.machines[A])
        case "end at b":
            moves.break_off(row.world.machines[B])
        case "daemon of b":
            row.kill_daemon(B)
        case _:
            fault = row.breaks("tool.hang", "a/xl")
            sent = UNKNOWN
    row.passes(10.0)
    assert not row.world.machines[A].moves
    if how == "xl of a" and phase == "suspended":
        assert not row.world.machines[A].runs(WEB)
        assert row.world.machines[A].holds(WEB)
        row.ended(UNKNOWN, FAILED)
        return
    assert row.world.machines[A].runs(WEB)
    if fault is not None:
        row.heals(fault)
    row.ended(sent, received, 15.0)
    if how == "daemon of b":
        row.is_still(B, complete=False)
        assert row.world.machines[B].end_domain(WEB)
        assert row.world.resources[WEB].demote(B)
        for daemon in row.daemons.values():
            moves.withdraw(daemon, WEB)
    if how in ("cut", "in", "out", "large"):
        for side in row.world.resources[WEB].sides.values():
            assert not side.two_writers
            assert side.primary is (side.name == A)
        return
    row.is_home()


@pytest.mark.parametrize(
    ("phase", "kept"), [("prepares", "runs"), ("copies", "runs"), ("suspended", "still"), ("ready", "still")]
)
def test_a_daemon_of_the_sender_that_dies(phase: str, kept: str) -> None:
    """Its xl dies with it: before the domain stands still it runs on, afterwards it stands still for good."""
    row = Move()
    row.begins()
    row.reaches(phase)
    row.kill_daemon(A)
    row.ended(None, FAILED)
    a = row.world.machines[A]
    assert a.runs(WEB) is (kept == "runs")
    assert a.holds(WEB)
    assert not row.world.machines[B].holds(WEB)
    assert not row.world.resources[WEB].sides[B].primary
    assert a.end_domain(WEB)
    assert not a.holds(WEB)


def test_the_last_word_is_lost() -> None:
    """B keeps what it has, complete, and A does not know: its domain stands still for good."""
    row = Move()
    row.begins()
    row.reaches("going")
    row.breaks("link.cut", "b.priv0", direction="out")
    row.ended(UNKNOWN, OK)
    row.is_still(B, complete=True)
    a = row.world.machines[A]
    assert a.holds(WEB)
    assert not a.runs(WEB)


def test_the_word_before_is_lost() -> None:
    """A has given its domain up, and B never hears of it: nobody has one that could go on."""
    row = Move()
    row.begins()
    row.reaches("ready", B)
    row.breaks("link.cut", "a.priv0", direction="out")
    row.ended(UNKNOWN, FAILED)
    assert not row.world.machines[A].runs(WEB)
    assert not row.world.machines[B].holds(WEB)


@pytest.mark.parametrize(("node", "outcome"), [(A, FAILED), (B, FAILED)])
def test_an_end_without_the_other(node: NodeId, outcome: Outcome) -> None:
    """Nobody comes, or somebody for another move: it gives up after 10 s, and is as it was."""
    row = Move()
    row.begins(node)
    row.passes(8.0)
    assert not row.daemons[node].outcomes
    row.passes(30.0)
    assert row.daemons[node].outcomes == [outcome]
    row.is_home()
    row = Move()
    row.begins(A, move="a.1")
    row.begins(B, move="a.2")
    row.ended(FAILED, FAILED, 40.0)
    row.is_home()


def test_a_peer_that_dies() -> None:
    """A receiver that is gone breaks the transport by its silence; one that is back has nothing."""
    row = Move()
    row.begins()
    row.reaches("suspended")
    row.off(B)
    row.passes(8.0)
    assert row.daemons[A].outcomes == [FAILED]
    assert row.world.machines[A].runs(WEB)
    row = Move()
    row.begins()
    row.reaches("copies")
    row.off(A)
    row.passes(8.0)
    assert row.daemons[B].outcomes == [FAILED]
    assert not row.world.machines[B].holds(WEB)


@pytest.mark.parametrize("seed", range(40))
def test_an_odd_world(seed: int) -> None:
    """However oddly a move ends, what the outcomes promise holds, and never are there two that could go on."""
    row = Move(seed)
    row.world.trouble = 0.9
    row.begins()
    row.passes(60.0)
    a, b = (row.world.machines[node] for node in (A, B))
    sent, received = row.daemons[A].outcomes, row.daemons[B].outcomes
    assert len(sent) == len(received) == 1
    side = row.world.resources[WEB].sides[B]
    if sent == [OK]:
        assert WEB in b.images
        assert not a.holds(WEB)
    if sent == [FAILED]:
        assert a.runs(WEB)
    if received == [FAILED]:
        assert not b.holds(WEB)
        assert not side.primary
        assert not side.two_writers
    assert not (a.runs(WEB) and WEB in b.images)


# ---------------------------------------------------------------- DRBD


def test_a_second_writer_needs_the_word_of_both() -> None:
    """DRBD lets a second node write where both allow it and are connected; and forgets the word with its connection."""
    row = Move()
    resource = row.world.resources[WEB]
    heard: list[Outcome] = []

    def note(outcome: Outcome, detail: str) -> None:
        del detail
        heard.append(outcome)

    for allowed in (A, B):
        resource.promote(B, note)
        assert heard.pop() is FAILED
        assert resource.allow_two(allowed, allowed=True)
    row.world.judges.moves_said()
    resource.promote(B, note)
    assert heard.pop() is OK
    assert not resource.allow_two(A, allowed=False), "both are writers"
    assert resource.demote(B)
    assert resource.allow_two(A, allowed=False)
    assert resource.sides[B].two_writers
    resource.disconnect(B)
    assert not resource.sides[B].two_writers
    assert not resource.allow_two(B, allowed=True)


def test_a_second_writer_that_loses_the_first() -> None:
    """It freezes as well, asks, and begins no generation while it waits; demoted, it meets the other one again."""
    row = Move()
    row.begins(A, B)
    row.reaches("copies")
    a, b = (row.world.resources[WEB].sides[node] for node in (A, B))
    before, asked = b.current, row.world.machines[B]._asks
    cut = row.breaks("link.cut", "a.priv0")
    row.world.run_until(lambda: b.suspended, 10.0)
    row.passes(0.3)
    assert row.world.machines[B]._asks == asked + 1
    assert b.new_generation
    assert b.current == before
    assert b.disk is DiskState.UP_TO_DATE
    row.passes(6.0)
    assert not b.primary
    row.heals(cut)
    row.passes(4.0)
    assert a.connection == b.connection == "Connected"
    assert not a.suspended
    assert a.current == b.current == before


# ---------------------------------------------------------------- the judge


def test_judge_of_two_writers_bites() -> None:
    """Two writers without a move, or for long after one, or a DRBD that still lets them be, are a violation (I14)."""
    row = Row(WITNESS)
    resource = row.world.resources[WEB]
    for node in (A, B):
        resource.allow_two(node, allowed=True)
    with pytest.raises(Violation, match="I14: two nodes may write"):
        resource.promote(B, lambda *_: None)
    row = Row(WITNESS)
    resource = row.world.resources[WEB]
    for node in (A, B):
        resource.allow_two(node, allowed=True)
    row.world.judges.moves_said()
    with pytest.raises(Violation, match="I14: DRBD lets two nodes write"):
        row.passes(WITHDRAWN_S + 3.0)


def _complete() -> Move:
    row = Move()
    row.begins()
    row.ended(OK, OK)
    machine = row.world.machines[B]
    machine.store.record = replace(machine.store.record, epoch=2, owner=B)
    return row


def test_judge_of_old_memory_bites() -> None:
    """Memory goes on only when it is complete and the newest, with the right, and once (I14)."""
    row = _complete()
    row.world.judges.acknowledged(
        row.world.resources[WEB],
        row.world.resources[WEB].sides[A],
        row.world.resources[WEB].sides[B],
        row.world.next_write(),
        alone=False,
    )
    with pytest.raises(Violation, match=r"I14.* old: a acknowledged"):
        row.world.machines[B].resume_received(WEB)
    row = _complete()
    row.world.machines[A].start_domain(WEB)
    row.world.machines[A].end_domain(WEB)
    with pytest.raises(Violation, match=r"I14.* old: a started"):
        row.world.machines[B].resume_received(WEB)
    row = _complete()
    machine = row.world.machines[B]
    machine.store.record = replace(machine.store.record, owner=A)
    with pytest.raises(Violation, match=r"I14.* without the durable right"):
        machine.resume_received(WEB)
    row = _complete()
    row.world.machines[B].images.clear()
    with pytest.raises(Violation, match=r"I14.* not complete"):
        row.world.machines[B].resume_received(WEB)


def test_judge_of_gifts_bites() -> None:
    """The right is given away in good order only when nothing of the VMs is left (I14)."""
    row = Row(WITNESS)
    machine = row.world.machines[A]
    judges, record = row.world.judges, machine.record
    judges.saved(machine, record)
    with pytest.raises(Violation, match="I14: a gives epoch 2 away"):
        judges.saved(machine, replace(record, epoch=record.epoch + 1, owner=B))

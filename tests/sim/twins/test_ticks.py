"""An engine that sleeps from deadline to deadline decides what it would have decided with ten ticks a second.

Its other promises are in tests/unit/avance/core/test_calm.py; these are hours of simulated time.
"""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass, field, replace
from math import inf

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision
from avance.core.model import DiskRole, LinkName, NodeId
from tests.playbook import BIZ, PRIV, WEB, A, B, Playbook, calm_pair, ended, in_sync, peer_gone

BOUND_S = 0.3  # a tick of either side, the 0.05 s of an outcome, and a tick after that
LENGTH_S = 30.0


@dataclass
class Told:
    """What an engine decided, with the times at which it did."""

    marks: list[tuple[str, float]] = field(default_factory=list)
    gates: list[tuple[float | None, float]] = field(default_factory=list)
    feeds: list[float] = field(default_factory=list)
    turns: int = 0

    def note(self, decision: Decision, now: float) -> None:
        """Take one more decision in."""
        self.turns += 1
        self.marks += [(name, now) for name in decision.milestones]
        for command in decision.commands:
            if isinstance(command, c.OpenGate):
                self.gates.append((command.until_s, now))
            elif isinstance(command, c.FeedWatchdog):
                self.feeds.append(now)
            elif not isinstance(command, c.SendHeartbeat | c.TeachWitness | c.ReadGeneration | c.ReadInFlight):
                self.marks.append((type(command).__name__, now))


@dataclass(frozen=True)
class Receipt:
    """A heartbeat of the peer that arrives; without an echo, or with an old one."""

    at_s: float
    link: LinkName
    echo_age_s: float | None


def silences(seed: int) -> list[Receipt]:
    """Return what arrives in half a minute: links that fall silent, lose only the echo, or bring it late."""
    draw = random.Random(seed)
    receipts = []
    whole = (
        10.0,
        10.0 + draw.choice((2.2, 4.0, 5.5, 7.0, 9.0, LENGTH_S)),
        draw.choice(("silent", "no echo", "late echo")),
    )
    for link in (PRIV, BIZ):
        holes = []
        for _ in range(draw.randrange(3)):
            start_s, long_s = draw.uniform(0.0, LENGTH_S), draw.choice((0.6, 1.9, 2.1, 3.2, 5.5, 6.5, 20.0))
            holes.append((start_s, start_s + long_s, draw.choice(("silent", "silent", "no echo", "late echo"))))
        holes.append(whole)  # the same on both links
        phase = draw.uniform(0.0, 0.5)
        for number in range(int(LENGTH_S / 0.5)):
            at_s = phase + number * 0.5 + draw.uniform(0.0, 0.02)
            kinds = {kind for start, end, kind in holes if start <= at_s < end}
            if "silent" in kinds:
                continue
            age_s = None if "no echo" in kinds else draw.uniform(1.0, 4.5) if "late echo" in kinds else 0.3
            receipts.append(Receipt(at_s, link, age_s))
    return sorted(receipts, key=lambda one: one.at_s)


def what_came_of(command: c.Command, role: DiskRole) -> list[e.Event]:
    """Return how a command ends in this world: well, and with nobody else on the networks."""
    if isinstance(command, c.Told):
        return []
    if isinstance(command, c.ProbeNeighbours):
        return [e.NeighboursSeen(gateway=None, claimed=()), ended(command)]
    if isinstance(command, c.DisconnectDisk):
        return [ended(command), e.DiskChanged(WEB, replace(peer_gone(role), connection="StandAlone"))]
    if isinstance(command, c.ConnectDisk):
        return [ended(command), e.DiskChanged(WEB, in_sync(role))]
    return [ended(command, detail="taught 3 a" if isinstance(command, c.TeachWitness) else "")]


def played(book: Playbook, receipts: list[Receipt], *, calmly: bool) -> Told:
    """Play receipts to an engine, and an outcome for each command; ticks each tenth, or only when it asks for them.

    The reference is told everything in whole turns (white box), so that the short way of a receipt is compared, too.
    """
    engine, told, zero_s = book.engine, Told(), book.now
    role = DiskRole.PRIMARY if engine.is_owner else DiskRole.SECONDARY
    handle = engine.handle if calmly else engine._turn
    outcomes: list[tuple[float, e.Event]] = []
    waiting, now = list(receipts), zero_s
    tick_at = now
    while now < zero_s + LENGTH_S:
        receipt_at = zero_s + waiting[0].at_s if waiting else inf
        now = min(tick_at, receipt_at, outcomes[0][0] if outcomes else inf)
        event: e.Event = e.Tick()
        if outcomes and outcomes[0][0] == now:
            event = outcomes.pop(0)[1]
        elif receipt_at == now:
            one = waiting.pop(0)
            event = e.HeartbeatSeen(one.link, book.peer, None if one.echo_age_s is None else now - one.echo_age_s)
        decision = handle(event, now)
        told.note(decision, now)
        outcomes += [(now + 0.05, event) for command in decision.commands for event in what_came_of(command, role)]
        tick_at = engine.wake_at(now) if calmly else (now + 0.1 if isinstance(event, e.Tick) else tick_at)
    return told


MET: dict[tuple[NodeId, tuple[str, ...]], set[str]] = {
    (A, ()): {"peer_lost", "takeover_decided", "SaveRecord"},
    (A, ("w1",)): {"peer_lost", "peer_returned", "takeover_decided", "PauseVms", "UnpauseVms", "ResetNode"},
    (B, ()): {"peer_lost", "peer_returned", "DisconnectDisk", "ConnectDisk", "takeover_decided", "StartDomain"},
    (B, ("w1",)): {"peer_lost", "peer_returned", "DisconnectDisk", "ConnectDisk"},
}


@pytest.mark.parametrize(("me", "witnesses"), MET)
def test_deadlines_decide_what_ticks_decide(me: NodeId, witnesses: tuple[str, ...]) -> None:
    """Over many silences: the same commands at the same times, no later feed, and the same gate while all is calm."""
    kinds: set[str] = set()
    fine_turns = own_turns = 0
    frozen = pickle.dumps(calm_pair(me, witnesses=witnesses))
    for seed in range(30):
        receipts = silences(seed)
        fine, own = (played(pickle.loads(frozen), receipts, calmly=calmly) for calmly in (False, True))
        for name in {name for name, _ in fine.marks + own.marks}:
            fine_s, own_s = ([at_s for what, at_s in told.marks if what == name] for told in (fine, own))
            assert len(own_s) == len(fine_s), (seed, name)
            assert max(abs(one - other) for one, other in zip(own_s, fine_s, strict=True)) <= BOUND_S, (seed, name)
            kinds.add(name)
        until_s = min([at_s for _, at_s in fine.marks + own.marks], default=inf) - BOUND_S
        gates = [[gate for gate, at_s in told.gates if at_s < until_s] for told in (fine, own)]
        assert gates[0] == gates[1], seed
        ends_s = max(fine.feeds[-1], own.feeds[-1]) - 1.1  # what is fed at the very end may have its fellow after it
        early = [fed_s for fed_s in own.feeds if fed_s < ends_s]
        assert all(min(abs(fed_s - other) for other in fine.feeds) <= 1.1 for fed_s in early), seed
        assert own.feeds[-1] <= fine.feeds[-1] + 1.1 + BOUND_S, seed
        fine_turns, own_turns = fine_turns + fine.turns, own_turns + own.turns
    assert kinds >= MET[me, witnesses], "the silences were long enough to matter"
    assert own_turns < fine_turns, "it sleeps"

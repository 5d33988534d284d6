"""Conversation-style tests of the decision core: say one event, expect the commands, read the whole as a dialogue.

Heartbeats are left out of the conversation, because they are sent by the clock and would drown it. A playbook must
never answer for the world by itself: every outcome is said by the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from avance.core import commands as c
from avance.core import events as e
from avance.core import results as r
from avance.core.engine import Decision, Engine, Setup
from avance.core.model import (
    Copy,
    DiskRole,
    DiskState,
    DiskView,
    LinkName,
    NodeId,
    Outcome,
    PairState,
    PeerView,
    Record,
    Timers,
    VmId,
    VmSpec,
    VmState,
)
from avance.core.register import Word

A, B = NodeId("a"), NodeId("b")
PRIV, BIZ = LinkName("priv0"), LinkName("biz0")
WEB = VmId("web")
DB = VmId("db")
TICK_S = 0.1
LONG_S, LONG_TICK_S = 5.0, 0.5  # who lets more time pass at once measures nothing in it: a turn for each heartbeat
GENERATIONS = ("1a2c", "1c2e")


def spec(name: VmId = WEB, index: int = 0) -> VmSpec:
    """Return a VM as a site would define it."""
    mac, address = f"00:16:3e:77:00:{32 + index:02x}", f"10.77.0.{20 + index}"
    return VmSpec(name, 96, 32, "/k", "/r", "quiet", mac, "biz0", address, minor=index, port=7789 + index)


def setup(me: NodeId = A, **changes: object) -> Setup:
    """Return the set-up of one node of a pair with one VM; `changes` replace single fields."""
    base = Setup(
        me=me,
        peer_id=B if me == A else A,
        boot=f"{me}-boot-1",
        config_hash="c0ffee",
        dilation=1.0,
        policy="availability",
        timers=Timers(),
        links=(PRIV, BIZ),
        vms=(spec(),),
        replication_link=PRIV,
        machine=f"{me}-machine-1",
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes


def in_sync(role: DiskRole, *, peer_role: DiskRole = DiskRole.SECONDARY) -> DiskView:
    """Return the view of a connected resource with two good copies."""
    good = DiskState.UP_TO_DATE
    return DiskView(role, good, "Connected", peer_role, good, "Established")


def peer_gone(role: DiskRole, *, suspended: bool = False, disk: DiskState = DiskState.UP_TO_DATE) -> DiskView:
    """Return the view of a resource whose peer does not answer."""
    return DiskView(role, disk, "Connecting", DiskRole.UNKNOWN, DiskState.UNKNOWN, "Off", suspended)


class Playbook:
    """One engine, talked to in order of time; `now` only rises."""

    def __init__(self, engine: Engine, now: float = 100.0) -> None:
        self.engine = engine
        self.now = now
        self.said: list[Decision] = []
        self.writes = True  # its own record, when it is written only to see whether it can be
        self.takes = True  # a peer that is heard says that it could take an epoch that it is offered
        self.peer = PeerView(
            engine.setup.peer_id,
            f"{engine.setup.peer_id}-boot-1",
            engine.setup.config_hash,
            engine.setup.dilation,
            PairState.PAIRED,
            engine.record,
            dict.fromkeys(engine.units, VmState.STANDBY),
            f"{engine.setup.peer_id}-machine-1",
            copies=dict.fromkeys(engine.units, Copy(DiskState.UP_TO_DATE, GENERATIONS)),
        )

    def hears(self, event: e.Event) -> list[c.Command]:
        """Tell the engine one event now; returns what it commands, without heartbeats."""
        decision = self.engine.handle(event, self.now)
        self.said.append(decision)
        return [command for command in decision.commands if not isinstance(command, c.SendHeartbeat)]

    def expect(self, event: e.Event, *expected: c.Command) -> None:
        """Tell one event and expect exactly these commands, alerts left aside."""
        given = acts(self.hears(event))
        assert given == list(expected), f"{event}\n  commanded {given}\n  expected  {list(expected)}"

    def done(self, command: c.Work, *expected: c.Command, outcome: Outcome = Outcome.OK, detail: str = "") -> None:
        """Say how a command ended and expect exactly these commands to follow, alerts left aside."""
        self.expect(ended(command, outcome, detail), *expected)

    def peer_says(self, *, links: tuple[LinkName, ...] = (), **changes: object) -> list[c.Command]:
        """Let the peer be heard, on every link if none is named, with an echo of what was sent just before."""
        if changes:
            self.peer = replace(self.peer, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes
        commands = []
        for link in links or self.engine.setup.links:
            commands += self.hears(e.HeartbeatSeen(link, self.peer, self.now))
        return commands

    def pass_time(
        self, seconds: float, *, peer_alive: bool = False, links: tuple[LinkName, ...] = (), tick_s: float = 0.0
    ) -> list[c.Command]:
        """Let time pass in ticks, in silence or with the peer being heard; returns all that was commanded.

        The ticks are those of the product while anything is under way, but in a long time (`LONG_S`) coarser.

        A record that is written only to see whether it can be written, before a right is looked for or offered, is
        written.
        """
        commands: list[c.Command] = []
        end = self.now + seconds
        tick_s = tick_s or (TICK_S if seconds <= LONG_S else LONG_TICK_S)
        while self.now < end - 1e-9:
            self.now = min(round(self.now + tick_s, 6), end)
            given = self.peer_says(links=links) if peer_alive or links else self.hears(e.Tick())
            offers = self.engine.handover.offers if self.engine.is_owner else 0
            given = self.proves(given)
            if offers and self.takes and (peer_alive or links) and self.peer.offers != offers:
                given += self.peer_says(links=links, offers=offers)
            commands += given
        return commands

    def proves(self, given: list[c.Command]) -> list[c.Command]:
        """Write a record that was just commanded only to see whether it can be written, if `writes` is set."""
        proof = c.SaveRecord(self.engine.record)
        offers = self.engine.handover.offers if self.engine.is_owner else 0
        reasons = [one for decision in self.said[-2:] for one in decision.reasons if "still written" in one]
        asks = any(self.engine.pair is not PairState.PAIRED or "are to move" in reason for reason in reasons)
        if not self.writes or proof not in given or not (offers or asks):
            return given
        return [command for command in given if command != proof] + self.hears(ended(proof))

    @property
    def reasons(self) -> str:
        """Everything that the engine gave as a reason so far."""
        return "\n".join(reason for decision in self.said for reason in decision.reasons)

    @property
    def milestones(self) -> list[str]:
        """Every milestone that was passed so far."""
        return [name for decision in self.said for name in decision.milestones]


def ended(command: c.Command, outcome: Outcome = Outcome.OK, detail: str = "") -> e.CommandDone:
    """Return how a command ended, as the world reports it; its result says what `detail` says."""
    assert not isinstance(command, c.Told), f"{command} has no outcome"
    return e.CommandDone(command, result(command, outcome, detail))


def result(command: c.Work, outcome: Outcome = Outcome.OK, detail: str = "") -> r.Result:
    """Return the result of a command from its evidence for people, as the adapters make both from one source."""
    words = tuple(detail.split())
    match command:
        case c.PrepareVolume():
            known = words if outcome is Outcome.OK and detail != "fresh" else ()
            return r.VolumePrepared(outcome, detail, detail == "fresh", known)
        case c.ReadGeneration():
            return r.GenerationsRead(outcome, detail, words if outcome is Outcome.OK else ())
        case c.ReadInFlight():
            counts = words if outcome is Outcome.OK and words else ("0", "0", "0")
            every, local, peer = (int(word) for word in counts)
            return r.InFlightCounted(outcome, detail, every, local, peer)
        case c.ReadPeerPower():
            return r.PowerRead(outcome, detail, outcome is Outcome.OK and detail == "off")
        case c.AskWitness():
            return r.WitnessAsked(outcome, detail, Word(words[0]) if outcome is Outcome.OK and words else None)
        case c.TeachWitness():
            return r.WitnessTaught(outcome, detail, outcome is Outcome.OK and words[:1] == ("taught",))
    return r.Done(outcome, detail)


def acts(commands: Sequence[c.Command]) -> list[c.Command]:
    """Return the commands without alerts and what the clock alone gives: heartbeats, feeds, the end of the lease."""
    told = c.SendAlert | c.SendHeartbeat | c.FeedWatchdog | c.OpenGate
    return [command for command in commands if not isinstance(command, told)]


def alerts(commands: Sequence[c.Command]) -> list[str]:
    """Return the codes of the alerts among the commands."""
    return [command.alert.code for command in commands if isinstance(command, c.SendAlert)]


def lets_save(book: Playbook) -> list[c.Command]:
    """Hear the peer while each record is saved, as often as the engine wants, and the address is released."""
    commands: list[c.Command] = []
    for _ in range(6):
        commands += book.peer_says()
        if book.engine.sight.durable.saving is not None:
            commands += book.hears(ended(c.SaveRecord(book.engine.sight.durable.saving)))
        if book.engine.address.busy:
            commands += book.hears(ended(c.ReleaseAddress()))
    return commands


def served(me: NodeId, record: Record) -> Record:
    """Return the record of a node that was in service since its machine started, and that knows the data it has."""
    return replace(record, boot=f"{me}-machine-1", generations=((WEB, GENERATIONS[0]),))


def guarded(book: Playbook) -> Playbook:
    """Say that gate and watchdog of the node do their work."""
    for guard in book.engine.sight.parts.guards:
        book.hears(e.PartSeen(guard, ""))
    return book


def paired(me: NodeId, *, owner: NodeId = A, record: Record | None = None, **changes: object) -> Playbook:
    """Return a pair in full service in epoch 3: the owner runs the VM, the other node stands by."""
    known = Record(3, owner) if record is None else record
    book = Playbook(Engine(setup(me, **changes), served(me, known)))
    mine = me == owner
    book.peer = replace(
        book.peer,
        record=replace(known, boot=f"{book.engine.setup.peer_id}-machine-1"),
        vms={WEB: VmState.STANDBY if mine else VmState.RUNNING},
    )
    guarded(book).hears(e.Tick())
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.PRIMARY if mine else DiskRole.SECONDARY)))
    book.hears(e.DomainChanged(WEB, running=mine))
    book.hears(ended(c.ReadDomain(WEB)))
    book.hears(ended(c.PrepareVolume(WEB), detail=" ".join(GENERATIONS)))
    book.engine.units[WEB].read_for = book.engine.units[WEB].disk  # as if it had been read while all went well
    assert book.engine.units[WEB].state is (VmState.RUNNING if mine else VmState.STANDBY)
    waiting = book.peer_says()
    assert book.engine.pair is PairState.PAIRED
    for command in acts(waiting):
        book.hears(ended(command))  # the address, and VMs that an earlier run may have left paused
    assert book.engine.protected
    for _ in range(2):  # each has heard the other's echo of its echo
        book.now += book.engine.setup.timers.heartbeat_s
        book.peer_says()
    book.said.clear()
    return book


def calm_pair(me: NodeId = A, **changes: Any) -> Playbook:  # noqa: ANN401 - fields of the set-up
    """Return a node of a pair that has been protected for long enough to be calm."""
    book = paired(me, watchdog=True, **changes)
    book.pass_time(15.0, peer_alive=True)
    book.hears(e.Tick())
    book.now += 0.1
    book.peer_says()
    book.hears(e.Tick())
    assert book.engine.calm_until_s > book.now
    book.said.clear()
    return book

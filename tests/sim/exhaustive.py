"""A small world for one question, answered for every order of events: can the backup act while the old primary runs?

Node B is a whole engine of the product, behind the product's receiver of heartbeats. Of node A there is what its life
hangs on: the product's liveness, which holds the lease, and the product's guard, which feeds the watchdog. Whatever
else could stop A is useless: only its watchdog ends it. The witness grants B the next epoch at once, and A is cut off
from it. An adversary decides for each slot of time which single heartbeats get through on which link, in which order.
Worlds that are equal in everything are followed once, and the paths to them are counted.

The rule that is checked is the takeover inequality (docs/safety.md, S18): at the moment when B commands the
record of its right, A's watchdog has run out. It must never decide for the product.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine, Setup
from avance.core.guard import Guard, Standing
from avance.core.liveness import Liveness
from avance.core.model import DiskRole, LinkName, NodeId, Outcome, PairState, PeerView, Record, Timers, VmState
from avance.wire.derived import of_heartbeats
from avance.wire.heartbeat import Heartbeat, Receiver, Unproven
from avance.wire.rejected import Rejected
from tests.playbook import BIZ, GENERATIONS, PRIV, WEB, A, B, ended, in_sync, served, setup

LINKS = (PRIV, BIZ)
START_S = 100.0
BEAT_S = 0.5
TURN_S = 1.5  # a loop that turns so often is not late yet
LAST_S = 0.001  # before the end of A
_KEY = of_heartbeats(b"a secret of the small world")
_RECORD = Record(3, A, arbiters=("witness:w1",))

Crossing = tuple[NodeId, LinkName]  # one heartbeat of this node gets through on this link
Move = tuple[Crossing, ...]  # what gets through in one slot: the second one half a second after the first


@dataclass(frozen=True)
class Rules:
    """What the adversary may do in each of his `slots`, which are `slot_s` seconds long.

    `restarts`: B's daemon may be started anew once, at the beginning of any slot. `stands_s`: A may stand still once
    for so long, at the beginning of any slot, with its clock and its watchdog, and it notices nothing.
    """

    moves: tuple[Move, ...]
    slots: int
    slot_s: float = 3.0
    restarts: bool = False
    stands_s: float = 0.0


def moves(*, crossed: bool) -> tuple[Move, ...]:
    """Nothing, one heartbeat in one direction, or one in each direction in either order, on one of the two links.

    `crossed`: also one in each direction on different links.
    """
    found: list[Move] = [()]
    for one in LINKS:
        found += [((A, one),), ((B, one),)]
        for two in LINKS if crossed else (one,):
            found += [((A, one), (B, two)), ((B, one), (A, two))]
    return tuple(found)


def words(move: Move) -> str:
    """Return a move in a few words."""
    return ", then ".join(f"{source} is heard on {link}" for source, link in move) or "nothing"


class Broken(AssertionError):
    """The rule does not hold; the text says when."""


@dataclass(slots=True)
class Adapter:
    """What adapters/heartbeat.py keeps: who is believed, what is echoed; here also what was sent last."""

    receiver: Receiver
    echo: dict[LinkName, tuple[str, float]] = field(default_factory=dict)
    sent: dict[LinkName, Heartbeat] = field(default_factory=dict)

    def takes(self, beat: Heartbeat) -> e.HeartbeatSeen | e.HeartbeatUnproven | None:
        """Judge a heartbeat; from now on it is echoed."""
        judged = self.receiver._judge(beat.link, beat)
        if isinstance(judged, Rejected):
            return None
        heard = judged.beat if isinstance(judged, Unproven) else judged
        self.echo[beat.link] = (heard.view.boot, heard.sent_s)
        if isinstance(judged, Unproven):
            return e.HeartbeatUnproven(beat.link)
        mine = heard.echo is not None and heard.echo[0] == self.receiver.my_boot
        return e.HeartbeatSeen(beat.link, heard.view, heard.echo[1] if mine and heard.echo is not None else None)

    def sends(self, view: PeerView, now: float, *, echoing: bool) -> None:
        """Have one heartbeat ready on every link; its number is the same on every path to this moment."""
        for link in LINKS:
            last = self.sent.get(link)
            seq = round(now * 1000)
            seq = seq if last is None or last.seq < seq else last.seq + 1
            self.sent[link] = Heartbeat(link, seq, now, self.echo.get(link) if echoing else None, view)


class World:
    """A protected pair whose links were just cut; all of it can be pickled."""

    def __init__(self) -> None:
        """Let both nodes hear each other for two seconds; A owns the epoch and runs the VM."""
        self.timers = Timers()
        self.now = START_S
        self.stood_s = 0.0
        self.restarted = False
        self.fed_at = START_S  # by A's clock
        self.liveness, self.guard = Liveness(self.timers, LINKS), Guard(self.timers)
        told, vms = setup(A), {WEB: VmState.RUNNING}
        self.view = PeerView(
            A, told.boot, told.config_hash, 1.0, PairState.PAIRED, served(A, _RECORD), vms, told.machine
        )
        self.a = Adapter(Receiver(_KEY, A, B, told.boot))
        self.start_b("b-boot-1", served(B, _RECORD))
        for _ in range(4):
            self.beat()
            self.cross((A, PRIV), (B, PRIV), (A, BIZ), (B, BIZ))
            self.now += BEAT_S
        assert self.engine.protected

    def start_b(self, boot: str, record: Record) -> None:
        """Start the daemon of B; it looks at its disk and its VM."""
        told = replace(setup(B, witnesses=("w1",)), boot=boot)
        self.engine, self.b = Engine(told, record), Adapter(Receiver(_KEY, B, A, boot))
        self.tell(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY)))
        self.tell(e.DomainChanged(WEB, running=False))
        for guard in self.engine.sight.parts.guards:
            self.tell(e.PartSeen(guard, ""))

    # ------------------------------------------------------------ A

    @property
    def a_s(self) -> float:
        """A's clock, which is also the watchdog's."""
        return self.now - self.stood_s

    @property
    def dead(self) -> bool:
        """A's watchdog has run out."""
        return self.a_s >= self.fed_at + self.timers.watchdog_s

    def _turn_a(self) -> None:
        liveness, now = self.liveness, self.a_s
        liveness.update(now)
        lost = liveness.lease_age_s(now) >= self.timers.peer_lost_s
        standing = Standing(
            tick=True, pair=PairState.WAITING if lost else PairState.PAIRED, may_write=True, known=True, solo=False,
            lease_valid=liveness.lease_valid(now), lease_over=liveness.lease_over(now),
            lease_age_s=liveness.lease_age_s(now), lease_until_s=liveness.lease_until_s,
            owner=True, deciding=False, watchdog=True, superseded=False, leaving=False,
        )  # fmt: skip
        if any(isinstance(command, c.FeedWatchdog) for command, _ in self.guard.judge(standing, now)):
            self.fed_at = now
        self.a.sends(replace(self.view, pair=standing.pair), now, echoing=True)

    # ------------------------------------------------------------ B

    def tell(self, event: e.Event) -> None:
        """Tell B something, and do what it commands."""
        queue = [event]
        while queue:
            for command in self.engine.handle(queue.pop(0), self.now).commands:
                queue += self._answers(command)

    def _answers(self, command: c.Command) -> list[e.Event]:
        match command:
            case c.SendHeartbeat(view, echoing):
                self.b.sends(view, self.now, echoing=echoing)
            case c.SaveRecord(record) if record.solo(B) and not self.dead:
                left_s = self.fed_at + self.timers.watchdog_s - self.a_s
                raise Broken(f"B takes the right after {self.now - START_S:.1f} s, and A has {left_s:.1f} s left")
            case c.AskWitness():
                return [ended(command, Outcome.OK, "granted 4 b")]
            case c.PrepareVolume() | c.ReadGeneration():
                return [ended(command, Outcome.OK, " ".join(GENERATIONS))]
            case c.SendAlert() | c.OpenGate() | c.FeedWatchdog() | c.TeachWitness():
                pass
            case _:
                return [ended(command)]
        return []

    # ------------------------------------------------------------ time

    def beat(self) -> None:
        """Let both loops turn; each has a new heartbeat ready then."""
        if not self.dead:
            self._turn_a()
        self.tell(e.Tick())

    def cross(self, *crossings: Crossing) -> None:
        """Let single heartbeats get through at this moment; one that was taken before is nothing new."""
        for source, link in crossings:
            if self.dead:
                return
            if source == A:
                event = self.b.takes(self.a.sent[link])
                if event is not None:
                    self.tell(event)
                continue
            seen = self.a.takes(self.b.sent[link])
            if isinstance(seen, e.HeartbeatSeen):
                self.liveness.heartbeat_seen(link, seen.echoed_sent_s, self.a_s)

    def slot(self, move: Move, seconds: float) -> None:
        """Let one slot pass, with no more turns than a loop that is on time must have."""
        end = self.now + seconds
        self.beat()
        self.cross(*move[:1])
        self.now += BEAT_S
        self.beat()
        self.cross(*move[1:])
        while self.now + TURN_S < end:
            self.now += TURN_S
            self.beat()
        self.now = end
        self._forget()

    def restart(self) -> None:
        """B's daemon ends and is started again at once."""
        self.restarted = True
        self.start_b("b-boot-2", self.engine.record)

    def stand_still(self, seconds: float) -> None:
        """A stands still, and time goes on for B."""
        for _ in range(round(seconds / BEAT_S)):
            self.tell(e.Tick())
            self.now += BEAT_S
        self.stood_s = seconds

    def silence(self) -> None:
        """Nothing gets through any more; B also turns in the last moment of A."""
        while not self.dead:
            end = self.fed_at + self.timers.watchdog_s + self.stood_s
            self.now = min(self.now + (BEAT_S if self.liveness.lease_valid(self.a_s) else TURN_S), end - LAST_S)
            self.beat()
            if self.now == end - LAST_S:
                self.now = end

    # ------------------------------------------------------------ equal worlds

    def _forget(self) -> None:
        """Make the same on all paths what cannot reach the rule, so that more worlds are equal.

        That is: how often a link fell and what was told; of A all but its lease; of B its own lease, and the contact,
        which a backup with a witness and without a BMC does not use. B's receipts and echoes are all kept.
        """
        for liveness in (self.liveness, self.engine.liveness):
            liveness.forgive()
            liveness.contact_s = None
            for entry in liveness._links.values():
                entry.carried.clear()
                entry.good_from = entry.newest_s = None
                entry.was_up = False
        self.liveness.heard_at_s = None
        for entry in self.liveness._links.values():
            entry.receipt_at = entry.echo_at = entry.echoed_sent_s = None
        self.guard.feeds, self.guard._gate_until_s = 0, None
        self.engine.liveness.lease_from_s = START_S
        self.engine.told.clear()
        self.a.receiver._newest = self.b.receiver._newest = None
        self.a.sent.clear()
        self.b.sent.clear()

    def frozen(self) -> bytes:
        """Return the whole world as bytes, the same ones for equal worlds, whatever objects they share."""
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, protocol=5)
        pickler.fast = True
        pickler.dispatch_table = {Setup: _shared, Timers: _shared}
        pickler.dump(self)
        return stream.getvalue()


_SHARED: list[Setup | Timers] = []


def _shared(value: Setup | Timers) -> tuple[Callable[[int], Setup | Timers], tuple[int]]:
    """What never changes is not copied with each world."""
    if value not in _SHARED:
        _SHARED.append(value)
    return _from_shared, (_SHARED.index(value),)


def _from_shared(index: int) -> Setup | Timers:
    return _SHARED[index]


@dataclass
class Found:
    """How much was tried, and the paths that break the rule, each with what happened."""

    interleavings: int = 0
    worlds: int = 0
    steps: int = 0
    broken: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def text(self) -> str:
        """Return the size in a few words."""
        return f"{self.interleavings:,} interleavings, {self.worlds:,} different worlds, {self.steps:,} steps"


_Path = tuple[str, ...]
_Layer = dict[bytes, tuple[int, _Path]]


def explore(rules: Rules) -> Found:
    """Try every sequence of moves, then silence until A is dead; stops after the first slot that breaks the rule."""
    found = Found()
    layer: _Layer = {World().frozen(): (1, ())}
    for index in range(rules.slots):
        found.worlds += len(layer)
        layer = _next_layer(found, layer, rules, rules.slots - index - 1)
        if found.broken:
            return found
    found.worlds += len(layer)
    for frozen, (paths, path) in layer.items():
        _try(found, frozen, World.silence, (*path, "silence"))
        found.interleavings += paths
    return found


def _next_layer(found: Found, layer: _Layer, rules: Rules, slots_left: int) -> _Layer:
    after: _Layer = {}
    for frozen, (paths, path) in layer.items():
        for word, act in _ways(pickle.loads(frozen), rules):
            world = _try(found, frozen, act, (*path, word))
            if world is None or world.dead:
                found.interleavings += paths * len(rules.moves) ** slots_left
                continue
            key = world.frozen()
            before, example = after.get(key, (0, (*path, word)))
            after[key] = (before + paths, example)
    return after


def _try(found: Found, frozen: bytes, act: Callable[[World], None], path: _Path) -> World | None:
    world: World = pickle.loads(frozen)
    found.steps += 1
    try:
        act(world)
    except Broken as broken:
        found.broken.append((str(broken), path))
        return None
    return world


def _ways(world: World, rules: Rules) -> list[tuple[str, Callable[[World], None]]]:
    def passes(move: Move) -> Callable[[World], None]:
        return lambda one: one.slot(move, rules.slot_s)

    def restarts(one: World) -> None:
        one.restart()
        one.slot((), rules.slot_s)

    def stands(one: World) -> None:
        one.stand_still(rules.stands_s)
        one.slot((), rules.slot_s)

    ways = [(words(move), passes(move)) for move in rules.moves]
    if rules.restarts and not world.restarted:
        ways.append(("B's daemon is started anew", restarts))
    if rules.stands_s and not world.stood_s:
        ways.append((f"A stands still for {rules.stands_s:g} s", stands))
    return ways

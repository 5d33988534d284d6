"""The health of this node beside that of its peer, and whether the VMs belong there for it (docs/safety.md, S45).

A *matter* is what a sensor reads of one subject; it counts after a hold, and is over when it has not been read for a
while (core/conditions.py). What counts is an *ailment*. The score of a node is how many bad, degraded and potential
ailments it has. Scores are compared, never judged alone: nodes that are equally ill change nothing.

What is known of a sensor lives here, and how often the VMs have moved. A move is a hand-over (core/handover.py): this
module says why, never how. It must never be a reason against a takeover, a stop or a consent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core import alerts, conditions, copies
from avance.core import events as e
from avance.core.conditions import Condition, HealthSensor, Moves
from avance.core.damper import HOUR_S, Damper
from avance.core.decision import Draft
from avance.core.model import Ailment, AilmentSeverity, MirrorState, PairState, PeerView, VmState
from avance.core.setup import Setup
from avance.core.sight import Sight

HELD_S = 30.0  # so long the backup must be better, unless the primary has a bad ailment that the backup has not
TOLD_S = 30.0  # so much longer, before people hear that nothing moves
MOVES_MAX = 2  # automatic moves within an hour
PING_PONGS_MAX = 4  # automatic moves within a day: there and back, twice
AILMENTS_MAX = 16  # in a heartbeat, the worst ones

_CARRIERS_MAX = 60  # lines an hour
_SENSORS = frozenset(HealthSensor)
Score = tuple[int, int, int]  # how many are bad, degraded, potential


def score_of(ailments: tuple[Ailment, ...]) -> Score:
    """Return how many ailments there are of each severity, the worst first."""
    bad, degraded, potential = (sum(one.severity is severity for one in ailments) for severity in AilmentSeverity)
    return bad, degraded, potential


def in_words(score: Score) -> str:
    """Say a score, for people."""
    said = [f"{count} {severity}" for count, severity in zip(score, AilmentSeverity, strict=True) if count]
    return ", ".join(said) or "nothing"


@dataclass(slots=True)
class _Matter:
    """What a sensor reads of one subject, since when, and what of it counts: codes of conditions, "" for none."""

    reads: str
    since_s: float
    counts: str = ""


@dataclass(slots=True)
class Health:
    """What is wrong with this node, and whether the VMs move for it; `going` says why, while they do."""

    second_s: float
    going: str = ""
    _read: dict[tuple[HealthSensor, str], str] = field(default_factory=dict)
    _said: dict[str, dict[tuple[HealthSensor, str], str]] = field(default_factory=dict)  # by source
    _heard_at: dict[str, float] = field(default_factory=dict)
    _matters: dict[tuple[HealthSensor, str], _Matter] = field(default_factory=dict)
    _ailments: tuple[Ailment, ...] = ()
    _better_from_s: float | None = None
    _owned: bool | None = None  # whether this node owned the epoch in the turn before, while paired
    _hourly: Damper = field(init=False)
    _daily: Damper = field(init=False)
    _carriers: Damper = field(init=False)  # lines about the carriers of links

    def __post_init__(self) -> None:
        self._hourly = Damper(MOVES_MAX, HOUR_S * self.second_s)
        self._daily = Damper(PING_PONGS_MAX, 24 * HOUR_S * self.second_s)
        self._carriers = Damper(_CARRIERS_MAX, HOUR_S * self.second_s)

    @property
    def ailments(self) -> tuple[Ailment, ...]:
        """What counts, the worst first; the very same value until it changes."""
        return self._ailments

    def take(self, event: e.LinkChanged | e.SensorsRead, setup: Setup, draft: Draft, now: float) -> None:
        """Note what a sensor says; what a source said before counts no more."""
        if isinstance(event, e.SensorsRead):
            self._heard_at[event.source] = now
            wrong = [one for one in event.wrong if one[0] in _SENSORS]
            self._said[event.source] = {(HealthSensor(sensor), subject): reading for sensor, subject, reading in wrong}
            return
        self._say_carrier(event, draft, now)
        if event.link != setup.replication_link:  # that one is one cable: it ails both nodes alike
            self._read[HealthSensor.CARRIER, event.link] = conditions.SOUND if event.carrier else "down"

    def _say_carrier(self, event: e.LinkChanged, draft: Draft, now: float) -> None:
        """Note it for people; a loose plug must not fill the journal."""
        if self._carriers.full(now):
            return
        self._carriers = self._carriers.counted(now)
        more = "; it changes so often that no more is said for a while" if self._carriers.full(now) else ""
        draft.say(f"carrier of {event.link} is {'up' if event.carrier else 'down'}{more}")

    def _of_sources(self, sight: Sight, now: float) -> dict[tuple[HealthSensor, str], str]:
        """Return what the sources say, and which of them say nothing: what those said last still counts."""
        found: dict[tuple[HealthSensor, str], str] = {}
        for source in sight.setup.sources:
            heard_at = self._heard_at.setdefault(source, now)
            found |= self._said.get(source, {})
            if now >= heard_at + conditions.SILENT_PERIODS * conditions.PERIODS_S[source] * self.second_s:
                found[HealthSensor.SOURCE, source] = conditions.SILENT
        return found

    def anew(self) -> None:
        """A person says that what made the VMs move is mended."""
        self._hourly, self._daily = self._hourly.anew(), self._daily.anew()

    def look(self, sight: Sight, draft: Draft, now: float) -> None:
        """Judge what the sensors say, and tell of what counts from now on, and of what is over."""
        found = self._read | _known(sight, now) | self._of_sources(sight, now)
        for key in [*found, *(key for key in self._matters if key not in found)]:
            row = conditions.of(key[0], found.get(key, conditions.SOUND))
            self._judge(key, "" if row is None else row.code, draft, now)
        counting = [(key[1], conditions.named(matter.counts)) for key, matter in self._matters.items()]
        found_now = [Ailment(row.severity, row.code, subject) for subject, row in counting if row is not None]
        worst_first = sorted(found_now, key=lambda one: (-one.severity.rank, one.code, one.subject))[:AILMENTS_MAX]
        if tuple(worst_first) != self._ailments:
            self._ailments = tuple(worst_first)
            draft.tell_peer()

    def _judge(self, key: tuple[HealthSensor, str], reads: str, draft: Draft, now: float) -> None:
        matter = self._matters.get(key)
        if matter is None:
            if not reads:
                return
            matter = self._matters[key] = _Matter(reads, now)
        elif reads != matter.reads:
            matter.reads, matter.since_s = reads, now
        before, after = conditions.named(matter.counts), conditions.named(matter.reads)
        if before is not after and now >= matter.since_s + _after_s(before, after) * self.second_s:
            matter.counts = matter.reads
            _tell(before, after, key[1], draft)
        if not matter.counts and not matter.reads:
            del self._matters[key]

    def moves(self, sight: Sight, draft: Draft, now: float) -> str | None:
        """As the owner of a pair: say why the VMs belong to the peer, because it is in better health, or None."""
        self._count_move(sight, now)
        peer = sight.agreeing(now)
        if peer is None or not sight.durable.owner:
            self.going, self._better_from_s = "", None
            return None
        mine, theirs = score_of(self._ailments), score_of(peer.ailments)
        if self.going and theirs <= mine:
            return self.going  # what has begun is finished, unless the peer became the worse one
        self.going = ""
        if not theirs < mine or all(_kind(one) is Moves.OWN_RULE for one in _more(self._ailments, peer)):
            self._better_from_s = None
            draft.in_order("stays")
            return None
        self._better_from_s = now if self._better_from_s is None else self._better_from_s
        due_s = self._better_from_s + (0.0 if mine[0] > theirs[0] else HELD_S * self.second_s)
        if now < due_s:
            return None
        names = " and ".join(str(one) for one in _more(self._ailments, peer))
        why = f"{names}: node {peer.node} is in better health ({in_words(theirs)} there, {in_words(mine)} here)"
        against = self._against(sight, peer, now)
        if against is None:
            self.going = why
        elif now >= due_s + TOLD_S * self.second_s:
            draft.once("stays", alerts.stays(sight.setup.me, why, against, stopped=self._daily.full(now)))
        return self.going or None

    def _count_move(self, sight: Sight, now: float) -> None:
        """Count each hand-over, by the one who gives and by the one who takes."""
        owned = sight.durable.owner if sight.pairing.pair is PairState.PAIRED else None
        if owned is not None and self._owned is not None and owned is not self._owned:
            self._hourly, self._daily = self._hourly.counted(now), self._daily.counted(now)
        self._owned = owned

    def _against(self, sight: Sight, peer: PeerView, now: float) -> str | None:
        """Say what is against a move just now, or None."""
        record, units = sight.durable.record, {vm: sight.units.by_name[vm] for vm in sight.filled}
        if not units:
            return "there is no VM to move"
        if self._daily.full(now):
            return f"they have moved {PING_PONGS_MAX} times within a day; `avance reset-device {sight.setup.me}` allows"
        if self._hourly.full(now):
            return f"they have moved {MOVES_MAX} times within an hour"
        if not any(_kind(one) is Moves.RESTART for one in _more(self._ailments, peer)):
            return "a move would restart them, and nobody misses them here"
        if record.quarantined:
            return f"node {peer.node} is in quarantine"
        if record.peer_outdated or peer.record.peer_outdated or sight.behind or sight.peer_behind:
            return "the copies are not equal"
        if not sight.units.synced().issuperset(units):
            return "the copies are not equal"
        if not all(copies.peer_is_good(record, peer, vm) for vm in units):
            return f"the copies of node {peer.node} are not good"
        if any(vm in peer.left or vm in peer.unmade for vm in units):
            return f"a VM cannot be started on node {peer.node}"
        if not all(unit.state is VmState.RUNNING for unit in units.values()):
            return "a VM does not run"
        return None


def _after_s(counts: Condition | None, reads: Condition | None) -> float:
    """How long a reading must last before it counts: the worse one soon, the better one late."""
    worse = reads is not None and (counts is None or reads.severity.rank >= counts.severity.rank)
    if worse:
        assert reads is not None
        return reads.hold_s
    return 0.0 if counts is None else counts.clear_s


def _tell(before: Condition | None, after: Condition | None, subject: str, draft: Draft) -> None:
    if after is not None:
        alert = alerts.ailing(after, subject)
        draft.say(alert.text, alert=alert if after.told else None)
    elif before is not None:
        alert = alerts.recovered(before, subject)
        draft.say(alert.text, alert=alert if before.told else None)


def _known(sight: Sight, now: float) -> dict[tuple[HealthSensor, str], str]:
    """What the other owners know of this node."""
    view, units = sight.mirror.view, sight.units.by_name
    found = {(HealthSensor.COPY, str(vm)): "lost" for vm, unit in units.items() if copies.is_lost(unit.disk)}
    if view.state is MirrorState.CURRENT and view.halves < view.of:
        found[HealthSensor.MIRROR, ""] = "degraded"
    if sight.durable.fails(now, sight.setup.timers.boot_wait_s):
        found[HealthSensor.RECORD, ""] = "failed"
    return found


def _more(mine: tuple[Ailment, ...], peer: PeerView) -> list[Ailment]:
    """The ailments of this node that its peer has not."""
    theirs = {(one.code, one.subject) for one in peer.ailments}
    return [one for one in mine if (one.code, one.subject) not in theirs]


def _kind(one: Ailment) -> Moves:
    row = conditions.named(one.code)
    return Moves.OWN_RULE if row is None else row.moves


__all__ = ["Health", "Score", "in_words", "score_of"]

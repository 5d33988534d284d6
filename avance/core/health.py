"""The health of this node beside that of its peer, and whether the VMs belong there for it (docs/safety.md, S45).

A *matter* is what a sensor reads of one subject; it counts after a hold, and is over when it has not been read for a
while (core/conditions.py), which is longer each time within an hour. What counts is an *ailment*. The score of a node
is how many bad, degraded and potential ailments it has. Scores are compared, never judged alone: nodes that are equally
ill change nothing.

What is known of a sensor lives here, and how often the VMs have moved. A move is a hand-over (core/handover.py): this
module says why, never how. It must never be a reason against a takeover, a stop or a consent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core import alerts, conditions
from avance.core import events as e
from avance.core.conditions import Condition, HealthSensor, Moves
from avance.core.damper import HOUR_S, Damper, doubled
from avance.core.decision import Draft
from avance.core.migration import unready
from avance.core.model import Ailment, AilmentSeverity, MirrorState, PairState, PeerView
from avance.core.setup import Setup
from avance.core.sight import Sight
from avance.core.unit import VmUnit

HELD_S = 30.0  # so long the backup must be better, unless the primary has a bad ailment that the backup has not
TOLD_S = 30.0  # so much longer, before people hear that nothing moves
MOVES_MAX = 2  # automatic moves within an hour
PING_PONGS_MAX = 4  # automatic moves within a day: there and back, twice
AILMENTS_MAX = 16  # in a heartbeat, the worst ones

_CARRIERS_MAX = 60  # lines an hour
_CAME_MAX = 8  # so often within an hour it is remembered that something began to count
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
    """What is wrong with this node, and whether the VMs move for it; `going` says why, while they do.

    `felt`: clients feel what is wrong here, so a move is worth a restart of the VMs.
    """

    second_s: float
    going: str = ""
    felt: bool = False
    _read: dict[tuple[HealthSensor, str], str] = field(default_factory=dict)
    _said: dict[str, dict[tuple[HealthSensor, str], str]] = field(default_factory=dict)  # by source
    _heard_at: dict[str, float] = field(default_factory=dict)
    _matters: dict[tuple[HealthSensor, str], _Matter] = field(default_factory=dict)
    _came: dict[tuple[str, str], Damper] = field(default_factory=dict)  # how often, by code and subject
    _ailments: tuple[Ailment, ...] = ()
    _better_from_s: float | None = None
    _peer_run: str = ""  # the run of the peer's daemon that is heard, and since when
    _peer_from_s: float = 0.0
    _stays_for: str = ""  # what is against a move, and since when
    _stays_from_s: float = 0.0
    _told: tuple[str, ...] = ()  # what people heard of that since the peer is in better health
    _owned: bool | None = None  # whether this node owned the epoch in the turn before, while paired
    _left: bool = False  # whether it was handing the VMs over
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
        self._came.clear()

    def _late(self, lag_s: float) -> None:
        """Nothing was judged for so long, so it counts neither as silence of a source nor as the time of a hold."""
        self._heard_at = {source: at + lag_s for source, at in self._heard_at.items()}
        for matter in self._matters.values():
            matter.since_s += lag_s
        self._better_from_s = None if self._better_from_s is None else self._better_from_s + lag_s

    def look(self, sight: Sight, draft: Draft, now: float) -> None:
        """Judge what the sensors say, and tell of what counts from now on, and of what is over."""
        if sight.liveness.lag_s:
            self._late(sight.liveness.lag_s)
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
        if before is not after and now >= matter.since_s + self._after_s(before, after, key[1], now):
            matter.counts = matter.reads
            if after is not None and _is_worse(before, after):
                came = self._came.get((after.code, key[1]), Damper(_CAME_MAX, HOUR_S * self.second_s))
                self._came[after.code, key[1]] = came.counted(now)
            _tell(before, after, key[1], draft)
        if not matter.counts and not matter.reads:
            del self._matters[key]

    def _after_s(self, before: Condition | None, after: Condition | None, subject: str, now: float) -> float:
        """How long a reading must last before it counts: the worse one soon, the better one late, and later each time.

        So what comes and goes becomes one story.
        """
        if after is not None and _is_worse(before, after):
            return after.hold_s * self.second_s
        assert before is not None, "only what counts can become better"
        came = self._came.get((before.code, subject))
        return doubled(before.clear_s, 0 if came is None else came.recent(now) - 1, HOUR_S) * self.second_s

    def moves(
        self, sight: Sight, draft: Draft, now: float, *, live: bool, leaving: bool = False, moving: bool = False
    ) -> str | None:
        """As the owner of a pair: say why the VMs belong to the peer, because it is in better health, or None.

        `live`: they move while they run, so that nobody misses them (core/migration.py); `moving`: they just do so.
        `leaving`: they are being handed over.
        """
        self._count_move(sight, now, leaving=leaving)
        peer = sight.agreeing(now)
        if not sight.durable.owner:
            self._stays_for, self._told = "", ()
        if peer is None or not sight.durable.owner:
            self.going, self.felt, self._better_from_s = "", False, None
            return None
        if peer.boot != self._peer_run:
            self._peer_run, self._peer_from_s = peer.boot, now
        mine, theirs = score_of(self._ailments), score_of(peer.ailments)
        if (leaving or moving) and self.going and theirs <= mine:
            return self.going  # what has begun is finished, unless the peer became the worse one
        self.going = ""
        if not theirs < mine or all(_kind(one) is Moves.OWN_RULE for one in _more(self._ailments, peer)):
            self._better_from_s, self._stays_for, self._told = None, "", ()
            return None
        self._better_from_s = now if self._better_from_s is None else self._better_from_s
        due_s = self._better_from_s + (0.0 if mine[0] > theirs[0] else HELD_S * self.second_s)
        due_s = max(due_s, self._peer_from_s + self._first_words_s(sight))
        if now < due_s:
            return None
        self.felt = any(_kind(one) is Moves.RESTART for one in _more(self._ailments, peer))
        names = " and ".join(str(one) for one in _more(self._ailments, peer))
        why = f"{names}: node {peer.node} is in better health ({in_words(theirs)} there, {in_words(mine)} here)"
        against = self._against(sight, peer, now, live=live)
        if against is None:
            self.going, self._stays_for, self._told = why, "", ()
        else:
            self._tell_stay(sight, why, against, draft, now)
        return self.going or None

    def _first_words_s(self, sight: Sight) -> float:
        """How long after the start of a daemon it is not known whether its node is well: its sources have to speak."""
        periods = [conditions.PERIODS_S[source] for source in sight.setup.sources]
        return conditions.SILENT_PERIODS * max(periods, default=0.0) * self.second_s

    def _tell_stay(self, sight: Sight, why: str, against: str, draft: Draft, now: float) -> None:
        """Tell people once of each thing that has been against a move for a while."""
        if against != self._stays_for:
            self._stays_for, self._stays_from_s = against, now
        if against not in self._told and now >= self._stays_from_s + TOLD_S * self.second_s:
            self._told = (*self._told, against)
            alert = alerts.stays(sight.setup.me, why, against, stopped=self._daily.full(now))
            draft.say(alert.text, alert=alert)

    def _count_move(self, sight: Sight, now: float, *, leaving: bool) -> None:
        """Count each hand-over: when it begins, whatever becomes of it, and by the one who takes."""
        owned = sight.durable.owner if sight.pairing.pair is PairState.PAIRED else None
        gave = bool(self._owned) and owned is False and not self._left  # live; a hand-over was counted when it began
        if (leaving and not self._left) or (owned and self._owned is False) or gave:
            self._hourly, self._daily = self._hourly.counted(now), self._daily.counted(now)
        if self._left and not leaving:
            self.going = ""  # it came to its end, or was called off: the next one is judged anew
        self._owned, self._left = owned, leaving

    def _against(self, sight: Sight, peer: PeerView, now: float, *, live: bool) -> str | None:
        """Say what is against a move just now, or None."""
        if not sight.filled:
            return "there is no VM to move"
        if self._daily.full(now):
            return f"they have moved {PING_PONGS_MAX} times within a day; `avance reset-device {sight.setup.me}` allows"
        if self._hourly.full(now):
            return f"they have moved {MOVES_MAX} times within an hour"
        if not live and not self.felt:
            return "a move would restart them, and nobody misses them here"
        return unready(sight, peer)


def _is_worse(counts: Condition | None, reads: Condition | None) -> bool:
    return reads is not None and (counts is None or reads.severity.rank >= counts.severity.rank)


def _tell(before: Condition | None, after: Condition | None, subject: str, draft: Draft) -> None:
    """Tell of what is over, also where something else of the same sensor takes its place, and of what is there."""
    if before is not None:
        alert = alerts.recovered(before, subject, now=after)
        draft.say(alert.text, alert=alert if before.told else None)
    if after is not None:
        alert = alerts.ailing(after, subject)
        draft.say(alert.text, alert=alert if after.told else None)


def _known(sight: Sight, now: float) -> dict[tuple[HealthSensor, str], str]:
    """What the other owners know of this node."""
    view, units = sight.mirror.view, sight.units.by_name
    gone = [vm for vm in sight.filled if units[vm].dropped or _is_missing(units[vm])]
    found = {(HealthSensor.COPY, str(vm)): "lost" for vm in gone}
    if view.state is MirrorState.CURRENT and view.halves < view.of:
        found[HealthSensor.MIRROR, ""] = "degraded"
    if sight.durable.fails(now, sight.setup.timers.boot_wait_s):
        found[HealthSensor.RECORD, ""] = "failed"
    return found


def _is_missing(unit: VmUnit) -> bool:
    """DRBD has nothing of the volume, and it could not be prepared: there is no disk for it."""
    return unit.disk_known and unit.disk is None and not unit.prepared and unit.failing == "PrepareVolume"


def _more(mine: tuple[Ailment, ...], peer: PeerView) -> list[Ailment]:
    """The ailments of this node that its peer has not."""
    theirs = {(one.code, one.subject) for one in peer.ailments}
    return [one for one in mine if (one.code, one.subject) not in theirs]


def _kind(one: Ailment) -> Moves:
    row = conditions.named(one.code)
    return Moves.OWN_RULE if row is None else row.moves


__all__ = ["Health", "Score", "in_words", "score_of"]

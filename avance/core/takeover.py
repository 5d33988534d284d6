"""The one safety rule: may this node take the next epoch now?

`decide` is a pure function with four answers: Wait (ask again later), Fetch (this evidence is needed first), Allowed
(with the means that gives the right) or Refused (with every reason). The means have an order (docs/safety.md, S10). The
consent of a living peer is decided elsewhere: it arrives as the peer's record (core/pair.py).

The rule in one paragraph: arbiters in office are binding, all of them (core/arbiters.py). Without any, the peer's power
read as off gives the right, and last the site policy, which has a documented hole (decision 0015). The owner of the
running VMs may go on at once; the backup starts nothing before the old primary must have stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from avance.core.arbiters import survivors, witnesses
from avance.core.model import DiskState, DiskView, NodeId, Record, Timers, VmId


class Answer(StrEnum):
    """What a witness said to this node's question for the next epoch."""

    ASKED = "ASKED"
    GRANTED = "GRANTED"
    REFUSED = "REFUSED"
    SILENT = "SILENT"
    UNTAUGHT = "UNTAUGHT"  # it knows nothing that it could answer with: as good as silent


class Power(StrEnum):
    """What this node knows of the peer's power. OFF_EARLY: read as off before the peer could have gone on alone."""

    NO_BMC = "NO_BMC"
    NOT_CUT = "NOT_CUT"
    CUTTING = "CUTTING"
    OFF_EARLY = "OFF_EARLY"
    OFF = "OFF"
    FAILED = "FAILED"


class Need(StrEnum):
    """Evidence that has to be fetched before the rule can go on."""

    WITNESSES = "WITNESSES"
    CUT_POWER = "CUT_POWER"
    NEIGHBOURS = "NEIGHBOURS"


class Situation(StrEnum):
    """Why the question is put: the peer is silent, it was never heard since the boot, or it lives without our data."""

    LOST = "LOST"
    BOOT = "BOOT"
    NO_CONSENT = "NO_CONSENT"


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet; ask again at `until_s`."""

    until_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """This evidence is needed first; ask again when it is there."""

    needs: tuple[Need, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """This node may own epoch+1; `means` names what gives the right, `fence_code` is DRBD's word for it."""

    means: str
    fence_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This node must not take over; every reason is listed."""

    reasons: tuple[str, ...]


Verdict = Wait | Fetch | Allowed | Refused


@dataclass(frozen=True, slots=True)
class TakeoverFacts:
    """All that the rule may look at.

    `lost_at` is when the question became allowed: for an owner by its lease clock, for a backup by its receipt clock.
    `looked_at` is when the neighbours were seen since the peer was heard last; `gateway` and `claimed` are what was
    seen; a `gateway` of None then means that none is configured. `searched`: the peer's last word was that it looked
    for a right itself. `unheard`: this run of the daemon has never
    heard the peer. `unelected`: the site has witnesses, and none is in office yet. `behind`: volumes whose copy
    here must not be served.
    """

    me: NodeId
    record: Record
    situation: Situation
    lost_at: float
    disks: dict[VmId, DiskView | None]
    policy: str
    answers: dict[str, Answer] = field(default_factory=dict)
    power: Power = Power.NO_BMC
    looked_at: float | None = None
    gateway: bool | None = None
    claimed: tuple[str, ...] = ()
    searched: bool = False
    unheard: bool = False
    override: bool = False
    unelected: bool = False
    behind: frozenset[VmId] = frozenset()

    @property
    def owner(self) -> bool:
        """This node owns the current epoch."""
        return self.record.owner == self.me


# Exit codes of fence-peer (kernel source, conn_try_outdate_peer): 5 "peer unreachable, assumed dead" works only while
# the own disk is UpToDate; 4 "peer was outdated" also on one that is only Consistent; 7 "peer was fenced by power".
_OUTDATED, _ASSUMED_DEAD, _POWERED_OFF = 4, 5, 7
_SEARCHED = "the peer's last word was that it looked for the right to go on alone, and it may have found it"
_UNHEARD = "this daemon has not heard the peer since its start, and the peer may have gone on alone before that"
_CUT_OFF = "no gateway answered: this node, not its peer, is or was cut off"
_LAST_LOOK_S = 2.5  # the neighbours are looked at so long before a backup acts by policy: the evidence is fresh


def copy_refusals(
    record: Record, me: NodeId, disks: dict[VmId, DiskView | None], situation: Situation, *,
    behind: frozenset[VmId] = frozenset(),
) -> list[str]:  # fmt: skip
    """Say why this node's copy of the data must not be written alone (docs/safety.md, S8); empty when it may.

    Each VM is promoted by its own copy (core/unit.py); here it suffices that one of them could be. A disk that was
    attached alone is at best Consistent, until fence-peer has said that the peer's copy is worse.
    """
    reasons = []
    if record.owner is None:
        reasons.append("no owner was ever elected")
    if record.split:
        reasons.append("both nodes wrote alone; an operator must choose whose data is kept")
    if record.owner != me and record.peer_outdated:
        reasons.append(f"the owner {record.owner} recorded this copy as outdated in epoch {record.epoch}")
    good = (DiskState.UP_TO_DATE, DiskState.CONSISTENT) if situation is Situation.BOOT else (DiskState.UP_TO_DATE,)
    states = {vm: view.disk if view is not None else DiskState.DISKLESS for vm, view in sorted(disks.items())}
    if not any(state in good and vm not in behind for vm, state in states.items()):
        why = dict.fromkeys(behind, "behind, or in doubt; only its peer has the good one")
        reasons += [f"the copy of {vm} on node {me} is {why.get(vm, state)}" for vm, state in states.items()]
        reasons += [] if states else ["there is no VM"]
    return reasons


def decide(facts: TakeoverFacts, timers: Timers, now: float) -> Verdict:
    """Judge whether this node may go on, or take over, without its peer."""
    if facts.override and facts.record.owner is not None and not facts.record.split:
        return Allowed("operator override", _OUTDATED, "a person vouches that the peer is off and stays off")
    reasons = copy_refusals(facts.record, facts.me, facts.disks, facts.situation, behind=facts.behind)
    if reasons:
        return Refused(tuple(reasons))
    if facts.situation is Situation.BOOT:
        return _at_boot(facts, now)
    at_once = facts.owner or facts.power is Power.OFF_EARLY
    start_at = facts.lost_at + (0.0 if at_once else timers.backup_delay_s)
    if now < start_at:
        return Wait(start_at, "the peer may be heard again, and the owner of running VMs asks first")
    return _by_arbiters(facts, timers, now) if facts.record.arbiters else _without_arbiters(facts, timers, now)


def _arbiters(facts: TakeoverFacts) -> Verdict | None:
    """Judge the arbiters in office; None when all of them agree."""
    others = [name for name in survivors(facts.record.arbiters) if name != facts.me]
    if others:
        return Refused((f"node {others[0]} is the pre-elected survivor",))
    names = witnesses(facts.record.arbiters)
    refusing = [name for name in names if facts.answers.get(name) is Answer.REFUSED]
    if refusing:
        return Refused((f"witness {refusing[0]} did not grant epoch {facts.record.epoch + 1}",))
    silent = [name for name in names if facts.answers.get(name) is Answer.SILENT]
    if silent:
        return Refused((f"witness {silent[0]} is in office and does not answer",))
    untaught = [name for name in names if facts.answers.get(name) is Answer.UNTAUGHT]
    if untaught:
        return Refused((f"witness {untaught[0]} has lost what it knew, and both nodes together have to teach it",))
    if any(facts.answers.get(name) is not Answer.GRANTED for name in names):
        return Fetch((Need.WITNESSES,), f"epoch {facts.record.epoch + 1} needs {', '.join(facts.record.arbiters)}")
    return None


def _granted_by(facts: TakeoverFacts) -> str:
    return " and ".join(token.replace(":", " ") for token in facts.record.arbiters)


def _by_arbiters(facts: TakeoverFacts, timers: Timers, now: float) -> Verdict:
    verdict = _arbiters(facts)
    if verdict is not None:
        return verdict
    means = _granted_by(facts)
    code = _OUTDATED if witnesses(facts.record.arbiters) else _ASSUMED_DEAD
    if facts.owner:
        return Allowed(means, code, "this node owns the running VMs, and every arbiter in office agrees")
    if facts.power in (Power.OFF, Power.OFF_EARLY):
        return Allowed(means, _POWERED_OFF, "every arbiter in office agrees, and the peer's power was read as off")
    if facts.power is Power.NOT_CUT:
        return Fetch((Need.CUT_POWER,), "the right is granted; the old primary is switched off now")
    until_s = facts.lost_at + timers.takeover_wait_s
    if now < until_s:
        return Wait(until_s, "the right is granted; the old primary may still be running until the take-over wait ends")
    return Allowed(means, code, "every arbiter in office agrees, and the old primary's lease and watchdog have run out")


def _without_arbiters(facts: TakeoverFacts, timers: Timers, now: float) -> Verdict:
    if facts.unelected and facts.power is not Power.OFF_EARLY:
        return Refused(("no witness is in office yet, and the other node may have elected one already",))
    doubt = _SEARCHED if facts.searched else _UNHEARD if facts.unheard else _CUT_OFF if facts.gateway is False else None
    if not facts.owner and facts.power is not Power.OFF_EARLY and doubt is not None:
        return Refused((doubt,))  # that its power was cut later proves nothing
    if facts.power in (Power.OFF, Power.OFF_EARLY):
        return Allowed("power fence", _POWERED_OFF, "the peer's power was read as off")
    needs = [Need.CUT_POWER] if facts.power is Power.NOT_CUT else []
    if facts.policy != "availability" or facts.situation is Situation.NO_CONSENT:
        if needs or facts.power is Power.CUTTING:
            return Fetch((Need.CUT_POWER,), "only a confirmed power fence can give the right")
        if facts.situation is Situation.NO_CONSENT:
            return Refused(("the peer lives, does not consent, and nothing else can give the right",))
        return Refused((f"site policy {facts.policy} gives no right without consent, witness or power fence",))
    return _by_policy(facts, timers, now, needs)


def _by_policy(facts: TakeoverFacts, timers: Timers, now: float, needs: list[Need]) -> Verdict:
    act_at = facts.lost_at
    if not facts.owner:
        act_at += timers.takeover_wait_s
    elif facts.power in (Power.NOT_CUT, Power.CUTTING):
        act_at += timers.grant_s - timers.peer_lost_s - timers.margin_s  # the fence gets all the time that there is
    look_at = facts.lost_at if facts.owner else act_at - _LAST_LOOK_S * timers.second_s
    if now >= look_at and (facts.looked_at is None or facts.looked_at < look_at):
        needs = [*needs, Need.NEIGHBOURS]
    if needs:
        return Fetch(tuple(needs), "no arbiter is in office")
    if now < act_at:
        return Wait(act_at, "the old primary may still be running; the take-over wait is not over")
    if facts.gateway is False:
        return Refused((_CUT_OFF,))
    if facts.owner:
        return Allowed("policy availability", _ASSUMED_DEAD, "this node owns the running VMs and the peer is silent")
    if facts.claimed:
        return Refused((f"somebody still answers for {', '.join(facts.claimed)}",))
    silent_s = now - facts.lost_at + timers.peer_lost_s
    return Allowed("policy availability", _ASSUMED_DEAD, f"the peer has been silent for {silent_s:.1f} s on every link")


def _at_boot(facts: TakeoverFacts, now: float) -> Verdict:
    """Judge a node that came up alone: it never fences a peer that it has not heard (docs/safety.md, S21)."""
    epoch, solo = facts.record.epoch, facts.record.solo(facts.me)
    if not facts.owner:
        return Refused((f"epoch {epoch} belongs to {facts.record.owner}, whose copy is or may be newer",))
    if now < facts.lost_at:
        return Wait(facts.lost_at, "the peer may still be starting")
    names = witnesses(facts.record.arbiters)
    if names:
        verdict = _arbiters(facts)
        if verdict is None:
            return Allowed(_granted_by(facts), _OUTDATED, "this node owns the last epoch, and every arbiter agrees")
        said = {facts.answers.get(name, Answer.ASKED) for name in names}
        mine = set(survivors(facts.record.arbiters)) <= {facts.me}
        if Answer.ASKED in said and Answer.REFUSED not in said and mine:
            return Fetch((Need.WITNESSES,), f"epoch {epoch + 1} needs {', '.join(facts.record.arbiters)}")
        unheard = said <= {Answer.GRANTED, Answer.SILENT, Answer.UNTAUGHT}  # one that says no is never passed over
        if not (unheard and mine and solo and facts.policy == "availability"):
            return verdict
    if solo and (facts.policy == "availability" or not names):
        return Allowed("last man standing", _OUTDATED, "this node was the only one in service when it stopped")
    if not names and survivors(facts.record.arbiters) == (facts.me,):
        if facts.policy == "availability":
            return Allowed(
                _granted_by(facts), _OUTDATED, "this node was elected, and no other one can have gone on alone"
            )
        return Refused(
            ("this node is the pre-elected survivor, but site policy safety starts nothing without the peer",)
        )
    return Refused(("this node may not have been the last in service; it waits for its peer",))

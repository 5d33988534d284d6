"""What would happen if the primary died now: the backup asks the real rule (core/takeover.py), with expected evidence.

It supposes that the peer falls silent at this moment and is no more, and that all else stays as it is known to be now.
Whatever the rule then waits for, or wants to have fetched, is given to it, until it says yes or no. Pure: nothing is
asked of anybody, and nothing that is foreseen here decides anything (decision 0033).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from avance.core.arbiters import witnesses
from avance.core.model import (
    FORETOLD_MAX,
    REASONS_MAX,
    DiskState,
    DiskView,
    Forecast,
    NodeId,
    PeerView,
    VmForecast,
    VmId,
)
from avance.core.setup import Setup
from avance.core.sight import Sight
from avance.core.takeover import Allowed, Answer, Fetch, Need, Power, Refused, Situation, TakeoverFacts, Wait, decide

# What each step takes, in seconds at dilation 1; measured in the simulator.
_GRANT_S, _SILENT_S = 0.2, 3.0  # a witness that answers, and one that does not, after its last try
_CUT_S, _NO_CUT_S = 1.0, 3.0  # a BMC that answers, and one that does not
_LOOK_S = 1.0  # the look at the neighbours
_ORDERS_S = 0.6  # from the yes to the order to start: the record is written, the disks are promoted
_DOMAIN_MIB = 2  # what Xen needs for a domain beside its own memory
_ROUNDS_MAX, _STEP = 1000, 0.05


class Lack(StrEnum):
    """Why a VM would not start on the backup; the order is that in which they are looked for."""

    QUARANTINE = "quarantine"
    FILLING = "filling"
    BEHIND = "behind"
    LEFT = "left"
    UNMADE = "unmade"
    MEMORY = "memory"


_WORDS = {  # why, and what a person should do
    Lack.QUARANTINE: ("the node has failed too often and is kept out", "Mend it, then run `avance reset-device`"),
    Lack.FILLING: (
        "its copy there is being made or filled",
        "Wait; if it lasts, look at private link and disks",
    ),
    Lack.BEHIND: ("its copy there is not good, or not known to be", "Look at the private link and at the disks there"),
    Lack.LEFT: ("it has died there too often", "Mend the guest, then run `avance reset-device` on that node"),
    Lack.UNMADE: ("it could not be created there", "Look at Xen, and at the files of the VM on that node"),
    Lack.MEMORY: (
        "the free memory there does not hold it beside those that are defined before it",
        "Give that node more memory, or the VMs less",
    ),
}


def in_words(lack: str) -> tuple[str, str]:
    """Return why a VM would not start on the backup, and what a person should do."""
    return _WORDS[Lack(lack)] if lack in _WORDS else (lack, "Look at the status of both nodes")


@dataclass(frozen=True, slots=True)
class Expected:
    """What would be found out: witnesses that would grant, whether the peer's BMC obeys, whether a gateway answers."""

    granting: tuple[str, ...]
    bmc: bool
    gateway: bool


@dataclass(frozen=True, slots=True)
class Own:
    """What else the backup knows of itself: free memory, VMs that fail here, and how long their last starts took."""

    free_mib: int | None = None
    left: frozenset[VmId] = frozenset()
    unmade: frozenset[VmId] = frozenset()
    starts_s: Mapping[VmId, float] | None = None


def rehearse(sight: Sight, peer: PeerView, expected: Expected, own: Own) -> Forecast:
    """Foresee the death of the owner `peer`, as its backup."""
    units = sight.units.by_name
    facts = TakeoverFacts(
        me=sight.setup.me,
        record=sight.durable.record,
        situation=Situation.LOST,
        lost_at=0.0,
        disks=sight.units.disks(),
        policy=sight.setup.policy,
        behind=sight.behind | sight.unread | {vm for vm in units if not is_equal(sight, vm)},
    )
    found = foresee(facts, sight.setup, expected)
    if sight.durable.failing_from_s is not None:  # no right counts before it is durable
        found = Forecast(None, reasons=(f"the record of node {sight.setup.me} cannot be written",))
    lacks, took = _lacks(sight, peer, own), own.starts_s or {}
    vms = tuple(VmForecast(vm, str(lacks.get(vm, "")), took.get(vm)) for vm in units if vm in lacks or vm in took)
    return replace(found, vms=vms, memory=own.free_mib is not None)


def usual(sight: Sight, backup: NodeId) -> Forecast:
    """Foresee it as both nodes can: every copy equal, and all that the site names does its work."""
    record, good = sight.durable.record, DiskView(disk=DiskState.UP_TO_DATE)
    facts = TakeoverFacts(
        me=backup,
        record=replace(record, peer_outdated=False, split=False),
        situation=Situation.LOST,
        lost_at=0.0,
        disks=dict.fromkeys(sight.units.by_name, good),
        policy=sight.setup.policy,
    )
    return foresee(facts, sight.setup, Expected(witnesses(record.arbiters), bmc=True, gateway=True))


def foresee(facts: TakeoverFacts, setup: Setup, expected: Expected) -> Forecast:
    """Foresee a death that leaves the power on, and one that does not, where the peer's BMC tells the difference."""
    facts = replace(facts, unelected=bool(setup.witnesses) and not facts.record.arbiters)
    found = _followed(replace(facts, power=Power.NOT_CUT if setup.power else Power.NO_BMC), setup, expected)
    if not setup.power or not expected.bmc:
        return found
    return replace(found, off_s=_followed(replace(facts, power=Power.OFF_EARLY), setup, expected).seconds)


def _followed(facts: TakeoverFacts, setup: Setup, expected: Expected) -> Forecast:
    """Follow the rule from the moment in which the peer counts as lost until it says yes or no."""
    timers, now = setup.timers, 0.0
    if setup.gateway and not facts.record.arbiters and setup.policy == "availability":
        early_s = timers.link_down_s - timers.peer_lost_s  # the backup looks before the peer counts as lost
        facts = replace(facts, gateway=expected.gateway, looked_at=early_s)
    for _ in range(_ROUNDS_MAX):
        verdict = decide(facts, timers, now)
        match verdict:
            case Wait(until_s):
                # Turns come in between, and may want something else.
                now = min(until_s, now + max(timers.heartbeat_s, (until_s - now) * _STEP))
            case Fetch(needs):
                facts, took_s = _fetched(facts, needs, setup, expected, now)
                now += took_s
            case Allowed(means):
                seconds = timers.peer_lost_s + now + _ORDERS_S * timers.second_s
                return Forecast(round(seconds, 1), means[:FORETOLD_MAX])
            case Refused(reasons):
                return Forecast(None, reasons=tuple(reason[:FORETOLD_MAX] for reason in reasons[:REASONS_MAX]))
    return Forecast(None, reasons=("the rule comes to no answer",))


def _fetched(
    facts: TakeoverFacts, needs: tuple[Need, ...], setup: Setup, expected: Expected, now: float
) -> tuple[TakeoverFacts, float]:
    """Return the facts with what would be found out, and how long that takes."""
    took_s, second_s = [0.0], setup.timers.second_s
    if Need.WITNESSES in needs:
        names = witnesses(facts.record.arbiters)
        answers = {name: Answer.GRANTED if name in expected.granting else Answer.SILENT for name in names}
        facts = replace(facts, answers=answers)
        took_s.append(_SILENT_S if Answer.SILENT in answers.values() else _GRANT_S)
    if Need.CUT_POWER in needs:
        facts = replace(facts, power=Power.OFF if expected.bmc else Power.FAILED)
        took_s.append(_CUT_S if expected.bmc else _NO_CUT_S)
    if Need.NEIGHBOURS in needs:
        gateway = expected.gateway if setup.gateway else None
        facts = replace(facts, gateway=gateway, claimed=(), looked_at=now + _LOOK_S * second_s)
        took_s.append(_LOOK_S)
    return facts, max(took_s) * second_s


def is_equal(sight: Sight, vm: VmId) -> bool:
    """The copy of this backup is good, and has each write that was acknowledged up to this moment."""
    disk = sight.units.by_name[vm].disk
    if disk is None or disk.disk is not DiskState.UP_TO_DATE or disk.connection != "Connected":
        return False
    lone = disk.peer_disk is not DiskState.UP_TO_DATE  # the owner has no copy, or a worse one
    return sight.is_good(vm) and (disk.in_sync or lone)


def _lacks(sight: Sight, peer: PeerView, own: Own) -> dict[VmId, Lack]:
    """Say of each VM that would not start here why; they are started in the order of the definitions."""
    found: dict[VmId, Lack] = {}
    free_mib = own.free_mib
    for vm, unit in sight.units.by_name.items():
        if not unit.spec.runs:
            continue  # it is to be off, there as well
        lack = _lack(sight, peer, own, vm)
        need_mib = unit.spec.memory_mib + _DOMAIN_MIB
        if lack is None and free_mib is not None and not unit.domain_running:
            if need_mib > free_mib:
                lack = Lack.MEMORY
            else:
                free_mib -= need_mib
        if lack is not None:
            found[vm] = lack
    return found


def _lack(sight: Sight, peer: PeerView, own: Own, vm: VmId) -> Lack | None:
    unit = sight.units.by_name[vm]
    if peer.record.quarantined:
        return Lack.QUARANTINE
    if not is_equal(sight, vm):
        fills = not unit.prepared or (unit.disk is not None and unit.disk.replication == "SyncTarget")
        return Lack.FILLING if fills else Lack.BEHIND
    if vm in own.left:
        return Lack.LEFT
    return Lack.UNMADE if vm in own.unmade else None


__all__ = ["Expected", "Lack", "Own", "foresee", "in_words", "is_equal", "rehearse", "usual"]

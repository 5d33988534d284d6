"""The status document (schema `avance/schema/status.json`): what a node knows of itself and of the pair.

Pure: it only reads what it is given, and it must never hold a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import avance
from avance.config import Config
from avance.core import copies
from avance.core.engine import Engine
from avance.core.model import MirrorView, PairState, VmId, VmState
from avance.core.pair import mismatch
from avance.core.unit import VmUnit
from avance.health_text import health_of, unknown_health
from avance.readiness_text import readiness_of
from avance.wire import names

SCHEMA = "avance.status/1"


@dataclass(frozen=True, slots=True)
class Around:
    """What the daemon knows beside the engine: its queues, its sockets, its watchdog and its gate.

    The watchdog is armed by its first feed; `watchdog_problem` and `gate_problem` say why they do not protect.
    `drbd_version` is that of the loaded module, empty while none is; `drbd_problem` says what is wrong with it.
    """

    boot: str
    alerts_queued: int = 0
    alerts_dropped: int = 0
    alerts_refused: bool = False
    journal_dropped: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    watchdog_armed: bool = False
    watchdog_problem: str | None = None
    gate_problem: str | None = None
    drbd_version: str = ""
    drbd_problem: str = ""


def document(config: Config, engine: Engine, around: Around, now: float) -> dict[str, Any]:
    """Return the status of a paired node."""
    record = engine.record
    owner = record.owner
    return {
        "schema": SCHEMA,
        "node": config.node,
        "boot": around.boot,
        "mono_s": now,
        "epoch": record.epoch,
        "pair": engine.pair,
        "role": "none" if owner is None else "primary" if owner == config.node else "backup",
        "protected": engine.protected,
        "waits": waits(engine, now),
        "dilation": config.dilation,
        "vms": {name: _vm(engine, name) for name in engine.units},
        "definitions": definitions(engine, now),
        "links": engine.liveness.states,
        "service_address": {"address": str(config.service_address), "held": engine.address.held},
        "call_home": {
            "queued": around.alerts_queued,
            "dropped": around.alerts_dropped,
            "refused": around.alerts_refused,
        },
        "journal": {"dropped": around.journal_dropped},
        "rejected": dict(around.rejected),
        "arbitration": _arbitration(config, engine, now),
        "watchdog": {
            "configured": config.watchdog,
            "armed": around.watchdog_armed,
            "problem": around.watchdog_problem,
            "feeds": engine.guard.feeds,
        },
        "gate": {"problem": around.gate_problem},
        "drbd": {"version": around.drbd_version or None, "problem": around.drbd_problem or None},
        "mirror": _mirror(engine.sight.mirror.view),
        "unguarded": _unguarded(engine),
        "health": health_of(engine),
        "readiness": readiness_of(engine, now),
        "quarantined": record.quarantined,
        "versions": {"avance": avance.__version__},
    }


def unpaired(now: float, mirror: MirrorView | None = None, broken: str = "") -> dict[str, Any]:
    """Return the status of a node that knows no site yet, or is `broken`: it cannot read its site or its record."""
    return {
        "schema": SCHEMA,
        "node": None,
        "boot": None,
        "mono_s": now,
        "epoch": 0,
        "pair": "UNPAIRED",
        "role": "none",
        "protected": False,
        "waits": broken or None,
        "dilation": 1.0,
        "vms": {},
        "definitions": {
            "hash": None,
            "peer_hash": None,
            "number": 0,
            "peer_number": None,
            "proposal": None,
            "waits": None,
        },
        "links": {},
        "service_address": {"address": None, "held": False},
        "call_home": {"queued": 0, "dropped": 0, "refused": False},
        "journal": {"dropped": 0},
        "rejected": {},
        "arbitration": {"policy": None, "arbiters": [], "solo": False, "lease_s": None, "hole": "closed"},
        "watchdog": {"configured": False, "armed": False, "problem": None, "feeds": 0},
        "gate": {"problem": None},
        "drbd": {"version": None, "problem": None},
        "mirror": _mirror(mirror or MirrorView()),
        "unguarded": {},
        "health": unknown_health(),
        "readiness": None,
        "quarantined": False,
        "versions": {"avance": avance.__version__},
    }


def waits(engine: Engine, now: float) -> str | None:
    """Say what a service that does not run waits for; None when it runs, or when it is for the peer to say."""
    peer, fails = engine.setup.peer_id, engine.sight.durable.failing_from_s is not None
    if engine.pair is PairState.STARTING:
        return _starting(engine, now)
    if engine.pair is PairState.WAITING and fails:
        return _unwritable(engine)
    if engine.pair is PairState.WAITING:
        why = "; ".join(engine.right.refused) or f"node {peer} is lost, and this node looks for its right"
        if (beside := _beside(engine, now)) is not None:
            return f"{beside}; {why}"
        return f"{why}; node {peer} has to be back, or an operator has to vouch that it is off (avance override {peer})"
    if engine.pair is PairState.SPLIT:
        return "both nodes wrote: an operator has to choose a version (avance keep NODE)"
    if engine.pair is not PairState.FENCED and not engine.is_owner and fails and _is_given(engine):
        return _unwritable(engine)
    if engine.pair is PairState.FENCED or not engine.is_owner:
        return None
    return _owner_waits(engine, now)


def _starting(engine: Engine, now: float) -> str:
    peer = engine.setup.peer_id
    if not engine.liveness.peer_alive(now):
        return f"node {peer} has not been heard yet"
    return _beside(engine, now) or f"node {peer} is heard, and the two nodes have not agreed yet"


def _beside(engine: Engine, now: float) -> str | None:
    """Say why a peer that is heard cannot be paired with, and who can mend that; None where nothing forbids it."""
    facts = engine.sight.pair_facts(now)
    reason = mismatch(facts) if facts.peer_alive else None
    if reason is None:
        return None
    return f"node {engine.setup.peer_id} is heard, but {reason}; an operator has to give both the same site and VMs"


def _unwritable(engine: Engine) -> str:
    me, peer = engine.setup.me, engine.setup.peer_id
    return f"the record of node {me} cannot be written: its system disk has to be replaced, or {peer} has to serve"


def _is_given(engine: Engine) -> bool:
    """The peer has given the right to this node, which has not taken it in yet."""
    peer = engine.sight.peer
    return peer is not None and peer.record.epoch > engine.record.epoch and peer.record.owner == engine.setup.me


def _owner_waits(engine: Engine, now: float) -> str | None:
    """Say the same as the owner of a pair, or as a node that goes on alone."""
    me, peer, units = engine.setup.me, engine.setup.peer_id, engine.units.values()
    left = [vm for vm, unit in engine.units.items() if unit.spec.runs and engine.restarts.held(engine.sight, vm, now)]
    if left and not engine.handover.leaving:
        return f"VM {left[0]} has failed too often; mend it, then `avance reset-device {me}` on this node"
    idle = {one.spec.name: one for one in units if one.spec.runs and not _serves(one)}
    if not idle:
        return None
    if engine.sight.durable.failing_from_s is not None:
        return _unwritable(engine)
    if engine.handover.leaving:
        return f"the VMs move to node {peer}: {engine.handover.leaving}"
    filled = frozenset(engine.sight.filled)
    missing = [vm for vm in idle if vm in filled and not copies.is_good(engine.record, vm, engine.sight.copy(vm))]
    if missing and engine.record.peer_outdated:
        return f"the only good copy of {missing[0]} is on the disks of this node, and they are not there"
    if missing:
        return (
            f"no node is known to have a good copy of {missing[0]}; where both copies are there, an operator has to"
            f" choose: switch one node off, and run `avance override` on the other one"
        )
    if filled.isdisjoint(idle):
        return _new_waits(next(iter(idle)))
    return _idle_waits(engine, idle.values())


def _new_waits(vm: VmId) -> str:
    return (
        f"the volume of {vm} has to be made on both nodes, and the copies have to meet; where a node has no room,"
        f" remove the VM (avance vm remove {vm} --delete-volume): nothing was ever written to it"
    )


def _idle_waits(engine: Engine, idle: Iterable[VmUnit]) -> str | None:
    me, peer = engine.setup.me, engine.setup.peer_id
    for one in idle:
        if one.spec.name in engine.sight.units.ends.off:
            return f"the guest of {one.spec.name} has switched itself off, and both nodes have to hold that"
        if one.failures:
            times = f"{one.failing} did not succeed {one.failures} times"
            return f"VM {one.spec.name} does not start on node {me}, whose tools or disks have to be mended: {times}"
        if one.disk is not None and one.disk.suspended:
            why = "; ".join(engine.right.refused) or f"node {peer} has to let this node go on alone"
            return f"the I/O of {one.spec.name} stands still: {why}; else node {peer} has to be mended or switched off"
        if one.state is VmState.STANDBY and engine.pair is PairState.PAIRED and not engine.sight.solo:
            if not engine.sight.is_agreed:
                return f"site and VMs are not the same on {me} and {peer}: what one of them lacks has to be given there"
            return f"the copies of {one.spec.name} have to meet, or node {peer} has to let this node go on alone"
    return None


def _serves(unit: VmUnit) -> bool:
    return unit.state is VmState.RUNNING and unit.has_data and unit.disk is not None and not unit.disk.suspended


def _unguarded(engine: Engine) -> dict[str, list[str]]:
    """Return by node which of gate and watchdog do not do their work; the peer's as it said last."""
    peer = engine.sight.peer
    told = {engine.setup.me: engine.sight.parts.unguarded, engine.setup.peer_id: peer.unguarded if peer else ()}
    return {node: [*parts] for node, parts in told.items() if parts}


def _mirror(view: MirrorView) -> dict[str, Any]:
    return {"state": view.state, "halves": view.halves, "of": view.of, "detail": view.detail}


def definitions(engine: Engine, now: float) -> dict[str, Any]:
    """Return which definitions count here and on the peer, what is proposed, and what an agreement waits for."""
    peer, stand = engine.sight.peer, engine.sight.agreement.stand
    proposal = stand.proposal
    return {
        "hash": engine.sight.config_hash,
        "peer_hash": None if peer is None else peer.config_hash,
        "number": stand.version.number,
        "peer_number": None if peer is None else peer.agreement.version.number,
        "proposal": None if proposal is None else {"number": proposal.version.number, "by": proposal.by},
        "waits": _definitions_wait(engine, now),
    }


def _definitions_wait(engine: Engine, now: float) -> str | None:
    """Say what is missing until both nodes hold the same definitions and use them; None when nothing is."""
    agreement, facts = engine.sight.agreement, engine.sight.agreement_facts(now)
    peer, mine, proposal, said = engine.setup.peer_id, agreement.stand.version, agreement.stand.proposal, facts.said
    if proposal is not None and proposal.by == engine.setup.me:
        return f"node {peer} has to hold number {proposal.version.number}, which was proposed here"
    if proposal is not None:
        return f"node {peer} has to say whether number {proposal.version.number}, which it proposed, counts"
    if said is None:
        return None
    if agreement.differs(facts):
        return (
            f"this node and node {peer} were changed apart from each other: `avance definitions take` on the node whose"
            " definitions are given up"
        )
    if said.version.number > mine.number:
        why = agreement.refused[1] if agreement.refused[0] == said.version.key else "it has not taken it yet"
        return f"node {peer} has the newer number {said.version.number}, and this node does not: {why}"
    if said.version != mine:
        why = said.refused[1] if said.refused[0] == mine.key else "it has not taken it yet"
        return f"this node has the newer number {mine.number}, and node {peer} does not: {why}"
    return None if facts.in_use and facts.both_use else f"number {mine.number} is being taken into use on both nodes"


def _arbitration(config: Config, engine: Engine, now: float) -> dict[str, Any]:
    """Return what decides here; two nodes can only both go on alone when nothing but the policy decides."""
    record, since = engine.record, engine.liveness.lease_from_s
    closed = bool(record.arbiters) or config.policy == "safety"
    return {
        "policy": config.policy,
        "arbiters": list(record.arbiters),
        "solo": record.solo(config.node),
        "lease_s": None if since is None else max(0.0, round(since + config.timers.lease_s - now, 3)),
        "hole": "closed" if closed else "open",
    }


def _vm(engine: Engine, name: VmId) -> dict[str, Any]:
    unit = engine.units[name]
    status: dict[str, Any] = {
        "name_in_tools": names.of(name),
        "state": unit.state,
        "wanted": unit.spec.wanted,
        "busy": unit.busy,
        "failures": unit.failures,
    }
    if unit.disk is not None:
        disk = unit.disk
        status |= {
            "disk": disk.disk,
            "peer_disk": disk.peer_disk,
            "connection": disk.connection,
            "disk_role": disk.role,
            "replication": disk.replication,
        }
    return status

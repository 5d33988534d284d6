"""Looks at everything when a run is over: what was written, what each copy holds, who was told, what was demanded.

It must never call something good that it could not look at.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from faults.run.director import Act
from faults.schedule import demand
from faults.schedule.schedule import Schedule
from faults.schedule.trigger import AlertCame
from testbed import pace, site
from testbed.bed import Bed
from testbed.client import ledger as book
from testbed.client.ledger import Ledger
from testbed.errors import GuestCommandError, WaitTimeout
from testbed.judge import failover, finding, oracles
from testbed.judge import writes as verdicts
from testbed.judge.dual_active import MERGE_GAP_S, sightings
from testbed.judge.result import Expect, Result
from testbed.replica import look, reading
from testbed.replica.compare import ReplicaReport

READ_BACK_S = 60.0
QUIET_LIMIT_S = 10.0  # the mirror inside a node is marked clean a moment after the last write
ALERT_LIMIT_S = 60.0
REPEATING_FAULTS = ("link.duplicate", "link.replay")  # after these a request may rightly be there twice
ALERTS_OF_A_TAKEOVER = ("peer_lost", "takeover")


async def call_home(bed: Bed, result: Result, began_s: float) -> None:
    """Note what the service centre was told; after a takeover, wait until it was told of that."""
    if result.expect is Expect.TAKEOVER and result.phases_s["vm_start"] is not None:
        try:
            async with bed.progress.step("the service centre hears of it"):
                for code in ALERTS_OF_A_TAKEOVER:
                    await bed.centre.wait_for(code, ALERT_LIMIT_S, since_s=began_s)
        except WaitTimeout as error:
            result.problems.append(str(error))
    result.call_home = [
        {
            "code": received.alert.code,
            "node": received.alert.node,
            "id": received.alert.id,
            "received_at_s": round(received.t_s - began_s, 3),
        }
        for received in bed.centre.received
        if received.t_s >= began_s
    ]


async def demands(bed: Bed, result: Result, fixed: Schedule, acts: Sequence[Act], zero_s: float) -> None:
    """Hold the run against what its schedule demands; an alert that has to come may still be on its way."""
    for one in fixed.demands:
        if isinstance(one.event, AlertCame) and one.least:
            with contextlib.suppress(WaitTimeout):
                await bed.centre.wait_for(one.event.code, ALERT_LIMIT_S, node=one.event.node, since_s=zero_s)
    moments = {(act.step.name, moment): at_s for act in acts for moment, at_s in act.moments.items()}
    result.problems += demand.unmet(fixed.demands, list(bed.history), zero_s, moments)


async def examine(bed: Bed, result: Result, ledger: Ledger, began_s: float, overlap_max_s: float) -> None:
    """Nobody writes any more: read everything back from the service and from each copy, and ask every oracle."""
    async with bed.progress.step("keep what the daemons were told"):
        for node in bed.nodes.values():
            try:
                await node.keep_inputs()
            except (GuestCommandError, WaitTimeout) as error:
                bed.history.record(f"node.{node.name}", "inputs_not_kept", problem=str(error))
    read = await book.read_back(bed.client, site.VM_ADDRESS, bed.image.workload.udp_port, timeout_s=READ_BACK_S)
    result.ledger = dict(book.as_fields(book.judge(ledger.entries(), read)))
    until_s = time.monotonic()  # what follows is our own looking
    readings = [reading.from_service("the service", until_s, read)]
    report: ReplicaReport | str = "the nodes do not both say that they are in sync"
    if result.is_redundant:
        disks = {
            name: {disk: node.storage[disk].socket for disk in look.DATA_DISKS}
            for name, node in bed.nodes.items()
        }
        async with bed.progress.step("compare both copies from outside"):
            seen = await look.look_when_quiet(disks, site.VM_NAME, timeout_s=QUIET_LIMIT_S)
        readings += seen.readings
        report = seen.report
    repeats = any(fault.name in REPEATING_FAULTS for fault in result.faults)
    writes = verdicts.classify(ledger.entries(), readings, duplicates_allowed=repeats)
    scene = oracles.bed_scene(bed.options.site.dilation)
    await bed.switch.count_multicasts()
    findings = oracles.judge_history(
        list(bed.history), scene, since_s=began_s, until_s=until_s, overlap_allowed_s=pace.scaled(overlap_max_s),
        replicas=report, writes=writes,
    )  # fmt: skip
    result.findings = finding.as_fields(findings)
    told = next(one for one in findings if one.oracle == oracles.DUAL_ACTIVE)
    overlaps = told.evidence.get("overlaps", ())
    assert isinstance(overlaps, Sequence), "the oracle lists its overlaps"
    result.dual_active = None if told.state is finding.State.BLIND else len(overlaps)
    claims = [claim for claim in sightings(bed.history) if claim.last_s >= began_s]
    moves = failover.moves(claims, scene.client_ports, gap_s=MERGE_GAP_S * scene.dilation)
    result.failovers = sum(move.what == site.VM_MAC for move in moves)
    result.restarts = len(failover.starts(list(bed.history), began_s))

"""Looks at everything when a run is over: what was written, what each copy holds, who was told, what was demanded.

It gathers and does not judge, but for the demands. It must never call something good that it could not look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from faults.run.director import Act
from faults.schedule import demand
from faults.schedule.schedule import Schedule
from faults.schedule.trigger import AlertCame
from testbed import pace
from testbed.bed import Bed
from testbed.client.ledger import ReadBack, read_back
from testbed.errors import GuestCommandError, WaitTimeout
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.result import Expect, Result
from testbed.replica import look, reading
from testbed.replica.compare import ReplicaReport
from testbed.topology import Vm
from testbed.vocabulary import AlertCode

READ_BACK_S = 60.0
QUIET_LIMIT_S = 10.0  # the mirror inside a node is marked clean a moment after the last write
ALERT_LIMIT_S = 60.0
REPEATING_FAULTS = ("link.duplicate", "link.replay")  # after these a request may rightly be there twice
ALERTS_OF_A_TAKEOVER: tuple[AlertCode, ...] = ("peer_lost", "takeover")


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
            "text": received.alert.text,
            "received_at_s": round(received.t_s - began_s, 3),
        }
        for received in bed.centre.received
        if received.t_s >= began_s
    ]


async def alerts_demanded(bed: Bed, fixed: Schedule, zero_s: float) -> None:
    """Wait for the alerts that the schedule demands: one may still be on its way."""
    for one in fixed.demands:
        if isinstance(one.event, AlertCame) and one.least:
            with contextlib.suppress(WaitTimeout):
                await bed.centre.wait_for(one.event.code, ALERT_LIMIT_S, node=one.event.node, since_s=zero_s)


def unmet(bed: Bed, fixed: Schedule, acts: Sequence[Act], zero_s: float) -> list[str]:
    """Judge the run by what its schedule demands: a sentence for each demand that was not met."""
    moments = {(act.step.name, moment): at_s for act in acts for moment, at_s in act.moments.items()}
    return demand.unmet(fixed.demands, list(bed.history), zero_s, moments)


async def _read_back(bed: Bed, vm: Vm) -> ReadBack:
    client, port = bed.clients[vm.network.name], bed.image.workload.udp_port
    return await read_back(client, vm.address, port, timeout_s=READ_BACK_S)


async def look_back(bed: Bed, result: Result, began_s: float, overlap_max_s: float) -> Recorded:
    """Nobody writes any more: read everything back from the service and from each copy."""
    async with bed.progress.step("keep what the daemons were told"):
        for node in bed.nodes.values():
            try:
                await node.keep_inputs()
            except (GuestCommandError, WaitTimeout) as error:
                bed.history.record(f"node.{node.name}", "inputs_not_kept", problem=str(error))
    async with asyncio.TaskGroup() as tasks:
        asked = {vm.name: tasks.create_task(_read_back(bed, vm)) for vm in bed.topology.guests}
    until_s = time.monotonic()  # what follows is our own looking
    readings = {vm: [reading.from_service("the service", until_s, task.result())] for vm, task in asked.items()}
    reports: dict[str, ReplicaReport | str] = dict.fromkeys(asked, "the nodes do not both say that they are in sync")
    disks = {name: {disk: node.storage[disk].socket for disk in look.DATA_DISKS} for name, node in bed.nodes.items()}
    if result.expect is Expect.CHOICE:
        async with bed.progress.step("read the version that was given up"):
            for vm in asked:
                readings[vm] += await look.look_kept(disks, vm)
    if result.is_redundant:
        async with bed.progress.step("compare both copies from outside"):
            for vm in asked:
                seen = await look.look_when_quiet(disks, vm, timeout_s=QUIET_LIMIT_S)
                readings[vm] += seen.readings
                reports[vm] = seen.report
    await bed.switch.count_multicasts()
    return Recorded(
        Scene(bed.topology, bed.options.site.dilation), since_s=began_s, until_s=until_s, replicas=reports,
        readings={vm: tuple(found) for vm, found in readings.items()}, overlap_allowed_s=pace.scaled(overlap_max_s),
        duplicates_allowed=any(fault.name in REPEATING_FAULTS for fault in result.faults),
        choice_expected=result.expect is Expect.CHOICE,
    )  # fmt: skip

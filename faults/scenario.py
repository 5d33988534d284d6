"""Scenarios: a bed, a client under way, a fault, and what became of it. They record; `testbed.result` judges.

A product that does not recover is a finding, not an error: its missing phases stay None and the verdict says so. Only
a broken bed raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from faults.fault import Fault, Proof
from testbed import host_gate, site, timeline
from testbed import ledger as book
from testbed.bed import Bed
from testbed.errors import TestbedError, WaitTimeout
from testbed.history import as_json
from testbed.host import HostSample, between
from testbed.ledger import Ledger
from testbed.oracle import dual_active, is_complete, sightings
from testbed.picture import draw_timeline
from testbed.probe import Probe
from testbed.result import PHASES, FaultResult, Result, judge, not_reached

StepMaker = Callable[[str], AbstractContextManager[object]]

STEADY_S = (3.0, 5.0)  # load before the fault; the spread puts the fault at a random heartbeat phase
TAKEOVER_LIMIT_S = 60.0  # promised are 20 s; what is later than this is "never" and written down as such
SERVICE_LIMIT_S = 120.0
REDUNDANCY_LIMIT_S = 240.0
READ_BACK_S = 60.0
ALERT_LIMIT_S = 60.0

# Phase -> milestone of the surviving node's journal; service_up comes from the client's probe instead.
JOURNAL_PHASES = {
    "detect": "peer_lost",
    "decide": "epoch_saved",
    "promote": "disk_promoted",
    "vm_start": "vm_start_commanded",
    "redundancy": "protected",
}
ALERTS_WANTED = ("peer_lost", "takeover")


@dataclass(frozen=True)
class Plan:
    """What a run is told; the same seed gives the same plan, not the same execution."""

    name: str
    out: Path
    seed: int
    make_fault: Callable[[str], Fault]
    step: StepMaker = contextlib.nullcontext
    takeover_limit_s: float = TAKEOVER_LIMIT_S
    capture: bool = False


async def primary_crash(bed: Bed, plan: Plan) -> Result:
    """Crash the primary of a protected pair under write load, wait for the service and for redundancy; returns the
    judged result, which is also in `result.json` of the run's directory beside timeline, picture and consoles.
    """
    began_s, sample = time.monotonic(), HostSample.take()
    bed.history.zero_at_s = began_s
    result = _new_result(bed, plan)
    if plan.capture:
        await bed.switch.capture_start(plan.out / "wire.pcapng")
    with Ledger(plan.out / "ledger.jsonl") as ledger:
        async with bed.probe(f"w{plan.seed:x}", ledger=ledger, record=True) as probe:
            await probe.wait_first_ok(SERVICE_LIMIT_S)
            victim, survivor = await bed.primary()
            fault = plan.make_fault(victim.name)
            await _steady_load(bed, plan)
            proof, injected_s = await _inject(bed, plan, fault, result, began_s)
            await _takeover(bed, plan, survivor.name, injected_s, result)
            # What follows is only waited for when the VM was started: without that, all of it is later than now.
            started = result.phases_s["vm_start"] is not None
            not_reached(result, time.monotonic() - injected_s, tuple(JOURNAL_PHASES)[:4] if started else PHASES)
            await _service(plan, probe, injected_s, result)
            not_reached(result, time.monotonic() - injected_s, ["service_up"])
            await _redundancy(bed, plan, fault, survivor.name, injected_s, result)
            not_reached(result, time.monotonic() - injected_s)
            await probe.stop()
            summary = probe.summary(since_s=injected_s)
            if result.outage_s is None and summary.outage is not None and summary.outage.ended_at_s is None:
                result.limits_s["outage"] = round(summary.outage.at_least_s, 3)
        with plan.step("read back every acknowledged write"):
            read = await book.read_back(
                bed.client, site.VM_ADDRESS, bed.image.workload.udp_port, timeout_s=READ_BACK_S
            )
            result.ledger = dict(book.as_fields(book.judge(ledger.entries(), read)))
    await _call_home(bed, result, began_s)
    _observe(bed, result)
    if plan.capture:
        await bed.switch.capture_stop()
        result.files["wire"] = "wire.pcapng"
    result.host = {**between(sample, HostSample.take()), "probe_lateness_p99_s": summary.lateness_p99_s}
    result.host |= host_gate.lateness_fields((await bed.switch.rules())["lateness"])
    result.host["memory_peak_mib"] = bed.peak_memory_mib()
    result.outage_resolution_s = summary.resolution_s
    result.verdict, result.reasons = judge(result, alerts_wanted=ALERTS_WANTED)
    if proof.injected_at_s is None:
        result.reasons.append("phases count from the command, because the fault itself is not proven")
    await _write(bed, plan, result, injected_s)
    return result


def _new_result(bed: Bed, plan: Plan) -> Result:
    return Result(
        scenario=plan.name,
        accel=bed.accelerator.name,
        dilation=bed.options.site.dilation,
        seed=plan.seed,
        started_wall=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        versions={**bed.image.versions, bed.image.product.name: bed.image.product.version, "image": bed.image.hash},
        restore_failures=bed.restore_failures,
    )


async def _steady_load(bed: Bed, plan: Plan) -> None:
    with plan.step("steady load"):
        steady_s = random.Random(plan.seed).uniform(*STEADY_S)
        async with bed.progress.step(f"steady write load for {steady_s:.2f} s (seed {plan.seed})"):
            await asyncio.sleep(steady_s)


async def _inject(
    bed: Bed, plan: Plan, fault: Fault, result: Result, began_s: float
) -> tuple[Proof, float]:
    await fault.prepare(bed)
    with plan.step(f"inject {fault.name} on node {fault.target}"):
        commanded_s = time.monotonic()
        bed.progress.say(f"inject {fault.name} on node {fault.target}, the primary")
        await fault.inject(bed)
        bed.history.record("fault", "injected", name=fault.name, target=fault.target)
    with plan.step("the fault is confirmed from outside"):
        proof = await fault.confirm(bed)
        bed.history.record("fault", proof.verdict.value, name=fault.name, target=fault.target, evidence=proof.evidence)
        bed.progress.say(f"{fault.name} on node {fault.target} is {proof.verdict}")
    injected_s = proof.injected_at_s if proof.injected_at_s is not None else commanded_s
    at_s = None if proof.injected_at_s is None else round(proof.injected_at_s - began_s, 3)
    result.faults.append(FaultResult(fault.name, fault.target, proof.verdict.value, at_s, proof.evidence))
    return proof, injected_s


@asynccontextmanager
async def _finding(result: Result, bed: Bed) -> AsyncIterator[None]:
    """A wait for the product that times out is a finding about the product."""
    try:
        yield
    except WaitTimeout as error:
        result.problems.append(str(error))
        bed.history.record("bed", "not_reached", reason=str(error))
        bed.progress.say(str(error))


async def _takeover(bed: Bed, plan: Plan, survivor: str, injected_s: float, result: Result) -> None:
    mark = _mark_at(bed, injected_s)
    with plan.step("the backup detects the loss and starts the VM"):
        async with _finding(result, bed), bed.progress.step(f"node {survivor} takes over"):
            for phase in ("detect", "decide", "promote", "vm_start"):
                entry = await bed.wait_milestone(
                    JOURNAL_PHASES[phase], node=survivor, after=mark, timeout_s=plan.takeover_limit_s
                )
                result.phases_s[phase] = round(entry.t_s - injected_s, 3)


async def _service(plan: Plan, probe: Probe, injected_s: float, result: Result) -> None:
    if result.phases_s["vm_start"] is None:
        return  # nothing that could serve was started: waiting longer would tell nothing new
    with plan.step("the client is served again"):
        try:
            outage = await probe.wait_recovered(SERVICE_LIMIT_S, since_s=injected_s)
        except WaitTimeout as error:
            result.problems.append(str(error))
            return
        if outage.ended_at_s is not None and outage.duration_s is not None:
            result.phases_s["service_up"] = round(outage.ended_at_s - injected_s, 3)
            result.outage_s = round(outage.duration_s, 3)


async def _redundancy(bed: Bed, plan: Plan, fault: Fault, survivor: str, injected_s: float, result: Result) -> None:
    mark = _mark_at(bed, injected_s)
    with plan.step("heal the fault and wait for redundancy"):
        try:
            async with bed.progress.step(f"heal {fault.name}: switch node {fault.target} on again"):
                await fault.heal(bed)
        except TestbedError as error:
            result.problems.append(f"heal of {fault.name} on {fault.target}: {error}")
            return
        bed.history.record("fault", "healed", name=fault.name, target=fault.target)
        if result.phases_s["vm_start"] is None:
            return
        async with _finding(result, bed), bed.progress.step("both copies become equal again"):
            entry = await bed.wait_milestone(
                JOURNAL_PHASES["redundancy"], node=survivor, after=mark, timeout_s=REDUNDANCY_LIMIT_S
            )
            result.phases_s["redundancy"] = round(entry.t_s - injected_s, 3)


def _mark_at(bed: Bed, at_s: float) -> int:
    """The index of the first record at or after a time, so that nothing between fault and wait is missed."""
    return next((entry.index for entry in bed.history if entry.t_s >= at_s), bed.history.mark())


async def _call_home(bed: Bed, result: Result, began_s: float) -> None:
    async with _finding(result, bed), bed.progress.step("the service centre hears of it"):
        for code in ALERTS_WANTED if result.phases_s["vm_start"] is not None else ():
            await bed.centre.wait_for(code, ALERT_LIMIT_S, since_s=began_s)
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


def _observe(bed: Bed, result: Result) -> None:
    ports = {name: [f"{name}.{site.PUBLIC}"] for name in bed.nodes}
    since_s = bed.history.zero_at_s
    seen = [entry for entry in bed.history if entry.t_s >= since_s]
    if is_complete(bed.history):
        result.dual_active = len(dual_active(sightings(seen), ports, 0.0))


async def _write(bed: Bed, plan: Plan, result: Result, injected_s: float) -> None:
    """Write history and result.json first, then what is made of them for people."""
    out = plan.out
    (out / "timeline.jsonl").write_text("".join(as_json(entry) + "\n" for entry in bed.history), encoding="utf-8")
    counters = {name: asdict(state) for name, state in (await bed.switch.ports()).items()}
    (out / "switch.json").write_text(json.dumps(counters, indent=1), encoding="utf-8")
    result.files |= {
        "timeline_jsonl": "timeline.jsonl",
        "timeline_png": "timeline.png",
        "timeline_txt": "timeline.txt",
        "switch_counters": "switch.json",
        "ledger": "ledger.jsonl",
        "consoles": [f"console-{name}.log" for name in bed.nodes],
        "journals": [f"journal-{name}.jsonl" for name in bed.nodes],
    }
    result.write(out / "result.json")
    records = timeline.flat(bed.history)  # from the beginning, so that the states before the fault are known
    told = timeline.rows([item for item in records if timeline.at(item) >= bed.history.zero_at_s], injected_s)
    (out / "timeline.txt").write_text("\n".join(str(row) for row in told) + "\n", encoding="utf-8")
    draw_timeline(asdict(result), records, out / "timeline.png", zero_at_s=injected_s)

"""A run: a protected bed, a client under way, the faults of a schedule, and what became of it.

It records; when everything is written, `faults.run.ending` has it judged. A product that does not recover is a finding
and no error: its missing phases stay None and the verdict says so. Whatever happens, every fault is taken back, and the
run leaves its artefacts. Only a broken bed raises.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from faults.run import director, ending, examine
from faults.run.director import Act, Director
from faults.run.plan import Plan
from faults.schedule import schedule
from faults.schedule.schedule import Schedule
from faults.schedule.step import Step
from faults.schedule.trigger import Range, Trigger
from testbed import pace
from testbed.bed import Bed, Session
from testbed.client import outage
from testbed.client.ledger import Ledger
from testbed.client.levels import ProbeLevels
from testbed.client.probes import Probes
from testbed.errors import MachineError, UsageError, WaitTimeout
from testbed.host.noise import HostSample, between
from testbed.judge import host_gate
from testbed.judge.phases import Recovery, stamp
from testbed.judge.recorded import Recorded, book_file
from testbed.judge.result import Expect, Result, not_reached
from testbed.milestones import milestone_of
from testbed.node import domains
from testbed.vocabulary import Phase
from testbed.wait import OwnedTask, wait_for_record, wait_until

STEADY_S = Range(3.0, 5.0)  # load before the fault; the spread puts the fault at a random heartbeat phase
OBSERVE_MIN_S = 25.0  # a takeover is commanded within 20 s, so that what was not begun then is not coming
SERVICE_LIMIT_S = 120.0
STATUS_EVERY_S = 10.0  # asking costs dom0 a second of its CPU, which the resynchronisation needs
POLL_S = 0.2


async def run_schedule(given: Schedule, out: Path, *, cold: bool = False, **choices: Any) -> Result:  # noqa: ANN401 - of Plan
    """Make a session for the schedule's site, protect the pair and run the schedule with these choices of `Plan`.

    Returns a judged result, which is written as well, however far the run came. Raises UsageError, and HostError when
    it was refused before anything was done.
    """
    director.build(schedule.resolve(given, {"primary": "a", "backup": "b"}))  # refuses before anything was started
    plan, session = Plan(given, out, **choices), Session(out, given.site)
    try:
        async with session:
            with plan.step("a protected pair"):
                await session.protect(cold=cold)
            return await run(session.bed, plan)
    except UsageError:
        raise
    except ending.BROKEN as error:
        if not session.began:
            raise  # refused: nothing was done
        return ending.early(session, given, out, error)


def primary_crash(seed: int) -> Schedule:
    """The schedule that every project of this kind begins with: the primary is killed under write load."""
    step = Step("crash", "node.kill", "primary", Trigger(STEADY_S))
    return schedule.expand(seed, Schedule("primary-crash", seed, (step,), expect=Expect.TAKEOVER))


async def run(bed: Bed, plan: Plan) -> Result:
    """Run a schedule on a protected pair under write load, until it is healed and redundant, or its time is up.

    Returns the judged result, which is also in `result.json` of the run's directory beside schedule, timeline, picture
    and consoles. Raises UsageError when the schedule is not possible on this bed.
    """
    with contextlib.suppress(*ending.BROKEN):  # a switch that has ended ends the run below, with a verdict
        await bed.switch.count_multicasts()  # before the run begins, or its oracle calls itself blind
    began_s, sample = time.monotonic(), HostSample.take()
    bed.history.zero_at_s = began_s
    result = _new_result(bed, plan)
    try:
        played = await _act(bed, plan, result, began_s)
    except UsageError:
        raise
    except ending.BROKEN as error:
        result.broken = ending.text_of(error)
        bed.progress.say(f"the run broke off: {result.broken}")
        bed.history.record("bed", "broke_off", reason=result.broken)
        injected = [fault.injected_at_s for fault in result.faults if fault.injected_at_s is not None]
        seen = ending.broken_off(result, bed.history, began_s, bed.topology)
        played = _Played(began_s + min(injected, default=0.0), seen, list)
    result.host |= between(sample, HostSample.take())
    result.host |= {"memory_peak_mib": bed.peak_memory_mib(), "speed": bed.speed_fields(began_s)}
    with contextlib.suppress(*ending.BROKEN):  # a switch that has ended tells no more
        result.host |= host_gate.lateness_fields((await bed.switch.rules())["lateness"])
        counters = {name: asdict(state) for name, state in (await bed.switch.ports()).items()}
        (plan.out / "switch.json").write_text(json.dumps(counters, indent=1), encoding="utf-8")
        result.files["switch_counters"] = "switch.json"
    result.files |= {
        "schedule": "schedule.jsonl",
        **{vm.of("ledger"): book_file(vm) for vm in bed.topology.guests},
        "consoles": [f"console-{name}.log" for name in bed.nodes],
        "journals": [f"journal-{name}.jsonl" for name in bed.nodes],
    }
    ending.keep(result, bed.history, played.recorded, plan.out)
    wanted = examine.ALERTS_OF_A_TAKEOVER if plan.schedule.expect is Expect.TAKEOVER else ()
    ending.judge_all(result, plan.out, alerts_wanted=wanted, unmet=played.unmet)
    if all(fault.injected_at_s is None for fault in result.faults) and not result.broken:
        result.reasons.append("phases count from the command, because no fault itself is proven")
    ending.write(result, bed.history, plan.out, played.zero_s)
    return result


@dataclass(frozen=True)
class _Played:
    """What a run leaves to be judged; `zero_s` is the first injection, `unmet` judges what the schedule demanded."""

    zero_s: float
    recorded: Recorded
    unmet: Callable[[], list[str]]


async def _act(bed: Bed, plan: Plan, result: Result, began_s: float) -> _Played:
    """Play the schedule with a client under way, and look at everything afterwards."""
    (plan.out / "schedule.jsonl").write_text(schedule.dump(plan.schedule), encoding="utf-8")
    if plan.capture:
        await bed.switch.capture_start(plan.out / "wire.pcapng")
    with ExitStack() as books:
        async with _clients(bed, plan, books) as (probes, levels):
            await probes.wait_first_ok(SERVICE_LIMIT_S)
            old, new = await bed.primary()
            fixed = schedule.resolve(plan.schedule, {"primary": old.name, "backup": new.name})
            (plan.out / "schedule-used.jsonl").write_text(schedule.dump(fixed), encoding="utf-8")
            macs = tuple(vm.mac for vm in bed.topology.guests)
            acts = director.build(fixed)
            if plan.make_fault is not None:
                acts = [Act(act.step, plan.make_fault(act.step.target)) for act in acts]
            stage = _RunStages(
                bed, plan, result, Director(bed, acts), probes, Recovery(old.name, new.name, began_s, macs)
            )
            zero_s = await stage.play()
            await probes.stop()
            _note_clients(result, probes, zero_s)
            result.levels = levels.fields(since_s=zero_s, zero_at_s=zero_s)
        with plan.step("read back every acknowledged write, and compare both copies from outside"):
            seen = await examine.look_back(bed, result, began_s, plan.schedule.overlap_max_s)
    await examine.call_home(bed, result, began_s)
    await examine.alerts_demanded(bed, fixed, zero_s)
    if plan.capture:
        await bed.switch.capture_stop()
        result.files["wire"] = "wire.pcapng"
    return _Played(zero_s, seen, lambda: examine.unmet(bed, fixed, acts, zero_s))


@asynccontextmanager
async def _clients(bed: Bed, plan: Plan, books: ExitStack) -> AsyncIterator[tuple[Probes, ProbeLevels]]:
    """Let a client of each VM write, and watch what else is to be seen of the VMs; the books stay open."""
    guests, probes = bed.topology.guests, {}
    async with AsyncExitStack() as stack:
        for vm in guests:
            run = f"w{plan.schedule.seed:x}" + (f".{vm.name}" if vm.number else "")  # names the VM in each write, too
            ledger = books.enter_context(Ledger(plan.out / book_file(vm)))
            probe = bed.probe(run, ledger=ledger, record=True, vm=vm)
            probes[vm.name] = await stack.enter_async_context(probe)
        levels = await stack.enter_async_context(bed.probe_levels(probes[guests[0].name], record=True))
        for vm in guests:
            await stack.enter_async_context(bed.boot_probe(vm))
        await stack.enter_async_context(OwnedTask(domains.watch(bed.nodes, bed.history), name="guests"))
        yield Probes(probes), levels


def _note_clients(result: Result, probes: Probes, zero_s: float) -> None:
    """Note what the clients saw; the outage of the run is that of the VM that was away longest."""
    summaries = probes.summaries(since_s=zero_s)
    late_s = [one.lateness_p99_s for one in summaries.values() if one.lateness_p99_s is not None]
    result.host["probe_lateness_p99_s"] = max(late_s, default=None)
    result.outage_resolution_s = max(one.resolution_s for one in summaries.values())
    result.vms = {vm: outage.as_fields(one, zero_s) for vm, one in summaries.items()}
    away = probes.outage(since_s=zero_s)
    if result.outage_s is None and away is not None and away.ended_at_s is None:
        result.limits_s["outage"] = round(away.at_least_s, 3)


def _new_result(bed: Bed, plan: Plan) -> Result:
    return Result(
        scenario=plan.schedule.scenario,
        accel=bed.accelerator.name,
        dilation=bed.options.site.dilation,
        seed=plan.schedule.seed,
        started_wall=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        expect=plan.schedule.expect,
        outage_max_s=plan.schedule.outage_max_s,
        topology=asdict(bed.topology),
        versions={**bed.image.versions, bed.image.product.name: bed.image.product.version, "image": bed.image.hash},
        restore_failures=bed.restore_failures,
    )


class _RunStages:
    """The stages of one run between the first answer to the client and the last."""

    def __init__(
        self, bed: Bed, plan: Plan, result: Result, leader: Director, probes: Probes, recovery: Recovery
    ) -> None:
        self.bed, self.plan, self.result = bed, plan, result
        self.leader, self.probes = leader, probes
        self.recovery = recovery

    async def play(self) -> float:
        """Inject, observe, heal, wait for redundancy; returns the time from which everything counts."""
        bed, plan, result, leader = self.bed, self.plan, self.result, self.leader
        began_s = bed.history.zero_at_s
        try:
            names = ", ".join(f"{act.fault.name} on {act.fault.target}" for act in leader.acts)
            with plan.step(f"inject {names}, and prove it from outside"):
                await leader.run()
            zero_s = director.first_injection_s(leader.acts)
            with plan.step("observe what the product does"):
                await self._observe_until(director.last_injection_s(leader.acts))
        finally:
            with plan.step("take back every fault, and verify it"):
                result.problems += await leader.heal_all()
            result.faults = leader.results(began_s)
        zero_s = began_s if zero_s is None else zero_s
        if plan.schedule.expect is Expect.TAKEOVER and "vm_start" not in self._stamps(zero_s):
            self._stamp(zero_s)
            not_reached(result, time.monotonic() - zero_s)
            return zero_s  # nothing that could serve was started: waiting longer would tell nothing new
        with plan.step("the client is served, and both copies become equal again"):
            await self._recover(zero_s)
        self._stamp(zero_s)
        if plan.schedule.expect is Expect.TAKEOVER:
            not_reached(result, time.monotonic() - zero_s)
        elif not result.is_redundant:
            not_reached(result, time.monotonic() - zero_s, ["redundancy"])
        return zero_s

    async def _observe_until(self, last_s: float | None) -> None:
        """Leave the faults in place until the service is back for good, or until it is clear that it will not be."""
        if last_s is None:
            return
        limit_s = self.plan.takeover_limit_s

        async def settled() -> bool:
            since_s = time.monotonic() - last_s
            started = "vm_start" in self._stamps(last_s)
            if self.probes.is_up and since_s > pace.scaled(OBSERVE_MIN_S):
                return True
            return since_s > pace.scaled(SERVICE_LIMIT_S if started else limit_s)

        async with self.bed.progress.step("observe what the product does"):
            await wait_until(
                settled, what="the end of the observation", timeout_s=SERVICE_LIMIT_S + limit_s, poll_s=POLL_S
            )

    async def _recover(self, zero_s: float) -> None:
        """Everything is healed: the service has to be there, and both copies equal."""
        bed, result = self.bed, self.result

        async def served() -> bool:
            return self.probes.is_up is True

        async with self._finding(), bed.progress.step("the client is served"):
            await wait_until(served, what="the service, for the client", timeout_s=SERVICE_LIMIT_S, poll_s=POLL_S)
        async with self._finding(), bed.progress.step("both copies become equal again"):
            await self._redundant(zero_s)
            result.is_redundant = True
        result.is_redundant = bool(result.is_redundant)
        async with self._finding():  # the end of a resynchronisation may hold a request up for a moment
            await wait_until(served, what="the service, at the end", timeout_s=SERVICE_LIMIT_S, poll_s=POLL_S)

    async def _redundant(self, zero_s: float) -> None:
        """Wait until both nodes say protected; asked at each milestone, and now and then."""
        history, deadline_s = self.bed.history, time.monotonic() + pace.scaled(self.plan.redundancy_limit_s)
        mark = history.mark()
        last: object = None
        while time.monotonic() < deadline_s:
            with contextlib.suppress(MachineError, WaitTimeout):  # it boots, or is frozen, and is asked again
                last = {name: (await node.status())["protected"] for name, node in self.bed.nodes.items()}
                if set(last.values()) == {True}:
                    stamps = [
                        entry.t_s
                        for entry in history
                        if entry.t_s >= zero_s
                        and entry.source.startswith("journal.")
                        and milestone_of(entry) == "protected"
                    ]
                    self.result.phases_s["redundancy"] = round(max(stamps) - zero_s, 3) if stamps else None
                    return
            with contextlib.suppress(WaitTimeout):
                found = await wait_for_record(
                    history,
                    lambda entry: milestone_of(entry) == "protected",
                    what="protected",
                    timeout_s=STATUS_EVERY_S,
                    after=mark,
                )
                mark = found.index + 1
        limit_s = pace.scaled(self.plan.redundancy_limit_s)
        raise WaitTimeout(f"Waited {limit_s:g} s for both nodes to say protected. Last thing seen: {last}")

    @asynccontextmanager
    async def _finding(self) -> AsyncIterator[None]:
        """A wait for the product that times out is a finding about the product."""
        try:
            yield
        except WaitTimeout as error:
            self.result.problems.append(str(error))
            self.bed.history.record("bed", "not_reached", reason=str(error))
            self.bed.progress.say(str(error))

    def _stamps(self, since_s: float) -> dict[Phase, float]:
        return stamp(self.bed.history, replace(self.recovery, since_s=since_s))

    def _stamp(self, zero_s: float) -> None:
        """Date the phases by their sources, from the first fault on."""
        result = self.result
        for phase, at_s in self._stamps(zero_s).items():
            result.phases_s[phase] = round(at_s - zero_s, 3)
        away = self.probes.outage(since_s=zero_s)
        if away is not None and away.ended_at_s is not None and away.duration_s is not None:
            result.phases_s["service_up"] = round(away.ended_at_s - zero_s, 3)
            result.outage_s = round(away.duration_s, 3)

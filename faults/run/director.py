"""The director: it lets each step of a schedule live when it is due: prepared, injected, proved, and taken back.

Each step has a task of its own. A step can wait for moments of another (`injected`, `confirmed`, `healed`). A step that
was not due in time is not injected and says so. Whatever happens, `heal_all` ends every life that is not over, in the
reverse order of injection. This module must never judge the product: it only knows whether faults were real.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from faults import registry
from faults.fault import Fault, FaultVerdict, Proof
from faults.life import FaultFailed, Life, LifeStage
from faults.schedule.schedule import Schedule
from faults.schedule.step import Step
from faults.schedule.trigger import RESYNC_KIND, EventWatch, Moment, Resync, Trigger, describe
from testbed import pace
from testbed.bed import Bed
from testbed.errors import GuestCommandError, WaitTimeout, first_error
from testbed.judge.result import FaultResult
from testbed.wait import OwnedTask, wait_for_record

RESYNC_POLL_S = 0.5
RESYNC_SHARE = re.compile(r"sync'ed:\s*([0-9.]+)%")  # the line of a resynchronisation in DRBD 8.4's /proc/drbd
NOT_INJECTED = "not injected"


@dataclass(eq=False)
class Act:
    """One step on its way: its fault and that one's life, its moments on the monotonic clock, and what came of it."""

    step: Step
    fault: Fault
    moments: dict[Moment, float] = field(default_factory=dict)
    due_s: float | None = None
    late_s: float | None = None
    proof: Proof | None = None
    problem: str | None = None
    life: Life = field(init=False)  # on the bed of its director, who sets it
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def reach(self, moment: Moment, at_s: float) -> None:
        """Note a moment and wake who waits for it."""
        self.moments[moment] = at_s
        self.changed.set()

    @property
    def injected_s(self) -> float | None:
        """When the fault was there: proven, or else when the order to inject it had returned."""
        proven = None if self.proof is None else self.proof.injected_at_s
        return proven if proven is not None else self.moments.get(Moment.INJECTED)


def build(schedule: Schedule) -> list[Act]:
    """Make the faults of a schedule whose nodes are known; raises UsageError before anything was done."""
    acts = []
    for number, step in enumerate(schedule.steps, start=1):
        seed = registry.step_seed(schedule.seed, number)
        acts.append(Act(step, registry.build(step.fault, step.target, step.parameters, seed=seed)))
    return acts


class Director:
    """Runs the acts of one schedule on a bed."""

    def __init__(self, bed: Bed, acts: Sequence[Act]) -> None:
        self.acts = tuple(acts)
        self._bed = bed
        self._order: list[Act] = []  # of injection
        for act in self.acts:
            act.life = Life(act.fault, bed, step=act.step.name)

    async def run(self) -> None:
        """Start the clock of the schedule and return when each step was proved, and healed if it has an end."""
        began_s, mark = time.monotonic(), self._bed.history.mark()
        async with AsyncExitStack() as stack:
            for node in sorted(self._resyncs()):
                await stack.enter_async_context(OwnedTask(self._watch_resync(node), name=f"resync-{node}"))
            try:
                async with asyncio.TaskGroup() as tasks:
                    for act in self.acts:
                        tasks.create_task(self._perform(act, began_s, mark))
            except BaseExceptionGroup as errors:
                raise first_error(errors) from errors

    async def heal_all(self) -> list[str]:
        """End every life that is not over, and return what could not be taken back."""
        problems: list[str] = []

        async def end(act: Act) -> None:
            problem = await self._end(act)
            problems.extend([problem] if problem else [])

        waiting = [act for act in self.acts if act not in self._order]
        async with AsyncExitStack() as stack:  # goes on with the others, also when one meets a mistake in the code
            for act in (*waiting, *self._order):
                stack.push_async_callback(end, act)
        return problems

    def results(self, zero_s: float) -> list[FaultResult]:
        """What became of each fault, in the order of the schedule; times count from `zero_s`."""
        found = []
        for act in self.acts:
            unproven = FaultVerdict.INCONCLUSIVE.value if act.life.was_ordered else NOT_INJECTED
            verdict = unproven if act.proof is None else act.proof.verdict.value
            at_s = None if act.proof is None or act.proof.injected_at_s is None else act.proof.injected_at_s - zero_s
            healed_s = act.moments.get(Moment.HEALED)
            found.append(
                FaultResult(
                    name=act.fault.name, target=act.fault.target, verdict=verdict,
                    injected_at_s=None if at_s is None else round(at_s, 3),
                    evidence={} if act.proof is None else act.proof.evidence, step=act.step.name,
                    late_s=None if act.late_s is None else round(act.late_s, 4),
                    healed_at_s=None if healed_s is None else round(healed_s - zero_s, 3), problem=act.problem,
                )
            )  # fmt: skip
        return found

    # ---------------------------------------------------------------- one step

    async def _perform(self, act: Act, began_s: float, mark: int) -> None:
        """Let one step live; raises UsageError when it cannot be done there, as nobody could know before."""
        step, life = act.step, act.life
        try:
            anchor_s, index = await self._anchor(step.when, began_s, mark)
            await life.prepare()
            due_s = await self._due(step.when, anchor_s, index)
        except (FaultFailed, WaitTimeout) as error:
            await self._not_armed(act, str(error))
            return
        act.due_s, act.late_s = due_s, max(0.0, time.monotonic() - due_s)
        await self._inject(act)
        if step.until is not None and life.may_be_there:
            await self._until(act, step.until, began_s, mark)

    async def _not_armed(self, act: Act, reason: str) -> None:
        act.problem = f"not armed: {reason}"
        if act.life.stage is not LifeStage.OVER:
            try:
                await act.life.abandon(reason)
            except FaultFailed as error:
                act.problem += f" {error}"
        act.changed.set()

    async def _inject(self, act: Act) -> None:
        """Inject and prove; a fault that failed half-way is inconclusive, and its life has taken it back."""
        bed, life = self._bed, act.life
        bed.progress.say(f"inject {life}")
        self._order.append(act)
        try:
            await life.inject(late_s=round(act.late_s or 0.0, 4))
            act.reach(Moment.INJECTED, time.monotonic())
            await life.confirm()
        except FaultFailed as error:
            act.problem = str(error)
            self._note_end(act)
        finally:
            act.proof = life.proof
        assert act.proof is not None, "what was injected has a proof, or none can be had"
        bed.progress.say(f"{life} is {act.proof.verdict}")
        if act.proof.verdict is FaultVerdict.CONFIRMED:
            act.reach(Moment.CONFIRMED, time.monotonic())

    async def _until(self, act: Act, until: Trigger, began_s: float, mark: int) -> None:
        try:
            anchor_s, index = await self._anchor(until, began_s, mark)
            await self._due(until, anchor_s, index)
        except WaitTimeout as error:
            act.problem = f"its end did not come in time, so it is healed now: {error}"
        await self._end(act)

    async def _end(self, act: Act) -> str:
        """End a life that is not over; returns why that failed, or the empty text."""
        if act.life.stage is LifeStage.OVER:
            return ""
        try:
            if act.life.was_ordered:
                async with self._bed.progress.step(f"heal {act.life}"):
                    await act.life.heal()
            else:
                await act.life.end()
        except FaultFailed as error:
            act.problem = str(error)
            return act.problem
        self._note_end(act)
        return ""

    def _note_end(self, act: Act) -> None:
        if act.life.was_ordered and not act.life.may_be_there:
            act.reach(Moment.HEALED, time.monotonic())

    # ---------------------------------------------------------------- when

    async def _anchor(self, trigger: Trigger, began_s: float, mark: int) -> tuple[float, int]:
        """Wait for the moment from which a trigger counts; returns its time, and the index of the records after it."""
        if trigger.of is None:
            return began_s, mark
        other = next(act for act in self.acts if act.step.name == trigger.of.step)
        moment = trigger.of.moment
        try:
            async with pace.timeout(trigger.within_s):
                while moment not in other.moments:
                    other.changed.clear()
                    await other.changed.wait()
        except TimeoutError as error:
            what = f"step {other.step.name} to be {moment.value}"
            waited_s = pace.scaled(trigger.within_s or 0.0)
            raise WaitTimeout(f"Waited {waited_s:g} s for {what}; it did not come.") from error
        at_s = other.moments[moment]
        index = next((entry.index for entry in self._bed.history if entry.t_s >= at_s), self._bed.history.mark())
        return at_s, index

    async def _due(self, trigger: Trigger, anchor_s: float, index: int) -> float:
        """Wait until a trigger is due; returns the time at which it was."""
        matched_s = anchor_s
        if trigger.event is not None:
            assert trigger.within_s is not None, "an event always has a deadline"
            history = self._bed.history
            watch = EventWatch(trigger.event, [entry for entry in history if entry.index < index])
            record = await wait_for_record(
                history, watch.seen, what=describe(trigger), timeout_s=trigger.within_s, after=index,
            )  # fmt: skip
            matched_s = record.t_s
        due_s = matched_s + pace.scaled(trigger.due_at_s(matched_s) - matched_s)
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        return due_s

    # ---------------------------------------------------------------- what only the nodes can see

    def _resyncs(self) -> set[str]:
        """The nodes whose resynchronisation somebody waits for."""
        triggers = [trigger for act in self.acts for trigger in (act.step.when, act.step.until) if trigger is not None]
        events = [trigger.event for trigger in triggers if isinstance(trigger.event, Resync)]
        return {node for event in events for node in ([event.node] if event.node else self._bed.nodes)}

    async def _watch_resync(self, node: str) -> None:
        """Record each progress of a node's resynchronisation, as its kernel shows it to the out-of-band channel."""
        last: float | None = None
        while True:
            share = await self._resync_share(node)
            if share is not None and share != last:
                self._bed.history.record(f"resync.{node}", RESYNC_KIND, percent=share)
            last = share
            await pace.sleep(RESYNC_POLL_S)

    async def _resync_share(self, node: str) -> float | None:
        if not self._bed.nodes[node].is_on:
            return None
        try:
            text = await self._bed.nodes[node].machine.guest.must_succeed(["cat", "/proc/drbd"], timeout_s=5.0)
        except (GuestCommandError, WaitTimeout):
            return None  # it boots, or is frozen: nobody can tell
        found = RESYNC_SHARE.search(text)
        return None if found is None else float(found[1])


def last_injection_s(acts: Sequence[Act]) -> float | None:
    """When the last fault came, or None when none did."""
    return max((act.injected_s for act in acts if act.injected_s is not None), default=None)


def first_injection_s(acts: Sequence[Act]) -> float | None:
    """When the first fault came, or None when none did."""
    return min((act.injected_s for act in acts if act.injected_s is not None), default=None)

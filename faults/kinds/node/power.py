"""Faults of a node's power. A power cut takes what the disks had not flushed; killing QEMU alone does not.

How the power is cut stands in `testbed.node.power_cut`, because a BMC cuts it too. A cut must never be
confirmed by a dead process alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from faults.fault import Aim, FaultVerdict, Proof, Trait
from faults.kinds.disk import disks_of
from faults.kinds.evidence.qemu_process import running_node
from faults.kinds.node.whole import NodeKill
from testbed.bed import Bed
from testbed.bed.bed import BOOT_TIMEOUT_S
from testbed.errors import WaitTimeout
from testbed.node import power_cut
from testbed.wait import wait_for_record, wait_until

KEEP = 0.5
SHUTDOWN_TIMEOUT_S = 120.0
RESET_TIMEOUT_S = 10.0


async def cut_power(bed: Bed, nodes: Sequence[str], *, seed: int, keep: float, tear: bool) -> float:
    """Cut the power of these nodes at one instant (see `testbed.node.power_cut`) and return its time."""
    for node in nodes:
        disks_of(bed, node)  # refuses a node that has none
    return await power_cut.cut_power([bed.nodes[node] for node in nodes], seed=seed, keep=keep, tear=tear)


async def cut_counts(bed: Bed, nodes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the disks of these nodes count of power cuts."""
    counts = {}
    for node in nodes:
        for name, disk in disks_of(bed, node).items():
            state = await disk.state()
            counts[f"{node}.{name}"] = {
                key: state[key] for key in ("cuts", "cut_lost", "cut_kept", "cut_torn", "cut_seeds", "refused_dead")
            }
    return counts


def _cuts_by(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> set[int]:
    return {after[disk]["cuts"] - before[disk]["cuts"] for disk in before}


class PowerCut:
    """The node loses its power: machine off at one instant, and of what its disks had not flushed a part is lost."""

    name: ClassVar[str] = "power.cut"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.SWITCHES_OFF, Trait.RELEASES_DISKS, Trait.ASKS_NO_NODE})

    def __init__(self, target: str, *, seed: int, keep: float = KEEP, tear: bool = True) -> None:
        self.target = target
        self.seed = seed
        self.keep = keep
        self.tear = tear
        self.nodes: tuple[str, ...] = (target,)
        self._kills = {target: NodeKill(target)}
        self._before: dict[str, dict[str, Any]] = {}
        self._cut_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Note processes and disks, and let the nodes be heard."""
        for node in self.nodes:
            running_node(bed, node)
        self._before = await cut_counts(bed, self.nodes)
        async with asyncio.TaskGroup() as tasks:
            for kill in self._kills.values():
                tasks.create_task(kill.prepare(bed))

    async def inject(self, bed: Bed) -> None:
        """Cut it."""
        self._cut_at_s = await cut_power(bed, self.nodes, seed=self.seed, keep=self.keep, tear=self.tear)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the process is gone, the ports are silent and each disk has lost its power exactly once."""
        after = await cut_counts(bed, self.nodes)
        async with asyncio.TaskGroup() as tasks:
            proofs = {node: tasks.create_task(kill.confirm(bed)) for node, kill in self._kills.items()}
        machines = {node: task.result() for node, task in proofs.items()}
        evidence: dict[str, object] = {
            "disks_before": self._before,
            "disks_after": after,
            "machines": {node: dict(proof.evidence) for node, proof in machines.items()},
            "seed": self.seed,
        }
        verdicts = {proof.verdict for proof in machines.values()}
        if _cuts_by(self._before, after) != {1} or FaultVerdict.MISMATCH in verdicts:
            return Proof.of(False, None, evidence)
        return Proof.of(True if verdicts == {FaultVerdict.CONFIRMED} else None, self._cut_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Switch the nodes on again from what their disks have; raises when one does not come back."""
        async with asyncio.TaskGroup() as tasks:
            for kill in self._kills.values():
                tasks.create_task(kill.heal(bed))


class PowerCutBoth(PowerCut):
    """Both nodes lose their power at one instant, each with the unflushed part of its disks."""

    name = "power.cut_both"
    aim: ClassVar[Aim] = Aim.PAIR

    def __init__(self, target: str = "a+b", *, seed: int, keep: float = KEEP, tear: bool = True) -> None:
        super().__init__(target, seed=seed, keep=keep, tear=tear)
        self.nodes = tuple(target.split("+"))
        self._kills = {node: NodeKill(node) for node in self.nodes}


class PowerFlicker:
    """The power of the node goes and comes back some times in a row; at the end it is on."""

    name: ClassVar[str] = "power.flicker"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.RELEASES_DISKS, Trait.ASKS_NO_NODE})

    def __init__(self, target: str, *, seed: int, times: int = 3, off_s: float = 0.5, on_s: float = 2.0) -> None:
        assert times >= 1, "power that never goes does not flicker"
        self.target = target
        self.seed = seed
        self.times = times
        self.off_s = off_s
        self.on_s = on_s
        self._before: dict[str, dict[str, Any]] = {}
        self._mark = 0
        self._cut_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Note the disks."""
        self._before = await cut_counts(bed, [self.target])
        self._mark = bed.history.mark()

    async def inject(self, bed: Bed) -> None:
        """Cut, wait, switch on, wait, and again."""
        for number in range(self.times):
            cut_at_s = await cut_power(bed, [self.target], seed=self.seed + number, keep=KEEP, tear=True)
            self._cut_at_s = self._cut_at_s or cut_at_s
            await asyncio.sleep(self.off_s)
            await bed.nodes[self.target].power_on()
            if number < self.times - 1:
                await asyncio.sleep(self.on_s)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when processes ended, and each disk lost its power, as often as was asked."""
        after = await cut_counts(bed, [self.target])
        source = f"machine.{self.target}"
        kills = [
            entry.t_s for entry in bed.history.since(self._mark) if (entry.source, entry.kind) == (source, "killed")
        ]
        evidence: dict[str, object] = {
            "disks_before": self._before,
            "disks_after": after,
            "killed_at_s": kills,
            "is_on": bed.nodes[self.target].is_on,
            "seed": self.seed,
        }
        seen = _cuts_by(self._before, after) == {self.times} and len(kills) == self.times and bool(evidence["is_on"])
        return Proof.of(seen, self._cut_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Wait until the node is up; one that stayed off when the injection was broken off is switched on."""
        if not bed.nodes[self.target].is_on:
            await bed.nodes[self.target].power_on()
        await bed.nodes[self.target].wait_booted(BOOT_TIMEOUT_S)


class PowerReset:
    """Somebody presses the reset button: the node boots again, and its disks keep their caches."""

    name: ClassVar[str] = "power.reset"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.DRAINS_DISKS})

    def __init__(self, target: str) -> None:
        self.target = target
        self._mark: int

    async def prepare(self, bed: Bed) -> None:
        """Note where the record stands."""
        self._mark = bed.history.mark()

    async def inject(self, bed: Bed) -> None:
        """Press it."""
        await bed.nodes[self.target].machine.reset()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when QEMU tells of a reset from outside and the console of the node speaks after it."""
        try:
            reset = await wait_for_record(
                bed.history,
                lambda entry: _is_reset_from_outside(entry.source, entry.fields, self.target),
                what=f"the reset of node {self.target}",
                timeout_s=RESET_TIMEOUT_S,
                after=self._mark,
            )
        except WaitTimeout as error:
            return Proof.of(False, None, {"reset_event": None, "why": str(error)})
        evidence: dict[str, object] = {"reset_event": reset.t_s, "reset_by": reset.fields.get("data")}
        try:
            spoke = await wait_for_record(
                bed.history,
                lambda entry: entry.source == f"console.{self.target}",
                what=f"node {self.target} to boot",
                timeout_s=RESET_TIMEOUT_S,
                after=reset.index + 1,
            )
        except WaitTimeout:
            return Proof.of(None, None, {**evidence, "console_after_s": None})
        return Proof.of(True, reset.t_s, {**evidence, "console_after_s": spoke.t_s})

    async def heal(self, bed: Bed) -> None:
        """Wait until the node is up."""
        await bed.nodes[self.target].wait_booted(BOOT_TIMEOUT_S)


class PowerShutdown:
    """Somebody presses the power button shortly: the node is asked to shut down in order, and switches itself off."""

    name: ClassVar[str] = "power.shutdown"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.SWITCHES_OFF, Trait.DRAINS_DISKS})

    def __init__(self, target: str, *, timeout_s: float = SHUTDOWN_TIMEOUT_S) -> None:
        self.target = target
        self.timeout_s = timeout_s
        self._mark: int

    async def prepare(self, bed: Bed) -> None:
        """Note where the record stands."""
        self._mark = bed.history.mark()

    async def inject(self, bed: Bed) -> None:
        """Press it."""
        await bed.nodes[self.target].machine.execute("system_powerdown")

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the node itself switches off, which QEMU tells by an event and its run state."""
        machine = bed.nodes[self.target].machine

        async def off() -> bool:
            return await machine.status() == "shutdown"

        try:
            event = await wait_for_record(
                bed.history,
                lambda entry: _is_event(entry.source, entry.fields, self.target, "SHUTDOWN"),
                what=f"node {self.target} to shut down",
                timeout_s=self.timeout_s,
                after=self._mark,
            )
            await wait_until(off, what=f"node {self.target} to be off", timeout_s=RESET_TIMEOUT_S)
        except WaitTimeout as error:
            return Proof.of(False, None, {"why": str(error)})
        data = event.fields.get("data")
        evidence: dict[str, object] = {"shutdown_event": event.t_s, "by": data, "run_state": "shutdown"}
        orderly = isinstance(data, dict) and data.get("guest") is True
        return Proof.of(orderly, event.t_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Switch the node on again."""
        await bed.nodes[self.target].power_on()
        await bed.nodes[self.target].wait_booted(BOOT_TIMEOUT_S)


def _is_event(source: str, fields: Mapping[str, Any], node: str, event: str) -> bool:
    return source == f"qmp.{node}" and fields.get("event") == event


def _is_reset_from_outside(source: str, fields: Mapping[str, Any], node: str) -> bool:
    data = fields.get("data")
    return _is_event(source, fields, node, "RESET") and isinstance(data, dict) and data.get("guest") is False


FAULTS = (PowerCut, PowerCutBoth, PowerFlicker, PowerReset, PowerShutdown)

"""Faults of a BMC: not reachable, slow, lying, dead together with its node.

Whoever wants to fence a node by its BMC meets these. The evidence is a client at another port of the switch, and the
process table for what the BMC says of its node. It must never send a power command to a BMC before it is known to lie.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from faults.fault import Proof, Trait
from faults.kinds.hardware.sensors import bmc_of, client_of
from testbed.bed import Bed
from testbed.bed.bed import BOOT_TIMEOUT_S
from testbed.bmc.bmc import PROGRAM
from testbed.bmc.client import IpmiFailed
from testbed.errors import UsageError, WaitTimeout
from testbed.switch.client import Direction
from testbed.wait import wait_until

PINGS = 3
PING_S = 0.5  # a healthy BMC answers in some milliseconds
HEAL_TIMEOUT_S = 10.0
SLOW_MAX_S = 60.0


def runs(pid: int, program: str) -> bool:
    """Say from the process table whether this process runs this program."""
    try:
        return program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class BmcFault:
    """What the faults of a BMC share: how a client finds it before, during and after."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("ipmi_sim", "ipmitool")

    def __init__(self, target: str) -> None:
        self.target = target
        self._injected_at_s: float | None = None
        self._ping_before_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """See whether the BMC answers now; the first question also finds its address."""
        self._ping_before_s = await self.ping(bed)

    async def ping(self, bed: Bed, timeout_s: float = PING_S) -> float | None:
        """The time of the fastest of some answers, or None when none came."""
        async with client_of(bed, self.target) as client:
            answers = [await client.ping(timeout_s) for _ in range(PINGS)]
        return min((answer for answer in answers if answer is not None), default=None)

    async def await_healthy(self, bed: Bed) -> None:
        """Wait until the BMC answers fast and tells the truth about its node; raises WaitTimeout."""
        bmc = bmc_of(bed, self.target)
        async with client_of(bed, self.target) as client:

            async def healthy() -> bool:
                answer_s = await client.ping(PING_S)
                return answer_s is not None and await client.power_is_on() == bmc.power.is_on()

            await wait_until(
                healthy,
                what=f"the BMC of node {self.target} to answer and to tell the truth",
                timeout_s=HEAL_TIMEOUT_S,
                tolerate=(IpmiFailed,),
            )

    def judge(self, evidence: dict[str, object], *, there: bool) -> Proof:
        """Confirmed when the fault is there; a BMC that did not answer before proves nothing."""
        evidence["ping_before_s"] = self._ping_before_s
        return Proof.of(None if self._ping_before_s is None else there, self._injected_at_s, evidence)


class BmcUnreachable(BmcFault):
    """The network cable of the BMC is dead: nobody reaches it, while its own node still reads its sensors."""

    name = "bmc.unreachable"

    async def inject(self, bed: Bed) -> None:
        """Cut its port of the switch."""
        self._injected_at_s = await bed.switch.cut(bmc_of(bed, self.target).endpoint.port, Direction.BOTH)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when it answered before and does not answer now, and its node has not lost it."""
        bmc = bmc_of(bed, self.target)
        answer_s = await self.ping(bed)
        evidence: dict[str, object] = {
            "ping_now_s": answer_s,
            "bmc_runs": bmc.has_power,
            "connected_to_its_node": bmc.wire.connected,
        }
        return self.judge(evidence, there=answer_s is None and bmc.has_power)

    async def heal(self, bed: Bed) -> None:
        """Mend the cable; verified by an answer."""
        await bed.switch.heal(bmc_of(bed, self.target).endpoint.port, Direction.BOTH)
        await self.await_healthy(bed)


class BmcSlow(BmcFault):
    """The BMC answers everything some seconds late, on the network and to its own node."""

    name = "bmc.slow"

    def __init__(self, target: str, *, delay_s: float = 5.0) -> None:
        super().__init__(target)
        if not 2 * PING_S <= delay_s <= SLOW_MAX_S:
            raise UsageError(f"a BMC can be slow by {2 * PING_S:g} to {SLOW_MAX_S:g} s, not by {delay_s:g} s")
        self.delay_s = delay_s

    async def inject(self, bed: Bed) -> None:
        """Delay its answers."""
        bmc_of(bed, self.target).pace.delay_s = self.delay_s
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when an answer comes, and not before the delay is over."""
        async with client_of(bed, self.target) as client:
            answer_s = await client.ping(self.delay_s + 5.0)
        late = answer_s is not None and answer_s >= 0.9 * self.delay_s
        return self.judge({"ping_now_s": answer_s, "delay_s": self.delay_s}, there=late)

    async def heal(self, bed: Bed) -> None:
        """Let it answer at once; verified by a fast answer."""
        bmc_of(bed, self.target).pace.delay_s = 0.0
        await self.await_healthy(bed)


class BmcLying(BmcFault):
    """The BMC says that its node is off though it runs, and acknowledges each power command without doing anything."""

    name = "bmc.lying"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._was_honest = False

    async def prepare(self, bed: Bed) -> None:
        """See that the node is on, and that the BMC says so."""
        if not bmc_of(bed, self.target).power.is_on():
            raise UsageError(f"node {self.target} is off; a BMC that says so does not lie. Switch the node on first.")
        await super().prepare(bed)
        async with client_of(bed, self.target) as client:
            self._was_honest = await client.power_is_on()

    async def inject(self, bed: Bed) -> None:
        """Let it lie."""
        bmc_of(bed, self.target).lies = True
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when it says "off", then acknowledges a power-off, and the node's process runs on all the time.

        A BMC that tells the truth is not asked to switch the node off: the answer to the first question ends it.
        """
        pid = bed.nodes[self.target].machine.pid
        evidence: dict[str, object] = {"said_on_before": self._was_honest, "process_before": runs(pid, "qemu")}
        async with client_of(bed, self.target) as client:
            evidence["says_on"] = says_on = await client.power_is_on()
            if says_on:
                return self.judge(evidence, there=False)
            try:
                await client.command("chassis", "power", "off")
                acknowledged = True
            except IpmiFailed as error:
                acknowledged, evidence["refusal"] = False, str(error)
        evidence["acknowledged_power_off"] = acknowledged
        evidence["process_runs"] = still = runs(pid, "qemu")
        if not self._was_honest:
            return Proof.of(None, None, evidence)
        return self.judge(evidence, there=acknowledged and still)

    async def heal(self, bed: Bed) -> None:
        """Let it tell the truth; verified against the process table."""
        bmc_of(bed, self.target).lies = False
        await self.await_healthy(bed)


class BmcDeadWithNode(BmcFault):
    """Node and BMC lose their power at one instant: the one who wants to fence this node gets no answer."""

    name = "bmc.dead_with_node"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.SWITCHES_OFF})

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._pids: tuple[int, int]

    async def prepare(self, bed: Bed) -> None:
        """Note both processes."""
        bmc = bmc_of(bed, self.target)
        if not bmc.power.is_on() or bmc.pid is None:
            raise UsageError(f"node {self.target} or its BMC is off already; switch both on first")
        await super().prepare(bed)
        self._pids = bed.nodes[self.target].machine.pid, bmc.pid

    async def inject(self, bed: Bed) -> None:
        """Take the power of the BMC and at once that of the node."""
        bmc = bmc_of(bed, self.target)
        await bmc.lose_power()
        await bmc.power.cut()
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when both processes are gone and the BMC, which answered before, does not answer."""
        node_pid, bmc_pid = self._pids
        answer_s = await self.ping(bed)
        node_runs, bmc_runs = runs(node_pid, "qemu"), runs(bmc_pid, PROGRAM)
        evidence: dict[str, object] = {
            "ping_now_s": answer_s,
            "node_process_runs": node_runs,
            "bmc_process_runs": bmc_runs,
        }
        return self.judge(evidence, there=answer_s is None and not node_runs and not bmc_runs)

    async def heal(self, bed: Bed) -> None:
        """Give both their power again; verified by the answer of the BMC and of the node."""
        bmc = bmc_of(bed, self.target)
        if not bmc.has_power:
            await bmc.get_power()
        if not bmc.power.is_on():
            await bmc.power.switch_on()
            await bed.nodes[self.target].wait_booted(BOOT_TIMEOUT_S)
        if not bmc.power.is_on():
            raise WaitTimeout(f"Node {self.target} did not come back after its power did.")
        await self.await_healthy(bed)


FAULTS = (BmcUnreachable, BmcSlow, BmcLying, BmcDeadWithNode)

"""Faults of what runs inside a node: its Linux panics, its hypervisor panics or hangs, it gets an NMI.

Linux is crashed from inside, over the out-of-band channel. The hypervisor is reached by QEMU's debug stub: the
processor is halted, and when it is found in ring 0 (in a node, only the hypervisor runs there) its next instruction is
overwritten. That needs no symbols, and works for any hypervisor. Evidence never comes from the way of the command: it
is what the node's console said, what its ports sent, and what the kernel says of its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from abc import abstractmethod
from typing import ClassVar

from faults.fault import Proof
from faults.kinds.evidence import silence
from faults.kinds.evidence.qemu_process import TICKS_PER_S, cpu_ticks, running_node, runs_qemu
from faults.kinds.evidence.silence import PortSilence
from testbed.bed import Bed
from testbed.bed.bed import BOOT_TIMEOUT_S
from testbed.errors import TestbedError, UsageError, WaitTimeout
from testbed.history import HistoryRecord
from testbed.node.gdbstub import Where, attach
from testbed.node.qmp import QmpLost
from testbed.wait import wait_for_record, wait_until

SAYS_TIMEOUT_S = 10.0  # Linux and Xen say that they panic within 0.1 s
IN_NODE_TIMEOUT_S = 20.0
LOOKS_MAX = 500  # an idle node is in its hypervisor at the first look; one that computes, at about each tenth
BETWEEN_LOOKS_S = 0.003
LOOP_TIMEOUT_S = 5.0  # a hypervisor has a timer that wakes it many times a second
INTERRUPTS = 1 << 9  # the interrupt flag of the processor
UNDEFINED = b"\x0f\x0b"  # ud2
SPIN = b"\xfa\xeb\xfe"  # cli; jmp to itself
HALT = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to hlt
SPINS_MIN, HALTED_MAX = 0.3, 0.2  # of one processor; the host has other things to do, and QEMU's own threads do little
# Behind the panic, so that it does not happen while the channel waits for the answer of the command.
CRASH = "setsid sh -c 'sleep 0.3; echo c > /proc/sysrq-trigger' < /dev/null > /dev/null 2>&1 &"


async def overwrite_hypervisor(bed: Bed, target: str, code: bytes) -> Where:
    """Put this code where the node's processor is about to go on in ring 0, and return that place."""
    async with attach(bed.nodes[target].machine) as stub:
        for _ in range(LOOKS_MAX):
            where = await stub.where()
            if where.ring == 0:
                await stub.write(where.rip, code)
                return where
            await stub.go()
            await asyncio.sleep(BETWEEN_LOOKS_S)
            await stub.halt()
    raise TestbedError(
        f"The processor of node {target} was never in ring 0 in {LOOKS_MAX} looks; its hypervisor was not touched, and "
        "the node goes on."
    )


async def registers(bed: Bed, target: str) -> tuple[int, int]:
    """Return instruction pointer and flags of the node's processor, as QEMU's monitor shows them."""
    text = str(await bed.nodes[target].machine.execute("human-monitor-command", {"command-line": "info registers"}))
    found = re.search(r"[RE]IP=([0-9a-f]+) [RE]FL=([0-9a-f]+)", text)
    assert found is not None, f"QEMU's monitor shows no registers: {text[:200]}"
    return int(found[1], 16), int(found[2], 16)


def _by_guest(entry: HistoryRecord) -> bool:
    data = entry.fields.get("data")
    return isinstance(data, dict) and data.get("guest") is True


class _Broken:
    """What these faults share: evidence before, the console's words, and a reset as the way back."""

    name: ClassVar[str]

    def __init__(self, target: str) -> None:
        self.target = target
        self._silence = PortSilence(target)
        self._mark: int

    async def prepare(self, bed: Bed) -> None:
        """Let the node be heard."""
        running_node(bed, self.target)
        await self._silence.note_healthy(bed)
        self._mark = bed.history.mark()

    @abstractmethod
    async def inject(self, bed: Bed) -> None:
        """Do it."""

    async def heal(self, bed: Bed) -> None:
        """Wait for a node that is there or comes by itself, else press its reset button; raises when it stays away."""
        node = bed.nodes[self.target]
        again = [entry.t_s for entry in self._events(bed, "RESET") if _by_guest(entry)]
        bed.history.record("fault", "aftermath", name=self.name, target=self.target, reset_itself_at_s=again)
        if node.is_on and (again or all((await self._silence.count(bed)).values())):
            with contextlib.suppress(WaitTimeout):
                await node.wait_booted(BOOT_TIMEOUT_S)
                return
        if node.is_on:
            try:
                await node.machine.reset()
            except QmpLost:  # a wedged QEMU: only a new process helps
                await node.machine.kill()
        if not node.is_on:
            await node.power_on()
        await node.wait_booted(BOOT_TIMEOUT_S)

    def _events(self, bed: Bed, event: str) -> list[HistoryRecord]:
        source = f"qmp.{self.target}"
        return [
            entry
            for entry in bed.history.since(self._mark)
            if (entry.source, entry.kind, entry.fields.get("event")) == (source, "event", event)
        ]

    def _said(self, bed: Bed) -> list[str]:
        source = f"console.{self.target}"
        return [str(entry.fields["text"]) for entry in bed.history.since(self._mark) if entry.source == source]


class _Told(_Broken):
    """A fault of which the node's console tells."""

    def __init__(self, target: str, *, says: str) -> None:
        super().__init__(target)
        self.says = says

    async def prepare(self, bed: Bed) -> None:
        """Refuse what is no regular expression."""
        try:
            re.compile(self.says)
        except re.error as error:
            raise UsageError(f"{self.says!r} is no regular expression: {error}") from error
        await super().prepare(bed)

    async def _wait_said(self, bed: Bed) -> HistoryRecord:
        source = f"console.{self.target}"
        return await wait_for_record(
            bed.history,
            lambda entry: entry.source == source and re.search(self.says, str(entry.fields.get("text"))) is not None,
            what=f"{self.says!r} on the console of node {self.target}",
            timeout_s=SAYS_TIMEOUT_S,
            after=self._mark,
            relevant=lambda entry: entry.source == source,
        )


class _Panic(_Told):
    """A panic: the console tells of it, and then nothing comes from the node."""

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the console tells of it, the node that was heard is silent, and the process is there."""
        pid = bed.nodes[self.target].machine.pid
        try:
            said = await self._wait_said(bed)
        except WaitTimeout as error:
            evidence = {"console": None, "why": str(error), "frames_in_2_s_before": self._silence.before}
            return Proof.of(False, None, evidence)
        silent = await self._silence.falls_silent(bed)
        full: dict[str, object] = {
            "console": said.fields["text"],
            "console_lines": len(self._said(bed)),
            **self._silence.shown(),
            "process_there": runs_qemu(pid),
            "resets_so_far": len(self._events(bed, "RESET")),
        }
        seen = silent and bool(full["process_there"])
        return Proof.of(seen if self._silence.was_heard else None, said.t_s, full)


class NodePanic(_Panic):
    """The kernel of the node's own Linux (dom0) panics; what follows is up to `panic=` and the hypervisor."""

    name: ClassVar[str] = "node.panic"

    def __init__(self, target: str, *, says: str = "Kernel panic - not syncing") -> None:
        super().__init__(target, says=says)

    async def inject(self, bed: Bed) -> None:
        """Crash it from inside, by the out-of-band channel."""
        await bed.nodes[self.target].machine.guest.must_succeed(["sh", "-c", CRASH], timeout_s=IN_NODE_TIMEOUT_S)


class NodeHypervisorPanic(_Panic):
    """The hypervisor of the node meets an instruction that does not exist, and panics."""

    name: ClassVar[str] = "node.hypervisor_panic"

    def __init__(self, target: str, *, says: str = "Panic on CPU") -> None:
        super().__init__(target, says=says)

    async def inject(self, bed: Bed) -> None:
        """Overwrite its next instruction."""
        await overwrite_hypervisor(bed, self.target, UNDEFINED)


class NodeHypervisorHang(_Broken):
    """The hypervisor of the node loops for ever with interrupts off: nothing in the node runs, its clocks go on."""

    name: ClassVar[str] = "node.hypervisor_hang"

    def __init__(self, target: str, *, halted: bool = False) -> None:
        super().__init__(target)
        self.halted = halted
        self._hung_at_s: float | None = None

    async def inject(self, bed: Bed) -> None:
        """Overwrite its next instructions by a loop, and wait until it is there: one that sleeps wakes first."""
        where = await overwrite_hypervisor(bed, self.target, HALT if self.halted else SPIN)

        async def in_loop() -> bool:
            rip, flags = await registers(bed, self.target)
            return abs(rip - where.rip) <= len(HALT) and not flags & INTERRUPTS

        with contextlib.suppress(WaitTimeout):  # then the evidence will say so
            await wait_until(in_loop, what="the loop", timeout_s=LOOP_TIMEOUT_S, poll_s=BETWEEN_LOOKS_S)
        self._hung_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when ports and console are silent, the processor stands in a loop without interrupts, and the
        machine as such runs.
        """
        machine = bed.nodes[self.target].machine
        ticks, lines = cpu_ticks(machine.pid), len(self._said(bed))
        first, begun_s = await registers(bed, self.target), time.monotonic()
        is_mute = await self._silence.falls_silent(bed)
        busy = (cpu_ticks(machine.pid) - ticks) / TICKS_PER_S / (time.monotonic() - begun_s)
        last = await registers(bed, self.target)
        evidence: dict[str, object] = {
            **self._silence.shown(),
            "console_lines_in_2_s": len(self._said(bed)) - lines,
            "processor_at": [hex(first[0]), hex(last[0])],
            "interrupts_on": [bool(flags & INTERRUPTS) for _, flags in (first, last)],
            "processor_share": round(busy, 2),
            "run_state": await machine.status(),
            "window_s": silence.WINDOW_S,
        }
        stands = abs(first[0] - last[0]) <= len(HALT) and not any(flags & INTERRUPTS for _, flags in (first, last))
        works_as_asked = busy <= HALTED_MAX if self.halted else busy >= SPINS_MIN
        silent = is_mute and not evidence["console_lines_in_2_s"]
        seen = stands and works_as_asked and silent and evidence["run_state"] == "running"
        return Proof.of(seen if self._silence.was_heard else None, self._hung_at_s, evidence)


class NodeNmi(_Told):
    """A non-maskable interrupt reaches the node's processor; the hypervisor's policy says what becomes of it."""

    name: ClassVar[str] = "node.nmi"

    def __init__(self, target: str, *, says: str = "NMI") -> None:
        super().__init__(target, says=says)

    async def inject(self, bed: Bed) -> None:
        """Send it."""
        await bed.nodes[self.target].machine.execute("inject-nmi")

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the console speaks of it; a node that takes it without a word cannot be told from none."""
        try:
            said = await self._wait_said(bed)
        except WaitTimeout as error:
            return Proof.of(False, None, {"console": self._said(bed)[-3:], "why": str(error)})
        after = await self._silence.count(bed)
        evidence: dict[str, object] = {
            "console": said.fields["text"],
            "frames_in_2_s_before": self._silence.before,
            "frames_in_2_s_after": after,
            "node_goes_on": any(after.values()),
        }
        return Proof.of(True, said.t_s, evidence)


FAULTS = (NodePanic, NodeHypervisorPanic, NodeHypervisorHang, NodeNmi)

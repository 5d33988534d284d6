"""A panic, a hang and an NMI are believed for what console, ports and processor show, never for the order given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.node import hypervisor
from faults.kinds.node.hypervisor import (
    NodeHypervisorHang,
    NodeHypervisorPanic,
    NodeNmi,
    NodePanic,
    overwrite_hypervisor,
)
from faults.life import Life
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from testbed.node.gdbstub import Where
from testbed.node.qmp import QmpLost
from tests.unit.faults.kinds.node.node_bed import BOTH, FakeBed, counted_bed

IDLE = 0xFFFF82D04030C376


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, and nothing in this process takes long."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.01)
    monkeypatch.setattr(hypervisor, "SAYS_TIMEOUT_S", 0.02)
    monkeypatch.setattr(hypervisor, "BETWEEN_LOOKS_S", 0.0)
    monkeypatch.setattr(hypervisor, "LOOP_TIMEOUT_S", 0.02)


@dataclass
class FakeStub:
    """A processor that is in these code segments one after the other."""

    segments: list[int]
    written: dict[int, bytes] = field(default_factory=dict)
    went: int = 0

    async def where(self) -> Where:
        """Where it stands."""
        return Where(IDLE + self.went, self.segments[min(self.went, len(self.segments) - 1)], 0x202)

    async def write(self, address: int, data: bytes) -> None:
        """Keep it."""
        self.written[address] = data

    async def go(self) -> None:
        """Go on."""
        self.went += 1

    async def halt(self) -> None:
        """Halt."""


def put_in(monkeypatch: pytest.MonkeyPatch, stub: FakeStub) -> None:
    """Let the faults find this stub."""

    @asynccontextmanager
    async def attach(_machine: object) -> AsyncIterator[FakeStub]:
        yield stub

    monkeypatch.setattr(hypervisor, "attach", attach)


def test_the_hypervisor_is_overwritten_where_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above ring 0 nothing is written; the place in ring 0 is the one that was looked at."""
    stub = FakeStub([0xE033, 0x33, 0xE008])
    put_in(monkeypatch, stub)

    async def story() -> Where:
        async with counted_bed(()) as fake:
            return await overwrite_hypervisor(cast("Bed", fake), "a", hypervisor.UNDEFINED)

    assert asyncio.run(story()).rip == IDLE + 2
    assert stub.written == {IDLE + 2: hypervisor.UNDEFINED}


def test_a_hypervisor_that_is_never_found_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of looks is bounded, and the error says that nothing was done."""
    stub = FakeStub([0x33])
    put_in(monkeypatch, stub)
    monkeypatch.setattr(hypervisor, "LOOKS_MAX", 3)

    async def story() -> None:
        async with counted_bed(()) as fake:
            await overwrite_hypervisor(cast("Bed", fake), "a", hypervisor.SPIN)

    with pytest.raises(TestbedError, match="was never in ring 0 in 3 looks; its hypervisor was not touched"):
        asyncio.run(story())
    assert stub.written == {}


async def _prove(fault: Any, fake: FakeBed, happens: Callable[[FakeBed], None]) -> Proof:  # noqa: ANN401 - any of them
    bed = cast("Bed", fake)
    await fault.prepare(bed)
    happens(fake)
    proof = await fault.confirm(bed)
    assert isinstance(proof, Proof)
    return proof


def _panics(fake: FakeBed) -> None:
    fake.history.record("console.a", "line", text="[  1.0] Kernel panic - not syncing: test")
    fake.is_mute = True


def _only_says(fake: FakeBed) -> None:
    fake.history.record("console.a", "line", text="Kernel panic - not syncing: test")


def _only_falls_silent(fake: FakeBed) -> None:
    fake.is_mute = True


@pytest.mark.parametrize(
    ("talking", "happens", "verdict"),
    [
        (BOTH, _panics, FaultVerdict.CONFIRMED),
        (BOTH, _only_says, FaultVerdict.MISMATCH),
        (BOTH, _only_falls_silent, FaultVerdict.MISMATCH),
        (("a.priv0",), _panics, FaultVerdict.CONFIRMED),
        ((), _panics, FaultVerdict.INCONCLUSIVE),
    ],
)
def test_a_panic_is_told_and_then_there_is_silence(
    talking: tuple[str, ...], happens: Callable[[FakeBed], None], verdict: FaultVerdict
) -> None:
    """Either alone is no panic, and a node that was silent before proves nothing."""

    async def story() -> Proof:
        async with counted_bed(talking) as fake:
            return await _prove(NodePanic("a"), fake, happens)

    proof = asyncio.run(story())
    assert proof.verdict is verdict, proof.evidence
    assert (proof.injected_at_s is not None) == (verdict is FaultVerdict.CONFIRMED)


def test_a_panic_from_before_the_fault_does_not_count() -> None:
    """Only what the console says after the preparation is evidence."""

    async def story() -> Proof:
        async with counted_bed(BOTH) as fake:
            fake.history.record("console.a", "line", text="Panic on CPU 0")
            return await _prove(NodeHypervisorPanic("a"), fake, _only_falls_silent)

    assert asyncio.run(story()).verdict is FaultVerdict.MISMATCH


def test_a_text_that_is_no_expression_is_refused() -> None:
    """Before anything is done."""

    async def story() -> None:
        async with counted_bed(()) as fake:
            await NodeNmi("a", says="(").prepare(cast("Bed", fake))

    with pytest.raises(UsageError, match=r"'\(' is no regular expression"):
        asyncio.run(story())


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_nmi_counts_when_the_console_speaks_of_it(goes_on: bool) -> None:
    """Whether the node survives it is evidence, not the verdict."""

    def happens(fake: FakeBed) -> None:
        fake.history.record("console.a", "line", text="Uhhuh. NMI received for unknown reason 00 on CPU 0.")
        fake.is_mute = not goes_on

    async def story() -> Proof:
        async with counted_bed(BOTH) as fake:
            return await _prove(NodeNmi("a"), fake, happens)

    proof = asyncio.run(story())
    assert proof.verdict is FaultVerdict.CONFIRMED
    assert proof.evidence["node_goes_on"] is goes_on


@dataclass
class Processor:
    """What QEMU's monitor would say."""

    rip: int = IDLE
    flags: int = 0x2
    moves: int = 0
    state: str = "running"

    async def execute(self, command: str, arguments: dict[str, str] | None = None) -> object:
        """Answer the questions of the fault."""
        assert command == "human-monitor-command"
        assert arguments == {"command-line": "info registers"}
        self.rip += self.moves
        return f"RAX=0\nRIP={self.rip:016x} RFL={self.flags:08x} [-------] CPL=0"

    async def status(self) -> str:
        """The run state."""
        return self.state


@pytest.mark.parametrize(
    ("processor", "halted", "mute", "verdict"),
    [
        (Processor(), True, True, FaultVerdict.CONFIRMED),
        (Processor(moves=1), True, True, FaultVerdict.CONFIRMED),
        (Processor(), False, True, FaultVerdict.MISMATCH),  # it was to spin and computes nothing
        (Processor(), True, False, FaultVerdict.MISMATCH),  # it still talks
        (Processor(flags=0x202), True, True, FaultVerdict.MISMATCH),  # an interrupt would wake it
        (Processor(moves=400), True, True, FaultVerdict.MISMATCH),  # it runs about
        (Processor(state="paused"), True, True, FaultVerdict.MISMATCH),
    ],
)
def test_a_hang_stands_in_one_place_without_interrupts(
    processor: Processor, halted: bool, mute: bool, verdict: FaultVerdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause, a wait for interrupts and a busy silent node are no hang."""
    put_in(monkeypatch, FakeStub([0xE008]))

    async def story() -> Proof:
        async with counted_bed(BOTH) as fake:
            machine = fake.nodes["a"].machine
            vars(machine).update(execute=processor.execute, status=processor.status)
            fault, bed = NodeHypervisorHang("a", halted=halted), cast("Bed", fake)
            life = Life(fault, bed)
            await life.prepare()
            await life.inject()
            fake.is_mute = mute
            return await life.confirm()

    proof = asyncio.run(story())
    assert proof.verdict is verdict, proof.evidence


@pytest.mark.parametrize(
    ("wedged", "reset_itself", "talks", "expected"),
    [
        (False, False, False, (["reset"], False, [[]])),
        (True, False, False, (["reset"], True, [[]])),
        (False, True, False, ([], False, [[5.0]])),
        (False, False, True, ([], False, [[]])),
    ],
    ids=["stands", "wedged", "came back", "goes on"],
)
def test_a_broken_node_is_reset_unless_it_came_back_by_itself(
    wedged: bool, reset_itself: bool, talks: bool, expected: tuple[list[str], bool, list[object]]
) -> None:
    """A wedged one gets a new process; one that goes on is not broken once more; what it did is on record."""

    async def story() -> tuple[list[str], bool, list[object]]:
        did: list[str] = []

        async def reset() -> None:
            did.append("reset")
            if wedged:
                raise QmpLost("no answer")

        async with counted_bed(BOTH if talks else ()) as fake:
            node = fake.nodes["a"]
            vars(node.machine)["reset"] = reset
            fault = NodePanic("a")
            await fault.prepare(cast("Bed", fake))
            if reset_itself:
                fake.history.record_at(5.0, "qmp.a", "event", event="RESET", data={"guest": True})
            await fault.heal(cast("Bed", fake))
            told = [entry.fields["reset_itself_at_s"] for entry in fake.history if entry.kind == "aftermath"]
            return did, node.was_healed, told

    assert asyncio.run(story()) == expected

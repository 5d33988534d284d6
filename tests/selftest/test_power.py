"""A power cut takes what was not flushed and nothing else; a kill is no power cut; each power fault proves itself."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.node import power
from faults.kinds.node.power import PowerCut, PowerCutBoth, PowerFlicker, PowerReset, PowerShutdown, cut_power
from faults.life import Life
from testbed.bed import Bed
from testbed.disk.server import NbdClient, NbdDisk
from testbed.history import History
from testbed.node.machine import Machine
from testbed.node.spec import DiskSpec, MachineSpec
from testbed.process import Child
from testbed.wait import OwnedTask, wait_for_record, wait_until
from tests.integration.faults.kinds.disk_bed import DiskBed, SmallMachine, disk_bed

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(shutil.which("nbdkit") is None, reason="nbdkit is not installed"),
]
ROUNDS, SLOTS, SLOT = 100, 16, 4096


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, so that its two seconds can be shorter."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.1)


@dataclass
class Model:
    """What may be in each slot after a cut: what was durable, or something written since; and what happened to it."""

    durable: list[bytes] = field(default_factory=lambda: [bytes(SLOT)] * SLOTS)
    since: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(SLOTS)])
    lost: int = 0
    kept: int = 0
    torn: int = 0

    def write(self, slot: int, data: bytes) -> None:
        """A write was acknowledged."""
        self.since[slot].append(data)

    def flush(self) -> None:
        """Everything written before is durable."""
        self.durable = [late[-1] if late else old for old, late in zip(self.durable, self.since, strict=True)]
        self.since = [[] for _ in range(SLOTS)]

    def judge(self, content: bytes, round_number: int) -> None:
        """Compare the disk after a cut; what it shows is the truth from now on, and nothing else may come back."""
        for slot in range(SLOTS):
            seen = content[slot * SLOT : (slot + 1) * SLOT]
            late = self.since[slot]
            if not late:
                assert seen == self.durable[slot], f"round {round_number}, slot {slot}: flushed or lost data changed"
            elif seen == late[-1]:
                self.kept += 1
            elif seen in (self.durable[slot], *late):
                self.lost += 1
            else:
                sectors = {n: seen[n : n + 512] for n in range(0, SLOT, 512)}
                whole = [self.durable[slot], *late]
                known = all(any(part == one[n : n + 512] for one in whole) for n, part in sectors.items())
                assert known, f"round {round_number}, slot {slot}: content that nobody wrote"
                self.torn += 1
            self.durable[slot], self.since[slot] = seen, []


@asynccontextmanager
async def _block_layer(disk: NbdDisk, commands: list[str], log: Path) -> AsyncIterator[Child]:
    """QEMU's block layer as a machine: it writes as ordered and then stays, with all its caches."""
    argv = ["qemu-io", "-t", "writeback", "-f", "raw", f"nbd+unix:///?socket={disk.socket}"]
    for command in [*commands, "sleep 60000"]:
        argv += ["-c", command]
    async with Child(argv, name="qemu-io", log=log) as child:
        yield child


def test_a_power_cut_loses_unflushed_writes_and_never_flushed_ones() -> None:
    """100 seeded rounds of a QEMU that writes records, flushes some, and loses its power."""

    async def one_round(small: DiskBed, number: int, model: Model) -> None:
        chance, disk, commands = Random(number), small.disk(), []
        before = await disk.state()
        writes = flushes = 0
        for _ in range(12):
            if chance.random() < 0.15:
                commands.append("flush")
                flushes += 1
                model.flush()
            else:
                slot, pattern = chance.randrange(SLOTS), chance.randrange(1, 256)
                commands.append(f"write -P {pattern} {slot * SLOT} {SLOT}")
                writes += 1
                model.write(slot, bytes([pattern]) * SLOT)

        async def done() -> bool:
            state = await disk.state()
            return bool(
                state["writes"] - before["writes"] == writes and state["flushes"] - before["flushes"] == flushes
            )

        async with _block_layer(disk, commands, small.directory / "qemu-io.log") as child:
            small.nodes["a"].machine = SmallMachine("a", child, small.history)
            await wait_until(done, what=f"the writes of round {number}", timeout_s=30, poll_s=0.005)
            await cut_power(small.bed, ["a"], seed=number, keep=0.5, tear=True)
            assert not child.alive
        async with NbdClient(disk.socket) as client:
            model.judge(await client.read(0, SLOTS * SLOT), number)

    async def scenario() -> tuple[Model, dict[str, int]]:
        model = Model()
        async with disk_bed(disks=["vdb"]) as small:
            await small.nodes["a"].machine.kill()
            for number in range(ROUNDS):
                await one_round(small, number, model)
            return model, await small.disk().state()

    model, state = asyncio.run(scenario())
    assert state["cuts"] == ROUNDS
    assert state["fua"] == 0  # else the cache was never volatile
    assert min(model.lost, model.kept) > ROUNDS // 2
    assert model.torn > 0
    assert state["cut_lost"] >= model.lost


def test_a_power_cut_in_the_middle_of_writes_keeps_every_acknowledged_flush() -> None:
    """100 seeded rounds in which the power goes while four writers are at work: no flush was acknowledged in vain."""

    async def writer(disk: NbdDisk, slot: int, chance: Random, tried: list[int], said: list[int]) -> None:
        async with NbdClient(disk.socket) as client:
            while True:
                tried[slot] += 1
                number = tried[slot]
                await client.write(slot * SLOT, number.to_bytes(8) * (SLOT // 8))
                if chance.random() < 0.3:
                    await client.flush()
                    said[slot] = number

    async def scenario() -> tuple[int, int]:
        tried, said, rounds_with_loss = [0] * 4, [0] * 4, 0
        async with disk_bed(disks=["vdb"]) as small:
            for number in range(ROUNDS):
                chance = Random(number)
                tasks = [OwnedTask(writer(small.disk(), n, chance, tried, said), name="writer") for n in range(4)]
                await small.nodes["a"].power_on()
                await asyncio.sleep(chance.random() * 0.02)
                await cut_power(small.bed, ["a"], seed=number, keep=0.3, tear=False)
                for task in tasks:
                    with suppress(OSError):  # the disk refuses who was connected before the cut
                        await task.cancel()
                async with NbdClient(small.disk().socket) as client:
                    content = await client.read(0, 4 * SLOT)
                seen = [int.from_bytes(content[n * SLOT : n * SLOT + 8]) for n in range(4)]
                assert all(a >= b for a, b in zip(seen, said, strict=True)), f"round {number}: {seen} after {said}"
                rounds_with_loss += seen != tried
                said = seen  # what is there after a cut is durable
            return rounds_with_loss, sum(said)

    rounds_with_loss, written = asyncio.run(scenario())
    assert rounds_with_loss > ROUNDS // 10
    assert written > ROUNDS


async def _unflushed(small: DiskBed, node: str) -> None:
    async with NbdClient(small.disk("vdb", node).socket) as client:
        for slot in range(20):
            await client.write(slot * 512, b"u" * 512)


@pytest.mark.parametrize("name", ["power.cut", "power.cut_both", "power.flicker"])
def test_a_power_fault_is_there_and_is_healed(name: str) -> None:
    """Each disk of each node lost its power as often as asked, writes were lost, and the nodes come back."""
    both = {"power.cut_both": ("a", "b")}.get(name, ("a",))

    async def scenario() -> tuple[Proof, int, int]:
        async with disk_bed(both) as small:
            faults: dict[str, PowerCut | PowerFlicker] = {
                "power.cut": PowerCut("a", seed=1),
                "power.cut_both": PowerCutBoth("a+b", seed=1),
                "power.flicker": PowerFlicker("a", seed=1, times=3, off_s=0.01, on_s=0.01),
            }
            for node in both:
                await _unflushed(small, node)
            async with Life(faults[name], small.bed) as life:
                proof = await life.prove()
            states = [await small.disk("vdb", node).state() for node in both]
            on = sum(small.nodes[node].is_on for node in both)
            return proof, min(state["cut_lost"] for state in states), on

    proof, lost, on = asyncio.run(scenario())
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert lost > 0
    assert on == len(both)


class OnlyKills(PowerCut):
    """A sabotaged injector: QEMU is killed, and the disks keep what they have."""

    async def inject(self, bed: Bed) -> None:
        """Kill."""
        await bed.nodes[self.target].machine.kill()


class OnlyCutsDisks(PowerCut):
    """A sabotaged injector: the disks lose their caches, and the machine goes on."""

    async def inject(self, bed: Bed) -> None:
        """Cut the disks."""
        for disk in bed.nodes[self.target].storage.values():
            await disk.command("cut", seed=1)


class DoesNothing(PowerFlicker):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Leave the power on."""


@pytest.mark.parametrize("fault", [OnlyKills("a", seed=1), OnlyCutsDisks("a", seed=1), DoesNothing("a", seed=1)])
def test_half_a_power_fault_is_a_mismatch(fault: PowerCut | PowerFlicker) -> None:
    """Killing QEMU alone is no power cut, and neither is a disk that loses its cache alone."""

    async def scenario() -> Proof:
        async with disk_bed() as small:
            return await Life(fault, small.bed).prove()

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None)


# A machine that writes "A" on its console, and switches itself off when somebody presses its power button.
BUTTON = (
    "ba0206 b80001 ef ba0006 ed f6c401 7407 ba0406 b80020 ef baf803 b041 ee b00a ee bb0200 b90000 e2fe 4b 75f8 ebda"
)


@asynccontextmanager
async def _real_machine() -> AsyncIterator[tuple[DiskBed, History]]:
    async with disk_bed() as small:
        root = small.directory / "root.img"
        root.write_bytes((bytes.fromhex(BUTTON).ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
        spec = MachineSpec(
            name="a", socket_dir=small.directory, artefact_dir=small.directory, memory_mib=32, accel="tcg", boot=None,
            disks=(DiskSpec("vda", root, "raw"),),
        )  # fmt: skip
        async with Machine(spec, small.history) as machine:
            await machine.cont()
            await wait_for_record(
                small.history,
                lambda entry: entry.source == "console.a" and entry.fields["text"] == "A",
                what="the guest",
                timeout_s=20,
            )
            vars(small.nodes["a"])["machine"] = machine
            vars(machine)["child"] = vars(machine)["_child"]
            yield small, small.history


class ResetsNothing(PowerReset):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Press nothing."""


class PressesNothing(PowerShutdown):
    """A sabotaged injector."""

    async def inject(self, bed: Bed) -> None:
        """Press nothing."""


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (PowerReset("a"), FaultVerdict.CONFIRMED),
        (PowerShutdown("a", timeout_s=20), FaultVerdict.CONFIRMED),
        (ResetsNothing("a"), FaultVerdict.MISMATCH),
        (PressesNothing("a", timeout_s=1), FaultVerdict.MISMATCH),
    ],
    ids=["reset", "shutdown", "no_reset", "no_shutdown"],
)
def test_reset_and_shutdown_are_told_by_the_machine(
    fault: PowerReset | PowerShutdown, verdict: FaultVerdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real machine resets, or its guest switches it off; without the button neither happens."""
    monkeypatch.setattr(power, "RESET_TIMEOUT_S", 5.0 if verdict is FaultVerdict.CONFIRMED else 0.5)

    async def scenario() -> Proof:
        async with _real_machine() as (small, _):
            life = Life(fault, small.bed)
            proof = await life.prove()
            await life.heal()
            assert small.nodes["a"].is_on
            return proof

    proof = asyncio.run(scenario())
    assert proof.verdict is verdict, proof.evidence
    assert (proof.injected_at_s is not None) == (verdict is FaultVerdict.CONFIRMED)

"""One run from the outside in: check the host, find image and accelerator, open the history, make the bed.

Everything that uses a bed (commands, tests, benchmarks) begins here, so that all of them refuse the same things.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import pace
from testbed.bed.bed import Bed, BedOptions, Stage
from testbed.errors import HostError, SlowHostError
from testbed.history import History
from testbed.host import speed, speedometer
from testbed.host.accelerator import Accelerator, choose_accelerator, find_qemu
from testbed.host.places import cache_directory, host_lock, this_command
from testbed.node import image
from testbed.node.image import Image
from testbed.progress import Progress
from testbed.site import AUTO, SiteOptions

MEMORY_MIN_BYTES = 4 << 30
DISK_MIN_BYTES = 3 << 30


class Session:
    """A bed with its image, accelerator and history, as an async context manager; the bed is still cold."""

    bed: Bed
    history: History  # it, image and accelerator are there as soon as the run directory is this session's
    image: Image
    accelerator: Accelerator

    def __init__(self, out: Path, site: SiteOptions, *, progress: Progress | None = None) -> None:
        self.began = False  # the run directory is this session's: what ends it now is an end, and no refusal
        self.measured: speed.Measured | None = None
        self.meter: speedometer.Speedometer | None = None
        self.dilation = speed.DILATIONS[-1]  # until it is chosen
        self.out = out
        self._site = site
        self.progress = progress or Progress()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            with host_lock(this_command()):
                pass  # a bed that runs is named before anything is built, measured or found too small beside it
            cache = cache_directory()
            await find_qemu()
            _require_room(cache, self.out)
            async with self.progress.step("look for the node image, and build what is missing"):
                found = await image.ensure()
            self._require_memory(found)
            accelerator = await choose_accelerator(cache, boot=found.boot, image_hash=found.hash)
            self.progress.say(f"accelerator {accelerator.name}: {accelerator.reason}")
            async with self.progress.step("measure the speed of this host"):
                measured = await speedometer.measure(tcg=accelerator.name == "tcg")
            self.image, self.accelerator, self.measured = found, accelerator, measured
            with host_lock(this_command()):  # refuses here: a running bed may be writing into this very directory
                _clear(self.out)
            self.history = stack.enter_context(History(self.out / "history.jsonl"))
            self.history.zero_at_s = time.monotonic()
            self.began = True
            self.dilation = self._dilation(measured)
            meter = speedometer.Speedometer(self.out / "speed.log", measured=measured, history=self.history)
            self.meter = await stack.enter_async_context(meter)
            options = BedOptions(self.out, cache, replace(self._site, dilation=self.dilation))
            self.bed = await stack.enter_async_context(
                Bed(
                    found, options, accelerator=accelerator, history=self.history, progress=self.progress,
                    speedometer=meter,
                )
            )  # fmt: skip
            meter.processes = self.bed
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _require_memory(self, found: Image) -> None:
        """Raise HostError when this computer has no room for such nodes, UsageError when the image is not for them."""
        node_mib = found.memory_mib_for(self._site)
        if node_mib > found.memory_mib:
            _require_memory(MEMORY_MIN_BYTES + (2 * (node_mib - found.memory_mib) << 20))

    def _dilation(self, measured: speed.Measured) -> float:
        """Return the dilation of the run: by hand from the environment or the site, or as the host needs it."""
        by_hand = os.environ.get(pace.VARIABLE, "")
        chosen = pace.dilation_of(by_hand) if by_hand else self._site.dilation
        if chosen != AUTO:
            speed_text = f"this computer runs at {measured.speed:.2g} of the reference"
            self.progress.say(f"{speed_text}; dilation {chosen:g} was given by hand")
            return chosen
        return _automatic(measured, self.progress)

    async def protect(self, *, cold: bool = False) -> None:
        """Bring the bed to `protected`, from its snapshot unless a cold boot is wanted."""
        await self.bed.reach(Stage.PROTECTED, use_snapshot=not cold)


async def fix_dilation(progress: Progress) -> float:
    """Choose one dilation for all sessions from now on, as a campaign needs it whose figures are put side by side.

    A choice by hand stays. Raises HostError, SlowHostError or UsageError.
    """
    by_hand = pace.dilation_of(os.environ.get(pace.VARIABLE) or "auto")
    found = by_hand if by_hand != AUTO else _automatic(await speedometer.measure(), progress)
    os.environ[pace.VARIABLE] = f"{found:g}"
    return found


def _automatic(measured: speed.Measured, progress: Progress) -> float:
    progress.say(speed.advice(measured))
    found = speed.dilation_for(measured.speed)
    if found is None:
        raise SlowHostError(f"This computer is too slow for a pair: its speed {speed.refusal(measured)}.")
    return found


def _clear(out: Path) -> None:
    """Remove an earlier run's files, but only from a directory that a run made."""
    if out.exists() and not out.is_dir():
        raise HostError(f"{out} is a file; choose another directory for the run.")
    if out.exists() and any(out.iterdir()):
        if not (out / "history.jsonl").exists():
            raise HostError(f"{out} is not empty and no run made it; choose another directory, or empty it.")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def _require_room(cache: Path, out: Path) -> None:
    _require_memory(MEMORY_MIN_BYTES)
    for path in (cache, out):
        there = next(parent for parent in (path, *path.resolve().parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if free < DISK_MIN_BYTES:
            wanted = DISK_MIN_BYTES >> 20
            raise HostError(f"Only {free >> 20} MiB are free under {there}; a run needs {wanted} MiB. Make room first.")


def _require_memory(needed: int) -> None:
    available = _available_memory_bytes()
    if available < needed:
        raise HostError(
            f"Only {available >> 20} MiB of memory are available; a pair needs {needed >> 20} MiB. "
            "End something else first."
        )


def _available_memory_bytes() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


async def describe(bed: Bed) -> str:
    """Return what a person needs to use a bed that is up."""
    vms = ", ".join(f"VM {vm.address}" for vm in bed.topology.guests)
    lines = [f"protected: {vms}, service address {bed.topology.service}; sockets in {bed.sockets}"]
    for name, node in bed.nodes.items():
        status = await node.status()
        lines.append(f"  node {name}: {status['role']}, epoch {status['epoch']}, QEMU pid {node.machine.pid}")
    lines.append("  in another terminal: testbed status, exec NODE -- COMMAND, console NODE, inject FAULT TARGET, heal")
    lines.append(f"  consoles and journals: {bed.options.artefacts}; end it with Ctrl-C")
    return "\n".join(lines)

"""Measures sequential writes through the disk server against a plain qcow2 file: `python -m testbed.bench.storage`.

QEMU's own block layer (`qemu-img bench`) is the guest on both sides, with the same request size and depth. The disk
starts sparse in both cases. It must never be used as a test: it measures, others judge.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.disk.server import NbdDisk
from testbed.process import run

MIB = 2**20
DISK_MIB = 256
TIMEOUT_S = 120.0
REPEATS = 3


@dataclass(frozen=True)
class DiskBench:
    """Sequential write speed of the two ways, in bytes a second; the best of some runs each, taken in turns."""

    request_bytes: int
    depth: int
    server: float
    plain: float

    @property
    def ratio(self) -> float:
        """How much of the speed of a plain file the disk server reaches."""
        return self.server / self.plain


async def _write_s(target: list[str], disk_mib: int, request_bytes: int, depth: int) -> float:
    """How long it takes to write the disk once from its begin to its end and to flush it."""
    count = disk_mib * MIB // request_bytes
    argv = [
        "qemu-img", "bench", "-w", "-t", "writeback", "-c", str(count), "-d", str(depth), "-s", str(request_bytes),
        "--flush-interval", str(count), *target,
    ]  # fmt: skip
    begun_s = time.monotonic()
    await run(argv, timeout_s=TIMEOUT_S)
    return time.monotonic() - begun_s


async def _server_s(directory: Path, disk_mib: int, request_bytes: int, depth: int) -> float:
    image = directory / "image.raw"
    image.unlink(missing_ok=True)
    async with NbdDisk("bench", image, disk_mib * MIB, sockets=directory, log=directory / "log") as disk:
        target = ["-f", "raw", f"nbd+unix:///?socket={disk.socket}"]
        return await _write_s(target, disk_mib, request_bytes, depth)


async def _plain_s(directory: Path, disk_mib: int, request_bytes: int, depth: int) -> float:
    image = directory / "image.qcow2"
    image.unlink(missing_ok=True)
    await run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), f"{disk_mib}M"], timeout_s=TIMEOUT_S)
    return await _write_s(["-f", "qcow2", str(image)], disk_mib, request_bytes, depth)


async def bench(
    directory: Path, *, request_bytes: int = 64 * 1024, depth: int = 8, disk_mib: int = DISK_MIB, repeats: int = REPEATS
) -> DiskBench:
    """Measure both ways with images in this directory; its path must be short, for the sockets."""
    server_s, plain_s = [], []
    for _ in range(repeats):
        server_s.append(await _server_s(directory, disk_mib, request_bytes, depth))
        plain_s.append(await _plain_s(directory, disk_mib, request_bytes, depth))
    size = disk_mib * MIB
    return DiskBench(request_bytes, depth, size / min(server_s), size / min(plain_s))


def main(arguments: list[str]) -> int:
    """Print the figures for some sizes of requests."""
    disk_mib = int(arguments[0]) if arguments else DISK_MIB
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        for request_bytes, depth in ((4096, 8), (65536, 1), (65536, 8), (1048576, 4)):
            found = asyncio.run(bench(Path(name), request_bytes=request_bytes, depth=depth, disk_mib=disk_mib))
            sys.stdout.write(
                f"{request_bytes // 1024} KiB, depth {depth}: disk server {found.server / 1e6:.0f} MB/s, "
                f"plain qcow2 {found.plain / 1e6:.0f} MB/s, ratio {found.ratio:.2f}\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

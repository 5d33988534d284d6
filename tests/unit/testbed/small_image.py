"""A node image without a product, whose "hypervisor" says one letter and halts: what the tests of the bed share."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.manifest import PRODUCT
from testbed.bed import Bed, BedOptions
from testbed.history import History
from testbed.host import speedometer
from testbed.host.accelerator import Accelerator
from testbed.host.speed import Measured
from testbed.node.image import Image, load
from testbed.progress import Progress
from testbed.site import SiteOptions
from testbed.wait import wait_until

WITNESS = PRODUCT["witness"]
LOAD_AT, HEADER_BYTES = 0x100000, 0x30
# mov edx,0x3f8; mov al,'A'; out; mov al,'\n'; out; hlt; jmp back
CODE = bytes.fromhex("baf8030000 b041 ee b00a ee f4 ebfd")
MAGIC, FLAGS = 0x1BADB002, 0x00010000  # the addresses are in the header, so that no ELF is needed


def hypervisor() -> bytes:
    """The smallest kernel that QEMU's multiboot loader takes."""
    end = LOAD_AT + HEADER_BYTES + len(CODE)
    checksum = -(MAGIC + FLAGS) & 0xFFFFFFFF
    head = struct.pack("<8I", MAGIC, FLAGS, checksum, LOAD_AT, LOAD_AT, end, end, LOAD_AT + HEADER_BYTES)
    return head.ljust(HEADER_BYTES, b"\0") + CODE


def write_image(directory: Path) -> Path:
    """Write an image and return its manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {"xen": hypervisor(), "vmlinux": b"kernel\n", "initrd": b"initrd\n", "root.img": bytes(1 << 20)}
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    names = {"hypervisor": "xen", "kernel": "vmlinux", "initrd": "initrd", "root": "root.img"}
    document: dict[str, Any] = {
        "schema": "testbed.image/1",
        "hash": "5ma11",
        "files": {key: {"path": name, "sha256": "", "size": len(contents[name])} for key, name in names.items()},
        "hypervisor_args": "console=com1",
        "kernel_args": "console=hvc0",
        "memory_mib": 32,
        "networks": 2,
        "versions": {"xen": "none"},
        "product": {
            "name": "nothing", "version": "0",
            "status": ["nothing", "status"],
            "pair": ["nothing", "pair", "{node}", "{file}"],
            "protect": ["nothing", "protect", "{file}"],
            "journal": "/var/log/nothing",
            "site_schema": "avance.site/1",
        },
        "workload": {
            "kernel": "/k", "ramdisk": "/r", "memory_mib": 96, "volume_mib": 32, "udp_port": 7000, "tcp_port": 7000,
        },
    }  # fmt: skip
    manifest = directory / "manifest.json"
    manifest.write_text(json.dumps(document), encoding="utf-8")
    return manifest


def small_image(directory: Path) -> Image:
    """Write and load an image."""
    return load(write_image(directory))


def cold_bed(directory: Path, cache: Path, history: History, *, site: SiteOptions | None = None) -> Bed:
    """A bed of the small image that was not entered; with a site, the image names the product's witness."""
    image = small_image(directory / "image")
    if site is not None:
        image = replace(image, product=replace(image.product, witness=tuple(WITNESS)))
    return Bed(
        image,
        BedOptions(directory / "run", cache, site or SiteOptions()),
        accelerator=Accelerator("tcg", "a test", 0.0),
        history=history,
        progress=Progress(quiet=True),
    )


async def speed_one(*, tcg: bool = True) -> Measured:
    """A host of speed 1."""
    return Measured(1.0, 1.0 if tcg else None)


@contextmanager
def own_host(directory: Path) -> Iterator[pytest.MonkeyPatch]:
    """Give the test a host lock, an accelerator and a speed of its own, so that no real bed is in its way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        patch.setenv("AVANCE_ACCEL", "tcg")
        patch.setattr(speedometer, "measure", speed_one)
        yield patch


async def all_gone(pids: list[int]) -> None:
    """Wait until none of these processes runs; a zombie that its new parent has not reaped yet does not run."""

    def runs(pid: int) -> bool:
        try:
            return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return False

    async def none_left() -> bool:
        return not any(runs(pid) for pid in pids)

    await wait_until(none_left, what=f"the end of the processes {pids}", timeout_s=100, poll_s=0.02)


def with_bed(
    tmp_path: Path, cache: Path, scenario: Callable[[Bed], Awaitable[None]], *, options: SiteOptions | None = None
) -> None:
    """Run the scenario in a bed whose world is up; afterwards no process and no socket may be left."""

    async def whole() -> None:
        with History() as history:
            bed = cold_bed(tmp_path, cache, history, site=options)
            try:
                async with bed:
                    await scenario(bed)
            finally:
                pids = [entry.fields["pid"] for entry in history if entry.kind == "started"]
                await all_gone([pid for pid in pids if isinstance(pid, int)])
            assert not bed.sockets.exists()
            assert not (tmp_path / "run" / "disks").exists()

    asyncio.run(whole())

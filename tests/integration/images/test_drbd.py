"""Proves DRBD's module in the node image, in a small machine with the node's kernel, beside Debian's own.

Time in the machine is counted by its own instructions (QEMU, -icount), so no time-out of DRBD depends on the host.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from images import cpio
from testbed.node import image
from testbed.node.image import Image
from testbed.process import run
from tests.integration.node_root import first_program

STORY = Path(__file__).with_name("drbd_story.sh")
LIMIT_S = 1500  # a minute on an idle host
MODULE = "/lib/modules/$(uname -r)/kernel/drivers/block/drbd/drbd.ko"
# What DRBD asks when it has lost the peer: 7 means that the peer was shot, 0 is no answer.
HELPER = """#!/bin/sh
[ "$1" = fence-peer ] || exit 0
while [ -e /run/fence-slow ]; do sleep 0.2; done
exit "$(cat /run/fence-answer)"
"""
# Without `no_timer_check` a kernel counts ticks for a moment at its start, and panics where the host gave it none.
KERNEL_WORDS = (
    "console=ttyS0 quiet loglevel=3 oops=panic panic=-1 no_timer_check mitigations=off random.trust_cpu=on"
    " ipv6.disable=1"
)
FLUSHES = ("flush-resumed", "flush-connected", "flush-fenced", "flush-failed", "flush-hung-link", "flush-hung")
MENDED = (*FLUSHES, "read-hung", "copies-22", "copies-23", "write-hung-link", "write-hung", "write-hung-24",
          "write-hung-25")  # fmt: skip


@pytest.fixture(scope="module")
def node_image() -> Image:
    """The image of this checkout; built when it is missing."""
    return asyncio.run(image.ensure())


async def tell(node_image: Image, directory: Path, kept: str) -> str:
    """Tell the story with DRBD's module of the image, or with the one that stands beside it under this ending."""
    parts = [
        cpio.file("init", first_program("/story /helper", f"/bin/sh /run/story {MODULE}{kept}"), executable=True),
        cpio.file("helper", HELPER.encode(), executable=True),
        cpio.file("story", STORY.read_bytes()),
    ]
    ramdisk = directory / "initrd"  # what comes later in it takes the place of what came first
    ramdisk.write_bytes(node_image.boot.initrd.read_bytes() + cpio.archive(parts))
    done = await run(
        [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
            "-icount", "shift=2,sleep=off", "-rtc", "clock=vm", "-display", "none", "-no-reboot", "-serial", "stdio",
            "-kernel", str(node_image.boot.kernel), "-initrd", str(ramdisk),
            "-append", KERNEL_WORDS,
            "-drive", f"if=virtio,file={node_image.root},format=raw,readonly=on",
        ],
        timeout_s=LIMIT_S,
    )  # fmt: skip
    return done.stdout


def verdicts(story: str) -> dict[str, str]:
    """What became of each request, by its name; what went wrong first counts."""
    told: dict[str, str] = {}
    for name, word in re.findall(r"^STORY \S+ (\S+) (PASSED|HANGS|FAILED|NOT SEEN)\b", story, re.MULTILINE):
        if told.get(name, "PASSED") == "PASSED":
            told[name] = word
    return told


@pytest.mark.timeout(2 * LIMIT_S)
def test_every_request_of_a_vm_ends_with_the_mended_module(node_image: Image, tmp_path: Path) -> None:
    """A flush that ends while I/O is frozen is not lost, and a disk that hangs and answers late harms nobody."""
    if not node_image.versions["drbd_mended"]:
        pytest.skip("the source of the image's kernel could not be had: it has Debian's module, and says so")
    story = asyncio.run(tell(node_image, tmp_path, ""))
    assert verdicts(story) == dict.fromkeys(MENDED, "PASSED"), story
    assert "the end" in story


@pytest.mark.timeout(2 * LIMIT_S)
def test_the_same_requests_stay_open_for_ever_with_debians_module(node_image: Image, tmp_path: Path) -> None:
    """So the story shows the defects, and the mended module is still needed. Its end is a panic of the kernel."""
    kept = ".dist" if node_image.versions["drbd_mended"] else ""
    story = asyncio.run(tell(node_image, tmp_path, kept))
    told = verdicts(story)
    assert [name for name in FLUSHES if told.get(name) != "HANGS"] == [], story
    assert "Kernel panic" in story.partition("write-hung-link PASSED")[2], story
    assert "the end" not in story

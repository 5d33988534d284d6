"""Tests of testbed.replica.look: a disk that is served by a real nbdkit."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from testbed.disk.server import NbdClient, NbdDisk
from testbed.replica.compare import ReplicaReport
from testbed.replica.look import Inspection, find_disks, look
from tests.unit.testbed.replica.captured_disks import DISK_BYTES, VOLUME_AT
from tests.unit.testbed.replica.test_look import write_images


def test_a_disk_server_shows_what_it_has_not_flushed_and_its_file_does_not(tmp_path: Path) -> None:
    """A disk of a running bed is read through its server: there the volatile cache counts, as the machine sees it."""
    images = write_images(tmp_path)

    async def run() -> tuple[Inspection, Inspection]:
        with tempfile.TemporaryDirectory(prefix="tb-") as name:
            image, log = images / "a-vdb.raw", images / "log"
            server = NbdDisk("a-vdb", image, DISK_BYTES, sockets=Path(name), log=log)
            async with server, NbdClient(server.socket) as client:
                await client.write(VOLUME_AT + 800_000, b"new")
                files = find_disks(images)
                served = {**files, "a": {**files["a"], "vdb": server.socket}}
                return await look(served, "web"), await look(files, "web")

    through, behind = asyncio.run(run())
    assert isinstance(through.report, ReplicaReport)
    assert isinstance(behind.report, ReplicaReport)
    assert (through.report.is_equal, behind.report.is_equal) == (False, True)
    assert through.report.nodes[0].ranges == ((798_720, 4096),)

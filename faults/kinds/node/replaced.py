"""A node is gone for good, and later a bare machine stands in its place.

It is `node.kill`, and the disks are gone too: what the new machine has is the image, and blank data disks. Nothing in
it knows of the pair, so that a person tells it the site and the VMs. This module must never tell it anything else.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from faults.fault import FaultVerdict, Proof
from faults.kinds.disk import disks_of
from faults.kinds.node.whole import NodeKill
from testbed.bed import Bed
from testbed.bed.bed import BOOT_TIMEOUT_S
from testbed.disk.image import DiskImage
from testbed.disk.server import NbdClient, NbdDisk
from testbed.node.node import ROOT_DISK

SUPERBLOCK_BYTES = 64 * 1024  # at the beginning of a data disk: what says to which mirror it belongs


class NodeReplaced(NodeKill):
    """The node is gone for good with its disks; a bare machine takes its place, and a person tells it its pair."""

    name = "node.replaced"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._beginnings: dict[str, bytes] = {}

    async def prepare(self, bed: Bed) -> None:
        """Read the beginnings of the data disks, too."""
        await super().prepare(bed)
        self._beginnings = await _beginnings(bed, self.target)

    async def inject(self, bed: Bed) -> None:
        """Kill it, and throw its disks away."""
        await super().inject(bed)
        for name, disk in disks_of(bed, self.target).items():
            await _empty(disk, backing=bed.image.root if name == ROOT_DISK else None)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed as a kill is, and each data disk that had something has nothing now."""
        proof, now = await super().confirm(bed), await _beginnings(bed, self.target)
        had = {name: any(beginning) for name, beginning in self._beginnings.items()}
        evidence = {**proof.evidence, "had_data": had, "has_data": {name: any(one) for name, one in now.items()}}
        if any(any(one) for one in now.values()):
            return Proof.of(False, None, evidence)
        if proof.verdict is not FaultVerdict.CONFIRMED:
            return Proof.of(None if proof.verdict is FaultVerdict.INCONCLUSIVE else False, None, evidence)
        return Proof.of(True if all(had.values()) else None, proof.injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Start the bare machine, and tell it the site and the VMs."""
        node = bed.nodes[self.target]
        if not node.is_on:
            await node.power_on()
            await node.wait_booted(BOOT_TIMEOUT_S)
            await bed.tell_bare(node)


async def _beginnings(bed: Bed, node: str) -> dict[str, bytes]:
    found = {}
    for name, disk in disks_of(bed, node).items():
        if name != ROOT_DISK:
            async with NbdClient(disk.socket) as client:
                found[name] = await client.read(0, SUPERBLOCK_BYTES)
    return found


async def _empty(disk: NbdDisk, *, backing: Path | None) -> None:
    """Let a disk have nothing of its own: zeros, or what is on the image below."""
    folder = Path(tempfile.mkdtemp(prefix="bare-"))
    try:
        blank = DiskImage(folder / "image", disk.size, backing)
        blank.close()
        (folder / "cache.bin").write_bytes(b"")
        (folder / "cache.json").write_text(json.dumps({"size": disk.size, "writes": []}), encoding="ascii")
        await disk.load(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


FAULTS = (NodeReplaced,)

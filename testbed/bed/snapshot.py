"""Snapshots of the whole protected pair on disk: memory of both nodes, their disks and the switch, from one barrier.

A snapshot is a directory that is complete or not there. Its key covers everything that went into it, so that a changed
image, product, QEMU or site can never meet an old memory. Disks are loaded into fresh ones, and a snapshot is never
written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.errors import SnapshotError
from testbed.node.image import Image
from testbed.node.spec import ACCEL, CPU, PORTS
from testbed.site import SiteOptions, avance_site, avance_vm
from testbed.topology import DISK_NAMES, NODES, Topology

FORMAT = 6  # of what is saved, and of the hardware and the ports of the switch that it belongs to
KEPT = 6  # snapshots that are kept, the newest included; each takes some hundred MiB, and each dilation has its own


def snapshot_key(image: Image, accel: str, options: SiteOptions, fingerprint: str) -> str:
    """Return the key: a hash over image (and with it the product), QEMU binary, hardware, site and certificate."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise SnapshotError("qemu-system-x86_64 is not installed, so there is nothing that a snapshot could belong to.")
    stat = Path(qemu).resolve().stat()
    binary = f"{Path(qemu).resolve()} {stat.st_size} {stat.st_mtime_ns}"
    vm = {key: value for key, value in asdict(image.workload).items() if not key.endswith("_port")}
    documents = [avance_site(options, secret="", token="", authority_pem=fingerprint)]
    documents += [avance_vm(options, guest, **vm) for guest in options.guests]
    wires = [options.node_macs, options.segments]
    parts = [FORMAT, image.hash, binary, accel, ACCEL[accel], CPU[accel], documents, *wires, PORTS]
    size = [options.memory_mib, options.processors]
    if size != [Topology.memory_mib, Topology.processors]:  # it is in no document
        parts.append(size)
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot."""

    directory: Path
    secret: str
    token: str

    def memory(self, node: str) -> Path:
        """Memory and device state of a node."""
        return self.directory / f"{node}.memory"

    def disks(self, node: str) -> dict[str, Path]:
        """The directories of a node's disks, each with what its server saved: image and volatile cache."""
        return {name: self.directory / f"{node}-{name}" for name in DISK_NAMES}

    def journal(self, node: str) -> Path:
        """What the bed had received of a node's journal: a restarted node sends it again from the beginning."""
        return self.directory / f"{node}.journal"

    @property
    def switch(self) -> Path:
        """The switch's tables, queues and held frames."""
        return self.directory / "switch.json"


class Building(Snapshot):
    """A snapshot that is being written under another name."""

    def finish(self, *, secret: str, token: str) -> Snapshot:
        """Check that it is whole, mark it complete and give it its name; raises SnapshotError."""
        expected = [self.switch, *(file(node) for node in NODES for file in (self.memory, self.journal))]
        expected += [path / "cache.json" for node in NODES for path in self.disks(node).values()]  # written last
        missing = [str(path.relative_to(self.directory)) for path in expected if not path.exists()]
        if missing:
            raise SnapshotError(f"The snapshot lacks {', '.join(missing)}; it is not used.")
        meta = self.directory / "meta.json"
        meta.write_text(json.dumps({"secret": secret, "token": token}), encoding="ascii")
        meta.chmod(0o600)
        final = self.directory.with_name(self.directory.name.partition(".partial")[0])
        shutil.rmtree(final, ignore_errors=True)
        self.directory.rename(final)
        return Snapshot(final, secret, token)


class SnapshotStore:
    """The directory of all snapshots of this user."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, key: str) -> Snapshot | None:
        """Return the complete snapshot of this key, or None; it counts as used now."""
        directory = self._root / key
        try:
            meta = json.loads((directory / "meta.json").read_text(encoding="ascii"))
            snapshot = Snapshot(directory, str(meta["secret"]), str(meta["token"]))
            os.utime(directory)
        except (OSError, ValueError, TypeError, KeyError):  # damaged is the same as not there
            return None
        return snapshot

    @contextlib.contextmanager
    def new(self, key: str) -> Iterator[Building]:
        """Give a directory to write a snapshot into; what is not finished is removed."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        directory = self._root / f"{key}.partial-{os.getpid()}"
        shutil.rmtree(directory, ignore_errors=True)  # of a dead run that had the same pid, as in a new container
        directory.mkdir(mode=0o700)
        try:
            yield Building(directory, "", "")
        except OSError as error:
            raise SnapshotError(f"The snapshot could not be written ({error}); nothing of it was kept.") from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def discard(self, snapshot: Snapshot) -> None:
        """Remove a snapshot that does not work."""
        shutil.rmtree(snapshot.directory, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what dead runs left half-written, and the snapshots that were not used for longest."""
        for path in self._root.glob("*.partial-*"):
            if not Path(f"/proc/{path.name.rpartition('-')[2]}").exists():
                shutil.rmtree(path, ignore_errors=True)
        complete = [p for p in self._root.iterdir() if ".partial-" not in p.name and (p / "meta.json").exists()]
        whole = sorted(complete, key=lambda path: path.stat().st_mtime)
        for path in whole[: max(0, len(whole) - KEPT + 1)]:
            shutil.rmtree(path, ignore_errors=True)

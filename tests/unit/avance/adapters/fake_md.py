"""A stand-in for md: files for disks, a directory for /sys/block/md0/md, and programs that act on both as real ones do.

It does what was seen on a real kernel (docs/experiments.md): an array that is started with one half marks the other as
missing and counts on; a half that is taken back is a spare until its copy is complete. It must never do more.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

from tests.unit.avance.superblocks import FAULTY, superblock

SIZE = 2 << 20
_AT = 4096
_MDADM = """#!{python} -IS
import sys
sys.path.insert(0, "{root}")
from tests.unit.avance.adapters import fake_md
fake_md.main("{directory}", sys.argv[1:])
"""
_OTHER = """#!/bin/sh
echo "{name} $*" | sed "s:{directory}/::g" >> {directory}/calls
[ {name} != blkid ] || exit 2
[ ! -f {directory}/failing ] || exit 1
"""


class FakeMd:
    """Two disks of a node, and what md makes of them."""

    def __init__(self, directory: Path, path: Callable[[str], None] | None = None) -> None:
        self.directory = directory
        self.sysfs = directory / "md"
        self.disks = (str(directory / "vdb"), str(directory / "vdc"))
        if path is None:
            return
        programs = directory / "bin"
        programs.mkdir()
        root = Path(__file__).resolve().parents[4]
        for name in ("mdadm", "vgchange", "vgcreate", "wipefs", "blkid"):
            program = programs / name
            text = _MDADM if name == "mdadm" else _OTHER
            program.write_text(text.format(python=sys.executable, root=root, directory=directory, name=name))
            program.chmod(0o755)
        path(str(programs))
        for disk in self.disks:
            self.blank(disk)

    @property
    def calls(self) -> list[str]:
        """Every call of a program, in order."""
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def blank(self, disk: str) -> None:
        """Put a blank disk in this place."""
        with Path(disk).open("wb") as file:
            file.truncate(SIZE)

    def put(self, disk: str, raw: bytes) -> None:
        """Put another disk with this superblock in the place, in one moment."""
        self.blank(disk + ".new")
        self.write(disk + ".new", raw)
        Path(disk + ".new").rename(disk)

    def write(self, disk: str, raw: bytes) -> None:
        """Write a superblock."""
        with Path(disk).open("r+b") as file:
            file.seek(_AT)
            file.write(raw)

    def label(self, disk: str) -> tuple[str, str, int]:
        """Return array, device and event count of a disk's superblock."""
        raw = Path(disk).read_bytes()[_AT : _AT + 4096]
        return raw[16:32].hex(), raw[168:184].hex(), struct.unpack_from("<Q", raw, 200)[0]

    def take(self, disk: str) -> str:
        """Take a disk out of the machine; returns where it is."""
        away = disk + ".away"
        Path(disk).rename(away)
        return away

    def give(self, disk: str) -> None:
        """Put it back."""
        Path(disk + ".away").rename(disk)

    def state(self, disk: str, words: str) -> None:
        """Say what md says of a member."""
        member = self.sysfs / f"dev-{Path(disk).name}"
        member.mkdir(parents=True, exist_ok=True)
        (member / "new").write_text(words + "\n")
        (member / "new").rename(member / "state")  # no reader ever finds it empty

    def fails(self, disk: str, *, count: int = 1) -> None:
        """A member fails: md says so at once, and the other half's superblock tells of it."""
        self.state(disk, "faulty")
        other = self.disks[1 - self.disks.index(disk)]
        array, device, events = self.label(other)
        number = self.disks.index(other)
        roles = (FAULTY, 1) if number else (0, FAULTY)
        self.write(other, superblock(array, device, events + count, roles=roles, number=number))

    def completes(self, disk: str) -> None:
        """The copy of a half that was taken back is complete."""
        self.state(disk, "in_sync")
        counts = [self.label(one)[2] for one in self.disks]
        for number, one in enumerate(self.disks):
            array, device, _ = self.label(one)
            self.write(one, superblock(array, device, max(counts) + 1, number=number))

    def counts_on(self) -> None:
        """Every half in use gets the next count."""
        for number, disk in enumerate(self.disks):
            member = self.sysfs / f"dev-{Path(disk).name}" / "state"
            if member.exists() and "in_sync" in member.read_text():
                array, device, events = self.label(disk)
                roles = struct.unpack_from("<2H", Path(disk).read_bytes(), _AT + 256)
                self.write(disk, superblock(array, device, events + 1, roles=roles, number=number))

    def stops(self) -> None:
        """The machine stops: nothing runs any more."""
        if self.sysfs.exists():
            for path in sorted(self.sysfs.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self.sysfs.rmdir()


def main(directory: str, words: list[str]) -> None:
    """Be mdadm; what was noted when it was called is kept beside the note."""
    fake = FakeMd(Path(directory))
    noted = Path(directory) / "mirror"
    if noted.exists():
        (Path(directory) / "mirror.before").write_bytes(noted.read_bytes())
    with (Path(directory) / "calls").open("a") as calls:
        calls.write(" ".join(["mdadm", *(word.replace(f"{directory}/", "") for word in words)]) + "\n")
    disks = [word for word in words if word in fake.disks]
    if words[0] in ("--assemble", "--create"):
        array = next(word.partition("=")[2].replace(":", "") for word in words if word.startswith("--uuid="))
        for disk in disks:
            number = fake.disks.index(disk)
            if words[0] == "--create":
                device, events = f"{number + 1:032x}", 0
            else:
                _, device, events = fake.label(disk)
            missing = (FAULTY, 1) if number else (0, FAULTY)
            roles = (0, 1) if len(disks) == len(fake.disks) else missing
            fake.write(disk, superblock(array, device, events + 1, roles=roles, number=number))
            fake.state(disk, "in_sync")
        (fake.sysfs / "array_state").write_text("clean\n")
        (fake.sysfs / "degraded").write_text(f"{len(fake.disks) - len(disks)}\n")
    elif words[0] == "--zero-superblock":
        fake.write(words[1], bytes(4096))
    elif words[0] == "--stop":
        fake.stops()
    else:
        _manage(fake, words[1], words[2])


def _manage(fake: FakeMd, verb: str, disk: str) -> None:
    member = fake.sysfs / f"dev-{Path(disk).name}"
    if verb == "--remove":
        (member / "state").unlink()
        member.rmdir()
        return
    array, _, events = fake.label(fake.disks[1 - fake.disks.index(disk)])
    mine = fake.label(disk)
    if verb == "--re-add" and mine[0] != array:
        sys.exit(1)
    number = fake.disks.index(disk)
    kept = mine[1] if verb == "--re-add" else f"{number + 11:032x}"
    fake.write(disk, superblock(array, kept, events, number=number, features=0x3))
    fake.state(disk, "spare")

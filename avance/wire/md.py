"""Superblocks of Linux md, version 1.2, and the mirror's note as text; bytes and text to values and back.

The layout is `struct mdp_superblock_1` of the kernel's uapi/linux/raid/md_p.h: little-endian, 4 KiB from the start of
the disk, 256 bytes and then two bytes for the role of each device.
"""

from __future__ import annotations

import struct

from avance.core.halves import HALVES, Half, Note
from avance.wire.summed import seal, unseal

SUPERBLOCK_AT = 4096
SUPERBLOCK_BYTES = 4096
LABEL_BYTES = 2**20  # what has to be zero at the start of a disk that counts as blank
DEVICE = "/dev/md0"
NOTHING_NEW = "-failfast"  # a flag of a member that is never set; md writes all superblocks when it is taken away
COUNTS = 2  # one is taken back when the array becomes clean

_MAGIC = 0xA92B4EFC
_ROLES_AT = 256
_RECOVERING = 0x2  # MD_FEATURE_RECOVERY_OFFSET: it holds the data up to a place only
_ACTIVE_BELOW = 0xFF00  # MD_DISK_ROLE_MAX; above are spare, faulty and journal
_LEVEL_MIRROR = 1
_DEVICES_MAX = 1920


def parse_superblock(raw: bytes) -> Half | None:
    """Return the half of a mirror whose superblock this is; None when it is none, or damaged."""
    if len(raw) < SUPERBLOCK_BYTES:
        return None
    magic, major, features = struct.unpack_from("<3I", raw)
    (level,) = struct.unpack_from("<i", raw, 72)
    (of,) = struct.unpack_from("<I", raw, 92)
    (number,) = struct.unpack_from("<I", raw, 160)
    (events,) = struct.unpack_from("<Q", raw, 200)
    checksum, devices = struct.unpack_from("<2I", raw, 216)
    if (magic, major, level, of) != (_MAGIC, 1, _LEVEL_MIRROR, HALVES) or devices > _DEVICES_MAX:
        return None
    if checksum != _checksum(raw, _ROLES_AT + 2 * devices):
        return None
    roles = struct.unpack_from(f"<{devices}H", raw, _ROLES_AT)
    active = {role for role in roles if role < _ACTIVE_BELOW}
    in_use = number < devices and roles[number] < _ACTIVE_BELOW
    return Half(
        array=raw[16:32].hex(),
        device=raw[168:184].hex(),
        events=events,
        complete=in_use and not features & _RECOVERING,
        alone=in_use and len(active) < of,
    )


def _checksum(raw: bytes, size: int) -> int:
    """Return the sum of its 32-bit words without the checksum's own (md.c, calc_sb_1_csum)."""
    whole = raw[:216] + bytes(4) + raw[220:size]
    total: int = sum(struct.unpack_from(f"<{size // 4}I", whole))
    if size % 4:
        total += int.from_bytes(whole[size - 2 : size], "little")
    return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


def note_text(note: Note) -> str:
    """Return the note in one line of plain words."""
    words = (note.seq, note.array, note.events, int(note.doubt), ",".join(note.current), ",".join(note.former))
    return " ".join(str(word) or "-" for word in words)


def parse_note(text: str) -> Note | None:
    """Return the note of a line, or None when it is none."""
    try:
        seq, array, events, doubt, current, former = text.split(" ")
        note = Note(int(seq), array, _names(current), int(events), doubt == "1", _names(former))
    except ValueError:
        return None
    return note if note_text(note) == text else None


def _names(word: str) -> tuple[str, ...]:
    return () if word == "-" else tuple(word.split(","))


def note_bytes(text: str) -> bytes:
    """Return the file of a note: checksum and line."""
    return seal(text)


def read_note(raw: bytes) -> str:
    """Return the line of a note's file; the empty text when it is torn or rotten."""
    try:
        text = unseal(raw)
    except ValueError:
        return ""
    return text if parse_note(text) else ""


def uuid_argument(array: str) -> str:
    """Return an array's identifier as mdadm wants it: four groups of eight digits."""
    return ":".join(array[i : i + 8] for i in range(0, 32, 8))


def assemble_argv(array: str, disks: tuple[str, ...]) -> list[str]:
    """Start the array from these disks and no others, also when there is only one (mdadm(8), --run)."""
    return ["mdadm", "--assemble", "--run", f"--uuid={uuid_argument(array)}", DEVICE, *disks]


def create_argv(array: str, disks: tuple[str, ...]) -> list[str]:
    """Make a new mirror on blank disks; the bitmap keeps the resynchronisation after a power cut short."""
    absent = ["missing"] * (HALVES - len(disks))
    return [
        "mdadm", "--create", DEVICE, "--run", "--assume-clean", "--level=1", f"--raid-devices={HALVES}",
        "--metadata=1.2", "--bitmap=internal", f"--uuid={uuid_argument(array)}", *disks, *absent,
    ]  # fmt: skip


def manage_argv(verb: str, disk: str) -> list[str]:
    """Remove, re-add or add one disk of the running mirror (mdadm(8), manage mode)."""
    return ["mdadm", DEVICE, f"--{verb}", disk]


def zero_argv(disk: str) -> list[str]:
    """Take the superblock off a disk that was a half."""
    return ["mdadm", "--zero-superblock", disk]


def member_name(disk: str) -> str:
    """Return the name of a disk's directory below /sys/block/md0/md."""
    return f"dev-{disk.rpartition('/')[2]}"

"""Where the bytes of a VM's volume lie on a node's disks: md superblock, LVM text metadata, DRBD metadata; pure.

The oracle of equal replicas reads disks from outside, without root and without the node. This file turns bytes into
places and never touches a file. It must never guess: what is not exactly as expected is a ReplicaError that names what
was expected and what is there.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from testbed.errors import TestbedError

SECTOR_BYTES = 512

# md, version 1.2: the superblock stands 4 KiB from the start of the member (Linux, md_p.h, struct mdp_superblock_1).
MD_OFFSET_BYTES, MD_BYTES = 4096, 4096
_MD_MAGIC = 0xA92B4EFC
_MD_HEAD_BYTES, _MD_CHECKSUM_AT = 256, 216
_MD_ROLES_SPECIAL = 0xFFFD  # from here on: journal, faulty, spare
_MD_RAID1 = 1
_MD_SECONDS = (1 << 40) - 1  # of a time; above are microseconds
_MD_CLEAN = 0xFFFFFFFFFFFFFFFF  # resync_offset of an array that is in sync

# LVM2 (lib/format_text/layout.h): a label in one of the first four sectors, then header, then text in a ring.
LVM_LABEL_BYTES = 4 * SECTOR_BYTES
_LVM_TYPE, _LVM_MAGIC = b"LVM2 001", b" LVM2 x[5A%r0N*>"
LVM_AREA_HEADER_BYTES = 512
_LVM_CHECKSUM_SEED = 0xF597A6CF
_LVM_TEXT_BYTES_MAX = 4 << 20

# DRBD 8.4, internal metadata (drivers/block/drbd/drbd_main.c, struct meta_data_on_disk), big endian.
DRBD_BYTES = 4096
_DRBD_MAGIC_CLEAN, _DRBD_MAGIC_ATTACHED = 0x8374026B, 0x8374026C
_DRBD_FLAGS = {0: "consistent", 1: "primary", 2: "connected", 4: "up_to_date", 5: "peer_outdated", 6: "crashed_primary"}


class ReplicaError(TestbedError):
    """A replica could not be read from outside; the text names what was expected where."""


@dataclass(frozen=True)
class MdMember:
    """One disk of a mirror: where its data begin, when it was last in use (seconds), how current it says it is."""

    array: str
    used_s: int
    data_offset: int
    data_size: int
    events: int
    number: int
    active_numbers: frozenset[int]  # of all members that this one believes to be in the mirror
    is_resynced: bool

    @property
    def is_active(self) -> bool:
        """True when the disk believes itself to be a working half."""
        return self.number in self.active_numbers


@dataclass(frozen=True)
class Extent:
    """A piece of a volume: `count` bytes from `offset` of the mirrored device."""

    offset: int
    count: int


@dataclass(frozen=True)
class DrbdMetadata:
    """What DRBD wrote about a replica: the size of its data, its generation, and the flags that it had."""

    data_size: int
    generation: str
    is_attached: bool
    flags: tuple[str, ...]


def parse_md(block: bytes, disk: str) -> MdMember:
    """The superblock of one member of a RAID 1, given the 4 KiB at MD_OFFSET_BYTES."""
    where = f"disk {disk}, byte {MD_OFFSET_BYTES}"
    magic, major = struct.unpack_from("<II", block)
    if (magic, major) != (_MD_MAGIC, 1):
        raise ReplicaError(
            f"{where}: expected an md superblock of version 1.2 (magic {_MD_MAGIC:#x}, major 1), found magic "
            f"{magic:#x}, major {major}. This is no data disk of a node, or its first sectors are damaged."
        )
    (roles_max,) = struct.unpack_from("<I", block, 220)
    size = _MD_HEAD_BYTES + 2 * roles_max
    if size > len(block):
        most = (len(block) - _MD_HEAD_BYTES) // 2
        raise ReplicaError(f"{where}: expected at most {most} md roles, found {roles_max}")
    (stored,) = struct.unpack_from("<I", block, _MD_CHECKSUM_AT)
    made = _md_checksum(block[:size])
    if stored != made:
        raise ReplicaError(f"{where}: expected checksum {made:#x} of the md superblock, found {stored:#x}: damaged")
    (level,) = struct.unpack_from("<I", block, 72)
    if level != _MD_RAID1:
        raise ReplicaError(f"{where}: expected md level 1 (a mirror), found {level}")
    data_offset, data_size = struct.unpack_from("<QQ", block, 128)
    (number,) = struct.unpack_from("<I", block, 160)
    events, resync = struct.unpack_from("<QQ", block, 200)
    roles = struct.unpack_from(f"<{roles_max}H", block, _MD_HEAD_BYTES)
    return MdMember(
        array=block[16:32].hex(),
        used_s=struct.unpack_from("<Q", block, 192)[0] & _MD_SECONDS,
        data_offset=data_offset * SECTOR_BYTES,
        data_size=data_size * SECTOR_BYTES,
        events=events,
        number=number,
        active_numbers=frozenset(index for index, role in enumerate(roles) if role < _MD_ROLES_SPECIAL),
        is_resynced=resync == _MD_CLEAN,
    )


def _md_checksum(head: bytes) -> int:
    words = bytearray(head)
    words[_MD_CHECKSUM_AT : _MD_CHECKSUM_AT + 4] = bytes(4)
    total = sum(struct.unpack_from(f"<{len(words) // 4}I", words))
    if len(words) % 4:
        total += int.from_bytes(words[-2:], "little")
    return int((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


def parse_lvm_label(head: bytes, where: str) -> Extent:
    """The place of the text metadata on the device, given its first LVM_LABEL_BYTES."""
    at = next((n for n in range(0, LVM_LABEL_BYTES, SECTOR_BYTES) if head[n : n + 8] == b"LABELONE"), None)
    if at is None:
        raise ReplicaError(f"{where}: expected an LVM label in the first {LVM_LABEL_BYTES} bytes, found none")
    label = head[at : at + SECTOR_BYTES]
    _sector, stored, header_at = struct.unpack_from("<QII", label, 8)
    made = _lvm_checksum(label[20:])
    if label[24:32] != _LVM_TYPE or stored != made:
        raise ReplicaError(
            f"{where}: expected an LVM label of type {_LVM_TYPE!r} with checksum {made:#x}, found {label[24:32]!r} "
            f"and {stored:#x}: damaged"
        )
    areas: list[Extent] = []
    at_area = header_at + 40  # after the volume's id and the size of the device
    for _list in range(2):  # data areas, then metadata areas; each list ends with a pair of zeros
        areas = []
        while (area := struct.unpack_from("<QQ", label, at_area)) != (0, 0):
            areas.append(Extent(*area))
            at_area += 16
        at_area += 16
    if not areas:
        raise ReplicaError(f"{where}: expected an area of LVM metadata behind the label, found none")
    return areas[0]


def parse_lvm_area(header: bytes, area: Extent, where: str) -> tuple[list[Extent], int]:
    """The one or two pieces of the current text metadata, relative to the device, and the text's checksum."""
    (stored,) = struct.unpack_from("<I", header)
    made = _lvm_checksum(header[4:LVM_AREA_HEADER_BYTES])
    if header[4:20] != _LVM_MAGIC or stored != made:
        raise ReplicaError(
            f"{where}: expected the header of an LVM metadata area ({_LVM_MAGIC!r}, checksum {made:#x}), found "
            f"{header[4:20]!r} and {stored:#x}: damaged"
        )
    offset, size, checksum, _flags = struct.unpack_from("<QQII", header, 40)
    if not 0 < size <= min(area.count - LVM_AREA_HEADER_BYTES, _LVM_TEXT_BYTES_MAX) or offset >= area.count:
        raise ReplicaError(f"{where}: expected LVM text inside its area of {area.count} bytes, found {offset}+{size}")
    first = min(size, area.count - offset)
    pieces = [Extent(area.offset + offset, first)]
    if first < size:  # the ring goes on behind its header
        pieces.append(Extent(area.offset + LVM_AREA_HEADER_BYTES, size - first))
    return pieces, checksum


def volumes_in(text: bytes, checksum: int, where: str) -> tuple[str, ...]:
    """The names of all logical volumes on the device."""
    return tuple(_volumes(_group(text, checksum, where), where))


def parse_lvm_text(text: bytes, checksum: int, volume: str, where: str) -> tuple[Extent, ...]:
    """The pieces of a logical volume on the device, in the order of the volume."""
    group = _group(text, checksum, where)
    volumes = _volumes(group, where)
    if volume not in volumes:
        raise ReplicaError(
            f"{where}: expected a logical volume {volume!r}, found {', '.join(volumes) or 'none'}: the VM was never "
            "protected on this node"
        )
    extent_bytes = _number(group, "extent_size", where) * SECTOR_BYTES
    devices = _section(group, "physical_volumes", where)
    if len(devices) != 1:
        raise ReplicaError(f"{where}: expected a volume group on one device, found {', '.join(devices)}")
    start = _number(_section(devices, next(iter(devices)), where), "pe_start", where) * SECTOR_BYTES
    segments = [part for part in _section(volumes, volume, where).values() if isinstance(part, dict)]
    pieces = [_piece(segment, volume, start, extent_bytes, where) for segment in segments]
    if not pieces:
        raise ReplicaError(f"{where}: expected at least one segment of logical volume {volume!r}, found none")
    return tuple(piece for _start, piece in sorted(pieces, key=lambda item: item[0]))


def _group(text: bytes, checksum: int, where: str) -> Section:
    made = _lvm_checksum(text)
    if made != checksum:
        raise ReplicaError(f"{where}: expected LVM text with checksum {checksum:#x}, found {made:#x}: damaged")
    return _first_section(parse_lvm_values(text.rstrip(b"\0").decode(errors="replace"), where))


def _volumes(group: Section, where: str) -> Section:
    return _section(group, "logical_volumes", where) if "logical_volumes" in group else {}


def _piece(segment: Section, volume: str, start: int, extent_bytes: int, where: str) -> tuple[int, Extent]:
    kind, stripes = segment.get("type"), segment.get("stripes")
    if kind != "striped" or segment.get("stripe_count") != 1 or not isinstance(stripes, list) or len(stripes) != 2:
        raise ReplicaError(f"{where}: expected linear segments of {volume!r}, found type {kind!r}, stripes {stripes!r}")
    first = stripes[1]
    if not isinstance(first, int):
        raise ReplicaError(f"{where}: expected the number of an extent in {volume!r}, found {first!r}")
    count = _number(segment, "extent_count", where) * extent_bytes
    return _number(segment, "start_extent", where), Extent(start + first * extent_bytes, count)


def _lvm_checksum(data: bytes) -> int:
    """CRC 32 as LVM counts it: its own seed, and nothing inverted."""
    return zlib.crc32(data, _LVM_CHECKSUM_SEED ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def drbd_metadata_at(volume_size: int) -> int:
    """Where in a volume DRBD's internal metadata block stands: the last whole 4 KiB."""
    return volume_size // DRBD_BYTES * DRBD_BYTES - DRBD_BYTES


def parse_drbd(block: bytes, where: str) -> DrbdMetadata:
    """The metadata block of a replica."""
    size, current = struct.unpack_from(">QQ", block)
    flags, magic = struct.unpack_from(">II", block, 56)
    if magic not in {_DRBD_MAGIC_CLEAN, _DRBD_MAGIC_ATTACHED}:
        raise ReplicaError(
            f"{where}: expected DRBD 8.4 metadata (magic {_DRBD_MAGIC_CLEAN:#x} or {_DRBD_MAGIC_ATTACHED:#x}), found "
            f"{magic:#x}: no replica, or damaged"
        )
    return DrbdMetadata(
        data_size=size * SECTOR_BYTES,
        generation=f"{current & ~1:016X}",  # the lowest bit says "primary", not which generation
        is_attached=magic == _DRBD_MAGIC_ATTACHED,
        flags=tuple(name for bit, name in _DRBD_FLAGS.items() if flags >> bit & 1),
    )


# LVM's text: `key = value`, `section { ... }`, lists, strings and whole numbers; comments to the end of the line.
Value: TypeAlias = "int | str | list[int | str] | dict[str, Value]"
Section: TypeAlias = dict[str, Value]
_TOKEN = re.compile(r'\s+|#[^\n]*|(?P<word>[\w.+-]+)|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<sign>[{}\[\]=,])')


def parse_lvm_values(text: str, where: str) -> Section:
    """The tree of sections and values in an LVM text."""
    tokens = _tokens(text, where)
    root: Section = {}
    open_sections = [root]
    for kind, token in tokens:
        if (kind, token) == ("sign", "}"):
            open_sections.pop()
            if not open_sections:
                raise ReplicaError(f"{where}: expected LVM text with as many {{ as }}, found a }} too many")
            continue
        sign = next(tokens, ("", "the end"))[1]
        if kind != "word" or sign not in {"{", "="}:
            raise ReplicaError(f"{where}: expected `key = value` or `section {{` in the LVM text, found {token!r}")
        if sign == "{":
            inner: Section = {}
            open_sections[-1][token] = inner
            open_sections.append(inner)
        else:
            open_sections[-1][token] = _value(tokens, token, where)
    if len(open_sections) != 1:
        raise ReplicaError(f"{where}: expected a whole LVM text, found {len(open_sections) - 1} sections not closed")
    return root


def _tokens(text: str, where: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ReplicaError(f"{where}: expected LVM text, found {text[at : at + 20]!r}")
        if found.lastgroup:
            yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def _value(tokens: Iterator[tuple[str, str]], key: str, where: str) -> Value:
    kind, first = next(tokens, ("", ""))
    if kind in {"word", "text"}:
        return _atom(kind, first)
    if first != "[":
        raise ReplicaError(f"{where}: expected a value of {key!r} in the LVM text, found {first!r}")
    found: list[int | str] = []
    for item_kind, item in tokens:
        if item == "]" and item_kind == "sign":
            return found
        if item_kind in {"word", "text"}:
            found.append(_atom(item_kind, item))
    raise ReplicaError(f"{where}: expected the end of the list {key!r} in the LVM text, found none")


def _atom(kind: str, token: str) -> int | str:
    return int(token) if kind == "word" and token.lstrip("-").isdigit() else token


def _first_section(tree: Section) -> Section:
    return next((value for value in tree.values() if isinstance(value, dict)), {})


def _section(parent: Section, name: str, where: str) -> Section:
    found = parent.get(name)
    if not isinstance(found, dict):
        raise ReplicaError(f"{where}: expected a section {name!r} in the LVM text, found {found!r}")
    return found


def _number(section: Section, key: str, where: str) -> int:
    found = section.get(key)
    if not isinstance(found, int):
        raise ReplicaError(f"{where}: expected a whole number {key!r} in the LVM text, found {found!r}")
    return found

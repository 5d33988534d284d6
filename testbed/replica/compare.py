"""A VM's replica on one node, read from outside through the node's two disks, without root and without the node.

Disk -> md mirror -> logical volume -> DRBD: the last holds the VM's data at its front. `compare` reads every half of
every replica once and says what differs. Two replicas must be equal only when both are said to be in sync *and* nothing
is being written: the caller sees to that, because this file cannot know. It must never write, and
never call a part equal that it could not read.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from testbed.replica import layout
from testbed.replica.layout import DrbdMetadata, Extent, MdMember, ReplicaError
from testbed.vocabulary import in_tools, is_kept_of

VOLUME_GROUP = "vg0"  # nothing depends on it but the words: a node has one group
CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 4096  # what a difference is told in
RANGES_MAX = 20  # differences that are told; the rest is counted


class Reader(Protocol):
    """A disk that can be read; both NbdClient and RawFile are one."""

    async def read(self, offset: int, count: int) -> bytes:
        """Exactly these bytes; raises OSError."""


class RawFile:
    """A raw image file as a disk. It shows what is in the file: a disk server's unflushed cache is not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._file = os.open(self.path, os.O_RDONLY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    async def read(self, offset: int, count: int) -> bytes:
        """Exactly these bytes; raises OSError when the file is shorter."""
        data = os.pread(self._file, count, offset)
        if len(data) != count:
            raise OSError(f"{self.path} ends before byte {offset + count}")
        return data


@dataclass(frozen=True)
class Half:
    """One disk of the node's mirror."""

    disk: str
    reader: Reader
    member: MdMember


@dataclass(frozen=True)
class Replica:
    """The data of a VM on one node; it reads like a disk. `halves` are the usable disks, the most current one first."""

    node: str
    vm: str
    halves: tuple[Half, ...]
    extents: tuple[Extent, ...]
    metadata: DrbdMetadata
    problems: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes that the VM sees."""
        return self.metadata.data_size

    async def read(self, offset: int, count: int) -> bytes:
        """Exactly these bytes of the VM's data, from the most current half; raises ReplicaError."""
        return await self.read_half(self.halves[0], offset, count)

    async def read_half(self, half: Half, offset: int, count: int) -> bytes:
        """The same from a chosen half."""
        if offset + count > self.size:
            raise ReplicaError(f"{self}: expected bytes below {self.size}, asked for {offset}+{count}")
        return await _read_extents(half, self.extents, offset, count)

    def __str__(self) -> str:
        return f"replica {self.node} of VM {self.vm}"


@dataclass(frozen=True)
class Comparison:
    """Two things of one size, compared byte for byte; `ranges` are (offset, count) of the first differences."""

    left: str
    right: str
    size: int
    differing_blocks: int
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def is_equal(self) -> bool:
        """True when every byte is the same."""
        return self.differing_blocks == 0

    def __str__(self) -> str:
        if self.is_equal:
            return f"{self.left} and {self.right} are equal in all {self.size} bytes"
        shown = ", ".join(f"{offset}+{count}" for offset, count in self.ranges)
        return f"{self.left} and {self.right} differ in {self.differing_blocks} blocks of {BLOCK_BYTES} bytes: {shown}"


@dataclass(frozen=True)
class ReplicaReport:
    """What comparing all replicas of a VM showed; the halves inside a node are told apart from the nodes."""

    sha256: Mapping[str, str]
    nodes: tuple[Comparison, ...]
    halves: tuple[Comparison, ...]
    problems: tuple[str, ...] = ()
    generations: Mapping[str, str] = field(default_factory=dict)
    dirty: tuple[str, ...] = ()  # nodes whose mirror said that it was being written or resynchronised

    @property
    def is_equal(self) -> bool:
        """True when all nodes hold the same bytes; the halves inside a node do not count here."""
        return all(comparison.is_equal for comparison in self.nodes)


async def open_replica(node: str, disks: Mapping[str, Reader], vm: str, *, volume: str = "") -> Replica:
    """Find a VM's replica on the disks of a node; a disk that is unusable or behind is left out and said.

    With `volume` it is one that is kept beside (`kept_volumes`), and not the one that is in use.
    """
    halves, problems = await _halves(node, disks)
    best, name = halves[0], volume or in_tools(vm)
    where = _where(node, best)
    extents = layout.parse_lvm_text(*await _lvm_text(best, where), name, f"{where}, group {VOLUME_GROUP}")
    size = sum(extent.count for extent in extents)
    at = layout.drbd_metadata_at(size)
    metadata = layout.parse_drbd(
        await _read_extents(best, extents, at, layout.DRBD_BYTES), f"{where}, volume {name}, byte {at}"
    )
    if not 0 < metadata.data_size <= at:
        raise ReplicaError(f"{where}, volume {name}: expected DRBD data of 1 to {at} bytes, found {metadata.data_size}")
    return Replica(node, vm, halves, extents, metadata, problems)


async def kept_volumes(node: str, disks: Mapping[str, Reader], vm: str) -> tuple[str, ...]:
    """The volumes of a node that hold versions of the VM which a person gave up; raises ReplicaError."""
    best = (await _halves(node, disks))[0][0]
    where = _where(node, best)
    named = layout.volumes_in(*await _lvm_text(best, where), f"{where}, group {VOLUME_GROUP}")
    return tuple(volume for volume in named if is_kept_of(vm, volume))


def _where(node: str, half: Half) -> str:
    return f"node {node}, disk {half.disk}"


async def _lvm_text(half: Half, where: str) -> tuple[bytes, int]:
    """The text metadata of the group on a half, and the checksum that it has to have."""
    label = layout.parse_lvm_label(await _read(half, 0, layout.LVM_LABEL_BYTES), where)
    header = await _read(half, label.offset, layout.LVM_AREA_HEADER_BYTES)
    pieces, checksum = layout.parse_lvm_area(header, label, where)
    return b"".join([await _read(half, piece.offset, piece.count) for piece in pieces]), checksum


async def _halves(node: str, disks: Mapping[str, Reader]) -> tuple[tuple[Half, ...], tuple[str, ...]]:
    found: list[Half] = []
    problems: list[str] = []
    for disk, reader in disks.items():
        try:
            block = await reader.read(layout.MD_OFFSET_BYTES, layout.MD_BYTES)
            member = layout.parse_md(block, f"{node}-{disk}")
        except (OSError, ReplicaError) as error:
            problems.append(f"disk {disk} of node {node} cannot be used: {error}")
            continue
        if member.is_active:
            found.append(Half(disk, reader, member))
        else:
            problems.append(f"disk {disk} of node {node} is no active half of its mirror")
    if not found:
        raise ReplicaError(f"node {node}: expected a usable half of its mirror, found none: {'; '.join(problems)}")
    found.sort(key=lambda half: -half.member.events)
    # A node that empties an old mirror makes a new array, whose events begin anew: the one in use counts.
    arrays = {half.member.array: half.member.used_s for half in sorted(found, key=lambda half: half.member.used_s)}
    found.sort(key=lambda half: -arrays[half.member.array])
    current = [half for half in found if half.member.array == found[0].member.array]
    problems += [f"disk {h.disk} of node {node} belongs to another mirror" for h in found if h not in current]
    best = current[0].member
    behind = [
        half
        for half in current
        if half.member.number not in best.active_numbers or half.member.events + 1 < best.events  # md forgives one
    ]
    problems += [
        f"disk {half.disk} of node {node} is behind its mirror: event {half.member.events} of {best.events}"
        for half in behind
    ]
    return tuple(half for half in current if half not in behind), tuple(problems)


async def compare(replicas: Sequence[Replica]) -> ReplicaReport:
    """Read every half of every replica once, and compare; the nodes are compared by their most current halves.

    It is meaningful at a quiet point only, with all replicas said to be in sync. Raises ReplicaError.
    """
    assert replicas, "nothing to compare"
    sizes = {replica.node: replica.size for replica in replicas}
    if len(set(sizes.values())) != 1:
        raise ReplicaError(f"expected replicas of one size, found {sizes} bytes: the pair never agreed on one")
    size = replicas[0].size
    digests = {replica.node: hashlib.sha256() for replica in replicas}
    pairs = list(itertools.combinations(replicas, 2))
    node_marks = [_Marks() for _ in pairs]
    half_marks = {(replica.node, half.disk): _Marks() for replica in replicas for half in replica.halves[1:]}
    for offset in range(0, size, CHUNK_BYTES):
        count = min(CHUNK_BYTES, size - offset)
        best: dict[str, bytes] = {}
        for replica in replicas:
            first, *others = replica.halves
            chunk = best[replica.node] = await replica.read_half(first, offset, count)
            digests[replica.node].update(chunk)
            for half in others:
                half_marks[replica.node, half.disk].look(chunk, await replica.read_half(half, offset, count), offset)
        for (left, right), marks in zip(pairs, node_marks, strict=True):
            marks.look(best[left.node], best[right.node], offset)
        await asyncio.sleep(0)  # a raw file never waits: let others run between the chunks
    return ReplicaReport(
        sha256={node: digest.hexdigest() for node, digest in digests.items()},
        nodes=tuple(
            marks.comparison(str(left), str(right), size)
            for (left, right), marks in zip(pairs, node_marks, strict=True)
        ),
        halves=tuple(
            half_marks[replica.node, half.disk].comparison(
                f"{replica} on {replica.halves[0].disk}", f"on {half.disk}", size
            )
            for replica in replicas
            for half in replica.halves[1:]
        ),
        problems=tuple(problem for replica in replicas for problem in replica.problems),
        generations={replica.node: replica.metadata.generation for replica in replicas},
        dirty=tuple(
            replica.node for replica in replicas if not all(half.member.is_resynced for half in replica.halves)
        ),
    )


class _Marks:
    """Differing blocks so far; adjacent ones are told as one range."""

    def __init__(self) -> None:
        self._blocks = 0
        self._ranges: list[tuple[int, int]] = []

    def look(self, left: bytes, right: bytes, offset: int) -> None:
        """Compare two chunks from the same place."""
        if left == right:
            return
        for at in range(0, len(left), BLOCK_BYTES):
            block = left[at : at + BLOCK_BYTES]
            if block != right[at : at + BLOCK_BYTES]:
                self._add(offset + at, len(block))

    def _add(self, offset: int, count: int) -> None:
        self._blocks += 1
        if self._ranges and sum(self._ranges[-1]) == offset:
            self._ranges[-1] = (self._ranges[-1][0], self._ranges[-1][1] + count)
        elif len(self._ranges) < RANGES_MAX:
            self._ranges.append((offset, count))

    def comparison(self, left: str, right: str, size: int) -> Comparison:
        """What was found."""
        return Comparison(left, right, size, self._blocks, tuple(self._ranges))


async def _read_extents(half: Half, extents: Sequence[Extent], offset: int, count: int) -> bytes:
    """Bytes of a volume, wherever its pieces lie."""
    parts: list[bytes] = []
    start = 0
    for extent in extents:
        first, last = max(offset, start), min(offset + count, start + extent.count)
        if first < last:
            parts.append(await _read(half, extent.offset + first - start, last - first))
        start += extent.count
    return b"".join(parts)


async def _read(half: Half, offset: int, count: int) -> bytes:
    """Bytes of the mirrored device, from one half."""
    if offset + count > half.member.data_size:
        raise ReplicaError(
            f"disk {half.disk}: expected {count} bytes at {offset} of the mirror, which has {half.member.data_size}"
        )
    try:
        return await half.reader.read(half.member.data_offset + offset, count)
    except OSError as error:
        raise ReplicaError(f"disk {half.disk}: expected {count} bytes at {offset} of the mirror: {error}") from error

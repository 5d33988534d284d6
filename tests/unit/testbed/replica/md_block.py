"""A captured md superblock with some numbers changed and its checksum made good again."""

from __future__ import annotations

import asyncio
import struct

from testbed.replica import layout
from tests.unit.testbed.replica.captured_disks import captured


def md_block(
    name: str,
    *,
    events: int | None = None,
    roles: tuple[int, ...] | None = None,
    resync: int | None = None,
    data_sectors: int | None = None,
    level: int | None = None,
    used_s: int | None = None,
    array: bytes | None = None,
) -> bytes:
    """The superblock of a captured disk, changed; roles are those of member 0, 1 and so on."""
    block = bytearray(asyncio.run(captured(name).read(layout.MD_OFFSET_BYTES, layout.MD_BYTES)))
    for at, form, value in (
        (200, "<Q", events),
        (208, "<Q", resync),
        (136, "<Q", data_sectors),
        (72, "<I", level),
        (192, "<Q", used_s),
    ):
        if value is not None:
            struct.pack_into(form, block, at, value)
    block[16:32] = array or block[16:32]
    for index, role in enumerate(roles or ()):
        struct.pack_into("<H", block, 256 + 2 * index, role)
    (most,) = struct.unpack_from("<I", block, 220)
    struct.pack_into("<I", block, 216, 0)
    total = sum(struct.unpack_from(f"<{(256 + 2 * most) // 4}I", block))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    return bytes(block)

"""Superblocks of md as a test needs them, written by the same layout that real ones were captured with (test_md.py)."""

from __future__ import annotations

import struct

SPARE, FAULTY = 0xFFFF, 0xFFFE


def superblock(
    array: str, device: str, events: int, *, roles: tuple[int, ...] = (0, 1), number: int = 0, features: int = 1
) -> bytes:
    """Return the 4 KiB of a superblock 1.2 of a mirror of two; `number` says which of the roles is its own."""
    raw = bytearray(4096)
    struct.pack_into("<3I", raw, 0, 0xA92B4EFC, 1, features)
    raw[16:32] = bytes.fromhex(array)
    struct.pack_into("<i", raw, 72, 1)
    struct.pack_into("<I", raw, 92, 2)
    struct.pack_into("<I", raw, 160, number)
    raw[168:184] = bytes.fromhex(device)
    struct.pack_into("<Q", raw, 200, events)
    struct.pack_into("<I", raw, 220, len(roles))
    struct.pack_into(f"<{len(roles)}H", raw, 256, *roles)
    size = 256 + 2 * len(roles)
    words = struct.unpack_from(f"<{size // 4}I", raw)
    rest = int.from_bytes(raw[size - 2 : size], "little") if size % 4 else 0
    total = sum(words) + rest
    struct.pack_into("<I", raw, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    return bytes(raw)

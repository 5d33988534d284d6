"""What two nodes say to each other before a domain moves over a connection. Pure.

The sender speaks first, then the receiver, each with one word of a fixed size. Both prove that they know the site's
secret, and mean the same move of the same VM. A word says who speaks, so nobody can send it back. The move has another
name each time, so a word of an earlier one proves nothing.

What follows on the connection is xl's, and neither sealed nor signed: as what DRBD sends, it keeps to the private link.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from enum import StrEnum

from avance.core.model import VmId

PORT_ABOVE = 1000  # a VM's domain moves at the port that is so much above the one of its volume
_VERSION = b"avance move 1\n"
SIZE = len(_VERSION) + hashlib.sha256().digest_size


class Side(StrEnum):
    """Who speaks."""

    SENDER = "sender"
    RECEIVER = "receiver"


def word(key: bytes, side: Side, move: str, vm: VmId) -> bytes:
    """Return what this side says."""
    meant = json.dumps([side, move, vm]).encode()
    return _VERSION + hmac.digest(key, _VERSION + meant, hashlib.sha256)


def is_word(said: bytes, key: bytes, side: Side, move: str, vm: VmId) -> bool:
    """Say whether the other node said what this side says in this move."""
    return hmac.compare_digest(said, word(key, side, move, vm))


TCP_INFO_BYTES = 136  # linux/tcp.h, struct tcp_info, as far as it is read here
_ESTABLISHED = 1  # linux/tcp_states.h
_BYTES_MOVED = struct.Struct("=120x2Q")  # tcpi_bytes_acked, tcpi_bytes_received


def progress(info: bytes) -> tuple[bool, int]:
    """Return whether neither side has closed a connection yet, and how many bytes have moved, from its TCP_INFO.

    Raises:
        ValueError: the kernel said less than that.
    """
    if len(info) < TCP_INFO_BYTES:
        raise ValueError(f"TCP_INFO has {len(info)} bytes, and not {TCP_INFO_BYTES}")
    acked, received = _BYTES_MOVED.unpack_from(info)
    return info[0] == _ESTABLISHED, acked + received

"""Messages of the xenstore socket (xen/include/public/io/xs_wire.h and docs/misc/xenstore.txt of Xen 4.17).

Both directions have one form: a header of four words (type, request, transaction, length) and so many bytes of text.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SOCKET = "/run/xenstored/socket"
READ, WATCH, WATCH_EVENT, ERROR = 2, 4, 15, 16
PAYLOAD_MAX_BYTES = 4096  # XENSTORE_PAYLOAD_MAX: whoever announces more does not speak this protocol
# These two special nodes change when any domain begins, and when any one ends, is shut down or crashes.
SPECIAL_WATCHES = ("@introduceDomain", "@releaseDomain")
MISSING = b"ENOENT"  # the text of an ERROR for a node that does not exist

_HEADER = struct.Struct("=IIII")


class Message(NamedTuple):
    """One message; `request` is the number that the asker chose, 0 in an event."""

    kind: int
    request: int
    payload: bytes


def pack(kind: int, request: int, *texts: str) -> bytes:
    """Return a message outside of any transaction; each text is ended by a zero byte, as READ and WATCH want it."""
    payload = b"".join(text.encode() + b"\0" for text in texts)
    return _HEADER.pack(kind, request, 0, len(payload)) + payload


def unpack(data: bytes) -> tuple[list[Message], bytes]:
    """Return the whole messages at the start of `data`, and the bytes after them.

    Raises:
        ValueError: this is not the protocol.
    """
    found = []
    while len(data) >= _HEADER.size:
        kind, request, _, length = _HEADER.unpack_from(data)
        if length > PAYLOAD_MAX_BYTES:
            raise ValueError(f"a xenstore message of {length} bytes")
        end = _HEADER.size + length
        if len(data) < end:
            break
        found.append(Message(kind, request, data[_HEADER.size : end]))
        data = data[end:]
    return found, data

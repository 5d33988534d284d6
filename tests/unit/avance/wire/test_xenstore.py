"""The messages of xenstore: whole ones are read wherever the stream is cut, and nothing else is believed."""

from __future__ import annotations

import struct

import pytest

from avance.wire import xenstore

# Captured on Xen 4.17: the answer to a read, and the event that follows a watch at once.
READ_ANSWER = bytes.fromhex("02000000070000000000000008000000") + b"Domain-0"
EVENT = bytes.fromhex("0f000000000000000000000016000000") + b"@introduceDomain\0tok1\0"


def test_read_has_the_form_of_the_header() -> None:
    """A question is four words and the path with its zero byte."""
    assert xenstore.pack(xenstore.READ, 7, "/a") == struct.pack("=IIII", 2, 7, 0, 3) + b"/a\0"
    assert xenstore.pack(xenstore.WATCH, 8, "@x", "t")[16:] == b"@x\0t\0"


@pytest.mark.parametrize("cut", range(len(READ_ANSWER + EVENT)))
def test_stream_may_be_cut_anywhere(cut: int) -> None:
    """Two messages come out whole, however the bytes arrive."""
    stream = READ_ANSWER + EVENT
    first, rest = xenstore.unpack(stream[:cut])
    second, left = xenstore.unpack(rest + stream[cut:])
    assert left == b""
    assert [*first, *second] == [
        xenstore.Message(xenstore.READ, 7, b"Domain-0"),
        xenstore.Message(xenstore.WATCH_EVENT, 0, b"@introduceDomain\0tok1\0"),
    ]


def test_message_that_is_too_long_is_refused() -> None:
    """A length beyond the protocol's limit is never waited for."""
    with pytest.raises(ValueError, match="4097 bytes"):
        xenstore.unpack(struct.pack("=IIII", 2, 7, 0, 4097))

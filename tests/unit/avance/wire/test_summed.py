"""A line with its checksum: whole, or recognised as damaged; the record and the notes try every bit of theirs."""

from __future__ import annotations

import pytest

from avance.wire.summed import json_object, seal, unseal


def test_round_trip() -> None:
    """What was written is what is read, also when line ends fill the file up."""
    assert unseal(seal("zwölf Äpfel")) == "zwölf Äpfel"
    assert unseal(seal('{"a": 1}') + b"\n" * 5000) == '{"a": 1}'


@pytest.mark.parametrize("raw", [b"", b"\n", seal("x")[:-2], b"0" + seal("x"), seal("x") + b"y", b"\xff" * 80])
def test_other_bytes_are_refused(raw: bytes) -> None:
    """Torn, rotten, or with something behind it."""
    with pytest.raises(ValueError, match="checksum is wrong"):
        unseal(raw)


@pytest.mark.parametrize("line", ["", "x", "[]", "[" * 100_000, "null"])
def test_only_an_object_is_taken(line: str) -> None:
    """A right checksum over something else is said to be that."""
    with pytest.raises(ValueError, match="its checksum is right"):
        json_object(line)

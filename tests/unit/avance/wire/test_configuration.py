"""The configuration as bytes: a person can read it, and what is torn or odd is recognised."""

from __future__ import annotations

import json

import pytest

from avance.core.model import Proposal, Stand, Version
from avance.parsed import Json
from avance.wire.configuration import decode, encode, stand_of
from tests.playbook import B

OLD: dict[str, Json] = {"node": "a", "site": {"x": 1.5, "deep": [1, None]}, "vms": [{"name": "w\u00e9b"}]}
RAW = {**OLD, "number": 3, "history": [[1, "aa"], [2, "bb"]], "proposal": None}
PROPOSAL = {"id": "4711", "number": 4, "hash": "dd", "by": "b", "site": {"x": 2}, "vms": []}


def test_round_trip() -> None:
    """What was given comes back, with its number; line ends behind it are no matter."""
    for raw in (RAW, {**RAW, "proposal": PROPOSAL}):
        assert decode(encode(raw, 7) + b"\n" * 100) == (7, raw)
        assert decode(json.dumps(raw).encode()) == (0, raw)


def test_file_of_an_earlier_release_counts_as_number_one() -> None:
    """It knew no numbers of definitions; with its checksum and without one it is read as ever."""
    expected = {**OLD, "number": 1, "history": [], "proposal": None}
    assert decode(json.dumps(OLD).encode()) == (0, expected)
    assert decode(encode(OLD, 7)) == (7, expected)


def test_what_is_durable_of_the_definitions() -> None:
    """Number, history and proposal become the values of the core; the hash is that of the contents."""
    history = (Version(1, "aa"), Version(2, "bb"))
    assert stand_of(RAW, "cc") == Stand(Version(3, "cc"), history)
    assert stand_of({**RAW, "proposal": PROPOSAL}, "cc").proposal == Proposal("4711", Version(4, "dd"), B)


@pytest.mark.parametrize(
    "odd",
    [{"number": "3"}, {"number": True}, {"number": -1}, {"history": 5}, {"history": [[1]]}, {"history": [[1, 2]]},
     {"history": [["1", "aa"]]}, {"proposal": []}, {"proposal": {}}, {"proposal": {**PROPOSAL, "by": 1}},
     {"proposal": {**PROPOSAL, "number": None}}, {"proposal": {**PROPOSAL, "more": 1}}],
)  # fmt: skip
def test_odd_state_of_the_definitions_is_refused(odd: dict[str, object]) -> None:
    """A file without a checksum may hold anything."""
    with pytest.raises(ValueError, match="its `number`, its `history` or its `proposal` is none"):
        decode(json.dumps({**RAW, **odd}).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"node": "a", "site": {}}'])
def test_odd_content_is_refused(data: bytes) -> None:
    """Whatever it is, there is a sentence, and no other exception."""
    with pytest.raises(ValueError, match="it is no "):
        decode(data)


@pytest.mark.parametrize("change", [{"seq": "7"}, {"seq": True}, {"seq": 8}, {"sum": 3}, {"node": "b"}])
def test_changed_content_is_refused(change: dict[str, object]) -> None:
    """Its checksum covers all of it."""
    with pytest.raises(ValueError, match="its checksum is wrong"):
        decode(json.dumps({**json.loads(encode(RAW, 7)), **change}).encode())

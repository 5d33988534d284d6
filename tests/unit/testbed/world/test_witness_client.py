"""Proves the bed's one question to a witness: laid out as the product wants it, and no other answer is believed."""

from __future__ import annotations

import json

import pytest

from avance.core.model import NodeId
from avance.wire.witness import Look, Reply, decode_question, encode, keys
from testbed.world.witness_client import answer, derived, question

SECRET = bytes.fromhex("5e" * 32)
KEYS = keys(SECRET)
GOOD = Reply("taught", 5, NodeId("a"), "life-1", "bed", 7)


def test_the_question_is_what_the_product_reads() -> None:
    """Name, key and fields are those of the published layout."""
    assert derived(SECRET) == (KEYS.cluster, KEYS.key)
    read = decode_question(KEYS, question(SECRET, 7))
    assert isinstance(read, Look)
    assert (read.sender.node, read.sender.number, read.sender.life) == ("bed", 7, "")


@pytest.mark.parametrize("word", ["taught", "untaught"])
def test_an_answer_is_read(word: str) -> None:
    """With the time that it took."""
    reply = Reply(word, 5, NodeId("a"), "life-1", "bed", 7)
    view = answer(SECRET, 7, encode(KEYS, reply), 0.25)
    assert view is not None
    assert (view.taught, view.epoch, view.owner, view.life, view.answer_s) == (word == "taught", 5, "a", "life-1", 0.25)


def test_other_datagrams_are_no_answer() -> None:
    """Neither a forged one, nor one of another site, of another question, nor the question itself."""
    whole = encode(KEYS, GOOD)
    others = [b"", b"noise", whole[:-1], whole.replace(b'"e":5', b'"e":6'), encode(keys(b"t" * 32), GOOD)]
    others += [question(SECRET, 7), encode(KEYS, Reply("taught", 5, None, "life-1", "other", 7))]
    assert [answer(SECRET, 7, datagram, 0.0) for datagram in others] == [None] * len(others)
    assert answer(SECRET, 8, whole, 0.0) is None
    assert json.loads(whole[44:])["q"] == 7

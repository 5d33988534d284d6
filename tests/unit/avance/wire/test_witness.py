"""Datagrams of the witness survive the wire unchanged; what is forged, foreign, replayed or malformed is counted."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

import pytest

from avance.core.model import NodeId
from avance.wire.rejected import Rejected
from avance.wire.witness import (
    ANSWERS,
    MAGIC,
    AntiReplay,
    Ask,
    Keys,
    Look,
    Question,
    Reply,
    Sender,
    Teach,
    decode_question,
    decode_reply,
    encode,
    keys,
)
from tests.playbook import A, B
from tests.schema_check import complaints

KEYS = keys(b"s" * 32)
SENDER = Sender(A, "boot-1", 5, "life-1")
LESSONS = [Teach(SENDER, 7, B, paired=True), Teach(SENDER, 7, B, paired=False, alone=True)]
QUESTIONS: list[Question] = [Ask(SENDER, 7, "n-1"), *LESSONS, Look(replace(SENDER, life=""))]
REPLIES = [Reply(word, 7, owner, "life-1", "boot-1", 5) for word in ANSWERS for owner in (A, None)]
HEAD = 4 + 8 + 32


def sign(body: bytes, pair: Keys = KEYS) -> bytes:
    """Return an authentic datagram with any body."""
    return MAGIC + pair.cluster + hmac.new(pair.key, pair.cluster + body, hashlib.sha256).digest() + body


def reason(given: object) -> str:
    """Return why a datagram was refused; the test fails if it was not."""
    assert isinstance(given, Rejected), given
    return given.reason


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_round_trip(question: Question) -> None:
    """What was asked is what is read, and is laid out as published."""
    datagram = encode(KEYS, question)
    assert decode_question(KEYS, datagram) == question
    assert complaints("witness", json.loads(datagram[HEAD:])) == []


@pytest.mark.parametrize("reply", REPLIES)
def test_replies_round_trip(reply: Reply) -> None:
    """What was answered is what is read, and is laid out as published."""
    datagram = encode(KEYS, reply)
    assert decode_reply(KEYS, datagram) == reply
    assert complaints("witness", json.loads(datagram[HEAD:])) == []


def test_a_question_is_no_answer_and_an_answer_no_question() -> None:
    """A datagram that is sent back to where it came from is not believed."""
    assert "not understood" in reason(decode_reply(KEYS, encode(KEYS, QUESTIONS[0])))
    assert "not understood" in reason(decode_question(KEYS, encode(KEYS, REPLIES[0])))


def test_every_changed_byte_is_noticed() -> None:
    """A datagram with any one byte changed, or cut short anywhere, is refused."""
    whole = encode(KEYS, QUESTIONS[0])
    for index in range(len(whole)):
        changed = whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :]
        assert isinstance(decode_question(KEYS, changed), Rejected), index
        assert isinstance(decode_question(KEYS, whole[:index]), Rejected), index


def test_another_site_is_told_apart_from_a_forgery() -> None:
    """A witness that a second site was pointed at by mistake says so in its counters."""
    other = keys(b"t" * 32)
    assert reason(decode_question(KEYS, encode(other, QUESTIONS[0]))) == "of another site"
    forged = encode(Keys(KEYS.cluster, other.key), QUESTIONS[0])
    assert reason(decode_question(KEYS, forged)) == "wrong authentication code"
    assert reason(decode_question(KEYS, b"noise")) == "not a datagram of a witness"
    assert reason(decode_question(KEYS, sign(b" " * 2100))) == "not a datagram of a witness"


@pytest.mark.parametrize("body", [b"x", b"null", b"[]", b"{}", b"1", b'"x"', b"\xff", b"[" * 1500, b"9" * 1500])
def test_authentic_nonsense_is_refused(body: bytes) -> None:
    """Even an authentic datagram never raises an error: another version may have sent it."""
    assert isinstance(decode_question(KEYS, sign(body)), Rejected)
    assert isinstance(decode_reply(KEYS, sign(body)), Rejected)


@pytest.mark.parametrize("message", [*QUESTIONS, REPLIES[0]])
@pytest.mark.parametrize("odd", [None, [], {}, "", "x y", -1, 1.5, True, 1e400, 1 << 64, "x" * 65, [1, 2]])
def test_an_odd_field_never_raises(message: Question | Reply, odd: object) -> None:
    """A field of an unexpected kind gives a value of the right kind or a refusal, never an error."""
    body = json.loads(encode(KEYS, message)[HEAD:])
    for key in body:
        datagram = sign(json.dumps(body | {key: odd}).encode())
        assert isinstance(decode_question(KEYS, datagram), Ask | Teach | Look | Rejected)
        assert isinstance(decode_reply(KEYS, datagram), Reply | Rejected)


@pytest.mark.parametrize(
    ("key", "odd"), [("e", True), ("e", 1.0), ("e", -1), ("p", 1), ("o", None), ("n", "A"), ("q", "1")]
)
def test_what_is_stored_has_the_right_kind(key: str, odd: object) -> None:
    """Nothing that a witness keeps is anything but a plain number, a name or a truth."""
    body = json.loads(encode(KEYS, QUESTIONS[1])[HEAD:])
    assert isinstance(decode_question(KEYS, sign(json.dumps(body | {key: odd}).encode())), Rejected)


def guard() -> AntiReplay:
    """Return the guard of a witness in the life that the sender knows."""
    return AntiReplay(KEYS, "life-1")


def ask(number: int, *, boot: str = "boot-1", node: NodeId = A, life: str = "life-1") -> bytes:
    """Return the datagram of a question."""
    return encode(KEYS, Ask(Sender(node, boot, number, life), 7, "n"))


def test_a_replayed_question_is_refused_and_counted() -> None:
    """A number that is not greater than the last one of this node is refused; the other node has its own numbers."""
    one = guard()
    assert [type(one.accept(ask(number))) for number in (1, 3)] == [Ask, Ask]
    assert [reason(one.accept(ask(number))) for number in (3, 2)] == ["replayed or out of order"] * 2
    assert isinstance(one.accept(ask(1, node=B)), Ask)
    assert one.rejected == {"replayed or out of order": 2}


def test_an_earlier_run_of_a_daemon_never_comes_back() -> None:
    """A daemon that was started again begins with small numbers; what it replaced is refused."""
    one = guard()
    assert isinstance(one.accept(ask(9)), Ask)
    assert isinstance(one.accept(ask(1, boot="boot-2")), Ask)
    assert reason(one.accept(ask(10))) == "from an earlier run of the node's daemon"
    assert isinstance(one.accept(ask(2, boot="boot-2")), Ask)


def test_a_question_for_another_life_uses_no_number() -> None:
    """It is for `again` only: what was recorded in an earlier life can neither teach nor push out a daemon's run."""
    one = guard()
    assert isinstance(one.accept(ask(1)), Ask)
    old = one.accept(ask(9, boot="old", life="life-0"))
    assert isinstance(old, Ask)
    assert not one.knows_life(old)
    assert isinstance(one.accept(ask(2)), Ask)
    assert one.rejected == {}


def test_anybody_with_the_secret_may_look_at_any_time() -> None:
    """To look uses no number and needs no life."""
    one = guard()
    datagram = encode(KEYS, QUESTIONS[-1])
    assert one.accept(datagram) == one.accept(datagram) == QUESTIONS[-1]

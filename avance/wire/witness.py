"""Datagrams between a node and a witness: encode, authenticate, refuse what is forged, foreign, replayed or malformed.

Layout: b"AVW1", 8 bytes that name the pair, 32 bytes HMAC-SHA256 over these 8 bytes and the rest, then compact JSON
(schema `avance/schema/witness.json`). Name and key are derived from the secret of this witness (wire/derived.py), which
itself signs nothing.

Each start of a witness is a new *life* with a random name, and a question must name the life that it is meant for: what
was recorded in an earlier life is worth nothing. A node that does not know the life gets the answer `again`, which
names it. Within one life the number of a node's questions only rises, and a run of the node's daemon that was replaced
by another one never comes back. An answer repeats number and run, so nobody takes it for the answer to something else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from avance.core.model import NodeId
from avance.parsed import Json
from avance.wire.rejected import Rejected

MAGIC = b"AVW1"
DATAGRAM_BYTES_MAX = 2048
ANSWERS = ("granted", "refused", "taught", "untaught", "again")
_CLUSTER_BYTES, _MAC_BYTES = 8, 32
_HEAD = len(MAGIC) + _CLUSTER_BYTES + _MAC_BYTES
_RETIRED_RUNS_MAX = 64
_NODE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TOKEN = re.compile(r"[!-~]{0,64}")
_NUMBER_MAX = (1 << 63) - 1
_Message = TypeVar("_Message")


@dataclass(frozen=True, slots=True)
class Keys:
    """What both sides derive from the secret of the witness."""

    cluster: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who asks: the node, the run of its daemon, the number of the question, and the life of the witness it knows."""

    node: NodeId
    boot: str
    number: int
    life: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """May this node have this epoch?"""

    sender: Sender
    epoch: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Teach:
    """This node knows this epoch and its owner.

    `paired`: its peer says the same just now. `alone`: this node owns the epoch and alone may write.
    """

    sender: Sender
    epoch: int
    owner: NodeId
    paired: bool
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What does the witness know? Changes nothing; the sender may be anybody who has its secret."""

    sender: Sender


Question = Ask | Teach | Look


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the witness: a word of `ANSWERS`, and what it knows now."""

    word: str
    epoch: int
    owner: NodeId | None
    life: str
    boot: str
    number: int


def keys(secret: bytes) -> Keys:
    """Derive the name of the pair and the key of its datagrams."""
    cluster = hmac.new(secret, b"avance witness cluster 1", hashlib.sha256).digest()[:_CLUSTER_BYTES]
    return Keys(cluster, hmac.new(secret, b"avance witness 1", hashlib.sha256).digest())


def encode(pair: Keys, message: Question | Reply) -> bytes:
    """Return the datagram of a question or an answer."""
    data = json.dumps(_body(message), separators=(",", ":")).encode()
    return MAGIC + pair.cluster + _mac(pair, data) + data


def decode_question(pair: Keys, datagram: bytes) -> Question | Rejected:
    """Return the question in a datagram, or why it must not be believed; never raises on outside data."""
    return _decode(pair, datagram, _question)


def decode_reply(pair: Keys, datagram: bytes) -> Reply | Rejected:
    """Return the answer in a datagram, or why it must not be believed; never raises on outside data."""
    return _decode(pair, datagram, _reply)


def _mac(pair: Keys, data: bytes) -> bytes:
    return hmac.new(pair.key, pair.cluster + data, hashlib.sha256).digest()


def _body(message: Question | Reply) -> dict[str, Json]:
    if isinstance(message, Reply):
        return {
            "k": "reply", "a": message.word, "e": message.epoch, "o": message.owner, "w": message.life,
            "b": message.boot, "q": message.number,
        }  # fmt: skip
    sender = message.sender
    body: dict[str, Json] = {"n": sender.node, "b": sender.boot, "q": sender.number, "w": sender.life}
    match message:
        case Ask():
            return body | {"k": "ask", "e": message.epoch, "x": message.nonce}
        case Teach():
            lesson: dict[str, Json] = {"e": message.epoch, "o": message.owner, "p": message.paired, "s": message.alone}
            return body | {"k": "teach"} | lesson
        case Look():
            return body | {"k": "look"}


def _decode(pair: Keys, datagram: bytes, parse: Callable[[Json], _Message]) -> _Message | Rejected:
    if datagram[: len(MAGIC)] != MAGIC or not _HEAD < len(datagram) <= DATAGRAM_BYTES_MAX:
        return Rejected("not a datagram of a witness")
    name_end = len(MAGIC) + _CLUSTER_BYTES
    if not hmac.compare_digest(datagram[len(MAGIC) : name_end], pair.cluster):
        return Rejected("of another site")
    data = datagram[_HEAD:]
    if not hmac.compare_digest(datagram[name_end:_HEAD], _mac(pair, data)):
        return Rejected("wrong authentication code")
    try:
        return parse(json.loads(data))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return Rejected("authentic but not understood: does the sender run another version?")


def _question(body: Json) -> Question:
    sender = Sender(_node(body["n"]), _token(body["b"]), _number(body["q"]), _token(body["w"]))
    match body["k"]:
        case "ask":
            return Ask(sender, _number(body["e"]), _token(body["x"]))
        case "teach":
            alone = body.get("s", False)  # a node of an earlier release does not say it
            if not isinstance(body["p"], bool) or not isinstance(alone, bool):
                raise TypeError("paired and alone are true or false")
            return Teach(sender, _number(body["e"]), _node(body["o"]), body["p"], alone)
        case "look":
            return Look(sender)
        case other:
            raise ValueError(f"{other!r} is no question")


def _reply(body: Json) -> Reply:
    if body["k"] != "reply" or body["a"] not in ANSWERS:
        raise ValueError(f"{body['k']!r} {body['a']!r} is no answer")
    owner = None if body["o"] is None else _node(body["o"])
    return Reply(body["a"], _number(body["e"]), owner, _token(body["w"]), _token(body["b"]), _number(body["q"]))


def _node(value: Json) -> NodeId:
    if not _NODE.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a node")
    return NodeId(value)


def _token(value: Json) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{value!r} is no token")
    return str(value)


def _number(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _NUMBER_MAX:
        raise ValueError(f"{value!r} is no number")
    return value


@dataclass(slots=True)
class AntiReplay:
    """Takes each question of the witness's present life once; what it refuses is counted by reason."""

    pair: Keys
    life: str
    rejected: dict[str, int] = field(default_factory=dict)
    _runs: dict[NodeId, tuple[str, int]] = field(default_factory=dict)
    _retired: dict[NodeId, list[str]] = field(default_factory=dict)

    def accept(self, datagram: bytes) -> Question | Rejected:
        """Judge one datagram; a question for another life is passed on, and is for `again` only."""
        judged = decode_question(self.pair, datagram)
        if isinstance(judged, Ask | Teach) and self.knows_life(judged):
            judged = self._once(judged)
        if isinstance(judged, Rejected):
            self.rejected[judged.reason] = self.rejected.get(judged.reason, 0) + 1
        return judged

    def knows_life(self, question: Question) -> bool:
        """Say whether the sender means this life of the witness."""
        return question.sender.life == self.life

    def _once(self, question: Ask | Teach) -> Question | Rejected:
        sender = question.sender
        boot, last = self._runs.get(sender.node, ("", -1))
        retired = self._retired.setdefault(sender.node, [])
        if sender.boot in retired:
            return Rejected("from an earlier run of the node's daemon")
        if sender.boot != boot:
            if boot:
                self._retired[sender.node] = [*retired, boot][-_RETIRED_RUNS_MAX:]
            last = -1
        if sender.number <= last:
            return Rejected("replayed or out of order")
        self._runs[sender.node] = (sender.boot, sender.number)
        return question

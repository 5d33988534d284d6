"""Heartbeat datagrams: encode, authenticate, refuse what is forged, replayed or old.

Layout: b"AVH2", 32 bytes HMAC-SHA256 over the rest, then compact JSON (schema `avance/schema/heartbeat.json`). Each
datagram names its link, so one that was recorded on one link is worth nothing on another. Per link and boot the
sequence number only rises; a boot id that was replaced by a newer one never comes back. A boot id is believed only
after a datagram of it echoed the receiver's own boot id, so nothing that was recorded earlier can begin a conversation.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field, fields, replace

from avance.core.model import LinkName, NodeId, PairState, PeerView, Record, VmId, VmState
from avance.parsed import Json
from avance.wire.plain import read_record, to_plain

MAGIC = b"AVH2"
_FAMILY = b"AVH"  # what the datagrams of every version begin with
NOT_ECHOED_YET = "a new boot that does not echo ours yet"  # each restart of the peer begins with it: no attack
_MAC_BYTES = 32
_RECORD = tuple(field.name for field in fields(Record))  # the order of the record's values in a datagram
_RETIRED_BOOTS_MAX = 64  # far more restarts than a node survives without quarantine


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat on one link; `sent_s` is the sender's clock, `echo` the (boot, sent_s) last heard there."""

    link: LinkName
    seq: int
    sent_s: float
    echo: tuple[str, float] | None
    view: PeerView


@dataclass(frozen=True, slots=True)
class Rejected:
    """A datagram that must not be believed, and why."""

    reason: str


def link_key(secret: bytes) -> bytes:
    """Derive the heartbeat key, so that the site secret itself signs nothing on the wire."""
    return hmac.new(secret, b"avance heartbeat 1", hashlib.sha256).digest()


def encode(key: bytes, beat: Heartbeat) -> bytes:
    """Return the datagram of a heartbeat."""
    view, record = beat.view, beat.view.record
    body = {
        "l": beat.link,
        "q": beat.seq,
        "s": round(beat.sent_s, 6),
        "e": beat.echo,
        "n": view.node,
        "b": view.boot,
        "c": view.config_hash,
        "d": view.dilation,
        "p": view.pair,
        "r": [to_plain(getattr(record, name)) for name in _RECORD],
        "v": view.vms,
        "m": view.machine,
        "w": view.wants,
        "g": view.witnesses,
        "h": view.mirror,
        "u": view.good,
    }
    data = json.dumps(body, separators=(",", ":")).encode()
    return MAGIC + hmac.new(key, data, hashlib.sha256).digest() + data


def decode(key: bytes, datagram: bytes) -> Heartbeat | Rejected:
    """Return the heartbeat of a datagram, or why it must not be believed; never raises on outside data."""
    head = len(MAGIC) + _MAC_BYTES
    if datagram[: len(MAGIC)] != MAGIC and datagram[: len(_FAMILY)] == _FAMILY:
        return Rejected("a heartbeat of another version; both nodes must run the same")
    if datagram[: len(MAGIC)] != MAGIC or len(datagram) <= head:
        return Rejected("not a heartbeat")
    data = datagram[head:]
    if not hmac.compare_digest(datagram[len(MAGIC) : head], hmac.new(key, data, hashlib.sha256).digest()):
        return Rejected("wrong authentication code")
    try:
        return _parse(json.loads(data))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        kind = type(error).__name__  # not its text: the number of different reasons must stay small
        return Rejected(f"authentic but not understood ({kind}): does the peer run another version?")


def _parse(body: Json) -> Heartbeat:
    view = PeerView(
        node=NodeId(body["n"]),
        boot=str(body["b"]),
        config_hash=str(body["c"]),
        dilation=float(body["d"]),
        pair=PairState(body["p"]),
        record=read_record(dict(zip(_RECORD, body["r"], strict=True))),
        vms={VmId(name): VmState(state) for name, state in body["v"].items()},
        machine=str(body["m"]),
        wants=int(body["w"]),
        witnesses=tuple(str(name) for name in body["g"]),
        mirror=(str(body["h"][0]), str(body["h"][1])),
        good=tuple(VmId(str(name)) for name in body["u"]),
    )
    echo = None if body["e"] is None else (str(body["e"][0]), float(body["e"][1]))
    return Heartbeat(LinkName(body["l"]), int(body["q"]), float(body["s"]), echo, view)


@dataclass(frozen=True, slots=True)
class Unproven:
    """An authentic datagram of a boot that has not shown yet that it hears us: to be echoed, not to be believed."""

    beat: Heartbeat


@dataclass(slots=True)
class Receiver:
    """Believes each authentic heartbeat of the peer once; what it refuses is counted by reason."""

    key: bytes
    me: NodeId
    peer: NodeId
    my_boot: str
    rejected: dict[str, int] = field(default_factory=dict)
    _boot: str | None = None
    _retired: list[str] = field(default_factory=list)
    _last_seq: dict[LinkName, int] = field(default_factory=dict)
    _newest: Heartbeat | None = None

    def accept(self, link: LinkName, datagram: bytes) -> Heartbeat | Unproven | Rejected:
        """Judge one datagram that arrived on a link."""
        decoded = decode(self.key, datagram)
        judged = self._judge(link, decoded) if isinstance(decoded, Heartbeat) else decoded
        if isinstance(judged, Rejected):
            self.rejected[judged.reason] = self.rejected.get(judged.reason, 0) + 1
        return judged

    def _judge(self, link: LinkName, beat: Heartbeat) -> Heartbeat | Unproven | Rejected:
        if beat.view.node == self.me:
            return Rejected("another node uses this node's name")
        if beat.view.node != self.peer:
            return Rejected("not from the peer")
        if beat.link != link:
            return Rejected("recorded on another link")
        if beat.view.boot in self._retired:
            return Rejected("from an earlier boot of the peer")
        if beat.view.boot != self._boot:
            if beat.echo is None or beat.echo[0] != self.my_boot:
                return Unproven(beat) if self._boot is None else Rejected(NOT_ECHOED_YET)
            if self._boot is not None:
                self._retired = [*self._retired, self._boot][-_RETIRED_BOOTS_MAX:]
            self._boot, self._last_seq, self._newest = beat.view.boot, {}, None
        if beat.seq <= self._last_seq.get(link, -1):
            return Rejected("replayed or out of order")
        self._last_seq[link] = beat.seq
        if self._newest is not None and beat.seq < self._newest.seq:
            # A slower link brings what a faster one has overtaken: it shows that the link works, and says nothing new.
            return replace(beat, view=self._newest.view)
        self._newest = beat
        return beat

"""Heartbeat datagrams: encode, authenticate, refuse what is forged, replayed or old.

Layout: b"AVH4", 32 bytes HMAC-SHA256 over all the rest, a small head, and a body in compact JSON (schema
`avance/schema/heartbeat.json`). The head holds what each datagram changes: number, send time, echo, link. The body is
what the node says of itself; it is made once for each change, and read only when its bytes are not those of the last
one. All of it is authenticated each time.

Each datagram names its link, so one that was recorded on one link is worth nothing on another. Per link and boot the
sequence number only rises; a boot id that was replaced by a newer one never comes back. A boot id is believed only
after a datagram of it echoed the receiver's own boot id, so nothing that was recorded earlier can begin a conversation.
It does not take the place of another one that has echoed what was sent later.
"""

from __future__ import annotations

import hmac
import json
import struct
from dataclasses import dataclass, field, fields, replace
from math import inf, isfinite

from avance.core.model import (
    FORETOLD_MAX,
    REASONS_MAX,
    AgreementWord,
    Ailment,
    AilmentSeverity,
    Copy,
    DiskState,
    Forecast,
    LinkName,
    NodeId,
    NodePart,
    PairState,
    PeerView,
    Proposal,
    Record,
    Version,
    VmForecast,
    VmId,
    VmState,
)
from avance.parsed import Json
from avance.wire.plain import read_record, to_plain
from avance.wire.rejected import Rejected

MAGIC = b"AVH4"
_FAMILY = b"AVH"  # what the datagrams of every version begin with
NOT_ECHOED_YET = "a new boot that does not echo ours yet"  # each restart of the peer begins with it: no attack
_EARLIER = "from an earlier boot of the peer"
_MAC_BYTES = 32
_HASH = "sha256"
# Number, send time, send time that is echoed, and how long link and echoed boot are; the two follow as UTF-8. No boot
# at all is 255: a heartbeat without an echo.
_HEAD = struct.Struct("!QddBB")
_NO_ECHO = 255
_AT_HOME = ("cures",)  # what only the node itself needs
# The order of the record's values in a datagram.
_RECORD = tuple(field.name for field in fields(Record) if field.name not in _AT_HOME)
ENDS_MAX = 300  # characters of a last word
_RETIRED_BOOTS_MAX = 64  # far more restarts than a node survives without quarantine


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat on one link; `sent_s` is the sender's clock, `echo` the (boot, sent_s) last heard there."""

    link: LinkName
    seq: int
    sent_s: float
    echo: tuple[str, float] | None
    view: PeerView


def encode(key: bytes, beat: Heartbeat) -> bytes:
    """Return the datagram of a heartbeat."""
    return seal(key, beat.link, beat.seq, beat.sent_s, beat.echo, body(beat.view))


def body(view: PeerView) -> bytes:
    """Return what a node says of itself; it stays the same until the view changes."""
    record = view.record
    values = {
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
        "k": {name: [copy.disk, *copy.generations] for name, copy in view.copies.items()},
        "h": view.mirror,
    }
    if view.leaves:
        values["l"] = view.leaves
    if view.left:
        values["f"] = view.left
    if view.unmade:
        values["x"] = view.unmade
    if view.ends:
        values["e"] = view.ends[:ENDS_MAX]
    if view.unguarded:
        values["u"] = view.unguarded
    if view.offers:
        values["t"] = view.offers
    if view.ailments:
        values["s"] = [[one.severity, one.code, one.subject] for one in view.ailments]
    if view.moves:
        values["z"] = view.moves
    if view.takes:
        values["i"] = view.takes
    if view.forecast is not None:
        values["j"] = _foretold(view.forecast)
    values |= _agreement(view.agreement)
    return json.dumps(values, separators=(",", ":")).encode()


def _foretold(one: Forecast) -> list[Json]:
    vms = [[vm.vm, vm.lacks, vm.start_s] for vm in one.vms]
    return [one.seconds, one.means, list(one.reasons), vms, one.memory, one.off_s]


def _forecast(values: Json) -> Forecast | None:
    if values is None:
        return None
    seconds, means, reasons, vms, memory, off_s = values
    return Forecast(
        seconds=None if seconds is None else float(seconds),
        means=str(means)[:FORETOLD_MAX],
        reasons=tuple(str(reason)[:FORETOLD_MAX] for reason in reasons)[:REASONS_MAX],
        vms=tuple(VmForecast(VmId(str(vm)), str(lacks), None if s is None else float(s)) for vm, lacks, s in vms),
        memory=bool(memory),
        off_s=None if off_s is None else float(off_s),
    )


def _agreement(word: AgreementWord) -> dict[str, Json]:
    values: dict[str, Json] = {"a": [word.version.number, word.version.hash]}
    if word.proposal is not None:
        one = word.proposal
        values["o"] = [one.id, one.version.number, one.version.hash, one.by]
    if word.asks:
        values["q"] = word.asks
    if word.refused[0]:
        values["y"] = [word.refused[0], word.refused[1][:ENDS_MAX]]
    return values


def seal(key: bytes, link: LinkName, seq: int, sent_s: float, echo: tuple[str, float] | None, said: bytes) -> bytes:
    """Return the datagram with this head, around a body that is made already."""
    name = link.encode()
    boot, echoed_s = (b"", 0.0) if echo is None else (echo[0].encode(), echo[1])
    assert len(name) < _NO_ECHO, "a link has a short name"
    assert len(boot) < _NO_ECHO, "a boot id is short"
    sizes = (len(name), _NO_ECHO if echo is None else len(boot))
    data = b"".join((_HEAD.pack(seq, sent_s, echoed_s, *sizes), name, boot, said))
    return b"".join((MAGIC, hmac.digest(key, data, _HASH), data))


_Known = tuple[bytes, PeerView]  # a body that was read, and the view that it is


def decode(key: bytes, datagram: bytes, known: _Known | None = None) -> Heartbeat | Rejected:
    """Return the heartbeat of a datagram, or why it must not be believed; never raises on outside data.

    A body that is byte for byte the `known` one is not read again: the view is the known one itself.
    """
    return _decode(key, datagram, known)[0]


def _decode(key: bytes, datagram: bytes, known: _Known | None) -> tuple[Heartbeat | Rejected, _Known | None]:
    """Return also the body of this heartbeat, as what is known from now on."""
    head = len(MAGIC) + _MAC_BYTES
    if datagram[: len(MAGIC)] != MAGIC and datagram[: len(_FAMILY)] == _FAMILY:
        return Rejected("a heartbeat of another version; both nodes must run the same"), known
    if datagram[: len(MAGIC)] != MAGIC or len(datagram) <= head:
        return Rejected("not a heartbeat"), known
    data = datagram[head:]
    if not hmac.compare_digest(datagram[len(MAGIC) : head], hmac.digest(key, data, _HASH)):
        return Rejected("wrong authentication code"), known
    try:
        return _parse(data, known)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        kind = type(error).__name__  # not its text: the number of different reasons must stay small
        return Rejected(f"authentic but not understood ({kind}): does the peer run another version?"), known


def _parse(data: bytes, known: _Known | None) -> tuple[Heartbeat, _Known]:
    seq, sent_s, echoed_s, link_bytes, boot_bytes = _HEAD.unpack_from(data)
    link_end = _HEAD.size + link_bytes
    end = link_end if boot_bytes == _NO_ECHO else link_end + boot_bytes
    said = data[end:]
    if not isfinite(sent_s) or not isfinite(echoed_s) or not said:
        raise ValueError("a time that is none, or no body")
    if known is None or known[0] != said:
        known = (said, _view(json.loads(said)))
    echo = None if boot_bytes == _NO_ECHO else (data[link_end:end].decode(), echoed_s)
    return Heartbeat(LinkName(data[_HEAD.size : link_end].decode()), seq, sent_s, echo, known[1]), known


def _word(values: Json) -> AgreementWord:
    number, contents = values["a"]
    proposal, refused = values.get("o"), values.get("y", ("", ""))
    if proposal is not None:
        one, proposed, proposed_contents, by = proposal
        proposal = Proposal(str(one), Version(int(proposed), str(proposed_contents)), NodeId(str(by)))
    key, why = refused
    version = Version(int(number), str(contents))
    return AgreementWord(version, proposal, str(values.get("q", "")), (str(key), str(why)))


def _view(values: Json) -> PeerView:
    return PeerView(
        node=NodeId(values["n"]),
        boot=str(values["b"]),
        config_hash=str(values["c"]),
        dilation=float(values["d"]),
        pair=PairState(values["p"]),
        record=read_record(dict(zip(_RECORD, values["r"], strict=True))),
        vms={VmId(name): VmState(state) for name, state in values["v"].items()},
        machine=str(values["m"]),
        wants=int(values["w"]),
        leaves=int(values.get("l", 0)),
        unguarded=tuple(NodePart(part) for part in values.get("u", ())),
        agreement=_word(values),
        witnesses=tuple(str(name) for name in values["g"]),
        copies={VmId(vm): Copy(DiskState(disk), tuple(map(str, rest))) for vm, (disk, *rest) in values["k"].items()},
        mirror=(str(values["h"][0]), str(values["h"][1])),
        left=tuple(VmId(str(name)) for name in values.get("f", ())),
        unmade=tuple(VmId(str(name)) for name in values.get("x", ())),
        ends=str(values.get("e", ""))[:ENDS_MAX],
        offers=int(values.get("t", 0)),
        ailments=tuple(Ailment(AilmentSeverity(how), str(code), str(of)) for how, code, of in values.get("s", ())),
        moves=str(values.get("z", "")),
        takes=str(values.get("i", "")),
        forecast=_forecast(values.get("j")),
    )


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
    _echoed_s: float = -inf  # the newest of our send times that this boot has echoed: a later boot echoes a later one
    _retired: list[str] = field(default_factory=list)
    _last_seq: dict[LinkName, int] = field(default_factory=dict)
    _newest: Heartbeat | None = None
    _known: _Known | None = None
    _unproven: dict[tuple[str, LinkName], int] = field(default_factory=dict)

    def accept(self, link: LinkName, datagram: bytes) -> Heartbeat | Unproven | Rejected:
        """Judge one datagram that arrived on a link."""
        decoded, self._known = _decode(self.key, datagram, self._known)
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
            return Rejected(_EARLIER)
        if beat.view.boot != self._boot:
            if beat.echo is None or beat.echo[0] != self.my_boot:
                return self._judge_unproven(link, beat) if self._boot is None else Rejected(NOT_ECHOED_YET)
            if beat.echo[1] < self._echoed_s:
                return Rejected(_EARLIER)  # one that was never heard while it lived, and held back on its way
            if self._boot is not None:
                self._retired = [*self._retired, self._boot][-_RETIRED_BOOTS_MAX:]
            self._boot, self._last_seq, self._newest = beat.view.boot, {}, None
        if beat.seq <= self._last_seq.get(link, -1):
            return Rejected("replayed or out of order")
        self._last_seq[link] = beat.seq
        if beat.echo is not None and beat.echo[0] == self.my_boot:
            self._echoed_s = max(self._echoed_s, beat.echo[1])
        if self._newest is not None and beat.seq < self._newest.seq:
            # A slower link brings what a faster one has overtaken: it shows that the link works, and says nothing new.
            return replace(beat, view=self._newest.view)
        self._newest = beat
        return beat

    def _judge_unproven(self, link: LinkName, beat: Heartbeat) -> Unproven | Rejected:
        """What was recorded can be played once only: each of these puts off a takeover by this node."""
        key = (beat.view.boot, link)
        if beat.seq <= self._unproven.get(key, -1):
            return Rejected("replayed or out of order")
        self._unproven.pop(key, None)
        self._unproven[key] = beat.seq
        while len(self._unproven) > _RETIRED_BOOTS_MAX:
            del self._unproven[next(iter(self._unproven))]
        return Unproven(beat)

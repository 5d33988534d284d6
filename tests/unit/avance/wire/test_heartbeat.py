"""Heartbeats survive the wire unchanged, and what is forged, replayed or old is refused and counted."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from math import inf, nan

import pytest

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
    PairState,
    PeerView,
    Proposal,
    Record,
    Version,
    VmForecast,
    VmId,
    VmState,
)
from avance.wire.derived import of_heartbeats
from avance.wire.heartbeat import ENDS_MAX, MAGIC, Heartbeat, Receiver, Unproven, body, decode, encode, seal
from avance.wire.rejected import Rejected
from tests.playbook import BIZ, PRIV, WEB, A, B
from tests.schema_check import complaints

KEY = of_heartbeats(b"s" * 32)
RECORD = Record(
    7, A, peer_outdated=True, fresh=(WEB,), arbiters=("witness:w1", "survivor:a"), boot="machine-1", cure=7,
    behind=(WEB,), generations=((WEB, "1a2c"),),
)  # fmt: skip
VIEW = PeerView(
    A, "boot-1", "c0ffee", 1.5, PairState.ALONE, RECORD, {WEB: VmState.RUNNING}, "machine-1", 8, ("w1", "w2"),
    {WEB: Copy(DiskState.UP_TO_DATE, ("1a2c", "1c2e"))}, ("5 note", "4 note"),
    agreement=AgreementWord(Version(3, "c0ffee")),
)  # fmt: skip
PROPOSAL = Proposal("4711", Version(4, "decaf"), A)
BEAT = Heartbeat(PRIV, 5, 81.25, ("b-boot", 80.5), VIEW)
MAC_CAPTURED = "fdc325cc178589d843288a14e977a9a7636e247ff945772155912122dd5cc615"


def receiver() -> Receiver:
    """Return the receiver of node b."""
    return Receiver(KEY, me=B, peer=A, my_boot="b-boot")


def sign(data: bytes) -> bytes:
    """Return an authentic datagram with anything in it."""
    return MAGIC + hmac.digest(KEY, data, "sha256") + data


def with_body(said: object) -> bytes:
    """Return an authentic datagram with a good head and any body."""
    return seal(KEY, BEAT.link, BEAT.seq, BEAT.sent_s, BEAT.echo, json.dumps(said).encode())


def reason(answer: Heartbeat | Unproven | Rejected) -> str:
    """Return why a datagram was refused; the test fails if it was not."""
    assert isinstance(answer, Rejected), answer
    return answer.reason


@pytest.mark.parametrize("echo", [None, ("b-boot", 80.5)])
@pytest.mark.parametrize("record", [Record(), RECORD, Record(1, A, split=True), Record(1, A, quarantined=True)])
def test_round_trip(echo: tuple[str, float] | None, record: Record) -> None:
    """What was sent is what is read."""
    beat = replace(BEAT, echo=echo, view=replace(VIEW, record=record))
    assert decode(KEY, encode(KEY, beat)) == beat


def test_body_matches_its_schema() -> None:
    """The datagram is laid out as published, also with a word that is seldom said."""
    assert complaints("heartbeat", json.loads(body(VIEW))) == []
    leaving = replace(BEAT, view=replace(VIEW, leaves=8))
    assert complaints("heartbeat", json.loads(body(leaving.view))) == []
    assert decode(KEY, encode(KEY, leaving)) == leaving
    offering = replace(BEAT, view=replace(VIEW, offers=8))
    assert complaints("heartbeat", json.loads(body(offering.view))) == []
    assert decode(KEY, encode(KEY, offering)) == offering
    assert encode(KEY, BEAT).endswith(body(VIEW))


def test_what_is_wrong_with_a_node_travels() -> None:
    """In its order and with its words, also those of another version; a sound node says nothing of it."""
    assert b'"s"' not in body(VIEW)
    severities = list(AilmentSeverity)
    many = tuple(Ailment(severities[number % 3], f"code_{number}", "\u00e9" * number) for number in range(16))
    ill = replace(BEAT, view=replace(VIEW, ailments=many))
    assert complaints("heartbeat", json.loads(body(ill.view))) == []
    assert decode(KEY, encode(KEY, ill)) == ill


@pytest.mark.parametrize(
    "word",
    [AgreementWord(Version(3, "c0ffee"), PROPOSAL), AgreementWord(asks="4711"),
     AgreementWord(Version(2, "old"), None, "3 c0ffee", ("4711", "no such device"))],
)  # fmt: skip
def test_word_about_definitions_travels(word: AgreementWord) -> None:
    """What a node holds, asks for and refuses, as published."""
    beat = replace(BEAT, view=replace(VIEW, agreement=word))
    assert decode(KEY, encode(KEY, beat)) == beat
    assert complaints("heartbeat", json.loads(body(beat.view))) == []


@pytest.mark.parametrize(
    "odd", [{"a": 3}, {"a": [3]}, {"a": ["x", "y"]}, {"o": []}, {"o": 5}, {"y": ["x"]}, {"y": 7}, {"a": None}]
)
def test_odd_word_about_definitions_is_refused(odd: dict[str, object]) -> None:
    """One part that is not as agreed refuses the whole heartbeat."""
    assert "not understood" in reason(decode(KEY, with_body({**json.loads(body(VIEW)), **odd})))


def test_captured_datagram_is_read() -> None:
    """A datagram that was kept is read as what was sent then: the layout has not changed under this version's name."""
    head = "0000000000000005 4054500000000000 4054200000000000 0506 7072697630 622d626f6f74 "
    said = (
        b'{"n":"a","b":"boot-1","c":"c0ffee","d":1.5,"p":"ALONE","r":[7,"a",true,["web"],["witness:w1","survivor:a"],'
        b'"machine-1",7,false,false,[],0,["web"],[["web","1a2c"]]],"v":{"web":"RUNNING"},"m":"machine-1","w":8,'
        b'"g":["w1","w2"],"k":{"web":["UpToDate","1a2c","1c2e"]},"h":["5 note","4 note"],"a":[3,"c0ffee"]}'
    )
    whole = b"AVH4" + bytes.fromhex(MAC_CAPTURED + head) + said
    assert decode(KEY, whole) == BEAT
    assert encode(KEY, BEAT) == whole


def test_every_changed_byte_is_noticed() -> None:
    """A datagram with any one byte changed, or cut short anywhere, is refused."""
    whole = encode(KEY, BEAT)
    for index in range(len(whole)):
        changed = whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :]
        assert isinstance(decode(KEY, changed), Rejected), index
        assert isinstance(decode(KEY, whole[:index]), Rejected), index


def test_other_secret_is_refused() -> None:
    """A heartbeat of another site is not believed."""
    assert reason(decode(of_heartbeats(b"t" * 32), encode(KEY, BEAT))) == "wrong authentication code"


@pytest.mark.parametrize("state", PairState)
def test_every_pair_state_travels(state: PairState) -> None:
    """A node may say any state of itself, and the published schema knows it."""
    beat = replace(BEAT, view=replace(VIEW, pair=state))
    assert decode(KEY, encode(KEY, beat)) == beat
    assert complaints("heartbeat", json.loads(body(beat.view))) == []


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("odd", [{}, 1.5, [1], ["x", None]])
def test_odd_record_is_refused(place: int, odd: object) -> None:
    """No value of the record is guessed or converted: one of another kind refuses the whole heartbeat."""
    said = json.loads(body(VIEW))
    said["r"][place] = odd
    assert "not understood" in reason(decode(KEY, with_body(said)))


def test_other_version_has_its_own_words() -> None:
    """A peer of an earlier release is named as such, not taken for noise or for a forger."""
    for magic in (b"AVH1", b"AVH2", b"AVH3"):
        assert "another version" in reason(decode(KEY, magic + encode(KEY, BEAT)[4:]))


@pytest.mark.parametrize(
    "said",
    [b"", b"x", b"null", b"[]", b"{}", b"1", b'"x"', b"\xff", b"[" * 100000],
)
def test_authentic_nonsense_is_refused(said: bytes) -> None:
    """Even an authentic datagram never raises an error, whole or as a body: another version may have sent it."""
    assert isinstance(decode(KEY, sign(said)), Rejected)
    assert isinstance(decode(KEY, seal(KEY, PRIV, 5, 81.25, None, said)), Rejected)


def test_authentic_half_head_is_refused() -> None:
    """A head that is cut short, or whose lengths reach beyond the end, is no heartbeat."""
    data = encode(KEY, BEAT)[36:]
    for end in range(1, len(data) - len(body(VIEW)) + 1):
        assert "not understood" in reason(decode(KEY, sign(data[:end]))), end
    for place in (24, 25):
        longer = data[:place] + b"\xfe" + data[place + 1 :]
        assert "not understood" in reason(decode(KEY, sign(longer)))


@pytest.mark.parametrize("odd", [nan, inf, -inf])
def test_a_time_that_is_none_is_refused(odd: float) -> None:
    """The times of an authentic heartbeat are numbers that can be compared."""
    assert "not understood" in reason(decode(KEY, encode(KEY, replace(BEAT, sent_s=odd))))
    assert "not understood" in reason(decode(KEY, encode(KEY, replace(BEAT, echo=("b-boot", odd)))))


def test_unchanged_body_is_not_read_again() -> None:
    """The same body gives the very same view, on whichever link; a changed one gives another, also when it returns."""
    side = receiver()

    def view(seq: int, *, link: LinkName = PRIV, said: PeerView = VIEW) -> PeerView:
        beat = side.accept(link, encode(KEY, Heartbeat(link, seq, 82.0 + seq, ("b-boot", 81.0), said)))
        assert isinstance(beat, Heartbeat)
        assert beat.view == said
        return beat.view

    first = view(6)
    assert view(6, link=BIZ) is first
    assert view(7) is first
    other = view(8, said=replace(VIEW, wants=9))
    assert other is not first
    assert view(9) is not other


def test_known_body_is_still_authenticated() -> None:
    """A body that was read before makes no forged head believed."""
    side = receiver()
    good = encode(KEY, BEAT)
    assert isinstance(side.accept(PRIV, good), Heartbeat)
    forged = good[:36] + bytes([good[36] ^ 1]) + good[37:]
    assert reason(side.accept(PRIV, forged)) == "wrong authentication code"
    other = encode(of_heartbeats(b"t" * 32), replace(BEAT, seq=7))
    assert reason(side.accept(PRIV, other)) == "wrong authentication code"


@pytest.mark.parametrize("key", list("nbcdprvmwg"))
@pytest.mark.parametrize("odd", [None, [], {}, "x", 1, True, 1e400, [1, 2, 3, 4]])
def test_authentic_odd_field_never_raises(key: str, odd: object) -> None:
    """A field of an unexpected kind gives a heartbeat or a refusal, never an error."""
    said = json.loads(body(VIEW)) | {key: odd}
    assert isinstance(decode(KEY, with_body(said)), Rejected | Heartbeat)


def test_replay_is_refused_and_counted() -> None:
    """The same datagram counts once; a later one with a lower number does not count at all."""
    side = receiver()
    datagram = encode(KEY, BEAT)
    assert side.accept(PRIV, datagram) == BEAT
    assert reason(side.accept(PRIV, datagram)) == "replayed or out of order"
    assert reason(side.accept(PRIV, encode(KEY, replace(BEAT, seq=4)))) == "replayed or out of order"
    assert isinstance(side.accept(PRIV, encode(KEY, replace(BEAT, seq=6))), Heartbeat)
    assert side.rejected == {"replayed or out of order": 2}


def test_heartbeat_of_another_link_is_refused() -> None:
    """A datagram recorded on one link is worth nothing on another, and does not disturb that link."""
    side = receiver()
    assert reason(side.accept(BIZ, encode(KEY, BEAT))) == "recorded on another link"
    assert isinstance(side.accept(PRIV, encode(KEY, BEAT)), Heartbeat)


def test_links_count_apart() -> None:
    """The same number on each link is new on each link."""
    side = receiver()
    assert isinstance(side.accept(PRIV, encode(KEY, BEAT)), Heartbeat)
    assert isinstance(side.accept(BIZ, encode(KEY, replace(BEAT, link=BIZ))), Heartbeat)


def test_earlier_boot_never_comes_back() -> None:
    """After a restart of the peer its old datagrams are refused, whatever their number, and the new ones count."""
    side = receiver()
    side.accept(PRIV, encode(KEY, BEAT))
    reborn = replace(BEAT, seq=0, view=replace(VIEW, boot="boot-2"))
    assert side.accept(PRIV, encode(KEY, reborn)) == reborn
    assert reason(side.accept(PRIV, encode(KEY, replace(BEAT, seq=99)))) == "from an earlier boot of the peer"
    assert isinstance(side.accept(PRIV, encode(KEY, replace(reborn, seq=1))), Heartbeat)


def test_boot_that_was_never_heard_does_not_follow_a_later_one() -> None:
    """Its datagrams were held back on their way until the peer's daemon had started anew, and that one was heard."""
    side = receiver()
    unheard = replace(BEAT, seq=99, echo=("b-boot", 70.0), view=replace(VIEW, boot="boot-0"))
    assert isinstance(side.accept(PRIV, encode(KEY, BEAT)), Heartbeat)
    assert reason(side.accept(PRIV, encode(KEY, unheard))) == "from an earlier boot of the peer"
    assert isinstance(side.accept(PRIV, encode(KEY, replace(BEAT, seq=6))), Heartbeat), "who lives is heard on"
    later = replace(BEAT, seq=0, echo=("b-boot", 82.0), view=replace(VIEW, boot="boot-2"))
    assert isinstance(side.accept(PRIV, encode(KEY, later)), Heartbeat)


@pytest.mark.parametrize("echo", [None, ("an-earlier-boot-of-b", 3.0)])
def test_a_recorded_datagram_cannot_begin_a_conversation(echo: tuple[str, float] | None) -> None:
    """After a restart of ours, an old datagram is only echoed, and does not keep the living peer out."""
    side = receiver()
    old = replace(BEAT, echo=echo, view=replace(VIEW, boot="boot-0"))
    assert side.accept(PRIV, encode(KEY, old)) == Unproven(old)
    assert side.accept(PRIV, encode(KEY, BEAT)) == BEAT
    assert reason(side.accept(PRIV, encode(KEY, old))) == "a new boot that does not echo ours yet"
    assert isinstance(side.accept(PRIV, encode(KEY, replace(BEAT, seq=6))), Heartbeat)


def test_two_fresh_nodes_come_to_believe_each_other() -> None:
    """Each echoes the other's unproven boot, and so proves its own."""
    side = receiver()
    first = replace(BEAT, echo=None)
    answer = side.accept(PRIV, encode(KEY, first))
    assert isinstance(answer, Unproven)
    assert side.accept(PRIV, encode(KEY, replace(BEAT, seq=6, echo=("b-boot", 0.5)))) != answer


@pytest.mark.parametrize(("name", "word"), [("b", "this node's name"), ("c", "not from the peer")])
def test_foreign_sender_is_refused(name: str, word: str) -> None:
    """Only the peer is believed, and a second node with our own name is noticed."""
    beat = replace(BEAT, view=replace(VIEW, node=NodeId(name)))
    assert word in reason(receiver().accept(PRIV, encode(KEY, beat)))


def test_eight_vms_fit_into_one_datagram() -> None:
    """The largest view stays below the size of a datagram on an ordinary Ethernet."""
    vms = {type(WEB)(f"vm-with-a-name-of-32-characters-{n}"[:32]): VmState.PROMOTING for n in range(8)}
    arbiters = ("witness:" + "w" * 32, "witness:" + "x" * 32)
    record = replace(VIEW.record, fresh=tuple(vms), arbiters=arbiters, boot="b" * 36)
    witnesses = ("w" * 32, "x" * 32)
    view = replace(VIEW, vms=vms, record=record, machine="m" * 36, boot="d" * 32, witnesses=witnesses)
    assert len(encode(KEY, replace(BEAT, link=LinkName("priv0"), view=view))) < 1400


def test_unproven_heartbeat_is_taken_once() -> None:
    """Each of them puts off a takeover, so what was recorded earlier can be played once and no more."""
    side = receiver()
    first, second = replace(BEAT, echo=None), replace(BEAT, echo=None, seq=6)
    assert side.accept(PRIV, encode(KEY, first)) == Unproven(first)
    assert "replayed" in reason(side.accept(PRIV, encode(KEY, first)))
    assert side.accept(PRIV, encode(KEY, second)) == Unproven(second)
    assert "replayed" in reason(side.accept(PRIV, encode(KEY, first)))
    other = replace(BEAT, echo=None, view=replace(VIEW, boot="boot-2"))
    assert side.accept(PRIV, encode(KEY, other)) == Unproven(other)


def test_what_is_rarely_said_is_there_when_it_is_said() -> None:
    """VMs that were given up, and a last word, whose length is bounded; else neither takes any room."""
    assert b'"f"' not in body(BEAT.view)
    said = replace(BEAT.view, left=(VmId("web"),), unmade=(VmId("db"),), ends="x" * 1000)
    found = decode(KEY, encode(KEY, replace(BEAT, view=said)))
    assert isinstance(found, Heartbeat)
    assert (found.view.left, found.view.unmade, found.view.ends) == (("web",), ("db",), "x" * ENDS_MAX)
    assert complaints("heartbeat", json.loads(body(said))) == []


@pytest.mark.parametrize(
    "forecast",
    [
        Forecast(17.6, "witness w1", vms=(VmForecast(WEB, "memory"), VmForecast(VmId("db"), "", 3.5)), memory=False),
        Forecast(None, reasons=("no good copy", "no right"), vms=(VmForecast(WEB, "filling"),), off_s=5.6),
    ],
)
def test_a_forecast_is_there_when_it_is_said(forecast: Forecast) -> None:
    """It takes no room while both nodes foresee the same."""
    assert b'"j"' not in body(BEAT.view)
    said = replace(BEAT, view=replace(BEAT.view, forecast=forecast))
    assert decode(KEY, encode(KEY, said)) == said
    assert complaints("heartbeat", json.loads(body(said.view))) == []


def test_a_long_forecast_is_cut() -> None:
    """Whoever sent it: the receiver keeps no more than a few short texts."""
    long = Forecast(None, "m" * 1000, ("r" * 1000,) * 9)
    found = decode(KEY, encode(KEY, replace(BEAT, view=replace(BEAT.view, forecast=long))))
    assert isinstance(found, Heartbeat)
    assert found.view.forecast == Forecast(None, "m" * FORETOLD_MAX, ("r" * FORETOLD_MAX,) * REASONS_MAX)

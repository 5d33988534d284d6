"""DRBD's words: the resource file as settled, and its event stream as captured on real nodes.

The captures were taken with drbd-utils 9.22 on kernel module 8.4.11: both nodes from the creation of a resource to
the first write, and the backup on through the death of its peer and its own promotion.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from avance.core.model import DiskRole, DiskState, DiskView
from avance.wire import drbd
from tests.playbook import WEB, in_sync
from tests.unit.avance.site import config

DATA = Path(__file__).parent / "data"
GOLDEN = """resource avance-web {
  options  { on-no-data-accessible suspend-io; }
  disk     { on-io-error detach; fencing resource-and-stonith; disk-timeout 40;
             disk-flushes yes; md-flushes yes; disk-barrier no; resync-rate 40M; c-plan-ahead 0; }
  net      { protocol C; allow-two-primaries no; cram-hmac-alg sha256; shared-secret "SECRET";
             verify-alg sha256; timeout 15; ko-count 4; ping-int 2; ping-timeout 35;
             connect-int 2; after-sb-0pri disconnect; after-sb-1pri disconnect; after-sb-2pri disconnect;
             rr-conflict disconnect; }
  handlers { fence-peer /usr/lib/avance/fence-peer; }
  device /dev/drbd0 minor 0;
  disk /dev/vg0/avance-web;
  meta-disk internal;
  floating 10.9.0.1:7789;
  floating 10.9.0.2:7789;
}
"""


def read(name: str) -> list[str]:
    """Return the lines of a capture."""
    return (DATA / f"events2-9.22-8.4.11-{name}.txt").read_text().splitlines()


def fed(lines: list[str]) -> drbd.EventsParser:
    """Return a parser that has seen these lines."""
    parser = drbd.EventsParser()
    for line in lines:
        parser.feed(line)
    return parser


def text(node: str = "a", dilation: float = 1.0, *, integrity: bool = False) -> str:
    """Return the resource file of a node."""
    whole = config(node, dilation=dilation)
    link = whole.link(whole.replication_link)
    addresses = str(link.address.ip), str(link.peer_address)
    shared = drbd.Replication(addresses, "5e" * 30, whole.dilation, integrity)
    return drbd.resource_file(shared, whole.vms[0])


def test_resource_file_is_as_settled() -> None:
    """The file is exactly the reviewed one: protocol C, frozen I/O, no automatic repair of a split brain."""
    assert text() == GOLDEN.replace("SECRET", "5e" * 30)


def test_digests_are_compared_where_a_site_wants_it() -> None:
    """The digest of each block is an option of the connection, and the only thing that changes."""
    assert text(integrity=True).replace(" data-integrity-alg crc32c;", "") == text()


def test_both_nodes_have_the_same_file() -> None:
    """DRBD gets the same text on both nodes."""
    assert text("a") == text("b")


@pytest.mark.parametrize(("dilation", "timeout", "ping"), [(2.0, 30, 70), (10.0, 150, 300), (40.0, 600, 300)])
def test_times_follow_the_dilation_up_to_the_caps(dilation: float, timeout: int, ping: int) -> None:
    """DRBD's times are multiplied like all others, and stay at DRBD's own limits."""
    assert f" timeout {timeout};" in text(dilation=dilation)
    assert f" ping-timeout {ping};" in text(dilation=dilation)


def test_nothing_is_ever_forced() -> None:
    """No command line forces a promotion or discards data."""
    argvs = [drbd.promote_argv(WEB), drbd.connect_argv(WEB, discard=False), drbd.resume_argv(WEB)]
    argvs += drbd.attach_argvs(WEB)
    argvs += [drbd.demote_argv(WEB), drbd.down_argv(WEB), drbd.initialise_argv(WEB), drbd.outdate_argv(WEB)]
    assert not [argv for argv in argvs if any("force" in word or "discard" in word for word in argv)]
    assert all(argv[0] == "drbdadm" for argv in argvs)
    assert all(argv[-1] == f"avance-{WEB}" for argv in argvs)


def test_capture_of_the_primary() -> None:
    """The first node's stream ends as connected primary with two good copies."""
    assert fed(read("a")).views == {"web": in_sync(DiskRole.PRIMARY)}


def test_capture_of_the_backup() -> None:
    """The second node's stream ends as connected secondary of a primary."""
    assert fed(read("b")).views == {"web": in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)}


def test_capture_of_a_takeover() -> None:
    """After the peer's death and the own promotion, the peer's copy counts as outdated."""
    assert fed(read("b-takeover")).views[WEB] == DiskView(
        DiskRole.PRIMARY, DiskState.UP_TO_DATE, "Connecting", DiskRole.UNKNOWN, DiskState.OUTDATED, "Off"
    )


def test_only_changes_are_reported() -> None:
    """A line that changes nothing, or is no state, is passed over."""
    lines = read("b-takeover")
    parser = drbd.EventsParser()
    silent = [line for line in lines if parser.feed(line) is None]
    assert not [line for line in silent if line.startswith("change") and ("role:" in line or "disk:" in line)]
    others = [line.split()[0] for line in silent if line[:6] not in ("change", "create")]
    assert others == ["exists", "call", "response"]
    assert "change connection name:avance-web peer-node-id:0 conn-name:peer" in silent


def test_resources_of_others_are_passed_over() -> None:
    """A resource without our prefix is none of ours, whatever it is called and whatever DRBD says of it."""
    parser = fed(read("a"))
    before = dict(parser.views)
    for name in ("web", "avance", "avance-", "all"):
        assert parser.feed(f"change device name:{name} volume:0 minor:7 disk:Fine") is None
        assert parser.feed(f"destroy resource name:{name}") is None
    assert parser.views == before


def test_destroyed_connection_stands_alone() -> None:
    """A resource whose connection is removed keeps its disk and stands alone."""
    parser = fed(read("b"))
    assert parser.feed("destroy connection name:avance-web peer-node-id:0 conn-name:peer") == "web"
    assert parser.views[WEB] == DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)


def test_destroyed_resource_is_forgotten() -> None:
    """A resource that was taken down is not known any more."""
    parser = fed(read("b"))
    assert parser.feed("destroy device name:avance-web volume:0 minor:0") == "web"
    assert parser.views == {}
    assert parser.feed("destroy resource name:avance-web") is None


def test_suspended_io_is_seen() -> None:
    """Frozen I/O is part of the view, whatever the reason that DRBD names."""
    parser = fed(read("a"))
    parser.feed("change resource name:avance-web suspended:fencing")
    assert parser.views[WEB].suspended
    parser.feed("change resource name:avance-web suspended:no")
    assert not parser.views[WEB].suspended


@pytest.mark.parametrize(
    "line", ["change resource name:avance-web role:Chief", "change device name:avance-web volume:0 minor:0 disk:Fine"]
)
def test_unknown_word_is_an_error(line: str) -> None:
    """A state that this version does not know is never guessed."""
    with pytest.raises(ValueError, match="is not a valid"):
        fed(read("a")).feed(line)


@pytest.mark.parametrize(("side", "role"), [("source", DiskRole.PRIMARY), ("target", DiskRole.SECONDARY)])
def test_capture_of_a_resync_with_statistics(side: str, role: DiskRole) -> None:
    """A full copy to the peer, seen from both sides: the copies differ from its beginning to its end."""
    lines = (DATA / f"events2-statistics-9.22-8.4.11-resync-{side}.txt").read_text().splitlines()
    parser = drbd.EventsParser()
    differs = [parser.views[WEB].out_of_sync_kib for line in lines if parser.feed(line) is not None]
    assert [kib for kib, before in zip(differs[1:], differs, strict=False) if kib != before] == [36824, 0]
    assert parser.views[WEB].in_sync
    assert parser.views[WEB].role is role


def test_difference_is_reported_when_it_comes_and_goes() -> None:
    """Whether copies differ is part of the view; how much changes with every line of a resync, and is not followed."""
    parser = fed(read("a"))
    line = "change peer-device name:avance-web peer-node-id:0 conn-name:peer volume:0 out-of-sync:"
    news = [parser.feed(f"{line}{kib} pending:0 unacked:0") for kib in (0, 4096, 2048, 4, 0, 0)]
    assert news == [None, "web", None, None, "web", None]
    assert parser.views[WEB].in_sync
    parser.feed(f"{line}4")
    assert not parser.views[WEB].in_sync


def test_every_prefix_of_a_capture_is_readable() -> None:
    """A stream may break anywhere, also within a line."""
    whole = "\n".join(read("b-takeover"))
    for end in range(0, len(whole), 7):
        complete = whole[:end].splitlines()[:-1]
        assert set(fed(complete).views) <= {"web"}


GI = "106568C98765B301:0000000000000000:0000000000000000:0000000000000000:1:1:1:1:0:0:0 \n"  # drbdsetup 9.22


def test_generations_are_read_from_real_output() -> None:
    """Of get-gi only the four identifiers count, not the flags behind them."""
    assert drbd.generations(GI) == "106568C98765B301 0 0 0"


@pytest.mark.parametrize("said", ["", "No valid meta data found\n", GI[:30], GI.replace("98765B301", "")])
def test_anything_else_is_no_generation(said: str) -> None:
    """What is cut or empty is refused: a wrong generation would make a good disk foreign, or a foreign one ours."""
    with pytest.raises(ValueError, match=r"get-gi|invalid literal"):
        drbd.generations(said)


def test_metadata_tells_whether_a_volume_was_ever_used() -> None:
    """The generation of `create-md` means never used (linux/drbd.h, UUID_JUST_CREATED)."""
    assert drbd.is_just_created("4 0 0 0")
    assert not drbd.is_just_created("5 0 0 0")
    assert not drbd.is_just_created("")


COUNTERS = """version: 8.4.11 (api:1/proto:86-101)
srcversion: E7D1B3A5F0C2

 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:9 nr:0 dw:9 dr:5 al:1 bm:0 lo:2 pe:3 ua:0 ap:4 ep:1 wo:f oos:0
11: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----
    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:1 ep:1 wo:f oos:0
"""


def test_requests_of_one_volume_are_counted() -> None:
    """All of them, those at the local disk, those at the peer."""
    assert drbd.in_flight(COUNTERS, 1) == (4, 2, 3)
    assert drbd.in_flight(COUNTERS, 11) == (1, 0, 0)


WORSE = (COUNTERS.replace("ap:4", ""), COUNTERS.replace("lo:2", "lo:x"))


@pytest.mark.parametrize("counters", ["", COUNTERS[:60], *WORSE])
def test_numbers_that_are_not_there_are_an_error(counters: str) -> None:
    """Nothing is made up."""
    with pytest.raises(ValueError, match=r"1|x"):
        drbd.in_flight(counters, 1)

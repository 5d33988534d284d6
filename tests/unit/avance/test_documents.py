"""A change of the definitions, from a person's words on one node to the files of both, with real datagrams."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from bisect import bisect
from pathlib import Path
from typing import Any

import pytest

from avance import documents
from avance.changes import Contents
from avance.config import parse
from avance.core.agreement import HISTORY_MAX
from avance.core.events import ChangeAsked, TakeAsked
from avance.core.model import Outcome, Stand, Version
from avance.definitions import VMS_MAX
from avance.documents import missing_file
from avance.errors import ConfigError
from avance.wire.document import MAGIC, NONCE_BYTES
from tests.unit.avance.site import W1, kept_of, pem, site, vm
from tests.unit.avance.two_nodes import TwoNodes

ADD = {"op": "vm-add", "vm": vm()}
DB = vm(name="db", mac="00:16:3e:77:00:21", address="10.77.0.21")
ADD_DB = {"op": "vm-add", "vm": DB}


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoNodes:
    """Two nodes that were paired and never changed."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])
    return TwoNodes(tmp_path)


def test_change_is_given_once_and_counts_on_both(pair: TwoNodes) -> None:
    """In use, in the files of both, and the person hears that it is done."""
    pair.run(1.0)
    pair.b.asks(ADD)
    pair.run()
    assert pair.is_agreed
    assert [answer.text for answer in pair.b.answers] == ["vm add web: done, both nodes hold it"]
    for node in (pair.a, pair.b):
        raw = node.kept.load(mend=False)
        assert raw is not None
        assert (raw["vms"], raw["number"], raw["proposal"]) == ([vm(number=0)], 1, None)
        assert [spec.name for spec in node.used[-1].vms] == ["web"]
    pair.a.begin()
    pair.run(1.0)
    assert pair.is_agreed


def test_node_that_refuses_says_why(pair: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is impossible there is told here, and counts nowhere."""
    pair.run(1.0)
    pair.a.asks(ADD)
    pair.b.unfinished = ("web",)
    pair.run()
    assert pair.is_agreed
    assert pair.a.vms == pair.b.vms == []
    (answer,) = pair.a.answers
    assert not answer.done
    assert answer.text.startswith("vm add web: node b refuses it: node b still removes the VM web")
    assert answer.text.endswith("nothing was changed")
    raw = pair.a.kept.load(mend=False)
    assert raw is not None
    assert raw["proposal"] is None


def test_silent_peer_lets_nothing_count(pair: TwoNodes) -> None:
    """A peer that is lost in the middle: it is withdrawn in time, and what the peer holds is dropped later."""
    pair.run(1.0)
    pair.a.asks(ADD)
    pair.run(1.0)
    pair.cut = True
    pair.run(25.0)
    pair.cut = False
    pair.run()
    assert pair.is_agreed
    assert [answer.done for answer in pair.a.answers] == [pair.a.vms == ["web"]]


def test_one_node_changes_and_the_other_takes_it_later(pair: TwoNodes) -> None:
    """Two changes while the other node is away; it takes both at once when it is back."""
    pair.run(1.0)
    pair.cut = True
    pair.run(1.0)
    pair.a.asks({**ADD, "one_node": True})
    pair.run(2.0)
    pair.a.asks({**ADD_DB, "one_node": True}, 2)
    pair.run(2.0)
    assert [answer.done for answer in pair.a.answers] == [True, True]
    assert pair.b.vms == []
    pair.cut = False
    pair.run()
    assert pair.is_agreed
    assert pair.b.vms == ["web", "db"]


def test_nodes_that_were_changed_apart_are_told_and_a_person_chooses(pair: TwoNodes) -> None:
    """Neither is overwritten; the one on which a person says so takes the other's."""
    pair.run(1.0)
    pair.cut = True
    pair.run(1.0)
    pair.a.asks({**ADD, "one_node": True})
    pair.b.asks({**ADD_DB, "one_node": True})
    pair.run(2.0)
    pair.cut = False
    pair.run(5.0)
    assert (pair.a.vms, pair.b.vms) == (["web"], ["db"])
    assert pair.a.alerts == pair.b.alerts == ["definitions_differ"]
    pair.a.queue.append(TakeAsked(7))
    pair.run(1.5)
    assert "node a has a VM web, of which these definitions know nothing" in pair.a.answers[-1].text
    assert "--one-node" in pair.a.answers[-1].text
    remove = {"op": "vm-remove", "name": "web", "delete_volume": True, "one_node": True}
    pair.a.asks(remove, 8)
    pair.run(1.5)
    assert pair.a.answers[-1].done
    pair.a.queue.append(TakeAsked(9))
    pair.run(1.5)
    assert pair.a.answers[-1].text == "definitions take: this node has the definitions of node b, number 1"
    assert pair.is_agreed
    assert pair.a.vms == pair.b.vms == ["db"]


def test_no_volume_is_deleted_by_a_choice_between_definitions(pair: TwoNodes) -> None:
    """A VM was removed on one node while the other one served it: whoever takes that has to say so of its volume."""
    pair.run(1.0)
    pair.a.asks(ADD)
    pair.run()
    pair.cut = True
    pair.run(1.0)
    remove = {"op": "vm-remove", "name": "web", "delete_volume": True, "one_node": True}
    pair.a.asks(remove)
    pair.b.asks({**ADD_DB, "one_node": True})
    pair.run(2.0)
    pair.cut = False
    pair.run(5.0)
    pair.b.queue.append(TakeAsked(7))
    pair.run(1.5)
    assert "these definitions remove the VM web, and its volume with all its data on node b" in pair.b.answers[-1].text
    assert pair.b.vms == ["web", "db"]
    for number, name in enumerate(("web", "db")):
        pair.b.asks({**remove, "name": name}, number)
        pair.run(1.5)
    pair.b.queue.append(TakeAsked(9))
    pair.run(3.0)
    assert pair.b.answers[-1].text == "definitions take: this node has the definitions of node a, number 2"
    assert pair.is_agreed


def test_replaced_node_takes_all_of_the_other(pair: TwoNodes, tmp_path: Path) -> None:
    """A bare machine is paired with the site of long ago, and has the definitions of today soon."""
    pair.run(1.0)
    for number, request in enumerate((ADD, ADD_DB, {"op": "site-change", "site": site(policy="safety")})):
        pair.a.asks(request, number)
        pair.run()
    assert [answer.done for answer in pair.a.answers] == [True, True, True]
    for name in ("b.json", "b.twin.json"):
        (tmp_path / name).unlink()
    pair.b.kept.save({**kept_of("b"), "number": 0})
    pair.b.begin()
    pair.run()
    assert pair.is_agreed
    assert pair.b.vms == ["web", "db"]
    assert pair.b.documents.in_use.policy == "safety"


def test_what_no_node_could_send_is_refused(pair: TwoNodes) -> None:
    """Before anybody is asked to agree."""
    noise = random.Random(1).randbytes(40_000)
    inside = f"3003020101 3000 0382{len(noise):04x} {noise.hex()}"
    authority = pem(f"3082{len(bytes.fromhex(inside)):04x} {inside}")
    with pytest.raises(ConfigError, match="more than 32 KiB"):
        pair.a.asks({"op": "site-change", "site": site(call_home=site()["call_home"] | {"ca_pem": authority})})


def test_what_is_accepted_can_be_sent_however_long_the_history_is(pair: TwoNodes) -> None:
    """A node that was away for many changes gets the newest document: the history in it has grown meanwhile."""
    held, noise = pair.a.documents, random.Random(1)
    letters = [noise.randbytes(4_500).hex() for _ in range(VMS_MAX)]

    def given(size: int) -> ChangeAsked | None:
        texts = [one[: size // VMS_MAX] for one in letters]  # as much as one VM may say: two paths, and its arguments
        entries = [
            vm(name=f"vm{number}", number=number, mac=f"00:16:3e:77:00:{number:02x}", address=f"10.77.0.{100 + number}",
               kernel=f"/k{text[:4_000]}", ramdisk=f"/r{text[4_000:8_000]}", cmdline=text[8_000:])
            for number, text in enumerate(texts)
        ]  # fmt: skip
        try:
            return held.asked("vm add web", Contents(held.contents.site, entries), alone=True)
        except ConfigError:
            return None

    about = bisect(range(sum(map(len, letters))), False, key=lambda size: given(size) is None)
    largest = next(asked for asked in map(given, range(about, 0, -1)) if asked is not None)
    history = tuple(Version(place, noise.randbytes(8).hex()) for place in range(1000, 1000 + HISTORY_MAX))
    held.stand = Stand(Version(2000, largest.hash), history)
    assert held.datagram(held.stand.version.key) is not None


def test_missing_device_is_refused_on_either_node(pair: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node looks at its own devices."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0")])
    with pytest.raises(ConfigError, match="names the device biz0, but node a has"):
        pair.a.asks(ADD)


def test_files_that_a_vm_starts_from_are_looked_for(tmp_path: Path) -> None:
    """Of a VM that is new or changed only: what counts already is no reason to refuse another change."""
    there, gone = tmp_path / "kernel", tmp_path / "gone"
    there.write_text("")
    entry = vm(number=0, kernel=str(there), ramdisk=str(gone))
    without, with_it = parse("a", site(), []), parse("a", site(), [entry])
    assert missing_file(without, with_it) == f"VM web starts from the file {gone}, and node a has none of that name"
    assert missing_file(with_it, with_it) == ""
    assert missing_file(without, parse("a", site(), [{**entry, "ramdisk": str(there)}])) == ""
    assert str(tmp_path) in missing_file(without, parse("a", site(), [{**entry, "ramdisk": str(tmp_path)}])), "no file"


def test_disk_that_does_not_answer_is_not_waited_for(pair: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody knows whether the VM could start, and the change is refused."""
    never = threading.Event()
    monkeypatch.setattr(documents, "_LOOK_S", 0.01)
    monkeypatch.setattr(documents, "missing_file", lambda *_: str(never.wait(30.0)))
    said = asyncio.run(pair.a.documents.lacks(pair.a.documents.in_use.config_hash))
    never.set()
    assert said == "node a cannot look for the files that its VMs start from (no answer)"


def test_stand_without_contents_is_not_written(pair: TwoNodes) -> None:
    """What nobody gave cannot be kept."""
    done = asyncio.run(pair.a.documents.save(Stand(Version(3, "unknown"))))
    assert done.outcome is Outcome.FAILED


def test_disk_that_refuses_leaves_it_open(pair: TwoNodes, tmp_path: Path) -> None:
    """Nobody knows what a start will find, so the outcome is unknown; the node goes on with what it has."""
    before = pair.a.documents.stand
    for name in ("a.json", "a.twin.json"):
        (tmp_path / f"{name}.part").mkdir()
    done = asyncio.run(pair.a.documents.save(before))
    assert done.outcome in (Outcome.UNKNOWN, Outcome.OK)
    assert pair.a.documents.stand == before


@pytest.mark.parametrize("key", ["", "0 other", "4711"])
def test_document_that_is_not_here_is_not_sent(pair: TwoNodes, key: str) -> None:
    """The peer asks for what it heard of; it may be gone by then."""
    assert pair.a.documents.datagram(key) is None


def test_no_two_datagrams_have_the_same_key_stream(pair: TwoNodes) -> None:
    """Whoever had two of them could read what they do not share: passwords that were changed, for one."""
    documents = pair.a.documents
    first, second = (documents.datagram(documents.stand.version.key) for _ in range(2))
    assert first is not None
    assert second is not None
    head = len(MAGIC) + 32
    assert first[head : head + NONCE_BYTES] != second[head : head + NONCE_BYTES]


def test_site_is_changed_on_both(pair: TwoNodes) -> None:
    """Also a site with secrets of its own; the site's secret never travels."""
    changed: dict[str, Any] = site(witnesses=[W1], policy="safety")
    pair.run(1.0)
    pair.a.asks({"op": "site-change", "site": changed})
    pair.run()
    assert pair.is_agreed
    assert pair.b.documents.contents.site == changed


STOP = {"op": "vm-wanted", "name": "web", "wanted": "shut-down"}


@pytest.mark.parametrize(("name", "room_mib"), [("a", None), ("b", 103), ("a", 104)])
def test_a_vm_is_wanted_only_where_there_is_memory_for_it(
    pair: TwoNodes, name: str, room_mib: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node looks for itself, before it agrees; a stop needs no memory. What nobody can say is a no."""
    monkeypatch.setattr(documents, "missing_file", lambda *_: "")
    pair.run(1.0)
    pair.a.asks(ADD)
    pair.run()
    getattr(pair, name).room_mib = 0
    pair.b.asks(STOP, 2)
    pair.run()
    assert pair.is_agreed
    assert pair.b.answers[-1].done
    getattr(pair, name).room_mib = room_mib
    node = getattr(pair, name).documents
    wanted = Contents(site(), [vm(number=0)])
    lacks = asyncio.run(node.lacks(node.asked("", wanted, alone=False).hash))
    if room_mib == 104:
        assert lacks == ""
    elif room_mib is None:
        assert lacks == f"node {name} cannot say how much memory it has for VMs: Xen does not answer"
    else:
        assert lacks == f"the VMs that are to run need 104 MiB, and node {name} has 103 MiB for VMs"

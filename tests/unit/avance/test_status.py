"""The status says what a node may do and why, as published, and holds no secret."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from avance.core.engine import Engine
from avance.core.events import DiskChanged, PartSeen, VmAdded
from avance.core.model import (
    Copy,
    DiskRole,
    DiskState,
    MirrorState,
    MirrorView,
    NodeId,
    NodePart,
    PairState,
    Record,
    VmId,
    VmState,
)
from avance.parsed import Json
from avance.status import Around, document, unpaired
from tests.playbook import WEB, A, B, Playbook, paired, peer_gone, setup, spec
from tests.schema_check import complaints
from tests.unit.avance.site import config

AROUND = Around("a-boot", rejected={"wrong authentication code": 2}, watchdog_armed=True)


def status(record: Record, *, policy: str = "availability", pair: PairState = PairState.STARTING) -> Json:
    """Return the status of node a with a record, as it goes over the socket."""
    engine = Engine(setup(A, policy=policy), record)
    engine.sight.pairing.pair = pair
    engine.liveness.lease_from_s = 98.0
    return json.loads(json.dumps(document(config(policy=policy), engine, AROUND, 100.0)))


@pytest.mark.parametrize("pair", PairState)
def test_every_state_matches_the_schema(pair: PairState) -> None:
    """Whatever the pair's state, the document is as published."""
    assert complaints("status", status(Record(3, A, arbiters=("witness:w1",)), pair=pair)) == []
    assert complaints("status", unpaired(1.0)) == []


@pytest.mark.parametrize(
    ("arbiters", "policy", "hole"),
    [((), "availability", "open"), ((), "safety", "closed"), (("witness:w1",), "availability", "closed"),
     (("survivor:a",), "availability", "closed")],
)  # fmt: skip
def test_hole_is_open_only_when_the_policy_decides(arbiters: tuple[str, ...], policy: str, hole: str) -> None:
    """The residual hole is shown exactly where neither an arbiter nor the policy `safety` closes it."""
    assert status(Record(3, A, arbiters=arbiters), policy=policy)["arbitration"]["hole"] == hole


def test_right_and_lease_are_told() -> None:
    """The exclusive right is that of the record, and the lease counts down from the echoed send time."""
    lone = status(Record(3, A, peer_outdated=True))["arbitration"]
    assert lone["solo"] is True
    assert lone["lease_s"] == 4.0
    assert status(Record(3, NodeId("b"), peer_outdated=True))["arbitration"]["solo"] is False
    engine = Engine(setup(A), Record())
    assert document(config(), engine, AROUND, 100.0)["arbitration"]["lease_s"] is None
    engine.liveness.lease_from_s = 1.0
    assert document(config(), engine, AROUND, 100.0)["arbitration"]["lease_s"] == 0.0


def test_what_the_daemon_counts_is_told() -> None:
    """Refused datagrams, lost journal lines and the watchdog stand in the document as they were counted."""
    engine = Engine(setup(A), replace(Record(), quarantined=True))
    given = document(config(), engine, replace(AROUND, journal_dropped=4, watchdog_problem="no device"), 100.0)
    assert given["rejected"] == {"wrong authentication code": 2}
    assert given["journal"] == {"dropped": 4}
    assert given["watchdog"] == {"configured": True, "armed": True, "problem": "no device", "feeds": 0}
    assert given["quarantined"] is True


def test_both_nodes_guards_are_told() -> None:
    """What this node knows of its own, and what the peer said of its last."""
    book = paired(A, watchdog=True)
    assert document(config(), book.engine, AROUND, 100.0)["unguarded"] == {}
    book.hears(PartSeen(NodePart.WATCHDOG, "no such device"))
    book.peer_says(unguarded=(NodePart.GATE,))
    given = json.loads(json.dumps(document(config(), book.engine, AROUND, 100.0)))
    assert given["unguarded"] == {"a": ["watchdog"], "b": ["gate"]}
    assert complaints("status", given) == []


def test_the_module_of_drbd_is_told() -> None:
    """With its version and with what is wrong with it, or with neither while none is loaded."""
    engine = Engine(setup(A), Record())
    assert document(config(), engine, AROUND, 1.0)["drbd"] == {"version": None, "problem": None}
    around = replace(AROUND, drbd_version="8.4.11", drbd_problem="it is not mended")
    given = document(config(), engine, around, 1.0)
    assert given["drbd"] == {"version": "8.4.11", "problem": "it is not mended"}
    assert complaints("status", json.loads(json.dumps(given))) == []


@pytest.mark.parametrize("state", MirrorState)
def test_the_mirror_is_told(state: MirrorState) -> None:
    """Also by a node that is not paired yet; what is noted of it is nobody's business."""
    view = MirrorView(state, 1, 2, "5 note", "4 note", "/dev/vdb is out of it")
    engine = Engine(setup(A), Record())
    engine.sight.mirror.view = view
    for given in (document(config(), engine, AROUND, 100.0), unpaired(1.0, view)):
        assert given["mirror"] == {"state": state, "halves": 1, "of": 2, "detail": "/dev/vdb is out of it"}
        assert complaints("status", json.loads(json.dumps(given))) == []
        assert "note" not in json.dumps(given)


def test_no_secret_is_told() -> None:
    """Neither the site's secret nor the token of Call Home can be read from the status."""
    text = json.dumps(status(Record(3, A)))
    assert config().secret.hex() not in text
    assert "t0ken-of-the-tests" not in text


def waits(engine: Engine, now: float = 100.0) -> str | None:
    """Return what the status says that the service waits for."""
    said: str | None = document(config(), engine, AROUND, now)["waits"]
    return said


def test_a_service_that_waits_says_for_whom() -> None:
    """The node with the good copy, the disk, or the person who is missing is named; where it runs, nothing is said."""
    assert waits(paired(A).engine) is None
    assert "node b has not been heard" in str(waits(Engine(setup(A), Record(3, A))))
    behind = paired(A)
    behind.engine.sight.durable.record = replace(behind.engine.record, behind=(WEB,))
    behind.pass_time(30.0, peer_alive=False)
    assert behind.engine.pair is PairState.WAITING
    assert "the copy of web on node a is behind" in str(waits(behind.engine))
    split = paired(A)
    split.engine.sight.pairing.pair = PairState.SPLIT
    assert "an operator has to choose" in str(waits(split.engine))


def test_a_lone_owner_without_its_disk_waits_for_it() -> None:
    """Its peer is back and agrees, but what was acknowledged alone is on this node's lost disk."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=True)
    frozen = replace(peer_gone(DiskRole.PRIMARY, suspended=True), disk=DiskState.DISKLESS)
    book.hears(DiskChanged(WEB, frozen))
    assert "the only good copy of web is on the disks of this node" in str(waits(book.engine))
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=False)
    book.hears(DiskChanged(WEB, replace(frozen, suspended=False)))
    assert waits(book.engine) is not None, "the link is down, and it has no disk"
    over_the_link = replace(frozen, suspended=False, connection="Connected", peer_disk=DiskState.UP_TO_DATE)
    book.hears(DiskChanged(WEB, over_the_link))
    assert waits(book.engine) is None, "it serves over the link"


def test_an_owner_that_cannot_serve_says_what_is_ill() -> None:
    """Its record, its tools, or the way to its peer: one sentence, with the node that has to be mended."""
    book = paired(A)
    unit, durable = book.engine.units[WEB], book.engine.sight.durable
    unit.state = VmState.STANDBY
    assert "the copies of web have to meet" in str(waits(book.engine))
    unit.failures, unit.failing = 3, "StartDomain"
    assert "VM web does not start on node a" in str(waits(book.engine))
    durable.failing_from_s = book.now
    assert "the record of node a cannot be written" in str(waits(book.engine))
    book.engine.handover.leaving = "the copy of web here is gone"
    assert "the record of node a cannot be written" in str(waits(book.engine)), "so nothing moves"
    durable.failing_from_s = None
    assert waits(book.engine) == "the VMs move to node b: the copy of web here is gone"


def test_a_node_without_its_record_says_so_whatever_it_is_asked_for() -> None:
    """It looks for a right, or was given one; without its record it can take neither."""
    book = paired(B)
    assert waits(book.engine) is None, "the peer serves"
    book.engine.sight.durable.failing_from_s = book.now
    assert waits(book.engine) is None
    book.peer_says(record=replace(book.engine.record, epoch=4, owner=B))
    assert "the record of node b cannot be written" in str(waits(book.engine))
    book.engine.sight.pairing.pair = PairState.WAITING
    assert "the record of node b cannot be written" in str(waits(book.engine))


def test_a_peer_that_is_heard_is_not_called_unheard() -> None:
    """A node that starts beside a peer with another site says what both need."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    book.peer_says(config_hash="other")
    book.peer_says(config_hash="other")
    said = str(waits(book.engine, book.now))
    assert "node b is heard, but the configurations differ" in said
    book.engine.sight.partner.view = replace(book.peer, config_hash="c0ffee")
    assert "have not agreed yet" in str(waits(book.engine, book.now))


def test_each_vm_counts() -> None:
    """One VM runs and another does not: what that one waits for is said all the same."""
    book = paired(A)
    book.hears(VmAdded(spec(VmId("db"), 1), "c0ffee"))
    web, db = book.engine.units.values()
    assert web.state is VmState.RUNNING
    db.state, db.disk, db.disk_known, db.failures, db.failing = VmState.STANDBY, web.disk, True, 3, "StartDomain"
    assert "VM db does not start on node a" in str(waits(book.engine))
    db.state = VmState.RUNNING
    assert waits(book.engine) is None


def test_new_volume_is_no_copy_that_a_person_has_to_choose() -> None:
    """A VM was added, and the peer cannot make its volume: no override is advised, which would only cost a copy."""
    book, db = paired(A), VmId("db")
    book.hears(VmAdded(spec(db, 1), "c0ffee"))
    book.hears(DiskChanged(db, None))
    told = {**book.peer.copies, db: Copy(DiskState.DISKLESS)}
    book.peer_says(vms={**book.peer.vms, db: VmState.STANDBY}, copies=told)
    assert "the volume of db has to be made on both nodes" in str(waits(book.engine))
    book.peer_says(record=replace(book.peer.record, generations=((db, "1a2c"),)))
    assert "an operator has to choose" in str(waits(book.engine)), "the peer knows data of it"


def test_a_node_that_waits_names_who_can_end_it() -> None:
    """Its peer, or an operator who knows that the peer is off."""
    book = paired(B, policy="safety")
    book.pass_time(30.0)
    assert "safety gives no right" in str(waits(book.engine))
    assert "node a has to be back, or an operator has to vouch that it is off" in str(waits(book.engine))


def test_definitions_that_differ_are_told() -> None:
    """Both hashes stand in the status, and a service whose copies may not meet says why."""
    book = paired(A)
    book.peer_says(config_hash="another")
    given = document(config(), book.engine, AROUND, book.now)
    found = given["definitions"]
    assert (found["hash"], found["peer_hash"], found["number"], found["proposal"]) == ("c0ffee", "another", 0, None)
    book.engine.units[WEB].state = VmState.STANDBY
    assert "not the same on a and b" in str(document(config(), book.engine, AROUND, book.now)["waits"])
    book.peer_says(config_hash="c0ffee")
    book.engine.units[WEB].state = VmState.STANDBY
    assert "have to meet" in str(document(config(), book.engine, AROUND, book.now)["waits"])

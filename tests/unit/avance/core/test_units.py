"""All VMs of a node: what is told of them, what is forgotten with a broken stream, who is protected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskRole, DiskState, Outcome, Record, VmId, VmState
from avance.core.unit import VmUnit
from tests.playbook import (
    WEB,
    A,
    B,
    ended,
    in_sync,
    paired,
    peer_gone,
    spec,
)

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY


def test_resynchronisation_is_told_once() -> None:
    """The start of a resync is a milestone; its progress is none."""
    book = paired(A)
    syncing = replace(in_sync(P), peer_disk=DiskState.INCONSISTENT, replication="SyncSource", out_of_sync_kib=100)
    book.hears(e.DiskChanged(WEB, syncing))
    book.hears(e.DiskChanged(WEB, replace(syncing, out_of_sync_kib=50)))
    assert book.milestones.count("resync_started") == 1


def test_broken_stream_makes_the_disks_unknown() -> None:
    """After a break of DRBD's stream nothing is known of the disks, and the node knows that."""
    book = paired(A)
    book.hears(e.DiskStreamReset())
    assert not book.engine.sight.known
    book.hears(e.DiskChanged(WEB, in_sync(P)))
    assert book.engine.sight.known


def test_vm_is_added_once() -> None:
    """A VM that is protected already cannot be added again."""
    book = paired(A)
    with pytest.raises(AssertionError, match="protected already"):
        book.hears(e.VmAdded(book.engine.units[WEB].spec, "hash"))


def test_protection_needs_everything() -> None:
    """Protected means: paired, both records agree on good copies, every disk in sync, every VM running."""
    assert paired(A).engine.protected
    assert paired(B).engine.protected
    broken: list[e.Event | Record | float] = [
        e.DiskChanged(WEB, peer_gone(P)),
        e.DiskChanged(WEB, replace(in_sync(P), out_of_sync_kib=4)),
        e.DomainChanged(WEB, running=False),
        Record(3, A, peer_outdated=True),
        6.0,
    ]
    for what in broken:
        book = paired(A)
        if isinstance(what, Record):
            book.peer_says(record=what)
        elif isinstance(what, float):
            book.pass_time(what)
        else:
            book.hears(what)
        assert not book.engine.protected, what
        assert "no longer protected" in book.reasons


def test_backup_calls_it_protected_only_when_the_peer_runs_the_vm() -> None:
    """The backup believes the owner's word about the VM."""
    book = paired(B)
    for word in (VmState.STARTING, VmState.RUNNING):
        book.peer_says(vms={WEB: word})
        assert book.engine.protected is (word is VmState.RUNNING)
    assert book.milestones[-1] == "protected"


def test_frozen_copy_that_nobody_has_read_is_read() -> None:
    """A new daemon finds its writer frozen: the peer consents only to data that it can compare; once is enough."""
    frozen = peer_gone(P, suspended=True)
    unit, around = VmUnit(spec(), VmState.RUNNING, prepared=True), paired(A).engine.around(WEB, 100.0)
    unit.disk_changed(frozen, 100.0)
    assert unit.next_command(around, 100.0) == c.ReadGeneration(WEB)
    unit.command_done("ReadGeneration", Outcome.OK, around, 100.3)
    assert not unit.read_apart, "it begins another generation when it goes on"
    unit.has_generations(("1a2c",))
    unit.disk_changed(replace(frozen, out_of_sync_kib=4), 105.0)
    assert unit.next_command(around, 110.0) is None


def test_what_is_in_order_is_told_anew() -> None:
    """A copy that is equal again, and a pair that is protected again: the next time people hear of it again."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    book.engine.told.update({"backup_down", "refused", f"foreign_disk {WEB}", f"no_good_copy {WEB}"})
    book.hears(e.DiskChanged(WEB, in_sync(P)))
    assert not book.engine.told & {f"foreign_disk {WEB}", f"no_good_copy {WEB}"}
    assert book.engine.protected
    assert not book.engine.told & {"backup_down", "refused"}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_new_volume_is_noted_until_that_is_durable(outcome: Outcome) -> None:
    """A record that could not be written costs the VM nothing but time; forgotten, it would never be initialised."""
    book, db = paired(A), VmId("db")
    book.hears(e.VmAdded(spec(db, 1), "hash"))
    book.hears(e.DomainChanged(db, running=False))
    book.hears(ended(c.ReadDomain(db)))
    said = book.hears(ended(c.PrepareVolume(db), detail="fresh"))
    assert any(isinstance(one, c.SaveRecord) and one.record.fresh == (db,) for one in said)
    for end in (outcome, Outcome.OK, Outcome.OK):
        if (saving := book.engine.sight.durable.saving) is not None:
            book.hears(ended(c.SaveRecord(saving), end))
        book.pass_time(3.0, peer_alive=True)
    assert book.engine.record.fresh == (db,)
    assert not book.engine.sight.units.zeroed

"""What may still run of a removed VM: it counts until it is known to be gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.leftover import Leftover, MayGo, left_of
from avance.core.model import Record, VmId, VmState
from avance.core.unit import VmUnit
from tests.playbook import WEB, A, B, Playbook, acts, calm_pair, ended, guarded, paired, served, setup, spec

DB = VmId("db")
GONE = e.DomainChanged(WEB, running=False)


def removed(book: Playbook, vm: VmId = WEB) -> Playbook:
    """Remove a VM."""
    book.hears(e.VmRemoved(vm, "hash-2"))
    return book


def knows(engine: Engine) -> tuple[bool, bool]:
    """Return whether a VM may write here, and whether this node knows."""
    return engine.sight.may_write, engine.sight.sure


def test_what_is_left_is_what_is_not_known_to_be_gone() -> None:
    """Only a look, or a machine that has just started, says that nothing runs."""
    assert left_of(VmUnit(spec())).runs is None
    assert left_of(VmUnit(spec(), untouched=True)).is_gone
    assert left_of(paired(B).engine.units[WEB]).is_gone
    assert left_of(paired(A).engine.units[WEB]).runs is True


def test_absence_says_nothing_while_a_domain_is_created() -> None:
    """The creation ends later than the look; so what it left behind is looked at once more."""
    left = Leftover("StartDomain", runs=True)
    left.domain_changed(running=False)
    assert left.runs is None
    left.done()
    assert left == Leftover(None, None)
    left.domain_changed(running=False)
    assert left.is_gone


def test_removed_vm_may_write_until_its_domain_is_gone() -> None:
    """The owner's watchdog, its lease and its reset count it as any other."""
    engine = removed(paired(A)).engine
    assert engine.units == {}
    assert knows(engine) == (True, True)
    engine.handle(GONE, 101.0)
    assert knows(engine) == (False, True)
    assert engine.sight.units.leftovers == {}


def test_owner_of_nothing_but_a_removed_vm_ends_with_its_right() -> None:
    """The VMs of this node stand still at the end of the lease; then the node resets itself."""
    said = removed(paired(A)).pass_time(9.0)
    assert c.PauseVms() in said
    assert any(isinstance(one, c.ResetNode) for one in said)
    harmless = removed(paired(A))
    harmless.hears(GONE)
    assert not any(isinstance(one, c.PauseVms | c.ResetNode) for one in harmless.pass_time(9.0))


def test_run_that_finds_a_tombstone_does_not_know_what_runs() -> None:
    """Until somebody has looked; on a machine that has just started there is nothing to look for."""
    engine = Engine(setup(A, vms=(), removed=(WEB,)), served(A, Record(3, A)))
    assert knows(engine) == (False, False)
    engine.handle(GONE, 100.0)
    assert knows(engine) == (False, True)
    assert Engine(setup(A, vms=(), removed=(WEB,)), Record(3, A)).sight.units.leftovers == {}


def test_nothing_rests_while_something_is_left() -> None:
    """A calm pair is looked at rarely; this one is not calm."""
    book = calm_pair(A)
    removed(book)
    assert not book.engine.rests(book.now)


@pytest.mark.parametrize("command", [c.StartDomain(WEB), c.PrepareVolume(WEB)])
def test_nothing_may_go_while_a_command_is_under_way(command: c.StartDomain | c.PrepareVolume) -> None:
    """It could bring back what was taken away. Its outcome is of no use, and does no harm."""
    book = paired(A)
    book.engine.units[WEB].busy = type(command).__name__
    assert book.engine.sight.may_go(WEB, book.now) == MayGo(domain=False, disk=False, forgotten=False)
    removed(book)
    assert not book.engine.sight.may_go(WEB, book.now).domain
    assert acts(book.hears(ended(command))) == []
    assert book.engine.sight.may_go(WEB, book.now).domain


def test_disk_stays_until_the_peer_has_removed_the_vm() -> None:
    """Or until it is not heard for as long as makes it lost; silence of a moment is not enough."""
    book = removed(paired(A))
    book.hears(GONE)
    assert not book.engine.sight.may_go(WEB, book.now).disk
    book.peer_says(config_hash="hash-2")
    assert book.engine.sight.may_go(WEB, book.now).disk
    book.peer_says(config_hash="c0ffee")
    heard_at = book.now
    book.pass_time(4.0)
    assert not book.engine.sight.may_go(WEB, book.now).disk
    assert book.engine.sight.may_go(WEB, heard_at + 5.0).disk


def test_run_that_has_just_started_takes_nobody_for_silent() -> None:
    """It has not listened for long enough."""
    book = Playbook(Engine(setup(A, vms=(), removed=(WEB,)), served(A, Record(3, A))))
    book.hears(e.Tick())
    assert not book.engine.sight.may_go(WEB, book.now).disk
    book.pass_time(5.0)
    assert book.engine.sight.may_go(WEB, book.now).disk


def test_vm_is_forgotten_when_the_record_does_not_name_it() -> None:
    """Durably: a later VM of this name would be taken for the one that was removed."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, fresh=(WEB, DB), discard=(DB,), behind=(WEB,))
    commands = acts(book.hears(e.VmRemoved(WEB, "hash-2")))
    book.hears(GONE)
    (saved,) = [one for one in commands if isinstance(one, c.SaveRecord)]
    record = saved.record
    assert not any((record.fresh, record.discard, record.behind, record.generations))
    assert not book.engine.sight.may_go(WEB, book.now).forgotten
    book.hears(ended(saved))
    assert book.engine.sight.may_go(WEB, book.now).forgotten


def test_guards_of_a_pair_without_vms() -> None:
    """Nothing is protected, and nobody is in trouble."""
    book = guarded(removed(paired(A)))
    book.hears(GONE)
    book.peer_says(config_hash="hash-2", vms={}, copies={})
    assert not book.engine.protected
    assert not any(isinstance(one, c.ResetNode) for one in book.pass_time(30.0, peer_alive=True))


@pytest.mark.parametrize("ends", [e.DomainChanged(DB, running=False), None])
def test_lone_right_stays_while_a_removed_vm_may_write(ends: e.Event | None) -> None:
    """Its domain may be writing alone, and is acknowledged, and the peer could serve it: until either is over."""
    book = paired(A)
    book.hears(e.VmAdded(spec(DB, 1), "hash-2"))
    book.hears(e.DomainChanged(DB, running=True))
    book.hears(ended(c.ReadDomain(DB)))
    durable = book.engine.sight.durable
    durable.record = replace(durable.record, peer_outdated=True)
    unnamed = book.peer.vms
    book.peer_says(vms={**unnamed, DB: VmState.STANDBY}, record=replace(book.peer.record, peer_outdated=True))
    removed(book, DB)
    book.hears(ended(c.PrepareVolume(DB)))
    assert not [one for one in book.peer_says() if isinstance(one, c.SaveRecord)]
    said = book.peer_says(vms=unnamed) if ends is None else book.hears(ends)
    assert [one.record.peer_outdated for one in said if isinstance(one, c.SaveRecord)] == [False]

"""VMs are added, changed and removed; what is still told of one that is gone changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import Copy, DiskRole, DiskState, Outcome, PairState, Record, VmId, VmState
from tests.playbook import GENERATIONS, WEB, A, B, Playbook, acts, ended, in_sync, paired, peer_gone, spec

DB, NEW = VmId("db"), VmId("new")
P, S = DiskRole.PRIMARY, DiskRole.SECONDARY


def two(**changes: Any) -> Playbook:  # noqa: ANN401 - what the peer says
    """Return an owner of two VMs that run."""
    book = paired(A)
    book.hears(e.VmAdded(spec(DB, 1), "hash-2"))
    book.hears(e.DomainChanged(DB, running=True))
    book.hears(ended(c.ReadDomain(DB)))
    book.hears(ended(c.PrepareVolume(DB), detail=" ".join(GENERATIONS)))
    book.hears(e.DiskChanged(DB, in_sync(P)))
    copies = dict.fromkeys((WEB, DB), Copy(DiskState.UP_TO_DATE, GENERATIONS))
    book.peer_says(config_hash="hash-2", copies=copies, **changes)
    assert book.engine.units[DB].state is VmState.RUNNING
    return book


def test_changed_vm_goes_on_as_it_is() -> None:
    """Its definition is another one from the next start; nothing is done for that."""
    book = two()
    larger = replace(spec(DB, 1), memory_mib=512)
    before = book.engine.units[DB]
    assert acts(book.hears(e.VmChanged(larger, "hash-3"))) == []
    after = book.engine.units[DB]
    assert after == replace(before, spec=larger)
    assert tuple(book.engine.units) == (WEB, DB)
    assert book.engine.sight.config_hash == "hash-3"
    book.hears(e.VmChanged(spec(NEW, 2), "hash-4"))
    assert tuple(book.engine.units) == (WEB, DB), "a VM that was removed meanwhile stays so"


def test_removed_vm_is_none_any_more() -> None:
    """The others are not touched, and the rest is protected, whatever the peer still says of it."""
    book = two(vms={WEB: VmState.STANDBY, DB: VmState.STANDBY})
    book.peer_says(record=replace(book.peer.record, behind=(DB,)))
    before, web = book.engine.protected, book.engine.units[WEB]
    book.hears(e.VmRemoved(DB, "hash-3"))
    assert book.engine.units == {WEB: web}
    assert (before, book.engine.protected) == (False, True)
    assert "VM db is removed" in book.reasons
    assert DB not in book.engine.view(book.now).vms
    assert DB not in book.engine.view(book.now).copies


@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_is_told_of_a_vm_that_is_gone_is_ignored(outcome: Outcome) -> None:
    """It was on its way when the VM was removed, or comes from a peer that has it still."""
    book = two()
    book.engine.units[DB].busy = "ResumeDisk"
    book.hears(e.VmRemoved(DB, "hash-3"))
    for event in (
        e.DiskChanged(DB, peer_gone(P, suspended=True)), e.DiskChanged(DB, None), e.DomainChanged(DB, running=True),
        e.DomainChanged(DB, running=False), ended(c.ResumeDisk(DB), outcome), ended(c.StartDomain(NEW), outcome),
        e.DomainChanged(NEW, running=True), e.VmRemoved(DB, "hash-3"), e.VmRemoved(NEW, "hash-3"),
    ):  # fmt: skip
        assert acts(book.hears(event)) == []
    book.peer_says(record=replace(book.peer.record, fresh=(DB,), behind=(DB,)), left=(DB,), unmade=(DB,))
    assert book.engine.protected
    assert book.engine.sight.units.leftovers == {}


def test_question_of_drbd_about_a_removed_vm_is_denied() -> None:
    """One that waits for its answer, and one that comes later; questions about others stay open."""
    book = two()
    book.hears(e.DiskChanged(DB, peer_gone(P, suspended=True)))
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    book.hears(e.FencePeerAsked(DB, 1))
    book.hears(e.FencePeerAsked(WEB, 2))
    assert c.AnswerFencePeer(1, 1) in book.hears(e.VmRemoved(DB, "hash-3"))
    assert c.AnswerFencePeer(3, 1) in book.hears(e.FencePeerAsked(DB, 3))
    assert book.engine.fence.asks == {2: WEB}


def test_nothing_that_was_told_of_it_outlives_it() -> None:
    """A later VM of this name fails for itself, and people hear of it."""
    book = two()
    for _ in range(5):
        book.engine.restarts.failed(DB, book.now)
    book.hears(e.DiskChanged(DB, replace(in_sync(P), disk=DiskState.DISKLESS)))
    assert "copy_lost db" in book.engine.told
    book.hears(e.VmRemoved(DB, "hash-3"))
    assert not book.engine.restarts.failures
    assert not any("db" in told for told in book.engine.told)
    assert DB not in book.engine.view(book.now).left


def test_last_vm_that_failed_is_removed() -> None:
    """Where there is no VM, none has to move to the other node."""
    book = paired(A)
    for _ in range(5):
        book.engine.restarts.failed(WEB, book.now)
    book.hears(e.VmRemoved(WEB, "hash-2"))
    book.hears(e.DomainChanged(WEB, running=False))
    book.pass_time(30.0, peer_alive=True)
    assert book.engine.pair is PairState.PAIRED
    assert not book.engine.handover.leaving


def without_streams(new: Copy) -> Playbook:
    """Return an owner whose VM stands still for want of its peer, and which has another VM whose volume is new."""
    book = paired(A)
    book.hears(e.VmAdded(spec(NEW, 1), "hash-2"))
    book.hears(e.DomainChanged(NEW, running=False))
    book.hears(ended(c.ReadDomain(NEW)))
    book.hears(e.DiskChanged(NEW, None))
    theirs = {WEB: Copy(DiskState.UP_TO_DATE, GENERATIONS), NEW: new}
    book.peer_says(config_hash="hash-2", copies=theirs)
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    for _ in range(3):
        book.pass_time(1.0, peer_alive=True)
        if (saving := book.engine.sight.durable.saving) is not None:
            book.hears(ended(c.SaveRecord(saving)))
    return book


@pytest.mark.parametrize(
    ("theirs", "asks"),
    [
        (Copy(), True),
        (Copy(DiskState.INCONSISTENT, GENERATIONS), False),
        (Copy(DiskState.INCONSISTENT, ("4",)), True),
        (Copy(DiskState.UNKNOWN), False),
        (Copy(DiskState.UP_TO_DATE), False),
        (Copy(DiskState.OUTDATED, ("4",)), False),
    ],
)
def test_volume_that_is_just_being_made_holds_back_nobody(theirs: Copy, *, asks: bool) -> None:
    """Nothing was ever written to it, on either node, as far as both know: what it holds is no reason to wait."""
    book = without_streams(theirs)
    assert bool(book.engine.right.wants) is asks


def test_volume_that_the_record_knows_was_written_to() -> None:
    """Its disk may have been replaced."""
    book = without_streams(Copy())
    durable = book.engine.sight.durable
    durable.record = replace(durable.record, generations=(*durable.record.generations, (NEW, "77")))
    assert book.engine.sight.filled == [WEB, NEW]


def test_volume_that_the_peers_record_knows_was_written_to() -> None:
    """The peer has just started, and has not looked at its disks yet; what it noted is said at once."""
    book = without_streams(Copy())
    assert book.engine.sight.filled == [WEB]
    book.peer_says(record=replace(book.peer.record, generations=((NEW, "77"),)))
    assert book.engine.sight.filled == [WEB, NEW]


def test_volume_of_which_drbd_says_nothing_may_have_been_written_to() -> None:
    """Where nobody can ask DRBD, what it has counts as written (S2)."""
    book = without_streams(Copy())
    book.hears(e.DiskStreamReset("it has ended"))
    assert book.engine.sight.filled == [WEB, NEW]


def test_new_volume_is_no_data_that_a_person_has_chosen() -> None:
    """An override vouches for what is here: a volume that was just made holds nothing, and its number says nothing."""
    book = without_streams(Copy())
    book.engine.units[NEW].is_new()
    assert book.engine.sight.units.written() == ((WEB, GENERATIONS[0]),)


def test_backup_consents_while_it_makes_a_volume() -> None:
    """Zeroing can take hours: it attaches nothing, and so it changes no copy."""
    book = paired(B)
    book.hears(e.VmAdded(spec(NEW, 1), "hash-2"))
    book.hears(e.DomainChanged(NEW, running=False))
    book.hears(e.DiskChanged(NEW, None))
    assert c.PrepareVolume(NEW) in book.hears(ended(c.ReadDomain(NEW)))
    copies = {WEB: Copy(DiskState.UP_TO_DATE, GENERATIONS), NEW: Copy()}
    book.peer_says(config_hash="hash-2", copies=copies)
    asked = acts(book.peer_says(wants=4))
    assert c.DisconnectDisk(WEB) in asked
    book.hears(e.DiskChanged(WEB, replace(peer_gone(S), connection="StandAlone")))
    said = acts(book.hears(ended(c.DisconnectDisk(WEB))))
    said += acts(book.pass_time(1.0, peer_alive=True))
    assert c.ReadGeneration(WEB) in said
    said = acts(book.hears(ended(c.ReadGeneration(WEB), detail=" ".join(GENERATIONS))))
    said += acts(book.pass_time(1.0, peer_alive=True))
    assert any(isinstance(one, c.SaveRecord) and one.record.epoch == 4 for one in said), said


def test_command_of_a_removed_vm_is_awaited_and_its_domain_is_not() -> None:
    """Before the right to write alone ends, nothing that came from it may be on its way (S9)."""
    book = paired(A)
    book.engine.units[WEB].busy = "ResumeDisk"
    book.hears(e.VmRemoved(WEB, "hash-2"))
    units = book.engine.sight.units
    assert units.works
    book.hears(ended(c.ResumeDisk(WEB)))
    assert units.leftovers[WEB].runs
    assert not units.works


def test_record_names_only_vms_that_there_are() -> None:
    """What a crash between two steps has left there is dropped by the next run."""
    known = Record(3, A, fresh=(NEW,), behind=(NEW,), discard=(NEW,), generations=((WEB, GENERATIONS[0]), (NEW, "1")))
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, **{
        name: getattr(known, name) for name in ("fresh", "behind", "discard", "generations")
    })  # fmt: skip
    (saved,) = [one for one in book.hears(e.Tick()) + book.pass_time(1.0, peer_alive=True) if type(one) is c.SaveRecord]
    record = saved.record
    assert (record.fresh, record.behind, record.discard) == ((), (), ())
    assert record.generations == ((WEB, GENERATIONS[0]),)

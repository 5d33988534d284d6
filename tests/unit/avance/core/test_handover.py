"""Hand-over: the right goes where the good copy is, only when it is better there, and only when nothing runs here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import copies, handover
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import Copy, DiskRole, DiskState, DiskView, Outcome, PairState, PeerView, Record, VmId, VmState
from tests.playbook import (
    GENERATIONS,
    WEB,
    A,
    B,
    Playbook,
    acts,
    alerts,
    ended,
    in_sync,
    lets_save,
    paired,
    peer_gone,
    served,
    setup,
)

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
GONE = replace(in_sync(P), disk=DiskState.DISKLESS)
DB = VmId("db")
NOBODY: frozenset[VmId] = frozenset()


def facts(
    mine: DiskView | None, theirs: DiskState, *, behind: bool = False, stays: bool = False
) -> handover.HandoverFacts:
    """Return the facts of an owner with this disk, whose peer says that of its copy."""
    record = Record(3, A, behind=(WEB,) if behind else ())
    peer = PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.PAIRED, record=Record(3, A), copies={WEB: Copy(theirs)})
    copy = Copy(DiskState.DISKLESS if mine is None else mine.disk)
    return handover.HandoverFacts(record, peer, {WEB: mine}, {WEB: copy}, NOBODY, NOBODY, stays)


@pytest.mark.parametrize("theirs", list(DiskState))
def test_only_a_good_copy_there_is_a_reason(theirs: DiskState) -> None:
    """An owner without a disk hands over to a peer whose copy is good, and to nobody else."""
    good = theirs in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
    assert (handover.wanted(facts(GONE, theirs)) is not None) is good
    assert (handover.wanted(facts(None, theirs)) is not None) is good
    assert handover.wanted(facts(in_sync(P), theirs)) is None


def test_copy_that_is_behind_is_a_reason() -> None:
    """An old disk that returned looks UpToDate, and the VMs belong to the peer all the same."""
    assert "behind" in str(handover.wanted(facts(DiskView(S, DiskState.UP_TO_DATE), DiskState.UP_TO_DATE, behind=True)))


def test_nothing_moves_away_from_a_copy_that_is_good_only_here() -> None:
    """With two VMs, one good copy here that is missing there keeps both where they are."""
    two = facts(GONE, DiskState.UP_TO_DATE)
    two.disks[DB], two.copies[DB] = in_sync(P), Copy(DiskState.UP_TO_DATE)
    assert handover.wanted(two) is None
    two.peer.copies[DB] = Copy(DiskState.UP_TO_DATE)
    assert handover.wanted(two) is not None


LEFT = Record(4, A, behind=(WEB,), peer_outdated=True, generations=((WEB, "2b"),))
LEFT_CASES = {
    "has all": (("2b",), ("2b", "1a"), DiskState.OUTDATED, True),
    "newer": (("2b",), ("3c", "2b"), DiskState.CONSISTENT, True),
    "written here alone": (("3c", "2b"), ("2b", "1a"), DiskState.OUTDATED, False),
    "newest not there": (("1a",), ("1a",), DiskState.OUTDATED, False),
    "disk not there": ((), ("2b",), DiskState.OUTDATED, False),
    "blank": (("4",), ("2b", "4"), DiskState.OUTDATED, False),
    "half filled": (("2b",), ("2b",), DiskState.INCONSISTENT, False),
}


@pytest.mark.parametrize("case", LEFT_CASES)
def test_peer_that_was_left_behind_gets_it_only_with_everything(case: str) -> None:
    """The peer was outdated, and then this disk was lost: it matters whether anything was written here alone."""
    mine, theirs, disk, moves = LEFT_CASES[case]
    view = DiskView(S, DiskState.CONSISTENT) if mine else None
    copied = {WEB: Copy(disk, theirs)}
    peer = PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.PAIRED, record=Record(4, A), copies=copied)
    copy = Copy(DiskState.CONSISTENT if mine else DiskState.DISKLESS, mine)
    found = handover.wanted(handover.HandoverFacts(LEFT, peer, {WEB: view}, {WEB: copy}, NOBODY, NOBODY, stays=False))
    assert (found is not None) is moves
    one_more = handover.HandoverFacts(
        LEFT, peer, {WEB: view, DB: view}, {WEB: copy, DB: copy}, NOBODY, NOBODY, stays=False
    )
    assert handover.wanted(one_more) is None  # the peer has nothing of that one


def test_lone_owner_moves_all_vms_or_none() -> None:
    """Neither copy here is good, and the peer has everything of one VM only: the other one's writes would be left."""
    record = replace(LEFT, behind=(WEB, DB))
    mine, theirs = Copy(DiskState.CONSISTENT, ("2b",)), Copy(DiskState.OUTDATED, ("2b", "1a"))
    view = DiskView(S, DiskState.CONSISTENT)
    for other, moves in ((theirs, True), (Copy(DiskState.OUTDATED, ("1a",)), False)):
        both = {WEB: theirs, DB: other}
        peer = PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.PAIRED, record=Record(4, A), copies=both)
        seen: dict[VmId, DiskView | None] = {WEB: view, DB: view}
        held = {WEB: mine, DB: mine}
        found = handover.wanted(handover.HandoverFacts(record, peer, seen, held, NOBODY, NOBODY, stays=False))
        assert (found is not None) is moves


def test_service_waits_for_the_disk_of_a_lone_owner() -> None:
    """The peer was outdated while this node wrote alone: the VMs never move to its old copy."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=True)
    book.hears(e.DiskChanged(WEB, replace(peer_gone(P, suspended=True), disk=DiskState.DISKLESS)))
    commands = book.pass_time(60.0, peer_alive=True)
    assert not book.engine.handover.leaving
    assert not any(isinstance(one, c.SaveRecord | c.ResumeDisk) for one in commands)


def test_what_is_still_on_its_way_is_waited_for() -> None:
    """A copy that is being synchronised becomes good by itself."""
    waiting = facts(replace(in_sync(P), disk=DiskState.INCONSISTENT), DiskState.UP_TO_DATE)
    waiting.unsettled = frozenset({WEB})
    assert handover.wanted(waiting) is None


def test_site_may_let_the_vms_stay_while_the_link_carries() -> None:
    """With `stay_without_disk` they go on over the link; when it is gone they move."""
    assert handover.wanted(facts(GONE, DiskState.UP_TO_DATE, stays=True)) is None
    apart = replace(peer_gone(P, suspended=True), disk=DiskState.DISKLESS)
    assert handover.wanted(facts(apart, DiskState.UP_TO_DATE, stays=True)) is not None


def test_handed_over_record_makes_the_peer_the_lone_owner() -> None:
    """The peer owns the next epoch, and this node's copy is outdated until it was synchronised."""
    given = handover.given(Record(3, A, behind=(WEB,), cure=3, quarantined=True), B)
    assert given == Record(4, B, peer_outdated=True, behind=(WEB,))


# ---------------------------------------------------------------- an owner that loses its disk


def without_disk() -> tuple[Playbook, list[c.Command]]:
    """Return an owner whose DRBD has just lost its disk, and what it commands when its peer could take the VMs."""
    book = paired(A)
    (noted,) = (one for one in book.hears(e.DiskChanged(WEB, GONE)) if isinstance(one, c.SaveRecord))
    book.hears(ended(noted))
    assert book.engine.handover.offers == 4
    return book, book.peer_says(offers=4)


def test_vm_stops_first_and_the_right_goes_then() -> None:
    """Destroy, demote, hand over: no step before the one before it has succeeded."""
    book, first = without_disk()
    commands = acts(first)
    assert [one for one in commands if not isinstance(one, c.SaveRecord)] == [c.DestroyDomain(WEB), c.ReleaseAddress()]
    assert "hands_over" in [code for decision in book.said for code in alerts(decision.commands)]
    assert acts(book.peer_says()) == []
    book.hears(e.DomainChanged(WEB, running=False))
    assert acts(book.hears(ended(c.DestroyDomain(WEB)))) == [c.DemoteDisk(WEB)]
    assert acts(book.peer_says()) == [], "it may still be writing"
    book.hears(e.DiskChanged(WEB, replace(GONE, role=S)))
    assert acts(book.hears(ended(c.DemoteDisk(WEB)))) == [c.DisconnectDisk(WEB)], "before the peer writes (0017)"
    book.hears(ended(c.DisconnectDisk(WEB)))
    apart = DiskView(S, DiskState.DISKLESS)
    given = next(one for one in acts(book.hears(e.DiskChanged(WEB, apart))) if isinstance(one, c.SaveRecord))
    assert given.record == served(A, Record(4, B, peer_outdated=True, behind=(WEB,)))
    book.hears(ended(given))
    assert not book.engine.handover.leaving
    assert not book.engine.sight.entitled


def test_owner_without_a_disk_asks_for_no_consent() -> None:
    """When the link is cut, too, the frozen owner wants no right: it hands over all the same."""
    book, _ = without_disk()
    book.hears(e.DiskChanged(WEB, replace(peer_gone(P, suspended=True), disk=DiskState.DISKLESS)))
    book.pass_time(10.0, peer_alive=True, links=(book.engine.setup.links[1],))
    assert book.engine.right.wants == 0
    assert book.engine.handover.leaving
    assert book.engine.right.arbitration.epoch == 0


def test_domain_that_cannot_be_stopped_ends_in_a_reset() -> None:
    """A hand-over that hangs is ended by a reset after a bounded time; the right is not handed over before."""
    book, _ = without_disk()
    commands: list[c.Command] = []
    for _ in range(200):
        book.now += 0.1
        commands += acts(book.peer_says())
        if book.engine.units[WEB].busy == "DestroyDomain":
            commands += acts(book.hears(ended(c.DestroyDomain(WEB), Outcome.FAILED)))
        if book.engine.units[WEB].busy == "ReadDomain":
            book.hears(e.DomainChanged(WEB, running=True))
            commands += acts(book.hears(ended(c.ReadDomain(WEB))))
    assert any(isinstance(one, c.ResetNode) for one in commands)
    assert not any(isinstance(one, c.SaveRecord) and one.record.owner == B for one in commands)


def test_peer_without_a_good_copy_gets_nothing() -> None:
    """Both copies are bad: the owner stays what it is, and says so."""
    book = paired(A)
    book.peer_says(copies={WEB: Copy(DiskState.INCONSISTENT, GENERATIONS)})
    book.hears(e.DiskChanged(WEB, replace(GONE, peer_disk=DiskState.INCONSISTENT)))
    book.pass_time(30.0, peer_alive=True)
    assert not book.engine.handover.leaving
    assert book.engine.is_owner


# ---------------------------------------------------------------- an owner that cannot serve


def _mute(**record: object) -> Playbook:
    """Return an owner that has just started beside a sound peer, and whose record could not be written for 10 s."""
    known = served(A, replace(Record(3, A), **record))  # type: ignore[arg-type]  # a test names what it changes
    book = Playbook(_booted(replace(known, boot="a-machine-0")))
    book.peer_says(record=replace(known, boot="b-machine-1"), vms={WEB: VmState.STANDBY})
    _up(book, " ".join(GENERATIONS), DiskState.CONSISTENT)
    book.hears(e.DiskChanged(WEB, in_sync(S)))
    for _ in range(60):
        book.now += 0.2
        commands = book.peer_says()
        busy = book.engine.units[WEB].busy
        if busy == "ReadGeneration":
            commands += book.hears(ended(c.ReadGeneration(WEB), detail=" ".join(GENERATIONS)))
        elif busy == "ConnectDisk":
            commands += book.hears(ended(c.ConnectDisk(WEB)))
        if book.engine.sight.durable.saving is not None:
            book.hears(ended(c.SaveRecord(Record()), Outcome.UNKNOWN, "EIO"))
        if c.DisconnectDisk(WEB) in commands:
            break
    return book


def test_owner_that_cannot_record_its_service_marks_its_copies_and_leaves() -> None:
    """It leaves DRBD, marks its copy on its own disk, and only then says that the next epoch is its peer's (S40)."""
    book = _mute()
    assert book.engine.handover.leaving == "the record of this node cannot be written"
    assert book.engine.view(book.now).leaves == 0
    book.hears(ended(c.DisconnectDisk(WEB)))
    assert c.OutdateDisk(WEB) in book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.UP_TO_DATE)))
    assert book.engine.view(book.now).leaves == 0
    book.hears(ended(c.OutdateDisk(WEB)))
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.OUTDATED)))
    assert book.engine.view(book.now).leaves == 4
    assert not {"ConnectDisk", "PromoteDisk"} & {type(one).__name__ for one in book.pass_time(30.0, peer_alive=True)}


@pytest.mark.parametrize("disk", [DiskState.DISKLESS, DiskState.UP_TO_DATE])
def test_owner_whose_copy_is_not_marked_says_nothing(disk: DiskState) -> None:
    """A disk that is away may come back as it was, and could then be served."""
    book = _mute()
    book.hears(ended(c.DisconnectDisk(WEB)))
    book.hears(e.DiskChanged(WEB, DiskView(S, disk)))
    book.pass_time(5.0, peer_alive=True)
    assert book.engine.view(book.now).leaves == 0


def test_right_on_the_disk_is_not_left_by_a_word() -> None:
    """The record that cannot be changed gives the lone right: a later start could use it."""
    assert not _mute(peer_outdated=True).engine.handover.leaving


@pytest.mark.parametrize("doubt", ["lone right", "right on its way", "writes of its own"])
def test_owner_that_may_have_what_its_peer_lacks_leaves_nothing(doubt: str) -> None:
    """Whatever shows that it may have written alone, or may yet, ends the marking of its copies at once."""
    book = _mute()
    durable, unit = book.engine.sight.durable, book.engine.units[WEB]
    assert book.engine.handover.marking
    lone = replace(durable.record, peer_outdated=True)
    if doubt == "lone right":
        durable.record = lone
    elif doubt == "right on its way":
        durable.unsure = replace(lone, epoch=lone.epoch + 1)
    else:
        unit.generations = ("f0", *unit.generations)
    book.hears(e.Tick())
    assert not book.engine.handover.marking


def test_owner_that_serves_is_not_moved_for_its_record() -> None:
    """It is mirrored and its VM runs: nothing needs the record now."""
    book = paired(A)
    book.engine.sight.durable.failing_from_s = book.now
    book.pass_time(60.0, peer_alive=True)
    assert not book.engine.handover.leaving


def test_backup_takes_what_is_left_to_it() -> None:
    """The owner's word is a consent: the record comes first, and the word of another epoch is none."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    assert "SaveRecord" not in [type(one).__name__ for one in book.peer_says(leaves=5, vms={WEB: VmState.STANDBY})]
    commands = acts(book.peer_says(leaves=4))
    saved = next(one for one in commands if isinstance(one, c.SaveRecord))
    assert saved.record == served(B, Record(4, B, peer_outdated=True))
    assert c.PromoteDisk(WEB) in book.hears(ended(saved))


def test_backup_that_lacks_what_the_owner_has_takes_nothing() -> None:
    """The owner's copy is of a generation that this one does not come from: its word does not make this one newer."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    theirs = {WEB: Copy(DiskState.OUTDATED, ("f0", *copies.known(GENERATIONS)))}
    book.peer_says(leaves=4, vms={WEB: VmState.STANDBY}, copies=theirs)
    assert book.engine.right.granted is None
    assert book.engine.sight.durable.saving is None


def test_backup_without_a_good_copy_takes_nothing() -> None:
    """What was left to it stays where the copy is."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.INCONSISTENT)))
    book.peer_says(leaves=4, vms={WEB: VmState.STANDBY})
    assert book.engine.right.granted is None


def test_owner_whose_tools_hang_from_its_start_hands_over_once() -> None:
    """Nothing runs here and nothing can be started; a second time in one run it stays."""
    stuck = facts(in_sync(S), DiskState.UP_TO_DATE)
    stuck.stuck = frozenset({WEB})
    assert "tools of this node hang" in str(handover.wanted(stuck))
    book = paired(A)
    book.engine.units[WEB].hung_by, book.engine.units[WEB].hung_from_s = "StartDomain", book.now - 60.0
    book.peer_says()
    assert not book.engine.handover.leaving, "it runs"
    book.engine.units[WEB].state = VmState.STANDBY
    book.engine.units[WEB].domain_running = False
    for given, leaving in ((True, False), (False, True)):
        book.engine.handover.given = given
        book.pass_time(11.0, peer_alive=True)
        assert bool(book.engine.handover.leaving) is leaving


# ---------------------------------------------------------------- the backup's side


def test_backup_takes_what_is_handed_over() -> None:
    """The owner's record names this node: it makes that durable and starts the VM on its own good copy."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, replace(in_sync(S), peer_role=S, peer_disk=DiskState.DISKLESS)))
    given = Record(4, B, peer_outdated=True, behind=(WEB,))
    commands = acts(book.peer_says(record=given, vms={WEB: VmState.STANDBY}))
    saved = next(one for one in commands if isinstance(one, c.SaveRecord))
    assert saved.record == served(B, Record(4, B, peer_outdated=True))
    commands = acts(book.hears(ended(saved)))
    assert c.PromoteDisk(WEB) in commands


def test_old_disk_that_returns_is_not_served() -> None:
    """A node that boots with the disk that it had lost waits for its peer, and names it."""
    known = Record(3, A, behind=(WEB,), generations=((WEB, GENERATIONS[0]),))
    book = Playbook(_booted(known))
    commands = _up(book, " ".join(GENERATIONS), DiskState.UP_TO_DATE)
    commands += book.pass_time(120.0)
    assert not any(isinstance(one, c.PromoteDisk | c.StartDomain) for one in commands)
    told = [one.alert.text for one in commands if isinstance(one, c.SendAlert) and one.alert.code == "waits_for_peer"]
    assert told
    assert "behind" in told[0]


def test_foreign_disk_is_not_attached() -> None:
    """A disk whose data neither this node nor its peer knows is refused, and told."""
    book = Playbook(_booted(Record(3, A, generations=((WEB, GENERATIONS[0]),))))
    commands = _up(book, "77AA 88BB 0 0", None) + book.pass_time(60.0, peer_alive=True)
    assert not any(isinstance(one, c.AttachDisk) for one in commands)
    assert "foreign_disk" in alerts(commands)


def test_old_disk_that_the_peer_knows_is_attached_as_a_target() -> None:
    """Data of which the peer has a newer version is attached, never served, and connected to be made good again."""
    book = Playbook(_booted(Record(4, B, peer_outdated=True, generations=((WEB, "1e30"),))))
    newer = {WEB: Copy(DiskState.UP_TO_DATE, ("1e30", *GENERATIONS))}
    commands = book.peer_says(record=Record(4, B, peer_outdated=True), copies=newer, vms={WEB: VmState.RUNNING})
    commands += _up(book, " ".join(GENERATIONS), None, alive=True)
    assert c.AttachDisk(WEB) in commands
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.CONSISTENT)))
    commands = acts(book.hears(ended(c.AttachDisk(WEB)))) + lets_save(book)
    assert book.engine.sight.behind == {WEB}
    assert c.ConnectDisk(WEB) in commands


def _booted(record: Record) -> Engine:
    """Return node a, whose machine has just started with this record."""
    return Engine(setup(A), record)


def _up(book: Playbook, generations: str, disk: DiskState | None, *, alive: bool = False) -> list[c.Command]:
    """Let a node that boots look, prepare its volume and, if there is a disk, attach it."""
    commands = book.hears(e.Tick())
    commands += book.hears(e.DiskChanged(WEB, None))
    commands += book.hears(e.DomainChanged(WEB, running=False))
    commands += book.hears(ended(c.ReadDomain(WEB)))
    if alive:
        commands += lets_save(book)
    commands += book.hears(ended(c.PrepareVolume(WEB), detail=generations))
    if disk is not None:
        commands += book.hears(e.DiskChanged(WEB, DiskView(S, disk)))
        commands += book.hears(ended(c.AttachDisk(WEB)))
    return commands

"""What both nodes hold is noted durably: copies that are behind, the machine in service, the arbiters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import arbiters
from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import Copy, DiskRole, DiskState, DiskView, Outcome, PairState, Record
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
    paired,
    peer_gone,
    served,
    setup,
)

P = DiskRole.PRIMARY
BEHIND = replace(in_sync(P), peer_disk=DiskState.INCONSISTENT, replication="SyncSource")


def state(book: Playbook) -> PairState:
    """Return the state of the pair now."""
    return book.engine.pair


def test_service_is_noted_with_the_boot_of_the_machine() -> None:
    """A node that comes into service notes in which boot of its machine: only then may a VM start here."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    assert not book.engine.sight.entitled
    assert c.SaveRecord(Record(3, A, boot="a-machine-1")) in book.peer_says()
    assert state(book) is PairState.PAIRED
    assert not book.engine.sight.entitled, "not before it is durable"
    book.hears(ended(c.SaveRecord(Record())))
    assert book.engine.sight.entitled


def test_lone_right_ends_only_when_every_copy_is_equal() -> None:
    """`peer outdated` is given up by the owner when all volumes are in sync over a private link that is not down."""
    book = paired(A, record=Record(3, A))
    book.engine.sight.durable.record = served(A, Record(3, A, peer_outdated=True))
    book.peer = replace(book.peer, record=book.engine.record)
    commands = acts(book.hears(e.DiskChanged(WEB, BEHIND)))
    assert commands == []
    assert acts(book.hears(e.DiskChanged(WEB, in_sync(P)))) == [c.SaveRecord(served(A, Record(3, A)))]


def test_lone_right_is_kept_while_it_is_being_used() -> None:
    """A command that came from it is on its way to DRBD: the right is given back after its end, not before."""
    book = paired(A, record=Record(3, A))
    book.engine.sight.durable.record = served(A, Record(3, A, peer_outdated=True))
    book.peer = replace(book.peer, record=book.engine.record)
    book.engine.units[WEB].busy = "ResumeDisk"
    assert acts(book.hears(e.DiskChanged(WEB, in_sync(P)))) == []
    assert c.SaveRecord(served(A, Record(3, A))) in book.hears(ended(c.ResumeDisk(WEB)))


def test_backup_believes_in_its_copy_after_the_owner_has() -> None:
    """The backup's record follows the owner's in both directions."""
    book = paired(B)
    outdated = replace(book.peer.record, peer_outdated=True)
    assert c.SaveRecord(served(B, Record(3, A, peer_outdated=True))) in book.peer_says(record=outdated)
    book.hears(ended(c.SaveRecord(Record())))
    assert acts(book.pass_time(2.0, peer_alive=True)) == [], "its own view of the disks is not enough"
    assert c.SaveRecord(served(B, Record(3, A))) in book.peer_says(record=replace(outdated, peer_outdated=False))


def test_arbiters_are_elected_in_two_steps() -> None:
    """The owner makes old and new durable, waits for the backup, and then leaves the old one behind."""
    w1, w2 = arbiters.witness("w1"), arbiters.witness("w2")
    old = Record(3, A, arbiters=(w1,))
    book = paired(A, record=old, witnesses=("w1", "w2"))
    book.peer = replace(book.peer, witnesses=("w2",))
    saved = [one for one in _teaching(book, 45.0) if isinstance(one, c.SaveRecord)]
    assert [one.record.arbiters for one in saved] == [(w1, w2)], "the backup has not followed yet"
    book.peer = replace(book.peer, record=replace(book.peer.record, arbiters=(w1, w2)))
    saved = [one for one in _teaching(book, 5.0) if isinstance(one, c.SaveRecord)]
    assert [one.record.arbiters for one in saved] == [(w2,)]


def _teaching(book: Playbook, seconds: float) -> list[c.Command]:
    """Let time pass with the peer alive, w1 silent, w2 answering, and every save ending well."""
    found: list[c.Command] = []
    for _ in range(round(seconds * 2)):
        commands = book.pass_time(0.5, peer_alive=True)
        found += commands
        for one in commands:
            if isinstance(one, c.TeachWitness):
                silent = one.witness == "w1"
                book.hears(ended(one, Outcome.UNKNOWN if silent else Outcome.OK, "" if silent else "taught 3 a"))
            elif isinstance(one, c.SaveRecord):
                book.hears(ended(one))
    return found


def test_lost_disk_is_told_and_noted_at_once() -> None:
    """The alert and the durable note that this copy is behind come in the same turn."""
    book = paired(A)
    commands = book.hears(e.DiskChanged(WEB, replace(in_sync(P), disk=DiskState.DISKLESS)))
    assert "copy_lost" in alerts(commands)
    assert c.SaveRecord(served(A, Record(3, A, behind=(WEB,)))) in commands


@pytest.mark.parametrize(
    ("theirs", "marked"),
    [(DiskState.INCONSISTENT, False), (DiskState.OUTDATED, False), (DiskState.UP_TO_DATE, True)],
)
def test_disk_lost_while_it_filled_the_peers(theirs: DiskState, *, marked: bool) -> None:
    """The backup's disk is lost while the owner's is filled from it, and the connection ends: who has the good copy?

    Where the owner says that its copy is whole, it was filled in that moment, and may be written since.
    """
    book = paired(B)
    book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.SECONDARY), peer_role=P, peer_disk=DiskState.INCONSISTENT)))
    lost = replace(peer_gone(DiskRole.SECONDARY), disk=DiskState.DISKLESS, peer_disk=DiskState.INCONSISTENT)
    book.peer_says(copies={WEB: Copy(theirs, GENERATIONS)})
    book.hears(e.DiskChanged(WEB, lost))
    saved = book.engine.sight.durable.saving
    assert (saved is not None and WEB in saved.behind) is marked


def test_copy_is_behind_until_it_was_the_target_of_a_resynchronisation() -> None:
    """DRBD that calls an old disk and the good copy equal is not believed: all of it is taken from the peer first."""
    book = paired(B)
    book.engine.sight.durable.record = replace(book.engine.record, behind=(WEB,))
    book.hears(e.DiskChanged(WEB, peer_gone(DiskRole.SECONDARY)))
    commands = book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.SECONDARY), peer_role=P)))
    assert c.InvalidateDisk(WEB) in commands
    assert book.engine.record.behind == (WEB,)
    assert not any(isinstance(one, c.SaveRecord) for one in book.pass_time(5.0, peer_alive=True))
    book.hears(ended(c.InvalidateDisk(WEB)))
    filling = replace(in_sync(DiskRole.SECONDARY), peer_role=P, disk=DiskState.INCONSISTENT, replication="SyncTarget")
    book.hears(e.DiskChanged(WEB, filling))
    whole = book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.SECONDARY), peer_role=P)))
    assert [one.record.behind for one in whole if isinstance(one, c.SaveRecord)] == [()]


def test_new_volume_whose_disk_is_lost_is_not_behind() -> None:
    """Both nodes have just made it, and neither has written to it: a mark would keep it from ever being initialised."""
    lost = DiskView(DiskRole.SECONDARY, DiskState.DISKLESS, "Connecting")
    for fresh, behind in (((WEB,), False), ((), True)):
        book = paired(B)
        book.engine.sight.durable.record = replace(book.engine.record, fresh=fresh)
        book.peer_says(
            record=replace(book.peer.record, fresh=fresh), copies={WEB: Copy(DiskState.INCONSISTENT, GENERATIONS)}
        )
        saves = [
            command.record for command in book.hears(e.DiskChanged(WEB, lost)) if isinstance(command, c.SaveRecord)
        ]
        assert any(WEB in record.behind for record in saves) is behind

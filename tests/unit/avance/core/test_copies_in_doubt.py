"""Nobody knows for a moment which copy has the newest data: told to one engine, from the first sign to what follows.

Random histories found these stories. Each is told here as what the engine hears, so that no random number decides
whether its moment comes.
"""

from __future__ import annotations

from dataclasses import replace

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import Copy, DiskRole, DiskState, DiskView, Outcome, PairState, Record, VmState
from tests.playbook import (
    BIZ,
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
from tests.unit.avance.core.letting_go import LEFT, names

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY


def saved(commands: list[c.Command]) -> list[Record]:
    """Return the records that are to be made durable."""
    return [command.record for command in commands if isinstance(command, c.SaveRecord)]


def starting(
    record: Record, ours: tuple[str, ...], theirs: tuple[str, ...] = GENERATIONS
) -> tuple[Playbook, list[c.Command]]:
    """Return node a, whose machine has just started beside a peer of the same epoch, and what it commands.

    `ours` and `theirs`: the generations of the two copies. DRBD has nothing of this one yet.
    """
    book = Playbook(Engine(setup(A), record))
    vms = {WEB: VmState.RUNNING if record.owner == B else VmState.STANDBY}
    copies = {WEB: Copy(DiskState.UP_TO_DATE, theirs)}
    book.peer = replace(book.peer, record=replace(record, discard=()), vms=vms, copies=copies)
    book.hears(e.Tick())
    book.hears(e.DiskChanged(WEB, None))
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(ended(c.ReadDomain(WEB)))
    commands = lets_save(book)
    return book, commands + book.hears(ended(c.PrepareVolume(WEB), detail=" ".join(ours)))


def test_nothing_is_handed_over_while_an_attach_may_still_come() -> None:
    """DRBD's tool hung in the attach, and the good copy of this owner may be there in a moment.

    A VM would be moved away from it, and the two nodes would call two copies good that do not meet.
    """
    book, commands = starting(Record(3, A, generations=((WEB, GENERATIONS[0]),)), GENERATIONS)
    assert c.AttachDisk(WEB) in commands
    book.pass_time(20.0, peer_alive=True)
    assert book.engine.handover.leaving, "for want of a disk the VMs are to move"
    assert saved(book.hears(ended(c.AttachDisk(WEB), Outcome.UNKNOWN, "the tool did not answer"))) == []
    assert saved(book.pass_time(1.0, peer_alive=True)) == []
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.CONSISTENT)))
    book.pass_time(1.0, peer_alive=True)
    assert not book.engine.handover.leaving, "its own copy is there, and good"
    assert book.engine.is_owner


def test_backup_with_newer_data_consents_to_nothing() -> None:
    """The owner's disk was lost while its daemon stood still, so it wrote to this copy only, and no daemon noted it.

    It returns with its old disk and asks to go on alone: with a consent all those writes would be lost.
    """
    book = paired(B)
    assert acts(book.peer_says(links=(BIZ,), wants=4)) == [c.DisconnectDisk(WEB)]
    book.done(c.DisconnectDisk(WEB))
    book.expect(e.DiskChanged(WEB, LEFT), c.ReadGeneration(WEB))
    newer = " ".join(("9e9e", *GENERATIONS))
    commands = book.hears(ended(c.ReadGeneration(WEB), detail=newer)) + book.pass_time(5.0, peer_alive=True)
    assert 4 not in [record.epoch for record in saved(commands)]
    assert "OutdateDisk" not in names(commands)


def test_what_happened_while_nobody_heard_drbd_is_not_ruled_out() -> None:
    """The writer is alone, and the stream of DRBD's events breaks. Unseen, DRBD meets the peer and fills its copy.

    Then it loses the disk here: what is acknowledged since is on the peer's copy only. When the stream is back, the
    peer is gone. A daemon that went by what it had heard before would call its own copy the newest one, and serve it
    when its disk returns: those writes would be lost.
    """
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=True)
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    book.pass_time(30.0)
    assert book.engine.pair is PairState.ALONE
    book.hears(e.DiskStreamReset())
    book.pass_time(5.0)
    commands = book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True, disk=DiskState.DISKLESS)))
    assert [record.behind for record in saved(commands)] == [(WEB,)]


def test_disk_that_is_lost_while_its_writer_is_alone_stays_the_newest() -> None:
    """The same without a break of the stream: nobody has written anywhere else, so this copy is the good one."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=True)
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    book.pass_time(30.0)
    assert saved(book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True, disk=DiskState.DISKLESS)))) == []


def test_writers_own_copy_is_not_behind_for_a_generation_that_drbd_forgot() -> None:
    """A resynchronisation began again and again, each time with another generation, and DRBD remembers a few only.

    The record's one is not among them. The VM would be stopped and moved away from its own good copy.
    """
    book = paired(A)
    source = replace(in_sync(P), peer_disk=DiskState.INCONSISTENT, replication="SyncSource")
    commands = book.hears(e.DiskChanged(WEB, source)) + book.pass_time(0.8, peer_alive=True)
    commands += book.hears(e.DiskChanged(WEB, in_sync(P))) + book.pass_time(3.0, peer_alive=True)
    assert c.ReadGeneration(WEB) in commands
    commands = book.hears(ended(c.ReadGeneration(WEB), detail="5e5e 4d4d 3c3c 2b2b"))
    assert saved(commands) == [replace(book.engine.record, generations=((WEB, "5e5e"),))]
    commands += book.pass_time(5.0, peer_alive=True)
    assert "DestroyDomain" not in names(commands)
    assert not book.engine.handover.leaving
    assert book.engine.units[WEB].state is VmState.RUNNING


def test_late_word_of_a_peer_that_a_person_calls_off_stops_nobody() -> None:
    """The owner went on alone and is off now, for which a person vouches; a switch has held its last heartbeat back.

    It comes while this node takes the same epoch. If it counted, both nodes would claim that epoch, and nobody would
    serve until the person came again to choose.
    """
    book = paired(B)
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    assert c.DisconnectDisk(WEB) in book.pass_time(6.0), "it waits for its peer"
    book.hears(ended(c.DisconnectDisk(WEB)))
    book.hears(e.DiskChanged(WEB, LEFT))
    [mine] = saved(book.hears(e.OperatorAsked("override", A, 7)))
    book.peer = replace(book.peer, record=served(A, Record(4, A, peer_outdated=True)), pair=PairState.ALONE)
    book.hears(e.HeartbeatSeen(BIZ, book.peer, None))
    assert c.PromoteDisk(WEB) in book.hears(ended(c.SaveRecord(mine)))
    assert book.engine.pair is PairState.ALONE


def test_version_that_was_given_up_is_attached_after_a_restart() -> None:
    """This node began a version of its own, and a person gave it up before any daemon had read its generation.

    The record says by now that the peer's version is the newest. The disk belongs to neither line, but all of it is to
    be replaced. If it were refused as a foreign one, the VM would have a single copy until a person came again.
    """
    known = Record(5, B, peer_outdated=True, discard=(WEB,), generations=((WEB, "4040"),))
    common = GENERATIONS[0]
    book, commands = starting(known, ("6060", common), ("4040", common))
    assert c.AttachDisk(WEB) in commands
    assert "foreign_disk" not in alerts(commands)
    commands = book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.CONSISTENT))) + book.hears(ended(c.AttachDisk(WEB)))
    assert c.ConnectDisk(WEB, discard=True) in commands + lets_save(book)

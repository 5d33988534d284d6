"""Hand-over, before and while VMs stop for it: both nodes show that they can write, and a move that fails is ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import (
    Ailment,
    AilmentSeverity,
    Copy,
    DiskRole,
    DiskState,
    DiskView,
    NodeId,
    Outcome,
    PeerView,
    Record,
)
from tests.playbook import BIZ, WEB, A, B, Playbook, acts, alerts, ended, in_sync, paired, served

S = DiskRole.SECONDARY
OFFERED = 4  # the pair is in epoch 3
HEAT = Ailment(AilmentSeverity.BAD, "overheated", "CPU")


def pair() -> Playbook:
    """Return an owner whose live move has failed a moment ago."""
    book = paired(A)
    book.engine.migration.tries = 1
    return book


def due(*, takes: bool) -> Playbook:
    """Return an owner whose VM belongs to its peer, because clients do not reach it here."""
    book = pair()
    book.takes = takes
    book.hears(e.LinkChanged(BIZ, carrier=False))
    book.pass_time(33.0, peer_alive=True)
    return book


def saves(book: Playbook, outcome: Outcome = Outcome.OK) -> list[c.Command]:
    """End the write of the record that is under way."""
    saving = book.engine.sight.durable.saving
    assert saving is not None
    return book.hears(ended(c.SaveRecord(saving), outcome))


def stopped(book: Playbook) -> Playbook:
    """Let the VM stop, and the copy here be marked as outdated; the record that gives the right is on its way."""
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(ended(c.DestroyDomain(WEB)))
    book.hears(e.DiskChanged(WEB, in_sync(S)))
    book.expect(ended(c.DemoteDisk(WEB)), c.DisconnectDisk(WEB))
    book.hears(ended(c.DisconnectDisk(WEB)))
    book.expect(e.DiskChanged(WEB, DiskView(S, DiskState.UP_TO_DATE)), c.OutdateDisk(WEB))
    book.hears(ended(c.OutdateDisk(WEB)))
    return book


# ------------------------------------------------------------ the owner


def test_nothing_stops_before_both_nodes_have_written() -> None:
    """The epoch is offered; the VM runs until the peer says that it could take it."""
    book = due(takes=False)
    assert book.engine.handover.offers == OFFERED
    said = book.pass_time(10.0, peer_alive=True)
    assert c.DestroyDomain(WEB) not in said
    assert "hands_over" not in alerts(said)
    assert "hands_over" in alerts(book.peer_says(offers=OFFERED))


def test_nothing_stops_while_this_node_cannot_write() -> None:
    """It is tried again and again, and told after half a minute; when it can write, the VMs move."""
    book = pair()
    book.hears(e.LinkChanged(BIZ, carrier=False))
    said: list[c.Command] = []
    for _ in range(80):
        book.now += 1.0
        said += book.peer_says(offers=book.engine.handover.offers)
        if book.engine.sight.durable.saving is not None:
            said += saves(book, Outcome.FAILED)
    assert c.DestroyDomain(WEB) not in said
    assert alerts(said).count("vms_stay") == 1
    assert "Against a move: node a does not show that it can write its record" in book.reasons
    assert 5 < len([one for one in said if isinstance(one, c.SaveRecord)]) < 40
    while book.engine.sight.durable.saving is None:
        book.now += 1.0
        book.peer_says()
    assert "hands_over" in alerts(saves(book))


def test_a_peer_that_does_not_answer_is_told() -> None:
    """Once."""
    book = due(takes=False)
    said = book.pass_time(80.0, peer_alive=True)
    assert alerts(said).count("vms_stay") == 1
    assert "Against a move: node b does not show that it can write its record" in book.reasons
    book.hears(e.LinkChanged(BIZ, carrier=True))
    book.pass_time(70.0, peer_alive=True)
    assert book.engine.handover.offers == 0, "there is no reason any more"


@pytest.mark.parametrize("said", [0, OFFERED - 1, OFFERED + 1])
def test_only_the_epoch_that_is_offered_counts(said: int) -> None:
    """What the peer said of another one is old, or not meant."""
    book = due(takes=False)
    book.peer_says(offers=said)
    assert not book.engine.handover.leaving


@pytest.mark.parametrize("me", [A, B])
def test_a_record_that_was_written_before_proves_nothing(me: NodeId) -> None:
    """It is written anew for the offer, whatever was saved a minute ago, by the owner and by the backup."""
    book = paired(me)
    book.engine.migration.tries = 1  # a live move has failed
    book.engine.sight.durable.saved_at = book.now
    book.hears(e.LinkChanged(BIZ, carrier=False))
    book.pass_time(33.0, peer_alive=True)
    book.peer_says(offers=OFFERED)
    assert book.reasons.count("is the record of this node still written?") == 1
    assert book.engine.sight.durable.saved_at > 101.0 or book.engine.sight.durable.saving == book.engine.record


# ------------------------------------------------------------ the backup


def heartbeat(book: Playbook) -> PeerView:
    """What the node says of itself in its last heartbeat."""
    beats = [one.view for decision in book.said for one in decision.commands if isinstance(one, c.SendHeartbeat)]
    return beats[-1]


def test_a_backup_answers_when_its_record_is_written() -> None:
    """Not before, and at once then; when the offer is withdrawn it says so no more."""
    book = paired(B)
    book.expect(e.Tick())
    given = book.peer_says(offers=OFFERED)
    assert given == [c.SaveRecord(book.engine.record)]
    assert book.engine.view(book.now).offers == 0
    saves(book)
    assert heartbeat(book).offers == OFFERED
    assert book.peer_says() == []
    book.peer_says(offers=0)
    assert book.engine.view(book.now).offers == 0


def test_a_backup_that_cannot_write_does_not_answer() -> None:
    """It tries again after a pause."""
    book = paired(B)
    book.peer_says(offers=OFFERED)
    saves(book, Outcome.UNKNOWN)
    assert book.peer_says() == []
    assert book.engine.view(book.now).offers == 0
    said = book.pass_time(3.0, peer_alive=True)
    assert c.SaveRecord(book.engine.record) in said
    assert book.engine.view(book.now).offers == 0
    saves(book)
    assert book.engine.view(book.now).offers == OFFERED


@pytest.mark.parametrize("offers", [OFFERED - 1, OFFERED + 1])
def test_a_backup_answers_for_the_next_epoch_only(offers: int) -> None:
    """An offer of another one is of another time."""
    book = paired(B)
    assert book.peer_says(offers=offers) == []
    assert book.engine.view(book.now).offers == 0


def test_the_new_owner_offers_nothing() -> None:
    """What it said as the backup is over as soon as it owns the epoch."""
    book = paired(B)
    book.peer_says(offers=OFFERED)
    saves(book)
    book.peer_says(record=Record(OFFERED, B, boot="a-machine-1", peer_outdated=True))
    saves(book)
    assert book.engine.is_owner
    assert book.engine.view(book.now).offers == 0


# ------------------------------------------------------------ a move that fails


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_a_move_whose_record_cannot_be_written_goes_by_word(outcome: Outcome) -> None:
    """The VM has stopped for it, and the copies here are marked: after 10 s the epoch is left to the peer (S40)."""
    book = due(takes=True)
    stopped(book)
    given = book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.OUTDATED)))
    assert c.SaveRecord(served(A, Record(OFFERED, B, peer_outdated=True))) in given
    said = []
    for _ in range(12):
        said.append(book.engine.view(book.now).leaves)
        if book.engine.sight.durable.saving is not None:
            saves(book, outcome)
        book.now += 1.0
        book.peer_says()
    assert said == [0] * 10 + [OFFERED] * 2


def test_a_move_that_may_be_done_is_not_undone() -> None:
    """The record that gives the right away may be on the disk: nothing runs here before the old one is there."""
    book = due(takes=True)
    stopped(book)
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.OUTDATED)))
    saves(book, Outcome.UNKNOWN)
    said = book.peer_says(ailments=(HEAT,), copies={WEB: Copy(DiskState.DISKLESS)})
    while book.engine.sight.durable.saving is None:
        assert book.engine.handover.leaving
        book.now += 1.0
        said += book.peer_says()
    assert (book.engine.health.going, acts(said)) == ("", [c.SaveRecord(book.engine.record)]), "the one that is valid"
    back = saves(book)
    assert not book.engine.handover.leaving
    assert back == [c.ConnectDisk(WEB)], "the VM comes back as soon as the copies are equal"


def test_a_move_that_lasts_too_long_is_called_off() -> None:
    """The copy here cannot be marked, for example."""
    book = due(takes=True)
    stopped(book)
    assert book.engine.handover.moving
    book.pass_time(50.0, peer_alive=True, tick_s=0.5)
    assert book.engine.handover.moving
    book.pass_time(15.0, peer_alive=True, tick_s=0.5)
    assert "the VMs are not handed over: it takes too long" in book.reasons
    assert not book.engine.handover.leaving


def test_a_record_on_its_way_is_waited_for() -> None:
    """It may be on the disk already: then the peer owns the epoch."""
    book = due(takes=True)
    stopped(book)
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.OUTDATED)))
    book.pass_time(70.0, peer_alive=True, tick_s=0.5)
    assert book.engine.handover.leaving
    saves(book)
    assert book.engine.record.owner == B


def test_a_disk_that_is_lost_meanwhile_needs_no_mark() -> None:
    """Nothing can be marked on it. The record that gives the right away speaks for it, and the peer has every write."""
    book = due(takes=True)
    stopped(book)
    lost = book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.DISKLESS)))
    (given,) = (one for one in lost if isinstance(one, c.SaveRecord))
    assert (given.record.epoch, given.record.owner, given.record.peer_outdated) == (OFFERED, B, True)


def test_a_frozen_vm_is_not_asked_for() -> None:
    """Nobody would miss it: its node has no disk and no connection, and the peer has the good copy."""
    book = pair()
    frozen = DiskView(DiskRole.PRIMARY, DiskState.DISKLESS, "Connecting", suspended=True)
    book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.PRIMARY), disk=DiskState.DISKLESS)))
    saves(book)
    book.hears(e.DiskChanged(WEB, frozen))
    assert book.engine.handover.leaving

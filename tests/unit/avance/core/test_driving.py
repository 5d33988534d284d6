"""What was judged is done: VMs, the service address, the answers to fence-peer, and the word that all is protected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import driving
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import DiskRole, DiskState, DiskView, Outcome, PairState, Record, VmState
from avance.core.unit import Goal
from tests.playbook import BIZ, WEB, A, B, Playbook, acts, ended, in_sync, paired, peer_gone, served, setup

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY


def solo() -> Playbook:
    """Return an owner that is paired, whose VM runs, and whose peer's copy is outdated by its record."""
    book = paired(A)
    book.engine.durable.record = replace(book.engine.record, peer_outdated=True)
    book.peer = replace(book.peer, record=replace(book.peer.record, peer_outdated=True))
    book.hears(e.DiskChanged(WEB, DiskView(P, DiskState.UP_TO_DATE, "Connecting", peer_disk=DiskState.OUTDATED)))
    assert book.engine.durable.saving is None
    assert book.engine.solo
    return book


# ---------------------------------------------------------------- what is wanted of a VM


@pytest.mark.parametrize(
    ("pair", "owner", "goal"),
    [
        (PairState.PAIRED, A, Goal.RUN),
        (PairState.PAIRED, B, Goal.STOP),
        (PairState.ALONE, A, Goal.RUN),
        (PairState.WAITING, A, Goal.HOLD),
        (PairState.WAITING, B, Goal.HOLD),
        (PairState.STARTING, A, Goal.HOLD),
        (PairState.FENCED, A, Goal.STOP),
        (PairState.SPLIT, A, Goal.STOP),
    ],
)
def test_goal_follows_the_pair(pair: PairState, owner: str, goal: Goal) -> None:
    """VMs run on the owner of an agreed epoch, stop where they have no place, and are left alone in between."""
    book = paired(A)
    book.engine.pair = pair
    book.engine.durable.record = replace(book.engine.record, owner=A if owner == A else B)
    assert driving.around(book.engine, WEB, book.now).goal is goal


def test_nothing_is_started_before_service_is_noted() -> None:
    """An owner whose record is of an earlier boot of the machine starts nothing: nobody would know that it had."""
    book = paired(A)
    book.engine.durable.record = replace(book.engine.record, boot="a-machine-0")
    assert driving.around(book.engine, WEB, book.now).goal is Goal.HOLD


def test_nothing_is_started_while_the_vms_stand_still() -> None:
    """A node whose right has ended for the moment starts no VM."""
    book = paired(A)
    book.engine.guard.paused = True
    assert driving.around(book.engine, WEB, book.now).goal is Goal.HOLD


def test_link_that_is_down_is_not_replicated_over() -> None:
    """A disk is connected only while the private link carries."""
    book = paired(A)
    assert driving.around(book.engine, WEB, book.now).replicate
    book.pass_time(4.0, links=(BIZ,))
    around = driving.around(book.engine, WEB, book.now)
    assert not around.replicate
    assert around.cut


# ---------------------------------------------------------------- the service address


def test_address_follows_the_vms() -> None:
    """The owner holds the address; a backup takes it down once, also when an earlier run may have left it up."""
    assert paired(A).engine.address_held
    backup = Playbook(Engine(setup(B), served(B, Record(3, A))))
    assert c.ReleaseAddress() in backup.peer_says(record=Record(3, A))
    backup.done(c.ReleaseAddress())
    assert not any(isinstance(one, c.ReleaseAddress) for one in backup.pass_time(5.0, peer_alive=True))


def test_waiting_owner_keeps_its_address_until_it_is_judged() -> None:
    """A node that looks for a right neither raises nor drops the address: its reset, or its right, decides."""
    book = paired(A, policy="safety")
    said = book.pass_time(7.0)
    assert not any(isinstance(one, c.HoldAddress | c.ReleaseAddress) for one in said)


def test_failed_address_is_tried_after_a_pause() -> None:
    """An address that could not be brought up is tried again 2 s later."""
    book = paired(A)
    book.engine.address_held = False
    assert acts(book.hears(e.Tick())) == [c.HoldAddress()]
    book.done(c.HoldAddress(), outcome=Outcome.UNKNOWN)
    assert acts(book.pass_time(1.8, peer_alive=True)) == []
    assert acts(book.pass_time(0.4, peer_alive=True)) == [c.HoldAddress()]


# ---------------------------------------------------------------- fence-peer


def test_paired_node_without_the_lone_right_gives_no_answer() -> None:
    """While nothing is decided, DRBD's question stays open: its handler denies by its own deadline."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    assert acts(book.hears(e.FencePeerAsked(WEB, 1))) == []
    said = book.pass_time(60.0, peer_alive=True)
    assert not any(isinstance(one, c.AnswerFencePeer) for one in said)


def test_lone_right_by_consent_answers_outdated() -> None:
    """With the durable lone right every open question is answered with 4, in order."""
    book = solo()
    assert c.AnswerFencePeer(5, 4) in book.hears(e.FencePeerAsked(WEB, 5))
    assert book.engine.asks == {}


@pytest.mark.parametrize("theirs", [Record(4, B, peer_outdated=True), Record(3, B)])
def test_stopped_node_denies(theirs: Record) -> None:
    """A node that is fenced or split answers with a code that leaves I/O frozen."""
    book = paired(A)
    book.peer_says(record=theirs, pair=PairState.ALONE)
    assert book.engine.pair in (PairState.FENCED, PairState.SPLIT)
    assert c.AnswerFencePeer(3, 1) in book.hears(e.FencePeerAsked(WEB, 3))


# ---------------------------------------------------------------- protected


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


@pytest.mark.parametrize("outcome", [None, Outcome.UNKNOWN])
def test_lone_right_that_is_being_given_up_answers_nothing(outcome: Outcome | None) -> None:
    """From the moment in which `peer outdated` may be gone from the disk, DRBD gets no yes by it any more."""
    book = solo()
    assert acts(book.hears(e.DiskChanged(WEB, in_sync(P)))) == [c.SaveRecord(served(A, Record(3, A)))]
    if outcome is not None:
        book.hears(ended(c.SaveRecord(Record()), outcome))
    commands = book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    commands += book.hears(e.FencePeerAsked(WEB, 5))
    assert not any(isinstance(one, c.AnswerFencePeer | c.ResumeDisk) for one in commands)


def test_late_echo_starts_nothing() -> None:
    """An echo that was under way for long pairs a node whose lease has ended: its VM stays down until a fresh one."""
    book = paired(A)
    book.engine.units[WEB].state = VmState.STANDBY
    sent_s, book.now = book.now, book.now + 20.0
    book.hears(e.HeartbeatSeen(BIZ, book.peer, sent_s))
    assert driving.around(book.engine, WEB, book.now).goal is Goal.HOLD
    book.peer_says()
    assert driving.around(book.engine, WEB, book.now).goal is Goal.RUN

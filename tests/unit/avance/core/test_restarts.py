"""A VM that keeps failing is tried five times here, once on the other node, and is left then, with one alert."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.decision import Draft
from avance.core.model import DiskRole, DiskState, DiskView, Outcome, PairState, Record, VmId, VmState
from avance.core.restarts import FAILURES_MAX
from tests.playbook import WEB, A, B, Playbook, acts, alerts, ended, in_sync, paired


def dies(book: Playbook, vm: VmId = WEB) -> list[c.Command]:
    """Let the domain be gone, and come up again where it is started again; returns all that was commanded."""
    said = book.hears(e.DomainChanged(vm, running=False)) + book.hears(e.Tick())
    if any(isinstance(command, c.PromoteDisk) for command in said):
        said += book.hears(ended(c.PromoteDisk(vm)))
    if any(isinstance(command, c.StartDomain) for command in said):
        said += book.hears(e.DomainChanged(vm, running=True)) + book.hears(ended(c.StartDomain(vm)))
    return said + book.pass_time(2.0, peer_alive=True)


def starts(commands: list[c.Command]) -> int:
    """Return how many VMs were started."""
    return sum(isinstance(command, c.StartDomain) for command in commands)


def records(commands: list[c.Command]) -> list[Record]:
    """Return the records that are to be saved."""
    return [command.record for command in commands if isinstance(command, c.SaveRecord)]


def test_a_vm_is_started_again_until_it_has_failed_too_often() -> None:
    """Four failures in an hour are followed by a start each; the fifth is not, and everything is told once."""
    book = paired(A, record=Record(3, A, quarantined=True))
    said = [dies(book) for _ in range(FAILURES_MAX)]
    assert [starts(one) for one in said] == [1, 1, 1, 1, 0]
    book.pass_time(30.0, peer_alive=True)
    codes = [code for decision in book.said for code in alerts(list(decision.commands))]
    assert codes.count("vm_crashed") == FAILURES_MAX
    assert codes.count("vm_left") == 1
    assert not book.engine.handover.leaving, "a peer that is in quarantine is no place to try"


def test_it_is_started_anew_when_the_hour_has_passed() -> None:
    """The window moves on with the oldest failure, and the next time is told again."""
    book = paired(A, record=Record(3, A, quarantined=True))
    for _ in range(FAILURES_MAX):
        dies(book)
    book.now += 3600.0
    assert starts(book.peer_says() + book.hears(e.Tick()) + _promoted(book)) == 1


def test_it_is_started_anew_by_a_persons_word() -> None:
    """`reset-device` with the name of the node itself."""
    book = paired(A, record=Record(3, A, quarantined=True))
    for _ in range(FAILURES_MAX):
        dies(book)
    assert starts(book.hears(e.OperatorAsked("reset-device", A, 1)) + _promoted(book)) == 1


def _promoted(book: Playbook) -> list[c.Command]:
    busy = book.engine.units[WEB].busy
    return book.hears(ended(c.PromoteDisk(WEB))) if busy == "PromoteDisk" else []


def test_the_other_node_is_tried_next() -> None:
    """Both copies are equal and nothing else runs here: the right goes to the peer, which starts the VM on its copy."""
    book = paired(A)
    for _ in range(FAILURES_MAX):
        dies(book)
    said = book.pass_time(12.0, peer_alive=True)
    assert "hands_over" in alerts(said)
    assert "vm_left" not in alerts(said)
    assert c.DestroyDomain(WEB) in said, "Xen still lists what has died, and it holds the disk open"
    book.done(c.DestroyDomain(WEB), c.DemoteDisk(WEB))
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY)))
    book.done(c.DemoteDisk(WEB), c.DisconnectDisk(WEB))
    book.hears(e.DiskChanged(WEB, DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)))
    assert c.OutdateDisk(WEB) in book.hears(ended(c.DisconnectDisk(WEB)))
    assert not records(book.pass_time(1.0, peer_alive=True)), "not before the copy here is marked"
    said = book.hears(e.DiskChanged(WEB, DiskView(DiskRole.SECONDARY, DiskState.OUTDATED)))
    said += book.hears(ended(c.OutdateDisk(WEB))) + book.pass_time(3.0, peer_alive=True)
    assert [(record.epoch, record.owner, record.peer_outdated) for record in records(said)][:1] == [(4, B, True)]
    assert not any(isinstance(command, c.ConnectDisk) for command in said)


def test_the_node_that_is_tried_next_tries_once() -> None:
    """It is not handed back: both nodes have seen it fail, and one alert says what to do."""
    book = paired(B, owner=B)
    book.peer_says(left=(WEB,))
    said = dies(book)
    assert starts(said) == 0
    said += book.pass_time(30.0, peer_alive=True)
    told = [command.alert for command in said if isinstance(command, c.SendAlert)]
    assert [alert.code for alert in told].count("vm_left") == 1
    assert "avance reset-device b" in next(alert.text for alert in told if alert.code == "vm_left")
    assert "hands_over" not in [alert.code for alert in told]


def test_a_right_that_comes_back_is_a_new_beginning() -> None:
    """It failed here, and the right went to the peer: when it comes back, the VM has all its tries (decision 0026)."""
    book = paired(A)
    restarts, sight, draft = book.engine.restarts, book.engine.sight, Draft(3, PairState.PAIRED, set())
    for _ in range(FAILURES_MAX):
        restarts.failed(WEB, book.now)
    for owner, held in ((A, True), (B, True), (B, True), (A, False)):
        sight.durable.record = replace(sight.durable.record, owner=owner)
        restarts.tell(sight, draft, book.now, moves=False)
        assert restarts.held(sight, WEB, book.now) is held


def test_a_peer_that_is_not_heard_any_more_does_not_count() -> None:
    """What it gave up does not shorten the tries of the node that is left."""
    book = paired(B, owner=B)
    book.peer_says(left=(WEB,))
    book.engine.restarts.failed(WEB, book.now)
    assert book.engine.restarts.held(book.engine.sight, WEB, book.now)
    assert not book.engine.restarts.held(book.engine.sight, WEB, book.now + 5.0)


def test_the_peer_is_told_what_was_given_up() -> None:
    """It is in the heartbeats while it lasts, and only then."""
    book = paired(A)
    assert book.engine.view(book.now).left == ()
    for _ in range(FAILURES_MAX):
        book.engine.restarts.failed(WEB, book.now)
    assert book.engine.view(book.now).left == (WEB,)
    assert book.engine.view(book.now + 3600.0).left == ()


def test_a_takeover_starts_the_vm_whatever_was_left_elsewhere() -> None:
    """The count is each node's own: a node that takes over has not failed yet."""
    book = paired(B)
    book.peer_says(left=(WEB,))
    assert not book.engine.restarts.held(book.engine.sight, WEB, book.now)


def creation(book: Playbook, outcome: Outcome, times: int = 1) -> None:
    """Let creations of the VM end so."""
    for _ in range(times):
        book.engine.units[WEB].busy, book.engine.units[WEB].state = "StartDomain", VmState.STARTING
        book.hears(ended(c.StartDomain(WEB), outcome))
        book.engine.units[WEB].busy, book.engine.units[WEB].state = None, VmState.STANDBY


def test_a_creation_counts_by_its_outcome() -> None:
    """A tool that hangs says nothing; one that ends with an error does; one success shows that it can be done here."""
    book = paired(A)
    for outcome, times in ((Outcome.UNKNOWN, 0), (Outcome.FAILED, 1), (Outcome.FAILED, 2), (Outcome.OK, 0)):
        creation(book, outcome)
        assert book.engine.restarts.times(WEB, book.now) == times


def test_a_vm_that_cannot_be_created_is_not_left() -> None:
    """It is tried again after each pause, however often it failed; the peer hears that it need not be sent here."""
    book = paired(A, record=Record(3, A, quarantined=True))
    creation(book, Outcome.FAILED, 3 * FAILURES_MAX)
    assert not book.engine.restarts.held(book.engine.sight, WEB, book.now)
    assert (book.engine.view(book.now).left, book.engine.view(book.now).unmade) == ((), (WEB,))
    book.engine.sight.units.by_name[WEB].failed_at = book.now - 40.0
    assert starts(book.hears(e.Tick()) + _promoted(book)) == 1
    assert book.engine.view(book.now + 3600.0).unmade == ()


def test_a_peer_that_cannot_create_the_vm_shortens_no_tries_here() -> None:
    """A guest that dies once is started again where it could be created; it is not sent back either."""
    book = paired(A)
    book.peer_says(unmade=(WEB,))
    for _ in range(FAILURES_MAX - 1):
        book.engine.restarts.failed(WEB, book.now)
        assert not book.engine.restarts.held(book.engine.sight, WEB, book.now)
    book.engine.restarts.failed(WEB, book.now)
    book.engine.units[WEB].state = VmState.STANDBY
    assert book.engine.restarts.held(book.engine.sight, WEB, book.now)
    assert book.engine.restarts.elsewhere(book.engine.sight, book.now) is None


def test_a_vm_that_runs_is_not_moved_for_what_failed_before() -> None:
    """Creations failed, and then it was there: nothing is handed over."""
    book = paired(A)
    creation(book, Outcome.FAILED, FAILURES_MAX)
    assert book.engine.restarts.elsewhere(book.engine.sight, book.now) is not None
    book.engine.units[WEB].state = VmState.RUNNING
    assert book.engine.restarts.elsewhere(book.engine.sight, book.now) is None
    assert book.engine.restarts.equal_in == 0, "it writes: that the copies were equal says nothing any more"


@pytest.mark.parametrize("reason", ["outdated here", "outdated there", "behind here", "behind there", "never equal"])
def test_a_vm_moves_only_where_both_copies_are_equal(reason: str) -> None:
    """Whatever speaks against one of the copies keeps the VM where it fails."""
    book = paired(A)
    creation(book, Outcome.FAILED, FAILURES_MAX)
    sight = book.engine.sight
    assert book.engine.restarts.elsewhere(sight, book.now) is not None
    peer = book.peer.record
    match reason:
        case "outdated here":
            sight.durable.record = replace(sight.durable.record, peer_outdated=True)
        case "outdated there":
            sight.partner.view = replace(book.peer, record=replace(peer, peer_outdated=True))
        case "behind here":
            sight.durable.record = replace(sight.durable.record, behind=(WEB,))
        case "behind there":
            sight.partner.view = replace(book.peer, record=replace(peer, behind=(WEB,)))
        case _:
            book.engine.restarts.equal_in = 0
            book.engine.units[WEB].disk = replace(in_sync(DiskRole.SECONDARY), out_of_sync_kib=4)
    assert book.engine.restarts.elsewhere(sight, book.now) is None


def test_a_persons_word_forgets_creations_too() -> None:
    """`reset-device` with the name of the node itself."""
    book = paired(A, record=Record(3, A, quarantined=True))
    creation(book, Outcome.FAILED, FAILURES_MAX)
    book.hears(e.OperatorAsked("reset-device", A, 1))
    assert book.engine.restarts.times(WEB, book.now) == 0


def test_a_stop_is_not_held_back() -> None:
    """A VM that was left and runs all the same is stopped as any other when the right ends."""
    book = paired(A)
    for _ in range(FAILURES_MAX):
        book.engine.restarts.failed(WEB, book.now)
    newer = replace(book.peer.record, epoch=4, owner=B, peer_outdated=True)
    assert any(isinstance(command, c.ResetNode) for command in acts(book.peer_says(record=newer)))

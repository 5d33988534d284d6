"""A live move, told as a conversation: what the owner and the backup do, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.migration import ANSWER_S, given
from avance.core.model import DiskRole, NodeId, Outcome, PairState, Record, VmState
from avance.wire.frozen import freeze, thaw
from tests.playbook import PRIV, WEB, A, B, Playbook, acts, alerts, ended, in_sync, lets_save, paired, peer_gone

SEND = c.SendDomain(WEB, "a-boot-1.1")
RECEIVE = c.ReceiveDomain(WEB, "a-boot-1.1")


def ordered() -> Playbook:
    """Return an owner whom a person has told to move its VM, and whose peer has not answered yet."""
    book = paired(A)
    said = book.hears(e.OperatorAsked("move", B, 1))
    assert c.AnswerOperator(1, done=True, text="move b: done") in said
    assert acts(said)[-1] == proof(book), "it gives nothing away before it knows that its record can be written"
    assert not book.engine.migration.moves
    book.hears(ended(proof(book)))
    assert book.engine.migration.moves == SEND.move
    return book


def proof(book: Playbook) -> c.SaveRecord:
    """Return the record as it is, to be written once more."""
    return c.SaveRecord(book.engine.record)


def sending() -> Playbook:
    """Return one whose peer takes part, and whose domain is leaving."""
    book = ordered()
    assert acts(book.peer_says(takes=SEND.move)) == [SEND]
    return book


def sent() -> Playbook:
    """Return one whose domain is complete on the peer, and who is no writer any more; the right is being given."""
    book = sending()
    book.expect(ended(SEND), c.DemoteDisk(WEB))
    book.hears(e.DomainChanged(WEB, running=False))
    both = in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)
    book.hears(e.DiskChanged(WEB, both))
    book.expect(ended(c.DemoteDisk(WEB)), c.SaveRecord(given(book.engine.record, B)))
    return book


def taking() -> Playbook:
    """Return a backup that takes the domain of its peer in."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)))
    assert acts(book.peer_says(moves=RECEIVE.move)) == [proof(book)]
    book.expect(ended(proof(book)), RECEIVE)
    assert book.engine.view(book.now).takes == RECEIVE.move
    return book


def taken() -> Playbook:
    """Return one in which the domain stands still, complete."""
    book = taking()
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.PRIMARY, peer_role=DiskRole.PRIMARY)))
    book.hears(e.DomainChanged(WEB, running=True, paused=True, never_ran=True))
    book.expect(ended(RECEIVE))
    unit = book.engine.units[WEB]
    unit.read_for = unit.disk  # as if it had been read while all went well
    assert unit.state is VmState.RECEIVED
    return book


def theirs(book: Playbook) -> Record:
    """Return the record by which the peer gives the right to this node."""
    return replace(given(book.peer.record, B), boot="a-machine-1")


# ------------------------------------------------------------ the owner


def test_the_right_follows_the_vm() -> None:
    """Offered, taken, sent, demoted; then the record, and the peer is told at once."""
    book = sent()
    assert book.engine.sight.durable.saving == replace(book.engine.record, epoch=4, owner=B, peer_outdated=True)
    said = book.hears(ended(c.SaveRecord(given(book.engine.record, B))))
    beats = [one.view for one in book.said[-1].commands if isinstance(one, c.SendHeartbeat)]
    assert [(view.record.owner, view.record.epoch, view.moves) for view in beats] == [(B, 4, SEND.move)]
    assert c.StartDomain(WEB) not in said
    book.peer_says(record=replace(book.engine.record, boot="b-machine-1"), vms={WEB: VmState.RUNNING}, takes="")
    assert book.engine.view(book.now).moves == ""


def test_who_gave_the_right_away_takes_none_alone() -> None:
    """The peer may not have heard of it, and take the same epoch alone: the copy here counts as outdated until then."""
    book = sent()
    said = book.hears(ended(c.SaveRecord(given(book.engine.record, B))))
    said += book.pass_time(60.0)
    assert not [one for one in said if isinstance(one, c.PromoteDisk | c.StartDomain)]
    assert "outdated in epoch 4" in book.reasons or book.engine.pair is PairState.WAITING
    theirs = replace(book.engine.record, boot="b-machine-1", peer_outdated=False)
    said = book.peer_says(record=theirs, pair=PairState.PAIRED) + book.peer_says()
    assert [one.record.peer_outdated for one in said if isinstance(one, c.SaveRecord)] == [False]


def test_the_right_is_given_to_a_peer_that_lives() -> None:
    """All has left; the record is written when the peer has answered a heartbeat that was sent since."""
    book = sending()
    book.now += 0.2
    book.expect(ended(SEND), c.DemoteDisk(WEB))
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)))
    book.expect(ended(c.DemoteDisk(WEB)))
    book.now += 0.2
    assert c.SaveRecord(given(book.engine.record, B)) in book.peer_says()


def test_the_end_of_writing_is_tried_again() -> None:
    """A write was still in flight when the domain had left: the move waits for no more than that."""
    book = sending()
    book.expect(ended(SEND), c.DemoteDisk(WEB))
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(ended(c.DemoteDisk(WEB), Outcome.FAILED, "refused"))
    assert c.ReadDomain(WEB) in book.pass_time(3.0, peer_alive=True)
    book.expect(ended(c.ReadDomain(WEB)), c.DestroyDomain(WEB))
    book.expect(ended(c.DestroyDomain(WEB)), c.DemoteDisk(WEB))


@pytest.mark.parametrize("side", [A, B])
def test_a_lost_replication_ends_the_move(side: NodeId) -> None:
    """Both writers are frozen then, and a second one that waited for the end of the move would keep them so."""
    book = sending() if side == A else taken()
    said = book.hears(e.DiskChanged(WEB, peer_gone(DiskRole.PRIMARY, suspended=True)))
    assert c.EndMove() in said
    assert (c.DestroyDomain(WEB) in said) is (side == B)


def test_an_arrival_is_told_once() -> None:
    """Whatever else ends while the VM waits for the right."""
    book = taken()
    book.engine.units[WEB].busy = "ReadGeneration"
    book.hears(ended(c.ReadGeneration(WEB), Outcome.FAILED))
    assert book.milestones.count("vm_received") == 1


def test_nothing_is_read_while_the_vm_stands_still() -> None:
    """Neither node reads generations while a VM is on its way: its next command would wait for that."""
    for book in (sent(), taken()):
        view = in_sync(DiskRole.SECONDARY, peer_role=DiskRole.SECONDARY)
        said = book.hears(e.DiskChanged(WEB, view)) + book.pass_time(2.5, peer_alive=True)
        assert c.ReadGeneration(WEB) not in said
        assert book.engine.units[WEB].state in (VmState.STANDBY, VmState.RECEIVED)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_nothing_moves_while_the_record_cannot_be_written(outcome: Outcome) -> None:
    """Neither does the owner begin, nor the backup take part, and a person is told why."""
    book = paired(A)
    book.hears(e.OperatorAsked("move", B, 1))
    said = book.hears(ended(proof(book), outcome, "read-only")) + book.pass_time(1.0, peer_alive=True)
    assert not book.engine.migration.moves
    answers = [one for one in book.hears(e.OperatorAsked("move", B, 2)) if isinstance(one, c.AnswerOperator)]
    assert ["record of this node cannot be written" in one.text for one in answers] == [True]
    book = paired(B)
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)))
    book.peer_says(moves=RECEIVE.move)
    said = book.hears(ended(proof(book), outcome, "read-only")) + book.pass_time(1.0, peer_alive=True)
    assert RECEIVE not in said
    assert not book.engine.migration.takes


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_a_right_that_cannot_be_given_ends_the_move(outcome: Outcome) -> None:
    """The VM has left, and its owner cannot record that: it is started here again, from its disk."""
    book = sent()
    said = book.hears(ended(c.SaveRecord(given(book.engine.record, B)), outcome, "read-only"))
    said += book.peer_says(takes="")
    assert c.EndMove() in said
    said = book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY)))
    assert c.PromoteDisk(WEB) in said


def test_nobody_starts_the_vm_here_while_it_is_away() -> None:
    """The domain has left, the record is not written yet: this node still owns the epoch, and must not use it."""
    book = sending()
    book.expect(ended(SEND), c.DemoteDisk(WEB))
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY)))  # the peer is no writer yet, or no longer
    said = book.hears(ended(c.DemoteDisk(WEB)))
    said += book.pass_time(5.0, peer_alive=True)
    assert c.PromoteDisk(WEB) not in said


def test_the_right_stays_until_the_domain_has_left() -> None:
    """While it is being sent nothing is given away."""
    book = sending()
    said = book.pass_time(20.0, peer_alive=True)
    assert not [one for one in said if isinstance(one, c.SaveRecord) and one.record.owner == B]


def test_a_peer_that_takes_no_part_is_not_waited_for() -> None:
    """The VM runs on all the time."""
    book = ordered()
    said = book.pass_time(ANSWER_S + 1.0, peer_alive=True)
    assert alerts(said) == ["move_failed"]
    assert c.EndMove() in said
    assert book.engine.view(book.now).moves == ""
    assert book.engine.units[WEB].state is VmState.RUNNING


def test_what_could_not_be_sent_runs_on() -> None:
    """Xen has let it go on; a look shows it, and the move is over on both sides."""
    book = sending()
    said = book.hears(ended(SEND, Outcome.FAILED, "the stream broke"))
    said += book.peer_says()
    assert c.EndMove() in said
    assert "move_failed" in alerts(said)
    assert c.ReadDomain(WEB) in said
    book.hears(e.DomainChanged(WEB, running=True))
    book.hears(ended(c.ReadDomain(WEB)))
    assert book.engine.units[WEB].state is VmState.RUNNING
    assert acts(book.peer_says(takes="")) == []


def test_what_stands_still_here_after_a_failure_is_started_afresh() -> None:
    """Nobody knows how the sending ended: the domain is gone, and only this node has the right."""
    book = sending()
    said = book.hears(ended(SEND, Outcome.UNKNOWN, "xl did not end")) + book.peer_says(takes="")
    assert c.ReadDomain(WEB) in said
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY)))
    book.hears(e.DomainChanged(WEB, running=False))
    said = book.hears(ended(c.ReadDomain(WEB))) + book.peer_says()
    assert c.PromoteDisk(WEB) in said


@pytest.mark.parametrize("what", ["peer", "link", "peer gives up"])
def test_a_move_ends_when_it_cannot_go_on(what: str) -> None:
    """The peer is lost, the link that carries it is down, or the peer takes part no longer."""
    book = sending()
    if what == "peer gives up":
        said = book.peer_says(takes="")
    elif what == "peer":
        said = book.pass_time(6.0)
    else:
        said = book.pass_time(5.0, links=tuple(one for one in book.engine.setup.links if one != PRIV))
    assert c.EndMove() in said
    assert book.engine.view(book.now).moves == ""


def test_a_record_on_its_way_is_waited_for() -> None:
    """It may be on the disk already: a move does not end then, whatever the peer says."""
    book = sent()
    said = book.peer_says(takes="")
    assert c.EndMove() not in said
    assert book.engine.migration.moves == SEND.move


@pytest.mark.parametrize(
    ("node", "why"),
    [(A, "the VMs run on node a already"), (NodeId("c"), "the name of the other one: b")],
)
def test_an_order_is_refused_with_the_reason(node: NodeId, why: str) -> None:
    """To where they are, or to nobody."""
    book = paired(A)
    (answer,) = book.hears(e.OperatorAsked("move", node, 7))
    assert isinstance(answer, c.AnswerOperator)
    assert not answer.done
    assert why in answer.text


def test_an_order_on_the_backup_says_where_to_go() -> None:
    """The owner decides; copies that are not equal are a reason against it."""
    (answer,) = paired(B).hears(e.OperatorAsked("move", A, 7))
    assert isinstance(answer, c.AnswerOperator)
    assert "node a owns the VMs; say it there" in answer.text
    book = paired(A)
    book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.PRIMARY), out_of_sync_kib=4)))
    answers = [one for one in book.hears(e.OperatorAsked("move", B, 8)) if isinstance(one, c.AnswerOperator)]
    assert ["the copies are not equal" in one.text for one in answers] == [True]


# ------------------------------------------------------------ a node that is to be switched off


def answers(commands: Sequence[c.Command]) -> list[tuple[bool, str]]:
    """What the person was told."""
    return [(one.done, one.text) for one in commands if isinstance(one, c.AnswerOperator)]


def departing() -> Playbook:
    """Return an owner that is to be switched off; its VM begins to move."""
    book = paired(A)
    assert answers(book.hears(e.OperatorAsked("leave", A, 1))) == []
    book.hears(ended(proof(book)))
    assert book.engine.migration.moves == SEND.move
    return book


def test_a_node_is_left_when_the_right_has_gone() -> None:
    """Whoever wants to switch it off waits until then, and so does the second one who asks."""
    book = departing()
    assert answers(book.hears(e.OperatorAsked("leave", A, 2))) == []
    book.peer_says(takes=SEND.move)
    book.hears(ended(SEND))
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)))
    book.hears(ended(c.DemoteDisk(WEB)))
    said = book.hears(ended(c.SaveRecord(given(book.engine.record, B)))) + book.peer_says()
    assert answers(said) == [(True, "no VM runs on node a any more")] * 2


def test_a_node_whose_vms_cannot_move_live_is_left_by_a_hand_over() -> None:
    """The peer takes part in no live move: the VM is stopped here, and started there."""
    book = departing()
    said = book.pass_time(ANSWER_S + 2.0, peer_alive=True)
    assert [one for one in alerts(said) if one in ("move_failed", "hands_over")] == ["move_failed", "hands_over"]
    assert c.DestroyDomain(WEB) in said
    assert answers(said) == []


def test_a_vm_that_does_not_run_goes_by_a_hand_over_at_once() -> None:
    """There is nothing that could move while it runs."""
    book = paired(A)
    book.hears(e.DomainChanged(WEB, running=False))
    said = book.hears(e.OperatorAsked("leave", A, 1)) + book.peer_says()
    assert "vms_move" not in alerts(said)
    assert "hands_over" in alerts(said)


def test_a_node_without_a_fit_peer_is_not_left() -> None:
    """It says why; whoever switches it off all the same knows what follows."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.PRIMARY), out_of_sync_kib=4)))
    assert answers(book.hears(e.OperatorAsked("leave", A, 1))) == [
        (False, "the VMs have to stay: the copies are not equal")
    ]


def test_a_peer_that_is_lost_ends_the_departure() -> None:
    """The VM stays, and the person is told so."""
    book = departing()
    said = book.pass_time(8.0)
    assert answers(said) == [(False, "the VMs stay on node a: node b is not there, or does not agree")]
    assert not book.engine.migration.departs


def test_the_backup_can_be_switched_off_at_once() -> None:
    """Nothing of it is missed; and nobody leaves a node by the name of another one."""
    book = paired(B)
    said = book.hears(e.OperatorAsked("leave", B, 1)) + book.peer_says()
    assert answers(said) == [(True, "no VM runs on node b any more")]
    assert answers(book.hears(e.OperatorAsked("leave", A, 2)))[0][0] is False


# ------------------------------------------------------------ the backup


def test_it_goes_on_when_the_right_is_durable_here() -> None:
    """The record first, then the VM; no disk is promoted, for this node is the writer already."""
    book = taken()
    said = book.peer_says(record=theirs(book), vms={WEB: VmState.STANDBY})
    (save,) = [one for one in said if isinstance(one, c.SaveRecord)]
    assert (save.record.owner, save.record.peer_outdated) == (B, False), "both copies are equal, and stay connected"
    assert c.ResumeDomain(WEB) not in said
    said = book.hears(ended(save)) + book.peer_says()
    assert c.ResumeDomain(WEB) in said
    assert c.PromoteDisk(WEB) not in said
    book.hears(ended(c.ResumeDomain(WEB)))
    assert book.engine.units[WEB].state is VmState.RUNNING
    book.hears(e.DomainChanged(WEB, running=True))
    book.peer_says()
    assert book.engine.view(book.now).takes == ""


@pytest.mark.parametrize("moves", ["", "a-boot-1.2"])
def test_another_move_brings_nothing_back_to_life(moves: str) -> None:
    """The right comes without the move, or with another one: what is here is destroyed, and started afresh."""
    book = taken()
    said = book.peer_says(record=theirs(book), vms={WEB: VmState.STANDBY}, moves=moves)
    said += [one for _ in range(4) for one in lets_save(book)]
    assert c.DestroyDomain(WEB) in said
    assert c.ResumeDomain(WEB) not in said
    said = book.hears(ended(c.DestroyDomain(WEB)))
    assert acts(said) == [c.DemoteDisk(WEB)]


def test_a_right_that_was_taken_brings_nothing_back_to_life() -> None:
    """The owner dies after all has arrived: whether its VM ran on, and wrote, nobody knows."""
    book = taken()
    said = book.pass_time(30.0)
    assert c.EndMove() in said
    assert c.DestroyDomain(WEB) in said
    assert c.ResumeDomain(WEB) not in said


def test_it_does_not_count_as_a_writer() -> None:
    """It stands still and has never run here: the guard lets this node be, and consent is still possible."""
    book = taken()
    assert not book.engine.sight.may_write
    said = book.pass_time(40.0, peer_alive=True)
    assert not [one for one in said if isinstance(one, c.ResetNode)]
    book.hears(e.DomainChanged(WEB, running=True))  # somebody lets it run
    assert book.engine.sight.may_write


def test_a_failed_taking_in_is_over_for_this_move() -> None:
    """The owner hears it, and the same move is not tried again."""
    book = taking()
    said = book.hears(ended(RECEIVE, Outcome.FAILED, "no room"))
    assert c.EndMove() in said + book.peer_says()
    assert book.engine.view(book.now).takes == ""
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(ended(c.ReadDomain(WEB)))
    said = book.pass_time(20.0, peer_alive=True)
    assert RECEIVE not in said


def test_a_node_that_cannot_write_takes_no_part() -> None:
    """It could not take the right in, and then nobody would have it."""
    book = paired(B)
    book.writes = False
    book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)))
    (proof,) = acts(book.peer_says(moves=RECEIVE.move))
    assert isinstance(proof, c.SaveRecord)
    said = book.hears(ended(proof, Outcome.FAILED, "no space")) + book.pass_time(10.0, peer_alive=True)
    assert RECEIVE not in said
    assert proof in said  # it is tried again
    assert book.engine.view(book.now).takes == ""


def test_it_takes_part_only_with_equal_copies() -> None:
    """And only while the VM stands by here."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, replace(in_sync(DiskRole.SECONDARY), out_of_sync_kib=4)))
    assert RECEIVE not in book.peer_says(moves=RECEIVE.move)
    assert book.engine.view(book.now).takes == ""


def test_what_is_known_of_a_move_can_be_written_down() -> None:
    """A journal that begins in the middle of a move goes on with it."""
    for book in (sending(), taken()):
        other: Playbook = Playbook(thaw(freeze(book.engine)), book.now)
        assert other.engine.migration == book.engine.migration


def test_a_calm_pair_does_not_know_moves() -> None:
    """Once a move is over, nothing is left of it that costs anything."""
    book = sent()
    book.hears(ended(c.SaveRecord(given(book.engine.record, B))))
    book.peer_says(record=replace(book.engine.record, boot="b-machine-1"), vms={WEB: VmState.RUNNING}, takes="")
    assert book.engine.migration.rests
    assert book.engine.pair is PairState.PAIRED

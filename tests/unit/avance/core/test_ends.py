"""What is wanted of a VM, and how it comes to its end: told as a conversation with the owner and with the backup."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.circumstances import Goal
from avance.core.ends import SHUT_DOWN_S, Ends
from avance.core.migration import ANSWER_S, given
from avance.core.model import (
    Copy,
    DiskRole,
    DiskState,
    DiskView,
    DomainEnd,
    Outcome,
    Record,
    VmId,
    VmState,
    Wanted,
)
from avance.core.restarts import FAILURES_MAX
from avance.core.unit import VmUnit
from avance.status import document, waits
from avance.status_text import status_text
from avance.wire.frozen import freeze, thaw
from tests.playbook import DB, GENERATIONS, WEB, A, B, Playbook, acts, alerts, calm_pair, ended, in_sync, paired, spec
from tests.unit.avance.site import config
from tests.unit.avance.test_status import AROUND

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
OFF = (Wanted.SHUT_DOWN, Wanted.OFF, Wanted.OFF_BY_GUEST)
ASK, DESTROY, DEMOTE = c.ShutdownDomain(WEB), c.DestroyDomain(WEB), c.DemoteDisk(WEB)
PROMOTE, START = c.PromoteDisk(WEB), c.StartDomain(WEB)


def change(wanted: Wanted, number: int = 2) -> e.VmChanged:
    """Return that both nodes agreed on this."""
    return e.VmChanged(replace(spec(), wanted=wanted), f"hash-{number}")


def wants(book: Playbook, wanted: Wanted, number: int = 2) -> list[c.Command]:
    """Let both nodes agree on it; returns what follows from it on this one."""
    said = book.hears(change(wanted, number))
    return acts(said + book.peer_says(config_hash=f"hash-{number}"))


def stopped(*, wanted: Wanted = Wanted.OFF) -> Playbook:
    """Return an owner whose VM is off."""
    book = paired(A)
    assert wants(book, Wanted.OFF) == [DESTROY]
    book.hears(e.DomainChanged(WEB, running=False))
    book.expect(ended(DESTROY), DEMOTE)
    book.hears(e.DiskChanged(WEB, in_sync(S)))
    book.expect(ended(DEMOTE))
    if wanted is not Wanted.OFF:
        wants(book, wanted)
    assert acts(book.pass_time(1.5, peer_alive=True)) == [c.ReadGeneration(WEB)]
    book.hears(ended(c.ReadGeneration(WEB), detail=" ".join(GENERATIONS)))
    assert book.engine.units[WEB].state is VmState.STANDBY
    return book


def gone(end: DomainEnd, book: Playbook | None = None) -> tuple[Playbook, list[c.Command]]:
    """Let the guest of a running VM end; returns the owner and what it does at once."""
    book = book or paired(A)
    return book, book.hears(e.DomainChanged(WEB, running=False, ended=end)) + book.hears(e.Tick())


# ---------------------------------------------------------------- by the wish of a person


def test_a_guest_is_asked_and_has_its_time() -> None:
    """Asked once; what is left of it is destroyed, and this node is no writer; nothing has failed."""
    book = paired(A)
    assert wants(book, Wanted.SHUT_DOWN) == [ASK]
    book.expect(ended(ASK))
    assert acts(book.pass_time(20.0, peer_alive=True)) == []
    said = book.hears(e.DomainChanged(WEB, running=False, ended=DomainEnd.POWEROFF)) + book.hears(e.Tick())
    assert acts(said) == [DESTROY]
    assert alerts(said) == []
    book.expect(ended(DESTROY), DEMOTE)
    assert not book.engine.restarts.failures
    assert "web is off, as it is wanted" in book.reasons


def test_a_guest_that_does_not_shut_down_runs_on() -> None:
    """After a minute people are told, once; nothing is destroyed, and it is not asked again."""
    book = paired(A)
    wants(book, Wanted.SHUT_DOWN)
    book.hears(ended(ASK))
    said = book.pass_time(SHUT_DOWN_S - 1.0, peer_alive=True)
    assert alerts(said) == []
    said = book.pass_time(600.0, peer_alive=True)
    assert (acts(said), alerts(said)) == ([], ["runs_on"])
    assert book.engine.protected
    assert book.engine.rests(book.now), "nothing is awaited any more"
    assert wants(book, Wanted.OFF, 3) == [DESTROY]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_a_guest_that_could_not_be_asked_is_asked_again(outcome: Outcome) -> None:
    """For as long as it has to shut down; that is no failure of the VM."""
    book = paired(A)
    wants(book, Wanted.SHUT_DOWN)
    assert alerts(book.hears(ended(ASK, outcome, "no answer"))) == []
    said = book.pass_time(4.0, peer_alive=True)
    assert acts(said) == []
    assert acts(book.pass_time(2.0, peer_alive=True)) == [ASK]
    assert book.engine.units[WEB].failures == 0
    book.hears(ended(ASK))
    said = book.pass_time(2 * SHUT_DOWN_S, peer_alive=True)
    assert (acts(said), alerts(said)) == ([], ["runs_on"])


def test_a_wish_that_is_taken_back_lets_it_run() -> None:
    """Started again before its guest has shut down: nothing is done, and the story is over for people."""
    book = paired(A)
    wants(book, Wanted.SHUT_DOWN)
    book.hears(ended(ASK))
    book.pass_time(SHUT_DOWN_S + 1.0, peer_alive=True)
    assert "runs_on web" in book.engine.told
    assert wants(book, Wanted.RUNNING, 3) == []
    assert "runs_on web" not in book.engine.told
    assert acts(book.pass_time(30.0, peer_alive=True)) == []


@pytest.mark.parametrize("wanted", [Wanted.SHUT_DOWN, Wanted.OFF])
def test_a_vm_that_is_just_being_created(wanted: Wanted) -> None:
    """At once means: destroyed as soon as it is there. Otherwise its guest is asked when it runs."""
    book = stopped()
    assert wants(book, Wanted.RUNNING, 3) == [PROMOTE]
    book.hears(e.DiskChanged(WEB, in_sync(P)))
    book.expect(ended(PROMOTE), START)
    assert wants(book, wanted, 4) == []
    book.hears(e.DomainChanged(WEB, running=True))
    said = acts(book.hears(ended(START)) + book.hears(e.Tick()))
    assert said == ([DESTROY] if wanted is Wanted.OFF else [ASK])


@pytest.mark.parametrize("wanted", OFF)
def test_a_vm_that_is_off_holds_nothing_up(wanted: Wanted) -> None:
    """The pair is whole and at rest, its status says by whom it is off, and nothing waits for it."""
    book = stopped(wanted=wanted)
    assert acts(book.pass_time(60.0, peer_alive=True)) == []
    engine = book.engine
    assert engine.protected
    assert engine.rests(book.now)
    assert waits(engine, book.now) is None
    text = status_text(document(config(), engine, AROUND, book.now))
    by = "switched off by its guest" if wanted is Wanted.OFF_BY_GUEST else "stopped by a person"
    assert text.startswith("PROTECTED")
    assert f"vm web: STANDBY, {by}, disks UpToDate/UpToDate" in text


def test_a_vm_that_is_off_and_has_one_copy_is_told() -> None:
    """Its volume is worth two copies, whether it runs or not."""
    book = stopped()
    lost = DiskView(S, DiskState.UP_TO_DATE, "Connecting", DiskRole.UNKNOWN, DiskState.UNKNOWN)
    book.hears(e.DiskChanged(WEB, lost))
    assert not book.engine.protected
    assert "one_copy" in alerts(book.pass_time(90.0, peer_alive=True))


@pytest.mark.parametrize("wanted", OFF)
def test_a_backup_that_takes_over_does_not_start_it(wanted: Wanted) -> None:
    """The right is taken as ever; what is off stays off."""
    book = paired(B)
    wants(book, wanted)
    book.peer_says(vms={WEB: VmState.STANDBY})
    record = replace(book.engine.record, epoch=4, owner=B, peer_outdated=True)
    book.engine.sight.durable.record = record
    assert book.engine.around(WEB, book.now).goal in (Goal.STOP, Goal.HOLD)
    said = book.pass_time(60.0)
    assert not {type(command) for command in said} & {c.PromoteDisk, c.StartDomain}


def test_a_person_that_starts_it_lets_its_failures_be_forgotten() -> None:
    """It was left after five failures; a stop makes the pair whole, and a start is a new beginning."""
    book = paired(A, record=Record(3, A, quarantined=True))
    for _ in range(FAILURES_MAX):
        book.engine.restarts.failed(WEB, book.now)
    book.hears(e.DomainChanged(WEB, running=False))
    said = book.pass_time(30.0, peer_alive=True)
    assert "vm_left" in alerts(said)
    assert not any(isinstance(command, c.StartDomain) for command in said)
    assert wants(book, Wanted.OFF) == [DESTROY]
    book.expect(ended(DESTROY), DEMOTE)
    book.hears(e.DiskChanged(WEB, in_sync(S)))
    book.hears(ended(DEMOTE))
    assert "left web" not in book.engine.told
    assert waits(book.engine, book.now) is None
    assert wants(book, Wanted.RUNNING, 3) == [PROMOTE]


# ---------------------------------------------------------------- by the guest


def test_a_guest_that_switches_itself_off_is_agreed_on() -> None:
    """It is not started; what Xen keeps of it stays until both nodes hold that it is off. Then it is destroyed."""
    book, said = gone(DomainEnd.POWEROFF)
    assert (acts(said), alerts(said)) == ([c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=False)], ["off_by_guest"])
    assert not book.engine.restarts.failures
    assert not book.engine.protected
    why = "the guest of web has switched itself off, and both nodes have to hold that"
    assert waits(book.engine, book.now) == why
    assert wants(book, Wanted.OFF_BY_GUEST) == [DESTROY]
    book.hears(e.DomainChanged(WEB, running=False))
    book.expect(ended(DESTROY), DEMOTE)
    book.hears(e.DiskChanged(WEB, in_sync(S)))
    book.expect(ended(DEMOTE))
    book.peer_says()
    assert book.engine.protected


def test_it_is_proposed_again_until_it_counts() -> None:
    """Another change may be under way, or nobody may hear it; alone, where the peer is silent."""
    book, _ = gone(DomainEnd.POWEROFF)
    said = [one for one in book.pass_time(16.0, peer_alive=True) if isinstance(one, c.ProposeWanted)]
    assert said == [c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=False)] * 2, "the pauses grow"
    solo = replace(book.engine.record, epoch=4, peer_outdated=True)
    book.engine.sight.durable.record = solo
    later = [one for one in book.pass_time(30.0) if isinstance(one, c.ProposeWanted)]
    assert later[-1] == c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=True)
    wants(book, Wanted.OFF_BY_GUEST)
    assert not [one for one in book.pass_time(20.0, peer_alive=True) if isinstance(one, c.ProposeWanted)]


def test_a_daemon_that_starts_finds_what_its_guest_has_left() -> None:
    """Xen still says why it ended: it is not started, and it is proposed anew."""
    book = paired(A)
    unit = VmUnit(spec(), disk=book.engine.units[WEB].disk, disk_known=True, prepared=True)
    book.engine.sight.units.by_name[WEB] = unit
    assert acts(book.hears(e.Tick())) == [c.ReadDomain(WEB)]
    book.hears(e.DomainChanged(WEB, running=False, ended=DomainEnd.POWEROFF))
    book.hears(ended(c.ReadDomain(WEB)))
    said = book.pass_time(6.0, peer_alive=True)
    assert c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=False) in said
    assert unit.state is VmState.STANDBY
    assert not {type(command) for command in said} & {c.PromoteDisk, c.StartDomain, c.DestroyDomain}


@pytest.mark.parametrize(
    "event",
    [e.DomainChanged(WEB, running=False), e.DomainChanged(WEB, running=False, ended=DomainEnd.CRASH)],
    ids=["destroyed", "another"],
)
def test_it_is_off_only_for_as_long_as_xen_says_so(event: e.DomainChanged) -> None:
    """Somebody has destroyed what was left before both nodes held it: then nobody knows why it ended."""
    book, _ = gone(DomainEnd.POWEROFF)
    assert PROMOTE in book.hears(event) + book.hears(e.Tick())


def test_one_that_runs_was_started_since() -> None:
    """A node that had not heard of it has started the VM: it runs on, and that is what is proposed."""
    book = paired(A)
    said = wants(book, Wanted.OFF_BY_GUEST)
    assert said == [c.ProposeWanted(WEB, Wanted.RUNNING, alone=False)]
    assert acts(book.pass_time(3.0, peer_alive=True)) == []
    assert wants(book, Wanted.RUNNING, 3) == []
    assert acts(book.pass_time(30.0, peer_alive=True)) == []


def test_a_guest_that_restarts_itself_has_not_failed() -> None:
    """More often than failures are allowed: it is started again at once each time, and people hear of no fault."""
    book = paired(A)
    for _ in range(2 * FAILURES_MAX):
        _, said = gone(DomainEnd.REBOOT, book)
        assert acts(said) == [PROMOTE]
        assert alerts(said) == []
        book.expect(ended(PROMOTE), START)
        book.hears(e.DomainChanged(WEB, running=True))
        book.hears(ended(START))
        book.pass_time(2.0, peer_alive=True)
    assert not book.engine.restarts.failures
    assert book.engine.protected


@pytest.mark.parametrize("end", [DomainEnd.UNKNOWN, DomainEnd.CRASH])
def test_any_other_end_is_a_failure(end: DomainEnd) -> None:
    """What nobody knows the reason of counts as a crash."""
    book, said = gone(end)
    assert (acts(said), alerts(said)) == ([PROMOTE], ["vm_crashed"])
    assert book.engine.restarts.count(WEB, book.now) == 1


def test_a_backup_proposes_nothing() -> None:
    """What it finds on itself is no business of its own."""
    book = paired(B)
    book.hears(e.DomainChanged(WEB, running=False, ended=DomainEnd.POWEROFF))
    assert acts(book.pass_time(30.0, peer_alive=True)) == []
    wants(book, Wanted.SHUT_DOWN)
    said = book.pass_time(2 * SHUT_DOWN_S, peer_alive=True)
    assert (acts(said), alerts(said)) == ([], [])


# ---------------------------------------------------------------- beside other rules


def two(**peer: Any) -> Playbook:  # noqa: ANN401 - what the peer says
    """Return an owner of two VMs, of which `db` is off."""
    book = paired(A)
    book.hears(e.VmAdded(replace(spec(DB, 1), wanted=Wanted.OFF), "hash-2"))
    book.hears(e.DomainChanged(DB, running=False))
    book.hears(ended(c.ReadDomain(DB)))
    book.hears(ended(c.PrepareVolume(DB), detail=" ".join(GENERATIONS)))
    book.hears(e.DiskChanged(DB, in_sync(S)))
    book.engine.units[DB].read_for = book.engine.units[DB].disk
    both = dict.fromkeys((WEB, DB), Copy(DiskState.UP_TO_DATE, GENERATIONS))
    states = {WEB: VmState.STANDBY, DB: VmState.STANDBY}
    record = replace(book.engine.record, generations=((DB, GENERATIONS[0]), (WEB, GENERATIONS[0])))
    book.engine.sight.durable.record = record
    book.peer_says(config_hash="hash-2", copies=both, vms=states, record=replace(record, boot="b-machine-1"), **peer)
    assert book.engine.protected
    return book


def test_a_live_move_sends_only_what_runs() -> None:
    """The volume of the other one goes with the right."""
    book = two()
    assert c.AnswerOperator(1, done=True, text="move b: done") in book.hears(e.OperatorAsked("move", B, 1))
    book.hears(ended(c.SaveRecord(book.engine.record)))
    send = c.SendDomain(WEB, "a-boot-1.1")
    assert acts(book.peer_says(takes=send.move)) == [send]
    book.expect(ended(send), DEMOTE)
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(e.DiskChanged(WEB, in_sync(S)))
    book.expect(ended(DEMOTE), c.SaveRecord(given(book.engine.record, B)))


def test_a_live_move_of_nothing_gives_the_right_when_the_peer_takes_part() -> None:
    """All VMs are off: the right goes, and the peer was asked as for any other move."""
    book = stopped()
    assert c.AnswerOperator(1, done=True, text="move b: done") in book.hears(e.OperatorAsked("move", B, 1))
    book.hears(ended(c.SaveRecord(book.engine.record)))
    assert acts(book.pass_time(5.0, peer_alive=True)) == []
    said = acts(book.peer_says(takes=book.engine.migration.moves)) + acts(book.pass_time(1.0, peer_alive=True))
    assert said == [c.SaveRecord(given(book.engine.record, B))]


def test_no_guest_is_asked_to_shut_down_while_its_vm_is_about_to_move() -> None:
    """It goes as it is, and is asked where it has arrived; or here, when the move is broken off."""
    book = two()
    book.hears(e.OperatorAsked("move", B, 1))
    book.hears(ended(c.SaveRecord(book.engine.record)))
    assert book.engine.migration.moves
    assert wants(book, Wanted.SHUT_DOWN, 3) == []
    assert ASK not in book.pass_time(ANSWER_S - 2.0, peer_alive=True)
    assert ASK in book.pass_time(4.0, peer_alive=True)


def test_a_live_move_waits_for_a_vm_that_is_being_stopped() -> None:
    """Until it is off it could be neither sent nor left."""
    book = two()
    book.engine.units[DB].state = VmState.STOPPING
    answer = book.hears(e.OperatorAsked("move", B, 1))
    why = "the VMs cannot move while they run: a VM does not run, or is being stopped"
    assert c.AnswerOperator(1, done=False, text=why) in answer


@pytest.mark.parametrize("writes", [True, False])
def test_a_backup_takes_in_only_what_runs(*, writes: bool) -> None:
    """One that is to be off, and whose guest has not shut down yet, comes with the others."""
    book = paired(B)
    wants(book, Wanted.SHUT_DOWN)
    book.hears(e.DiskChanged(WEB, in_sync(S, peer_role=P if writes else S)))
    assert acts(book.peer_says(moves="a-boot-1.1")) == [c.SaveRecord(book.engine.record)]
    book.now += 0.1
    said = acts(book.hears(ended(c.SaveRecord(book.engine.record))) + book.peer_says())
    assert said == ([c.ReceiveDomain(WEB, "a-boot-1.1")] if writes else [])
    assert book.engine.view(book.now).takes == "a-boot-1.1"


@pytest.mark.parametrize("state", [VmState.RECEIVING, VmState.RECEIVED])
@pytest.mark.parametrize("wanted", list(Wanted))
def test_what_arrives_is_let_in_first(wanted: Wanted, state: VmState) -> None:
    """A domain that was moved goes on, and then it is decided what becomes of it."""
    unit = VmUnit(replace(spec(), wanted=wanted), state=state)
    assert Ends(1.0).goal(Goal.RUN, unit) is Goal.RUN


@pytest.mark.parametrize("pair", [Goal.STOP, Goal.HOLD])
@pytest.mark.parametrize("wanted", list(Wanted))
def test_the_pair_comes_first(wanted: Wanted, pair: Goal) -> None:
    """Where the VMs of this node must stop, or be left alone, what is wanted of one of them changes nothing."""
    unit = VmUnit(replace(spec(), wanted=wanted), state=VmState.RUNNING)
    assert Ends(1.0).goal(pair, unit) is pair


def test_failures_of_one_vm_move_it_although_another_one_is_off() -> None:
    """All VMs that are to run have failed here: that is what counts."""
    book = two()
    for _ in range(FAILURES_MAX):
        book.engine.restarts.failed(WEB, book.now)
    book.hears(e.DomainChanged(WEB, running=False))
    said = book.pass_time(12.0, peer_alive=True)
    assert "hands_over" in alerts(said)


def test_the_right_does_not_go_where_the_copy_of_one_that_is_off_is_not_good() -> None:
    """It goes for all VMs: a copy that is not equal would be left behind."""
    book = two()
    bad = replace(in_sync(S), peer_disk=DiskState.INCONSISTENT, replication="SyncSource")
    book.hears(e.DiskChanged(DB, bad))
    for _ in range(FAILURES_MAX):
        book.engine.restarts.failed(WEB, book.now)
    book.hears(e.DomainChanged(WEB, running=False))
    assert "hands_over" not in alerts(book.pass_time(12.0, peer_alive=True))


def test_what_failed_there_before_it_was_stopped_is_no_reason_against_a_move() -> None:
    """Only VMs that are to run have to be able to run on the peer."""
    book = two(left=(DB,))
    assert c.AnswerOperator(1, done=True, text="move b: done") in book.hears(e.OperatorAsked("move", B, 1))


def test_tools_that_hang_are_no_reason_to_hand_over_for_a_vm_that_is_off() -> None:
    """Nobody needs them."""
    book = stopped()
    unit = book.engine.units[WEB]
    unit.hung_by, unit.hung_from_s = "ReadDomain", book.now
    assert "hands_over" not in alerts(book.pass_time(60.0, peer_alive=True))


def test_a_removed_vm_is_forgotten() -> None:
    """A later one of that name begins anew."""
    book, _ = gone(DomainEnd.POWEROFF)
    book.hears(e.VmRemoved(WEB, "hash-2"))
    assert book.engine.sight.units.ends == Ends(1.0)


def test_what_is_known_of_ends_can_be_written_down() -> None:
    """A journal that begins in the middle can be replayed."""
    book, _ = gone(DomainEnd.POWEROFF)
    other = paired(A)
    wants(other, Wanted.SHUT_DOWN)
    for engine in (book.engine, other.engine):
        assert thaw(freeze(engine.sight.units.ends)) == engine.sight.units.ends


def test_a_calm_pair_does_not_know_ends() -> None:
    """While all VMs run nothing of this costs a turn."""
    assert calm_pair().engine.sight.units.ends == Ends(1.0)


def test_names_of_other_vms_mean_nothing() -> None:
    """A definition of a VM that is not here any more changes nothing."""
    book = paired(A)
    book.hears(e.VmChanged(replace(spec(VmId("gone"), 3), wanted=Wanted.OFF), "hash-2"))
    assert tuple(book.engine.units) == (WEB,)

"""One VM: what it needs next, never more than one command at a time, and when it counts as a writer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core.circumstances import Circumstances, Goal
from avance.core.model import DiskRole, DiskState, DiskView, Outcome, PairState, VmState
from avance.core.unit import VmUnit
from tests.playbook import WEB, in_sync, peer_gone, spec

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
RUN = Circumstances(
    Goal.RUN, PairState.PAIRED, both_fresh=False, i_am_owner=True, retry_s=2.0, solo=False, consenting=False,
    replicate=True, cut=False, keep=0, discard=False,
    leaving=False, behind=False, peer_good=True, accepted=True, peer_read=True,
    target=False,
)  # fmt: skip
ALONE = replace(RUN, pair=PairState.ALONE, solo=True)
BACKUP = replace(RUN, goal=Goal.STOP, i_am_owner=False)
STOP = replace(RUN, goal=Goal.STOP, i_am_owner=False)
HOLD = replace(RUN, goal=Goal.HOLD, pair=PairState.WAITING)


def unit(state: VmState, disk: DiskView | None) -> VmUnit:
    """Return a VM whose volume is prepared and whose disk is known."""
    return VmUnit(spec(), state=state, disk=disk, disk_known=True, prepared=True)


def test_look_comes_before_everything_on_the_domain() -> None:
    """A VM of which nothing is known is looked at first."""
    assert unit(VmState.CHECKING, in_sync(S)).next_command(RUN, 0.0) == c.ReadDomain(WEB)


@pytest.mark.parametrize("disk", [state for state in DiskState if state is not DiskState.UP_TO_DATE])
def test_only_an_up_to_date_disk_is_promoted(disk: DiskState) -> None:
    """A wanted VM waits until its copy is UpToDate; a Consistent one needs the lone right (docs/safety.md, S8)."""
    for view in (replace(in_sync(S), disk=disk), peer_gone(S, disk=disk)):
        assert not isinstance(unit(VmState.STANDBY, view).next_command(RUN, 0.0), c.PromoteDisk)
        promoted = isinstance(unit(VmState.STANDBY, view).next_command(ALONE, 0.0), c.PromoteDisk)
        assert promoted is (disk is DiskState.CONSISTENT)


def test_pair_promotes_only_one_of_two_good_copies() -> None:
    """Without the lone right a copy is promoted only while the peer's is as good and connected."""
    assert unit(VmState.STANDBY, in_sync(S)).next_command(RUN, 0.0) == c.PromoteDisk(WEB)
    for view in (peer_gone(S), replace(in_sync(S), peer_disk=DiskState.INCONSISTENT)):
        assert unit(VmState.STANDBY, view).next_command(RUN, 0.0) is None
        assert unit(VmState.STANDBY, view).next_command(ALONE, 0.0) == c.PromoteDisk(WEB)


@pytest.mark.parametrize("around", [RUN, ALONE])
def test_copy_that_is_behind_is_never_promoted(around: Circumstances) -> None:
    """However good it looks to DRBD, and whatever right the node has."""
    view = in_sync(S) if around is RUN else peer_gone(S)
    assert isinstance(unit(VmState.STANDBY, view).next_command(around, 0.0), c.PromoteDisk)
    behind = unit(VmState.STANDBY, view).next_command(replace(around, behind=True), 0.0)
    assert not isinstance(behind, c.PromoteDisk)


def test_copy_of_an_unknown_generation_is_read_before_it_is_promoted() -> None:
    """A disk that this daemon found attached may be an old one: nobody serves it before its generation is known."""
    found = unit(VmState.STANDBY, peer_gone(S))
    assert found.next_command(replace(ALONE, unread=True), 10.0) == c.ReadGeneration(WEB)
    assert found.command_done("ReadGeneration", Outcome.FAILED, replace(ALONE, unread=True), 10.1) is None
    assert found.next_command(replace(ALONE, unread=True), 10.2) is None
    assert found.next_command(ALONE, 10.3) == c.PromoteDisk(WEB)


def test_backup_that_is_asked_for_consent_reads_what_it_holds() -> None:
    """After the connection, once, before anything else; what it read while it was connected does not count."""
    asked = replace(BACKUP, asked=True)
    backup = unit(VmState.STANDBY, in_sync(S))
    backup.read_for = backup.disk
    assert backup.next_command(asked, 10.0) is None
    backup.disk = DiskView(S, DiskState.UP_TO_DATE)
    backup.changed_at, backup.read_for = 10.0, None
    assert backup.next_command(asked, 10.0) == c.ReadGeneration(WEB)
    known = [backup.read_apart]
    assert backup.command_done("ReadGeneration", Outcome.OK, asked, 10.3) is None
    known.append(backup.read_apart)
    backup.disk = in_sync(S)
    backup.connected()
    assert [*known, backup.read_apart] == [False, True, False]


def test_guest_stays_with_the_only_good_copy() -> None:
    """A lone owner without a disk does not leave the connection because its heartbeats do not arrive."""
    cut = replace(RUN, solo=True, cut=True)
    assert unit(VmState.RUNNING, in_sync(P)).next_command(cut, 0.0) == c.DisconnectDisk(WEB)
    guest = unit(VmState.RUNNING, replace(in_sync(P), disk=DiskState.DISKLESS))
    assert guest.next_command(cut, 0.0) is None


def test_guest_is_known_until_it_has_a_disk_again() -> None:
    """It stays a guest when the connection ends, because nothing is acknowledged without any copy."""
    lost = replace(in_sync(P), disk=DiskState.DISKLESS)
    steps = (
        (lost, True),
        (replace(peer_gone(P), disk=DiskState.DISKLESS), True),
        (replace(lost, peer_disk=DiskState.INCONSISTENT), False),
        (lost, True),
        (in_sync(P), False),
    )
    guest = unit(VmState.RUNNING, None)
    for view, known in steps:
        guest.disk = view
        guest.connected()
        assert guest.guest is known, view


def test_nothing_is_promoted_while_the_peer_writes() -> None:
    """A VM that is wanted waits until the peer is not the writer any more."""
    assert unit(VmState.STANDBY, in_sync(S, peer_role=P)).next_command(RUN, 0.0) is None


def test_hold_starts_and_stops_nothing() -> None:
    """While the pair is undecided, a running VM runs on and a standing one stays."""
    assert unit(VmState.RUNNING, peer_gone(P)).next_command(HOLD, 0.0) is None
    assert unit(VmState.STANDBY, peer_gone(S)).next_command(HOLD, 0.0) is None


def test_lost_right_during_promotion_is_undone() -> None:
    """A promotion that ends when the right is gone is taken back, and no domain is started."""
    promoting = unit(VmState.PROMOTING, peer_gone(S))
    promoting.busy = "PromoteDisk"
    assert promoting.command_done("PromoteDisk", Outcome.OK, HOLD, 0.0) == c.DemoteDisk(WEB)


def test_frozen_disk_is_resumed_only_with_the_lone_right() -> None:
    """I/O goes on only on the writer that holds the durable lone right, and only while DRBD is not connected."""
    frozen = peer_gone(P, suspended=True)
    assert unit(VmState.RUNNING, frozen).next_command(ALONE, 0.0) == c.ResumeDisk(WEB)
    assert unit(VmState.RUNNING, frozen).next_command(HOLD, 0.0) is None
    assert unit(VmState.RUNNING, frozen).next_command(RUN, 0.0) is None
    connected = replace(in_sync(P), suspended=True)
    assert unit(VmState.RUNNING, connected).next_command(ALONE, 0.0) is None
    assert unit(VmState.STANDBY, peer_gone(S, suspended=True)).next_command(replace(ALONE, goal=Goal.HOLD), 0.0) is None


# ---------------------------------------------------------------- letting go of the replication


def test_consenting_backup_disconnects_and_marks_its_copy_when_that_is_durable() -> None:
    """A backup that is asked for consent leaves the connection; its copy is marked when its record says the same."""
    asked = replace(BACKUP, consenting=True)
    assert unit(VmState.STANDBY, in_sync(S)).next_command(asked, 0.0) == c.DisconnectDisk(WEB)
    left = DiskView(S, DiskState.UP_TO_DATE)
    assert unit(VmState.STANDBY, left).next_command(asked, 0.0) is None
    given = replace(BACKUP, outdated=True, replicate=False)
    assert unit(VmState.STANDBY, left).next_command(given, 0.0) == c.OutdateDisk(WEB)
    assert unit(VmState.STANDBY, DiskView(S, DiskState.OUTDATED)).next_command(given, 0.0) is None
    split = replace(given, pair=PairState.SPLIT)
    assert unit(VmState.STANDBY, left).next_command(split, 0.0) is None, "a version that may be chosen is left alone"


def test_owner_that_cannot_record_marks_its_copies_on_their_own_disks() -> None:
    """It leaves the connection and marks what is there; a disk that is away cannot be marked."""
    marking = replace(STOP, i_am_owner=True, pair=PairState.PAIRED, marking=True)
    assert unit(VmState.STANDBY, in_sync(S)).next_command(marking, 0.0) == c.DisconnectDisk(WEB)
    assert unit(VmState.STANDBY, DiskView(S, DiskState.CONSISTENT)).next_command(marking, 0.0) == c.OutdateDisk(WEB)
    assert unit(VmState.STANDBY, DiskView(S, DiskState.OUTDATED)).next_command(marking, 0.0) is None


def test_what_hangs_is_known_to_be_stuck_only_where_the_vm_did_not_run() -> None:
    """Every command ends unknown: a VM that was not there cannot be started; one that may run is left alone."""
    for looked, state, stuck in ((True, VmState.STANDBY, True), (False, VmState.CHECKING, False)):
        one = unit(state, None)
        one.looked = looked
        one.busy = "PrepareVolume"
        one.command_done("PrepareVolume", Outcome.UNKNOWN, BACKUP, 20.0)
        assert not one.is_stuck(25.0, 10.0)
        assert one.is_stuck(30.0, 10.0) is stuck
        one.busy = "PrepareVolume"
        one.command_done("PrepareVolume", Outcome.FAILED, BACKUP, 31.0)
        assert not one.is_stuck(60.0, 10.0), "an answer is an answer"


def test_one_tool_that_works_does_not_hide_another_one_that_hangs() -> None:
    """`xl` hangs and `drbdadm` works: only an answer of the same command, or a VM that starts, ends it."""
    one = unit(VmState.STANDBY, None)
    for done, outcome in (("PrepareVolume", Outcome.UNKNOWN), ("ConnectDisk", Outcome.OK)):
        one.busy = done
        one.command_done(done, outcome, BACKUP, 20.0)
    one.looked = True
    assert one.is_stuck(30.0, 10.0)
    one.domain_running = True
    assert not one.is_stuck(30.0, 10.0), "it runs"
    one.domain_paused = True
    assert one.is_stuck(30.0, 10.0), "a domain that never ran does not serve"


@pytest.mark.parametrize("done", ["StartDomain", "PromoteDisk"])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_what_was_seen_before_a_start_that_failed_counts_no_more(done: str, outcome: Outcome) -> None:
    """A start or a promotion that did not end well may have been done all the same: it is looked at anew (S2)."""
    one = unit(VmState.STARTING if done == "StartDomain" else VmState.PROMOTING, in_sync(P))
    one.looked, one.busy = True, done
    one.command_done(done, outcome, ALONE, 5.0)
    assert one.looked is (outcome is Outcome.OK)


def test_backup_that_lost_the_owner_leaves_the_replication() -> None:
    """DRBD may meet the peer again only after the daemons agree (docs/safety.md, S29): a waiting backup disconnects."""
    waiting = replace(HOLD, i_am_owner=False)
    assert unit(VmState.STANDBY, peer_gone(S)).next_command(waiting, 0.0) == c.DisconnectDisk(WEB)
    assert unit(VmState.RUNNING, peer_gone(P)).next_command(HOLD, 0.0) is None, "a waiting owner freezes instead"


def test_split_node_leaves_the_replication_once_nobody_writes() -> None:
    """After a split nothing is connected any more, so that no version can be overwritten."""
    split = replace(STOP, pair=PairState.SPLIT)
    assert unit(VmState.STANDBY, peer_gone(S)).next_command(split, 0.0) == c.DisconnectDisk(WEB)
    assert unit(VmState.RUNNING, peer_gone(P)).next_command(split, 0.0) == c.DestroyDomain(WEB)


def test_version_that_is_given_up_is_kept_first() -> None:
    """A copy of the losing version is made once, disconnected and by nobody written, before anything else."""
    split = replace(STOP, pair=PairState.SPLIT, keep=4)
    one = unit(VmState.STANDBY, DiskView(S, DiskState.UP_TO_DATE))
    assert one.next_command(split, 0.0) == c.KeepCopy(WEB, 4)
    one.command_done("KeepCopy", Outcome.OK, split, 1.0)
    assert one.kept
    assert one.next_command(split, 5.0) is None
    failed = unit(VmState.STANDBY, DiskView(S, DiskState.UP_TO_DATE))
    failed.next_command(split, 0.0)
    failed.command_done("KeepCopy", Outcome.UNKNOWN, split, 1.0)
    assert not failed.kept


@pytest.mark.parametrize("discard", [False, True])
def test_disk_connects_only_in_a_pair_that_may_replicate(discard: bool) -> None:
    """A disk connects in a pair whose private link carries, and says whether its version was given up."""
    alone_disk = DiskView(S, DiskState.OUTDATED)
    around = replace(BACKUP, discard=discard)
    assert unit(VmState.STANDBY, alone_disk).next_command(around, 0.0) == c.ConnectDisk(WEB, discard=discard)
    silent = replace(around, pair=PairState.WAITING)
    for other in (replace(around, pair=PairState.ALONE), silent, replace(around, replicate=False)):
        command = unit(VmState.STANDBY, alone_disk).next_command(other, 0.0)
        assert not isinstance(command, c.ConnectDisk)


@pytest.mark.parametrize("state", [DiskState.DISKLESS, DiskState.FAILED])
def test_backup_that_lost_its_disk_stays_apart(state: DiskState) -> None:
    """It has nothing to replicate to, and its next end would freeze the owner; an owner still needs the other copy."""
    gone = DiskView(S, state)
    one, owner = unit(VmState.STANDBY, gone), unit(VmState.STANDBY, gone)
    one.attach_tried = owner.attach_tried = True
    assert one.next_command(BACKUP, 0.0) is None
    assert owner.next_command(replace(BACKUP, i_am_owner=True), 0.0) == c.ConnectDisk(WEB)


def test_copies_that_drbd_calls_equal_but_knows_to_differ_are_copied_again() -> None:
    """Two UpToDate copies with a non-empty bitmap: the owner sends all, nothing is cleared (docs/safety.md, S30)."""
    differing = replace(in_sync(P), out_of_sync_kib=8)
    assert unit(VmState.RUNNING, differing).next_command(RUN, 0.0) == c.ResyncDisk(WEB)
    assert unit(VmState.STANDBY, replace(differing, role=S)).next_command(BACKUP, 0.0) is None


def test_blank_copies_are_declared_equal_only_when_both_are_fresh() -> None:
    """Two inconsistent copies are declared equal by the owner, once both nodes have zeroed them."""
    blank = DiskView(S, DiskState.INCONSISTENT, "Connected", S, DiskState.INCONSISTENT, "Established")
    fresh = replace(RUN, both_fresh=True)
    assert unit(VmState.STANDBY, blank).next_command(fresh, 0.0) == c.InitialiseDisk(WEB)
    assert unit(VmState.STANDBY, blank).next_command(RUN, 0.0) is None
    assert unit(VmState.STANDBY, blank).next_command(replace(fresh, i_am_owner=False, goal=Goal.STOP), 0.0) is None


# ---------------------------------------------------------------- one command at a time


def test_busy_vm_gets_no_command() -> None:
    """At most one command is in flight."""
    busy = unit(VmState.RUNNING, in_sync(P))
    busy.busy = "StartDomain"
    assert busy.next_command(STOP, 0.0) is None


def test_foreign_outcome_is_a_programmer_error() -> None:
    """An outcome that belongs to no command in flight stops the daemon."""
    with pytest.raises(AssertionError, match="in flight"):
        unit(VmState.RUNNING, None).command_done("StartDomain", Outcome.OK, RUN, 0.0)


def test_stop_is_retried_without_growing_pauses() -> None:
    """A VM that must stop is tried again after the plain pause, however often that failed before."""
    failing = unit(VmState.FAILED, peer_gone(P))
    failing.failures, failing.failed_at = 8, 100.0
    assert failing.next_command(RUN, 103.0) is None
    assert failing.next_command(STOP, 103.0) == c.ReadDomain(WEB)


@pytest.mark.parametrize(
    ("state", "disk", "running", "writer"),
    [
        (VmState.STANDBY, in_sync(S), False, False),
        (VmState.STANDBY, in_sync(P), False, True),
        (VmState.STANDBY, in_sync(S), True, True),
        (VmState.STANDBY, None, False, False),
        (VmState.PROMOTING, in_sync(S), False, True),
        (VmState.FAILED, in_sync(S), False, True),
        (VmState.RUNNING, None, True, True),
    ],
)
def test_what_counts_as_writer(state: VmState, disk: DiskView | None, running: bool, writer: bool) -> None:
    """Whatever may be writing is counted as writing."""
    one = unit(state, disk)
    one.domain_running = running
    assert one.may_write is writer


def test_loss_of_a_domain_is_noticed_once_and_only_when_it_ran() -> None:
    """A running VM that is gone is a crash, told once; a domain that is stopped on purpose is none."""
    running = unit(VmState.RUNNING, in_sync(P))
    assert running.domain_changed(running=False)
    assert not running.domain_changed(running=False)
    stopping = unit(VmState.STOPPING, in_sync(P))
    stopping.busy = "DestroyDomain"
    assert not stopping.domain_changed(running=False)


def test_domain_lost_behind_a_busy_disk_is_started_again() -> None:
    """A domain that vanished while a disk command was in flight is acted on when that has ended."""
    one = unit(VmState.RUNNING, in_sync(P))
    one.busy = "ResumeDisk"
    assert one.domain_changed(running=False)
    assert one.next_command(RUN, 0.0) is None
    one.command_done("ResumeDisk", Outcome.OK, RUN, 1.0)
    assert one.next_command(RUN, 1.0) == c.PromoteDisk(WEB)
    seen_again = unit(VmState.RUNNING, in_sync(P))
    seen_again.domain_changed(running=False)
    seen_again.domain_changed(running=True)
    assert seen_again.next_command(RUN, 0.0) is None


def test_nothing_is_known_before_both_looks() -> None:
    """A VM is known when its domain was looked for and DRBD has said what its disk is."""
    one = VmUnit(spec())
    assert not one.known
    one.busy = "ReadDomain"
    one.command_done("ReadDomain", Outcome.OK, HOLD, 0.0)
    assert not one.known
    one.disk_known = True
    assert one.known


def test_copy_that_was_told_to_connect_is_not_apart() -> None:
    """DRBD reports later, but may meet the peer before: a consenting backup disconnects, though it saw none."""
    apart = replace(peer_gone(S), connection="StandAlone")
    one = unit(VmState.STANDBY, apart)
    assert one.next_command(BACKUP, 0.0) == c.ConnectDisk(WEB)
    one.command_done("ConnectDisk", Outcome.OK, BACKUP, 0.1)
    assert one.next_command(replace(BACKUP, consenting=True), 0.1) == c.DisconnectDisk(WEB)


def test_report_that_came_before_the_outcome_counts() -> None:
    """DRBD said that it is connected before `connect` had ended: what it said is not replaced by an expectation."""
    one = unit(VmState.STANDBY, replace(peer_gone(S), connection="StandAlone"))
    assert one.next_command(BACKUP, 0.0) == c.ConnectDisk(WEB)
    one.disk = in_sync(S)
    one.command_done("ConnectDisk", Outcome.OK, BACKUP, 0.1)
    assert one.disk == in_sync(S)


@pytest.mark.parametrize(
    ("paused", "never_ran", "failed", "destroyed"),
    [
        (True, True, False, True),  # an earlier run of the daemon was killed while it created it
        (True, False, True, True),  # its creation ended badly here
        (True, False, False, False),  # it ran, and was paused: it may go on
        (False, False, True, False),  # it runs after all
    ],
)
def test_domain_that_never_ran_is_destroyed(*, paused: bool, never_ran: bool, failed: bool, destroyed: bool) -> None:
    """What a killed creation left is not a VM that runs, whoever created it."""
    found = VmUnit(spec(), disk=peer_gone(P), disk_known=True, prepared=True, half_made=failed)
    found.busy = "ReadDomain"
    found.domain_changed(running=True, paused=paused, never_ran=never_ran)
    wanted = found.command_done("ReadDomain", Outcome.OK, ALONE, 0.0)
    assert wanted == (c.DestroyDomain(WEB) if destroyed else None)
    assert found.state is (VmState.STOPPING if destroyed else VmState.RUNNING)


def test_copy_comes_up_until_drbd_has_said_what_the_attach_did() -> None:
    """Between the outcome and DRBD's own word nobody knows the copy; that lasts one retry time at most."""
    found = VmUnit(spec(), state=VmState.STANDBY, disk=None, disk_known=True, prepared=True)
    assert not found.comes_up(0.0, 2.0)
    assert found.next_command(ALONE, 0.0) == c.AttachDisk(WEB)
    assert found.comes_up(0.0, 2.0)
    found.command_done("AttachDisk", Outcome.OK, ALONE, 1.0)
    assert found.comes_up(2.9, 2.0)
    assert not found.comes_up(3.0, 2.0)
    found.disk = DiskView(S, DiskState.CONSISTENT)
    assert not found.comes_up(2.0, 2.0)


@pytest.mark.parametrize(
    ("view", "starts"),
    [
        (peer_gone(S), True),
        (replace(in_sync(P), disk=DiskState.DISKLESS), True),  # the site lets it serve over the link
        (replace(peer_gone(P, suspended=True), disk=DiskState.DISKLESS), False),
        (replace(in_sync(P), disk=DiskState.DISKLESS, peer_disk=DiskState.DISKLESS), False),
        (None, False),
    ],
)
def test_no_domain_is_created_without_data(view: DiskView | None, *, starts: bool) -> None:
    """A disk that is lost while DRBD is promoted leaves nothing to start from: the promotion is undone."""
    promoting = unit(VmState.PROMOTING, view)
    promoting.busy = "PromoteDisk"
    wanted = c.StartDomain(WEB) if starts else c.DemoteDisk(WEB)
    assert promoting.command_done("PromoteDisk", Outcome.OK, ALONE, 0.0) == wanted


# ---------------------------------------------------------------- I/O that never ends


def writer(view: DiskView, before: DiskView | None) -> VmUnit:
    """Return a running VM whose disk has just changed from one view to another."""
    found = unit(VmState.RUNNING, view)
    found.shaken(before, 0.0)
    return found


def count(found: VmUnit, numbers: str, *times_s: float) -> list[c.VmCommand | None]:
    """Let time pass and answer each count with these numbers."""
    asked = []
    for now in times_s:
        asked.append(found.next_command(ALONE, now))
        if isinstance(asked[-1], c.ReadInFlight):
            found.counted(*(int(number) for number in numbers.split()))
            found.command_done("ReadInFlight", Outcome.OK, ALONE, now)
    return asked


def test_requests_are_counted_a_few_times_after_the_peer_is_lost() -> None:
    """One whose requests are all worked on is left alone after three looks, and looked at again when it went on."""
    found = writer(peer_gone(P), in_sync(P))
    found.read_for = found.disk
    look = c.ReadInFlight(WEB)
    assert count(found, "4 3 1", 1.0, 2.0, 3.0, 4.0, 6.0, 8.0) == [None, look, None, look, look, None]
    assert found.stuck_looks == 0
    before, found.disk = found.disk, peer_gone(P, suspended=True)
    found.shaken(before, 9.0)
    assert count(found, "1 0 0", 11.0) == [c.ResumeDisk(WEB)], "what is frozen is not counted"


def test_request_on_which_nobody_works_is_counted_until_it_ends() -> None:
    """Looks in a row are counted, whatever lies between them; one look that says otherwise ends it."""
    found = writer(peer_gone(P), in_sync(P))
    found.read_for = found.disk
    count(found, "1 0 0", *(2.0 * n for n in range(1, 6)))
    assert found.stuck_looks == 5
    found.domain_changed(running=True, paused=True)
    assert count(found, "3 1 1", 12.0) == [None], "a VM that stands still by order is not looked at"
    found.domain_changed(running=True)
    count(found, "3 1 1", 60.0)
    assert found.stuck_looks == 6, "a long time between two looks is no proof"
    count(found, "2 1 1", 62.0)
    assert found.stuck_looks == 0


def test_connected_writer_and_one_that_is_none_are_not_counted() -> None:
    """A handshake waits for every request: where one has ended, none is lost."""
    for view, before in ((in_sync(P), peer_gone(P)), (peer_gone(S), in_sync(S)), (in_sync(P), None)):
        assert writer(view, before).shaken_at is None
    assert writer(peer_gone(P), None).shaken_at == 0.0, "a daemon that has just started cannot know what was before"


# ---------------------------------------------------------------- whom a copy must not meet


def test_lone_writer_that_lost_its_disk_connects_to_nobody() -> None:
    """Its peer's copy is outdated: DRBD would call that one UpToDate, and begin another version of the data."""
    lost = DiskView(P, DiskState.DISKLESS)
    assert unit(VmState.RUNNING, lost).next_command(replace(RUN, solo=True), 0.0) is None
    assert unit(VmState.RUNNING, lost).next_command(RUN, 0.0) == c.ConnectDisk(WEB, discard=False)


def test_outdated_copy_waits_for_an_owner_with_a_disk() -> None:
    """The same from the other side; a backup that is not outdated may carry an owner without a disk."""
    for disk, outdated, attached in itertools.product(_APART, (False, True), (False, True)):
        around = replace(BACKUP, outdated=outdated, peer_attached=attached)
        meets = isinstance(unit(VmState.STANDBY, DiskView(S, disk)).next_command(around, 0.0), c.ConnectDisk)
        assert meets is (attached or not outdated or disk is DiskState.INCONSISTENT)
    given_up = replace(BACKUP, outdated=True, peer_attached=False, discard=True)
    view = DiskView(S, DiskState.UP_TO_DATE)
    chosen = unit(VmState.STANDBY, view).next_command(given_up, 0.0)
    assert chosen == c.ConnectDisk(WEB, discard=True), "a person has chosen the other version"


_APART = (DiskState.INCONSISTENT, DiskState.OUTDATED, DiskState.CONSISTENT, DiskState.UP_TO_DATE)

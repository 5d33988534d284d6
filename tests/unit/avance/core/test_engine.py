"""One engine in conversation: what it commands, in which order, and what it must never do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import DiskRole, DiskState, DiskView, Outcome, PairState, PeerView, Record, Timers, VmId, VmState
from tests.playbook import (
    GENERATIONS,
    WEB,
    A,
    B,
    Playbook,
    acts,
    alerts,
    ended,
    guarded,
    in_sync,
    paired,
    peer_gone,
    served,
    setup,
    spec,
)

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
BLANK = DiskView(S, DiskState.INCONSISTENT)
BOTH_BLANK = DiskView(S, DiskState.INCONSISTENT, "Connected", S, DiskState.INCONSISTENT, "Established")


def state(book: Playbook) -> PairState:
    """Return the state of the pair now."""
    return book.engine.pair


def looked(book: Playbook) -> None:
    """Let a restarted node find its volume there and no domain."""
    book.hears(e.Tick())
    book.hears(e.DomainChanged(WEB, running=False))
    book.done(c.ReadDomain(WEB), c.PrepareVolume(WEB))
    book.done(c.PrepareVolume(WEB))


def told(book: Playbook) -> list[str]:
    """Return the codes of all alerts so far."""
    return [code for decision in book.said for code in alerts(decision.commands)]


def taken(book: Playbook, epoch: int = 4) -> Record:
    """Return the record with which a node takes an epoch for itself."""
    me = book.engine.setup.me
    return served(me, Record(epoch, me, peer_outdated=True))


def sees_gateway(book: Playbook) -> None:
    """End a look at the neighbours: a gateway answers, and nobody for our addresses."""
    book.hears(e.NeighboursSeen(True, ()))
    book.done(c.ProbeNeighbours())


def silent_primary(disk: DiskState = DiskState.UP_TO_DATE, **changes: object) -> Playbook:
    """Return a backup that has lost its primary 5 s ago and has left the replication."""
    book = paired(B, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes
    book.hears(e.DiskChanged(WEB, peer_gone(S, disk=disk)))
    assert acts(book.pass_time(5.0)) == [c.DisconnectDisk(WEB)]
    book.done(c.DisconnectDisk(WEB))
    book.expect(e.DiskChanged(WEB, DiskView(S, disk)))
    return book


def lost_primary() -> Playbook:
    """Return a backup that has just decided to take over; the save of epoch 4 is in flight."""
    book = silent_primary()
    assert acts(book.pass_time(11.0)) == [c.ProbeNeighbours()]
    sees_gateway(book)
    assert acts(book.pass_time(1.0)) == [c.SaveRecord(taken(book))]
    return book


def heir() -> Playbook:
    """Return a former backup that runs the VM alone in epoch 4."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress())
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    book.done(c.StartDomain(WEB))
    book.done(c.HoldAddress())
    return book


def test_fresh_volume_comes_into_service() -> None:
    """A fresh pair elects, prepares, records, attaches, connects, declares equal, promotes, starts, in this order."""
    book = guarded(Playbook(Engine(setup(A), Record())))
    book.peer_says(record=Record())
    assert book.engine.sight.durable.saving == Record(1, A)
    assert book.engine.units[WEB].busy == "ReadDomain"
    book.done(c.SaveRecord(Record()))
    in_service = replace(Record(1, A), boot="a-machine-1")
    book.peer_says(record=Record(1, A))
    assert state(book) is PairState.PAIRED
    assert book.engine.sight.durable.saving == in_service, "it notes that it is in service in this boot of its machine"
    book.done(c.SaveRecord(Record()), c.HoldAddress())
    fresh = replace(in_service, fresh=(WEB,))
    book.expect(e.DomainChanged(WEB, running=False))
    book.done(c.ReadDomain(WEB), c.PrepareVolume(WEB))
    book.done(c.PrepareVolume(WEB), c.SaveRecord(fresh), detail="fresh")
    book.done(c.SaveRecord(fresh))
    book.expect(e.DiskChanged(WEB, None), c.AttachDisk(WEB))
    book.expect(e.DiskChanged(WEB, BLANK))
    book.done(c.AttachDisk(WEB), c.ConnectDisk(WEB))
    book.done(c.ConnectDisk(WEB))
    assert acts(book.peer_says(record=replace(Record(1, A), fresh=(WEB,)))) == []
    book.expect(e.DiskChanged(WEB, BOTH_BLANK), c.InitialiseDisk(WEB))
    book.done(c.InitialiseDisk(WEB))
    book.done(c.HoldAddress())
    book.expect(e.DiskChanged(WEB, in_sync(S)), c.SaveRecord(in_service), c.PromoteDisk(WEB))
    book.done(c.SaveRecord(in_service))
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))
    book.done(c.StartDomain(WEB))
    assert "protected" not in book.milestones, "nobody knows yet that both copies are of one generation"
    assert acts(book.pass_time(1.1)) == [c.ReadGeneration(WEB)]
    book.done(c.ReadGeneration(WEB), c.SaveRecord(served(A, Record(1, A))), detail=" ".join(GENERATIONS))
    assert book.engine.protected
    assert book.milestones[-4:] == ["disk_promoted", "vm_start_commanded", "vm_running", "protected"]


def test_blank_copies_of_unknown_origin_are_never_declared_equal() -> None:
    """Two inconsistent copies that are not both recorded as fresh need an operator."""
    book = Playbook(Engine(setup(A), served(A, Record(1, A, fresh=(WEB,)))))
    book.peer_says(record=Record(1, A))
    book.done(c.ReadDomain(WEB), c.PrepareVolume(WEB))
    book.done(c.PrepareVolume(WEB))
    commands = book.hears(e.DiskChanged(WEB, BOTH_BLANK))
    assert not any(isinstance(command, c.InitialiseDisk) for command in commands)
    assert alerts(commands) == ["no_good_copy"]


def test_takeover_waits_exactly_as_long_as_designed() -> None:
    """Nothing is saved until peer_lost + takeover_wait after the last receipt; then the record, and only the record."""
    book = silent_primary()
    assert acts(book.pass_time(9.4)) == []
    assert acts(book.pass_time(0.2)) == [c.ProbeNeighbours()]
    sees_gateway(book)
    assert acts(book.pass_time(2.3)) == []
    assert state(book) is PairState.WAITING
    assert acts(book.pass_time(0.2)) == [c.SaveRecord(taken(book))]


def test_any_receipt_moves_the_takeover() -> None:
    """One late word of the peer, even without an echo, starts the wait anew."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    book.pass_time(4.9)
    book.hears(e.HeartbeatSeen(book.engine.setup.links[0], book.peer, None))
    assert acts(book.pass_time(4.9)) == []
    assert acts(book.pass_time(0.2)) == [c.DisconnectDisk(WEB)]
    assert acts(book.pass_time(9.2)) == []
    assert acts(book.pass_time(0.2)) == [c.ProbeNeighbours()]


def test_nothing_follows_before_the_record_is_durable() -> None:
    """While the save is in flight, neither disk nor domain nor address is touched, and DRBD gets no answer."""
    book = lost_primary()
    assert acts(book.hears(e.FencePeerAsked(WEB, 7))) == []
    assert acts(book.pass_time(30.0)) == []
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress(), c.AnswerFencePeer(7, 5))


def test_promotion_comes_before_the_domain() -> None:
    """The domain is created only after the promotion ended OK."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress())
    assert acts(book.pass_time(10.0)) == []
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_failed_save_gives_no_right(outcome: Outcome) -> None:
    """A save that is not known to be durable changes nothing; it is tried again while the peer stays silent."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), outcome=outcome, detail="disk hangs")
    assert book.engine.pair is PairState.WAITING
    assert acts(book.pass_time(1.9)) == []
    assert acts(book.pass_time(0.3)) == [c.SaveRecord(taken(book))]


def test_old_record_is_written_again_when_the_peer_is_back() -> None:
    """After a save of unknown outcome and the peer's return, the valid record is made durable before anything else."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), outcome=Outcome.UNKNOWN)
    book.pass_time(2.1)
    book.done(c.SaveRecord(Record()), outcome=Outcome.UNKNOWN)
    commands = acts(book.pass_time(2.2, peer_alive=True))
    assert commands == [c.SaveRecord(served(B, Record(3, A)))]
    assert state(book) is PairState.WAITING
    book.hears(ended(c.SaveRecord(Record())))
    assert state(book) is PairState.PAIRED


def test_own_standstill_is_no_right() -> None:
    """A backup that stood still for a minute hears its living peer before it decides anything."""
    book = paired(B)
    book.now += 60.0
    book.expect(e.Tick())
    assert acts(book.peer_says()) == []
    assert book.engine.pair is PairState.PAIRED


def test_owner_that_stood_still_takes_no_epoch() -> None:
    """An old primary that stood still meets the new epoch before it can take the same one for itself."""
    book = paired(A)
    book.now += 60.0
    commands = acts(book.hears(e.Tick()))
    assert c.PauseVms() in commands
    assert not any(isinstance(command, c.SaveRecord) for command in commands)
    commands = acts(book.peer_says(record=Record(4, B, peer_outdated=True), pair=PairState.ALONE))
    assert state(book) is PairState.FENCED
    assert any(isinstance(command, c.ResetNode) for command in commands) or "resets itself" in book.reasons


def test_loss_of_the_backup_leaves_the_vm_alone() -> None:
    """The owner looks at its gateway, saves its lone right, answers DRBD with 5, and never stops the VM."""
    book = paired(A)
    book.expect(e.DiskChanged(WEB, peer_gone(P, suspended=True)), c.SaveRecord(book.engine.record))
    book.done(c.SaveRecord(book.engine.record))
    assert acts(book.hears(e.FencePeerAsked(WEB, 1))) == []
    assert acts(book.pass_time(4.9)) == []
    assert acts(book.pass_time(0.2)) == [c.ProbeNeighbours()]
    book.expect(e.NeighboursSeen(True, ()), c.SaveRecord(taken(book)))
    book.done(c.ProbeNeighbours())
    book.done(c.SaveRecord(Record()), c.ResumeDisk(WEB), c.AnswerFencePeer(1, 5))
    assert book.engine.units[WEB].state is VmState.RUNNING
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    book.done(c.ResumeDisk(WEB))
    assert acts(book.pass_time(60.0)) == [c.ReadGeneration(WEB)], "whoever goes on alone begins a generation"
    newer = replace(book.engine.record, generations=((WEB, "1e30"),))
    look = c.ReadInFlight(WEB)
    book.done(c.ReadGeneration(WEB), c.SaveRecord(newer), look, detail="1E31 1A2C 1C2E 0")
    book.done(look, detail="1 1 0")
    book.done(c.SaveRecord(newer))
    for _ in range(2):
        assert acts(book.pass_time(2.1)) == [look], "DRBD may have lost a request of the VM"
        book.done(look, detail="0 0 0")
    assert acts(book.pass_time(60.0)) == []


def test_copy_of_the_returned_peer_is_good_only_when_in_sync() -> None:
    """`peer outdated` is cleared only with both copies UpToDate in the state PAIRED."""
    book = heir()
    known = Record(4, B, peer_outdated=True)
    book.peer_says(record=known, pair=PairState.STARTING, boot="a-boot-2", machine="a-machine-2")
    assert state(book) is PairState.PAIRED
    book.peer_says()
    syncing = DiskView(P, DiskState.UP_TO_DATE, "Connected", S, DiskState.INCONSISTENT, "SyncSource")
    book.expect(e.DiskChanged(WEB, syncing))
    assert "protected" not in book.milestones
    in_service = served(B, Record(4, B))
    book.expect(e.DiskChanged(WEB, in_sync(P)), c.SaveRecord(in_service))
    book.done(c.SaveRecord(in_service))
    book.peer_says(record=Record(4, B), pair=PairState.PAIRED)
    assert book.engine.protected
    assert book.milestones[-3:] == ["peer_returned", "resync_started", "protected"]


def test_running_old_primary_is_fenced_by_a_higher_epoch() -> None:
    """A node that may write and meets a newer record resets itself, and meanwhile stops what it can in order."""
    book = paired(A)
    commands = book.peer_says(record=Record(4, B, peer_outdated=True), pair=PairState.ALONE)
    assert state(book) is PairState.FENCED
    stops = [c.PauseVms(), c.DestroyDomain(WEB), c.ReleaseAddress()]
    assert acts(commands) == [*stops, c.ResetNode("this node is fenced")]
    assert "fenced" in alerts(commands)
    book.done(c.DestroyDomain(WEB), c.DemoteDisk(WEB))
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    book.done(c.DemoteDisk(WEB))
    later = acts(book.pass_time(60.0, peer_alive=True))
    assert {c.ResetNode("this node is fenced")} <= {*later} <= {c.ResetNode("this node is fenced"), c.PauseVms()}
    assert book.engine.record == served(A, Record(3, A))


def test_higher_epoch_is_believed_without_an_echo() -> None:
    """The word of a newer owner counts even over a link that works in one direction only."""
    book = paired(A)
    newer = PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.ALONE, Record(4, B, peer_outdated=True))
    book.pass_time(3.5)
    commands = acts(book.hears(e.HeartbeatSeen(book.engine.setup.links[0], newer, None)))
    assert c.DestroyDomain(WEB) in commands


def test_same_epoch_with_two_owners_stops_both() -> None:
    """Two claims of one epoch are a split: this node stops its VM, whoever is right, and makes that durable."""
    book = paired(A)
    commands = acts(book.peer_says(record=Record(3, B)))
    assert state(book) is PairState.SPLIT
    split = served(A, Record(3, A, split=True))
    assert commands == [c.SaveRecord(split), c.PauseVms(), c.DestroyDomain(WEB), c.ReleaseAddress()]
    assert "split" in alerts(book.hears(ended(c.SaveRecord(split))))
    assert not any(isinstance(command, c.ResetNode) for command in book.pass_time(4.0, peer_alive=True))


def test_fenced_node_denies_drbd() -> None:
    """A fenced node answers fence-peer with a code that leaves I/O frozen."""
    book = paired(A)
    book.peer_says(record=Record(4, B, peer_outdated=True), pair=PairState.ALONE)
    assert c.AnswerFencePeer(3, 1) in book.hears(e.FencePeerAsked(WEB, 3))


@pytest.mark.parametrize("disk", [DiskState.INCONSISTENT, DiskState.OUTDATED, DiskState.CONSISTENT])
def test_bad_copy_refuses(disk: DiskState) -> None:
    """A backup whose copy is not UpToDate never takes over, and says so once."""
    book = silent_primary(disk)
    assert acts(book.pass_time(120.0)) == []
    assert told(book).count("takeover_refused") == 1


def test_recorded_outdated_copy_refuses() -> None:
    """A backup that the owner recorded as outdated never takes over, whatever its disk says of itself."""
    book = paired(B)
    book.peer_says(record=Record(4, A, peer_outdated=True), pair=PairState.ALONE)
    book.hears(ended(c.SaveRecord(Record())))
    assert book.engine.record == served(B, Record(4, A, peer_outdated=True))
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.OUTDATED)))
    assert not any(isinstance(command, c.SaveRecord | c.PromoteDisk) for command in book.pass_time(120.0))


def test_policy_safety_never_takes_over() -> None:
    """Under policy `safety` a silent peer is reported and nothing else happens."""
    book = silent_primary(policy="safety")
    assert acts(book.pass_time(120.0)) == []
    assert told(book).count("takeover_refused") == 1


@pytest.mark.parametrize("difference", [{"config_hash": "other"}, {"dilation": 2.0}])
def test_different_nodes_are_never_paired(difference: dict[str, object]) -> None:
    """Nodes with another configuration or dilation hear each other, report it once, and start nothing."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    commands: list[c.Command] = []
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    book.hears(ended(c.ReadDomain(WEB)))
    book.hears(ended(c.PrepareVolume(WEB)))
    book.peer = replace(book.peer, **difference)  # type: ignore[arg-type]  # single fields
    book.peer_says()
    for _ in range(100):
        book.now += 0.5
        commands += book.peer_says()
    assert book.engine.pair is PairState.WAITING, "a lone start, and this owner has no lone right"
    assert acts(commands) == []
    assert [alert for decision in book.said for alert in alerts(decision.commands)].count("pair_mismatch") == 1


def test_node_that_boots_alone_starts_nothing() -> None:
    """An owner that was not the last in service waits for its peer without limit, and says so once."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    looked(book)
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.UP_TO_DATE)))
    commands = book.pass_time(300.0)
    assert acts(commands) == []
    assert alerts(commands).count("waits_for_peer") == 1


def test_starting_node_does_not_pair_with_one_that_may_be_taking_over() -> None:
    """A peer in WAITING may be saving the next epoch just now, so a restarted primary waits for its word."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    book.peer_says(pair=PairState.WAITING, boot="b-boot-1")
    assert state(book) is PairState.STARTING
    book.peer_says(pair=PairState.PAIRED)
    assert state(book) is PairState.PAIRED


def test_disk_is_connected_only_after_agreement() -> None:
    """A returned node attaches, adopts the newer epoch, and connects when both say the same (docs/safety.md, S29)."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    looked(book)
    book.expect(e.DiskChanged(WEB, None), c.AttachDisk(WEB))
    book.expect(e.DiskChanged(WEB, DiskView(S, DiskState.CONSISTENT)))
    book.done(c.AttachDisk(WEB))
    newer = Record(4, B, peer_outdated=True)
    assert acts(book.peer_says(record=newer, pair=PairState.ALONE)) == [c.SaveRecord(newer)]
    in_service = replace(newer, boot="a-machine-1")
    book.done(c.SaveRecord(newer), c.SaveRecord(in_service), c.ConnectDisk(WEB), c.ReleaseAddress())


@pytest.mark.parametrize("exists", [True, False])
def test_unknown_start_is_looked_at(exists: bool) -> None:
    """A StartDomain of unknown outcome is followed by a look, and only then by what is needed."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress())
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    book.done(c.StartDomain(WEB), outcome=Outcome.UNKNOWN)
    assert book.engine.units[WEB].state is VmState.FAILED
    assert acts(book.pass_time(2.1)) == [c.ReadDomain(WEB)]
    book.hears(e.DomainChanged(WEB, running=exists))
    book.done(c.ReadDomain(WEB), c.ReadGeneration(WEB) if exists else c.PromoteDisk(WEB))
    assert book.engine.units[WEB].state is (VmState.RUNNING if exists else VmState.PROMOTING)


def test_crashed_vm_is_restarted() -> None:
    """A domain that vanished on the primary is started again, and reported."""
    book = paired(A)
    commands = book.hears(e.DomainChanged(WEB, running=False))
    assert acts(commands) == [c.PromoteDisk(WEB)]
    assert alerts(commands) == ["vm_crashed"]
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))


def test_vm_that_always_fails_is_tried_ever_more_rarely() -> None:
    """A VM that cannot start is retried with growing pauses and reported once, not for ever."""
    book = paired(A)
    commands = book.hears(e.DomainChanged(WEB, running=False))
    starts = 0
    for _ in range(1200):
        for command in acts(commands):
            if isinstance(command, c.StartDomain):
                starts += 1
                commands = book.hears(ended(c.StartDomain(WEB), Outcome.FAILED, "no memory"))
            else:
                commands = book.hears(ended(command))
            break
        else:
            commands = book.pass_time(0.1, peer_alive=True)
    sent = told(book)
    assert 4 <= starts <= 8
    assert sent.count("command_failed") == 1


def test_stream_reset_forgets_the_disks() -> None:
    """After a break of DRBD's event stream nothing is done on what it said before."""
    book = paired(B)
    book.hears(e.DiskStreamReset())
    assert book.engine.units[WEB].disk is None
    assert not book.engine.protected
    assert not any(isinstance(command, c.SaveRecord | c.AttachDisk) for command in book.pass_time(60.0))


def test_done_disk_command_is_not_repeated_before_drbd_reports() -> None:
    """The outcome may overtake DRBD's report: the same command is not given twice for that."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    looked(book)
    book.expect(e.DiskChanged(WEB, None), c.AttachDisk(WEB))
    book.done(c.AttachDisk(WEB))
    assert acts(book.pass_time(1.9)) == []
    book.expect(e.DiskChanged(WEB, DiskView(S, DiskState.CONSISTENT)))


def test_failed_address_is_not_tried_in_a_hot_loop() -> None:
    """An address that cannot be brought up is tried again after a pause."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress())
    book.done(c.HoldAddress(), outcome=Outcome.FAILED, detail="no device")
    assert acts(book.pass_time(1.9)) == []
    assert acts(book.pass_time(0.2)) == [c.HoldAddress()]


def test_backup_takes_down_an_address_of_unknown_state() -> None:
    """A daemon that restarted as backup does not trust that the service address is down."""
    book = Playbook(Engine(setup(B), Record(3, A)))
    book.peer_says(record=Record(3, A))
    assert book.engine.address.busy
    book.done(c.ReleaseAddress())
    assert acts(book.pass_time(5.0, peer_alive=True)) == []


def test_added_vm_is_prepared() -> None:
    """A VM that an operator adds is taken through its life without touching the others."""
    book = paired(A)
    db = VmId("db")
    commands = acts(book.hears(e.VmAdded(spec(db, 1), "hash-2")))
    assert commands == [c.ReadDomain(db)]
    book.expect(e.DomainChanged(db, running=False))
    book.done(c.ReadDomain(db), c.PrepareVolume(db))
    assert book.engine.units[WEB].state is VmState.RUNNING
    assert not book.engine.protected


def test_at_most_one_command_per_vm() -> None:
    """While a command is in flight for a VM, no other is given for it, whatever happens."""
    book = lost_primary()
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress())
    for event in (e.DomainChanged(WEB, running=False), e.DiskChanged(WEB, peer_gone(P, suspended=True)), e.Tick()):
        assert acts(book.hears(event)) == []


def test_same_events_give_the_same_decisions() -> None:
    """The engine is deterministic: a story told twice is decided twice in the same way."""
    assert [d for d in heir().said] == [d for d in heir().said]  # noqa: C416 - two separate runs


def test_unsafe_timers_stop_the_engine() -> None:
    """An engine is never built on unsafe timers, however they came in."""
    with pytest.raises(AssertionError, match="shorter"):
        Engine(setup(A, timers=Timers(takeover_wait_s=1.0)), Record())

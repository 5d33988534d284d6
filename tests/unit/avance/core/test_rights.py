"""The right to go on without the peer: consent asked and given, evidence fetched in time, and what stops a node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import arbiters
from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import Copy, DiskRole, DiskState, DiskView, Outcome, PairState, Record, Timers
from avance.core.takeover import Power
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
    paired,
    peer_gone,
    served,
    setup,
)
from tests.unit.avance.core.letting_go import CONSENT, cut_off, names, releasing

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
W1 = arbiters.witness("w1")


def test_frozen_writer_asks_for_the_next_epoch_at_once() -> None:
    """While DRBD waits with frozen I/O the wish stands in the owner's next heartbeat, which leaves at once.

    Before that the record was written once more: a consent that could not be made durable here would help nobody.
    """
    book = paired(A)
    book.expect(e.DiskChanged(WEB, peer_gone(P, suspended=True)), c.SaveRecord(book.engine.record))
    assert book.engine.right.wants == 0
    decision = book.engine.handle(ended(c.SaveRecord(book.engine.record)), book.now)
    assert [one.view.wants for one in decision.commands if isinstance(one, c.SendHeartbeat)] == [4]


def test_passing_state_of_a_disk_needs_no_consent() -> None:
    """Without a question of DRBD the owner asks when the loss has lasted for two heartbeats, and not before."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P)))
    assert "SaveRecord" not in names(book.pass_time(0.9, peer_alive=True))
    assert "SaveRecord" in names(book.pass_time(0.2, peer_alive=True))
    book.hears(ended(c.SaveRecord(book.engine.record)))
    assert book.engine.right.wants == 4


def test_consent_gives_the_lone_right() -> None:
    """The backup's record is the consent: the owner makes the same durable, then resumes I/O and tells DRBD 4."""
    book = cut_off()
    book.hears(e.FencePeerAsked(WEB, 9))
    mine = served(A, CONSENT)
    assert acts(book.peer_says(links=(BIZ,), record=CONSENT)) == [c.SaveRecord(mine)]
    book.done(c.SaveRecord(mine), c.ResumeDisk(WEB), c.AnswerFencePeer(9, 4))
    assert book.engine.sight.solo
    assert book.engine.right.wants == 0
    assert book.engine.pair is PairState.PAIRED


def test_without_consent_the_owner_looks_further() -> None:
    """A peer that lives but does not consent in time leaves the other means; the policy is none of them."""
    book = cut_off()
    assert not any(isinstance(one, c.ProbeNeighbours) for one in book.pass_time(5.0, links=(BIZ,)))
    assert book.engine.sight.durable.saving is None
    assert "the peer lives, does not consent" in book.reasons


def test_witness_replaces_a_missing_consent() -> None:
    """When the living peer does not consent, the witness in office is asked."""
    book = paired(A, record=Record(3, A, arbiters=(W1,)), witnesses=("w1",))
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    book.hears(ended(c.SaveRecord(book.engine.record)))
    asked = [one for one in book.pass_time(3.0, links=(BIZ,)) if isinstance(one, c.AskWitness)]
    assert [(one.witness, one.epoch) for one in asked] == [("w1", 4)]
    commands = book.hears(ended(asked[0], Outcome.OK, "granted 4 a"))
    assert names(commands) == ["SaveRecord"]


def test_returned_replication_needs_no_consent() -> None:
    """The wish ends when the volumes are replicated again."""
    book = cut_off()
    for view, wants in ((None, 4), (in_sync(P), 0)):
        book.pass_time(1.2, links=(BIZ,))
        if view is not None:
            book.hears(e.DiskChanged(WEB, view))
        assert book.engine.right.wants == wants


def test_unsaved_consent_is_none() -> None:
    """A consent that is not known to be durable neither shows in a heartbeat nor lets the backup restart."""
    book = releasing()
    book.hears(ended(c.SaveRecord(Record()), Outcome.UNKNOWN))
    assert book.engine.record.epoch == 3
    assert book.engine.view(book.now).record.epoch == 3
    assert "ResetNode" not in names(book.pass_time(1.0, links=(BIZ,)))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_owner_that_cannot_write_its_record_asks_for_nothing(outcome: Outcome) -> None:
    """It could not keep the right, and the backup would let go of its copy for nothing."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    for _ in range(3):
        book.hears(ended(c.SaveRecord(book.engine.record), outcome, "EIO"))
        book.pass_time(2.1, peer_alive=True)
        assert book.engine.right.wants == 0


def _mute(outcome: Outcome = Outcome.UNKNOWN) -> Playbook:
    """Return a backup that could not make its consent durable for a second."""
    book = releasing()
    book.hears(ended(c.SaveRecord(Record()), outcome, "EIO"))
    book.pass_time(1.2, links=(BIZ,))
    return book


def test_backup_leaves_the_epoch_by_a_word() -> None:
    """Its heartbeat says so, its copy stays as it is, and it looks for no right any more, whatever comes."""
    book = _mute(Outcome.FAILED)
    assert book.engine.view(book.now).leaves == 4
    assert "OutdateDisk" not in names(book.pass_time(3.0, links=(BIZ,)))
    book.hears(ended(c.SaveRecord(Record()), Outcome.FAILED, "read-only"))
    for _ in range(30):
        commands = names(book.pass_time(2.0))
        assert "PromoteDisk" not in commands
        if "SaveRecord" in commands:
            book.hears(ended(c.SaveRecord(Record()), Outcome.FAILED, "read-only"))
    assert book.engine.pair is PairState.WAITING
    assert book.engine.right.granted is None
    assert "epoch 4 was left to node a" in "; ".join(book.engine.right.refused)


@pytest.mark.parametrize("other", [{"power": True}, {"arbiters": True}])
def test_word_is_given_only_where_no_other_way_to_a_right_is(other: dict[str, object]) -> None:
    """A later run, which knows nothing of the word, could ask the witness or the BMC."""
    book = releasing()
    if "arbiters" in other:
        book.engine.sight.durable.record = replace(book.engine.record, arbiters=(W1,))
    else:
        book.engine.sight.setup = replace(book.engine.setup, power=True)
    book.hears(ended(c.SaveRecord(Record()), Outcome.UNKNOWN, "EIO"))
    book.pass_time(5.0, links=(BIZ,))
    assert book.engine.view(book.now).leaves == 0


def test_word_ends_when_the_owner_does_not_need_it() -> None:
    """Only an answer to the word ends it: what the owner said before it heard the word proves nothing."""
    book = _mute()
    early = book.now - 5.0
    book.hears(e.HeartbeatSeen(BIZ, replace(book.peer, wants=0), early))
    assert book.engine.view(book.now).leaves == 4
    book.hears(e.HeartbeatSeen(BIZ, replace(book.peer, wants=0), book.now))
    assert book.engine.view(book.now).leaves == 0


def test_owner_goes_on_by_the_word_of_its_backup() -> None:
    """A word that answers the question counts as the consent; an older one does not."""
    book = cut_off()
    book.hears(e.HeartbeatSeen(BIZ, replace(book.peer, leaves=4), book.now - 3.0))
    assert book.engine.sight.durable.saving is None
    commands = book.peer_says(links=(BIZ,), leaves=4)
    assert acts(commands) == [c.SaveRecord(served(A, CONSENT))]


def test_right_that_may_be_on_the_disk_is_not_given_up() -> None:
    """While a save of the right has not ended well, the owner goes on asking for it."""
    book = cut_off()
    book.peer_says(links=(BIZ,), record=CONSENT)
    book.hears(ended(c.SaveRecord(Record()), Outcome.UNKNOWN))
    book.hears(e.DiskChanged(WEB, in_sync(P)))
    book.pass_time(1.0, links=(BIZ,))
    assert book.engine.right.wants == 4


def test_backup_about_to_take_over_does_not_consent() -> None:
    """Once a right to the next epoch is given to the backup, it gives none away."""
    book = paired(B)
    book.pass_time(6.0)
    book.hears(e.OperatorAsked("override", A, 1))
    assert book.engine.right.granted is not None
    book.hears(ended(c.SaveRecord(Record()), Outcome.FAILED))
    assert "OutdateDisk" not in names(book.peer_says(wants=4))


def test_backup_asks_three_seconds_after_the_owner_would() -> None:
    """The owner asks its witness when the peer is lost, the backup 3 s later (docs/safety.md, S17)."""
    record = Record(3, A, arbiters=(W1,))
    for me, after_s in ((A, 5.0), (B, 8.0)):
        book = paired(me, record=record, witnesses=("w1",))
        assert "AskWitness" not in names(book.pass_time(after_s - 0.2))
        assert "AskWitness" in names(book.pass_time(0.4))


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED])
def test_node_that_cannot_write_its_record_asks_no_witness(outcome: Outcome) -> None:
    """A grant that it could not keep would only be missing to its peer; it asks as soon as a save works again."""
    book = paired(B, record=Record(3, A, arbiters=(W1,)), witnesses=("w1",))
    proof = c.SaveRecord(book.engine.record)
    while proof not in book.hears(e.Tick()):
        book.now += 0.1
    assert "AskWitness" not in names(book.hears(ended(proof, outcome, "read-only")))
    assert "the record of this node can still be written" in book.engine.right.refused[0]
    while proof not in book.hears(e.Tick()):
        book.now += 0.1
    assert "AskWitness" in names(book.hears(ended(proof)))


def test_granted_backup_still_waits_for_the_old_primary() -> None:
    """A witness's grant is the right, not the end of the old primary: without a fence it waits until 17 s."""
    book = paired(B, record=Record(3, A, arbiters=(W1,)), witnesses=("w1",))
    lost = book.now
    commands = book.pass_time(8.2)
    asked = next(one for one in commands if isinstance(one, c.AskWitness))
    book.hears(ended(asked, Outcome.OK, "granted 4 b"))
    assert "SaveRecord" not in names(book.pass_time(lost + 16.9 - book.now))
    assert "SaveRecord" in names(book.pass_time(0.3))


def test_refused_backup_stays_where_it_is() -> None:
    """A witness that has granted the epoch to the other node ends the matter."""
    book = paired(B, record=Record(3, A, arbiters=(W1,)), witnesses=("w1",))
    asked = next(one for one in book.pass_time(8.2) if isinstance(one, c.AskWitness))
    commands = book.hears(ended(asked, Outcome.OK, "refused 4 a")) + book.pass_time(60.0)
    assert "SaveRecord" not in names(commands)
    assert "takeover_refused" in alerts(commands)


def test_power_that_reads_off_in_time_needs_no_wait() -> None:
    """The backup reads the peer's power from the second silent second on; off in time means take over at 5 s."""
    book = paired(B, power=True)
    assert "ReadPeerPower" not in names(book.pass_time(1.9))
    assert "ReadPeerPower" in names(book.pass_time(0.2))
    book.hears(ended(c.ReadPeerPower(), Outcome.OK, "off"))
    assert book.engine.right.arbitration.power is Power.OFF_EARLY
    assert "SaveRecord" not in names(book.pass_time(2.8))
    assert "SaveRecord" in names(book.pass_time(0.3))


def test_backup_cuts_the_power_after_its_delay() -> None:
    """Without arbiters the backup switches the silent peer off at 8 s, and takes over when it reads off."""
    book = paired(B, power=True)
    assert "CutPeerPower" not in names(book.pass_time(7.9))
    assert "CutPeerPower" in names(book.pass_time(0.3))
    commands = book.hears(ended(c.CutPeerPower(), Outcome.OK, "off"))
    assert names(commands) == ["SaveRecord"]


def test_peer_is_switched_on_again_when_the_vms_run() -> None:
    """The order to its BMC takes a second of the processor that promotes the disk and starts the VM: it comes after."""
    book = paired(B, power=True)
    book.hears(e.DiskChanged(WEB, peer_gone(DiskRole.SECONDARY)))
    book.pass_time(5.0)
    book.hears(ended(c.DisconnectDisk(WEB)))
    book.hears(e.DiskChanged(WEB, DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)))
    book.pass_time(3.2)
    book.hears(ended(c.CutPeerPower(), Outcome.OK, "off"))
    steps = (c.SaveRecord(Record()), c.PromoteDisk(WEB), c.StartDomain(WEB))
    assert ["RestorePeerPower" in names(book.hears(ended(step))) for step in steps] == [False, False, True]


def test_evidence_of_one_loss_does_not_serve_the_next() -> None:
    """A peer that comes back ends the question: all is asked anew after the next loss."""
    book = paired(B, record=Record(3, A, arbiters=(W1,)), witnesses=("w1",))
    asked = next(one for one in book.pass_time(8.2) if isinstance(one, c.AskWitness))
    book.hears(ended(asked, Outcome.OK, "granted 4 b"))
    book.pass_time(1.0, peer_alive=True)
    assert book.engine.pair is PairState.PAIRED
    again = next(one for one in book.pass_time(8.2) if isinstance(one, c.AskWitness))
    assert again.nonce != asked.nonce
    assert "SaveRecord" not in names(book.pass_time(20.0))


def booted(record: Record, **changes: object) -> Playbook:
    """Return a node whose machine has just started, with a copy that is Consistent; nobody answers."""
    book = Playbook(Engine(setup(A, **changes), record))
    book.hears(e.Tick())
    book.hears(e.DomainChanged(WEB, running=False))
    book.done(c.ReadDomain(WEB), c.PrepareVolume(WEB))
    book.done(c.PrepareVolume(WEB))
    book.hears(e.DiskChanged(WEB, DiskView(S, DiskState.CONSISTENT)))
    return book


def test_last_man_standing_starts_alone() -> None:
    """A node with the durable lone right takes the next epoch 10 s after its start, and starts its VMs."""
    book = booted(Record(4, A, peer_outdated=True))
    assert acts(book.pass_time(9.9)) == []
    assert acts(book.pass_time(0.3)) == [c.SaveRecord(Record(5, A, peer_outdated=True, boot="a-machine-1"))]
    book.hears(e.FencePeerAsked(WEB, 2))
    book.done(c.SaveRecord(Record()), c.PromoteDisk(WEB), c.HoldAddress(), c.AnswerFencePeer(2, 4))


@pytest.mark.parametrize("record", [Record(4, A), Record(4, B), Record(4, B, peer_outdated=True)])
def test_anybody_else_waits_without_limit(record: Record) -> None:
    """An owner without the lone right, and a backup, wait for their peer, fence nobody and say so once."""
    book = booted(record, power=True)
    commands = book.pass_time(60.0) + book.pass_time(540.0, tick_s=1.0)
    assert not {"SaveRecord", "CutPeerPower", "PromoteDisk"} & set(names(commands))
    assert alerts(commands).count("waits_for_peer") == 1


@pytest.mark.parametrize(("policy", "starts"), [("availability", True), ("safety", False)])
def test_silent_witness_at_a_lone_boot_is_the_policys_choice(policy: str, starts: bool) -> None:
    """The last man standing whose witness is silent starts under `availability`, and waits under `safety`."""
    book = booted(Record(4, A, peer_outdated=True, arbiters=(W1,)), witnesses=("w1",), policy=policy)
    book.pass_time(10.2)
    commands: list[c.Command] = []
    for _ in range(3):
        commands += book.hears(ended(c.AskWitness("w1", 4, "n"), Outcome.UNKNOWN, "no answer"))
    assert ("SaveRecord" in names(commands)) is starts


def test_witness_in_office_lets_the_owner_start_alone() -> None:
    """An owner without the lone right starts when the witness in office grants the next epoch."""
    book = booted(Record(4, A, arbiters=(W1,)), witnesses=("w1",))
    asked = next(one for one in book.pass_time(10.2) if isinstance(one, c.AskWitness))
    assert asked.epoch == 5
    assert "SaveRecord" in names(book.hears(ended(asked, Outcome.OK, "granted 5 a")))


def test_owner_without_a_right_pauses_then_resets() -> None:
    """The lease ends 6 s after the last echoed heartbeat: the VMs stand still; at 8 s the node resets itself."""
    book = paired(A, policy="safety")
    assert {"PauseVms", "ResetNode"}.isdisjoint(names(book.pass_time(5.9)))
    assert "PauseVms" in names(book.pass_time(0.2))
    book.done(c.PauseVms())
    assert "ResetNode" not in names(book.pass_time(1.8))
    commands = book.pass_time(0.2)
    assert "ResetNode" in names(commands)
    assert "resets_itself" in alerts(commands)


def test_watchdog_starves_with_the_lease() -> None:
    """The watchdog is fed once a second while the lease is fresh: what is left of it is kept for an unnoticed pause."""
    book = paired(A, policy="safety", watchdog=True)
    start = book.now
    fed: list[float] = []
    while book.now < start + 20.0:
        if any(isinstance(one, c.FeedWatchdog) for one in book.pass_time(0.1)):
            fed.append(book.now - start)
    assert 2 <= len(fed) <= 3
    assert fed[-1] < Timers().link_down_s


def test_owner_that_cannot_see_a_gateway_stops() -> None:
    """By policy `availability` an owner goes on only while a gateway answers; else it is the one that is cut off."""
    book = paired(A)
    book.pass_time(5.2)
    book.hears(e.NeighboursSeen(False, ()))
    book.done(c.ProbeNeighbours())
    assert "ResetNode" in names(book.pass_time(3.0))


def looks(book: Playbook, *, gateway: bool) -> None:
    """Let a look at the neighbours end."""
    book.hears(e.NeighboursSeen(gateway, ()))
    book.done(c.ProbeNeighbours())


def test_backup_sees_in_time_that_it_is_the_one_that_is_cut_off() -> None:
    """Its first look comes before the owner can go on alone; a silent gateway is a no until the peer is heard again."""
    book = paired(B, gateway=True)
    assert "ProbeNeighbours" not in names(book.pass_time(2.4))
    assert "ProbeNeighbours" in names(book.pass_time(0.2))
    looks(book, gateway=False)
    commands = names(book.pass_time(60.0))
    assert not {"ProbeNeighbours", "SaveRecord"} & {*commands}
    book.pass_time(1.0, peer_alive=True)
    assert book.engine.pair is PairState.PAIRED
    assert "ProbeNeighbours" in names(book.pass_time(4.0))
    looks(book, gateway=True)
    assert "ProbeNeighbours" in names(book.pass_time(11.0))
    looks(book, gateway=True)
    assert "SaveRecord" in names(book.pass_time(5.0))


@pytest.mark.parametrize("other", [{"policy": "safety"}, {"gateway": False}, {"me": A}])
def test_nobody_else_looks_so_early(other: dict[str, object]) -> None:
    """Only a backup that could act by policy asks the gateways before the peer is lost."""
    book = paired(**{"me": B, "gateway": True, **other})  # type: ignore[arg-type]  # a test names what it changes
    assert "ProbeNeighbours" not in names(book.pass_time(4.9))


def test_peer_that_was_looking_for_the_right_may_have_found_it() -> None:
    """The owner lost this backup, said so, and fell silent: nobody knows whether it went on alone before it died."""
    book = paired(B, gateway=True)
    book.peer_says(pair=PairState.WAITING)
    book.pass_time(3.1)
    looks(book, gateway=True)
    assert not {"ProbeNeighbours", "SaveRecord"} & {*names(book.pass_time(60.0))}


def test_under_policy_safety_a_searching_peer_that_is_off_found_nothing() -> None:
    """There the peer could not go on alone, so its power, cut and confirmed, is enough whatever it said last."""
    book = paired(B, power=True, policy="safety")
    book.peer_says(pair=PairState.WAITING)
    assert "CutPeerPower" in names(book.pass_time(8.2))
    assert names(book.hears(ended(c.CutPeerPower(), Outcome.OK, "off"))) == ["SaveRecord"]


def test_witnesses_are_taught_what_a_pair_agrees_on() -> None:
    """In service the witnesses are taught; `paired` is said only while nothing is being decided."""
    book = paired(A, witnesses=("w1",))
    taught = [one for one in book.pass_time(3.0, peer_alive=True) if isinstance(one, c.TeachWitness)]
    book.hears(ended(c.TeachWitness("w1", 3, A, paired=True), Outcome.OK, "taught 3 a"))
    taught += [one for one in book.pass_time(3.0, peer_alive=True) if isinstance(one, c.TeachWitness)]
    assert taught
    assert all(one == c.TeachWitness("w1", 3, A, paired=True) for one in taught)
    book.hears(ended(c.TeachWitness("w1", 3, A, paired=True), Outcome.OK, "taught 3 a"))
    assert "TeachWitness" not in names(book.pass_time(20.0)[-50:]), "a node without a right teaches nothing"


def test_power_read_of_a_peer_that_was_heard_again_is_forgotten() -> None:
    """Power that read off once, of a peer that is heard again, proves nothing about the next loss."""
    book = paired(B, power=True)
    book.pass_time(2.2)
    book.hears(ended(c.ReadPeerPower(), Outcome.OK, "off"))
    book.pass_time(600.0, peer_alive=True)
    book.hears(e.DiskChanged(WEB, peer_gone(S)))
    commands: list[c.Command] = []
    for _ in range(79):
        commands += book.pass_time(0.1)
        if "ReadPeerPower" in names(commands[-1:]):
            book.hears(ended(c.ReadPeerPower(), Outcome.OK, "on"))
    assert "SaveRecord" not in names(commands), "it took over at 5 s from a primary that may live"


def test_question_of_a_connection_that_is_back_is_forgotten() -> None:
    """DRBD that is connected again waits for nobody: an old question of it asks for no consent."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    book.hears(e.FencePeerAsked(WEB, 1))
    book.hears(e.DiskChanged(WEB, in_sync(P)))
    book.pass_time(30.0, peer_alive=True)
    assert book.engine.right.wants == 0


def test_backup_keeps_its_copy_for_itself_while_the_owner_has_none() -> None:
    """An owner that lost its disk asks for consent: the only good copy is not outdated for it."""
    book = paired(B)
    bare = {WEB: Copy(DiskState.DISKLESS, GENERATIONS)}
    commands = acts(book.peer_says(wants=4, copies=bare)) + acts(book.pass_time(20.0, peer_alive=True))
    assert not any(isinstance(one, c.DisconnectDisk | c.OutdateDisk) for one in commands)
    assert not any(isinstance(one, c.SaveRecord) and one.record.epoch > 3 for one in commands)


@pytest.mark.parametrize(
    ("read", "consents"), [(GENERATIONS, True), (("9e9e", "1a2c"), False), ((), False)], ids=["same", "newer", "never"]
)
def test_backup_whose_tools_hang_from_the_start_consents_only_to_what_was_compared(
    read: tuple[str, ...], consents: bool
) -> None:
    """Its volume was never brought up; what nobody has read there may be newer than what the owner has."""
    book = Playbook(Engine(setup(B), Record(3, A)))
    book.hears(e.Tick())
    book.hears(e.DomainChanged(WEB, running=False))
    book.done(c.ReadDomain(WEB), c.PrepareVolume(WEB))
    book.hears(ended(c.PrepareVolume(WEB), Outcome.UNKNOWN))
    book.engine.units[WEB].has_generations(read)
    book.peer_says(record=Record(3, A))
    book.hears(ended(c.SaveRecord(book.engine.record)))
    assert book.engine.units[WEB].is_down
    commands = book.peer_says(wants=4) + book.pass_time(0.9, peer_alive=True)
    assert (4 in [one.record.epoch for one in commands if isinstance(one, c.SaveRecord)]) is consents

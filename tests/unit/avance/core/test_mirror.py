"""The mirror in the pair: told at once, kept by the peer, and emptied only where the peer has every good copy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import (
    Copy,
    DiskRole,
    DiskState,
    DiskView,
    MirrorState,
    MirrorView,
    Outcome,
    PairState,
    PeerView,
    Record,
    VmState,
)
from tests.playbook import GENERATIONS, WEB, A, B, Playbook, acts, alerts, ended, in_sync, lets_save, paired, setup

WHOLE = MirrorView(MirrorState.CURRENT, 2, 2, "1 note")
HALF = MirrorView(MirrorState.CURRENT, 1, 2, "2 note", "", "/dev/vdb is out of it")
OLD = MirrorView(MirrorState.OLD, 0, 2, "2 note", "", "the current half of the mirror is absent")
DOUBT = MirrorView(MirrorState.DOUBT, 0, 2, "", "", "nothing is known of the newest half")
UNPROVEN = MirrorView(MirrorState.UNPROVEN, 1, 2, "3 note", "", "only the half on /dev/vdb is there")
BAD = Copy(DiskState.OUTDATED, GENERATIONS)
APART = DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)


def heartbeats(commands: list[c.Command]) -> list[PeerView]:
    """Return what was said to the peer."""
    return [command.view for command in commands if isinstance(command, c.SendHeartbeat)]


def starts(me: str = "b", owner: str = "a") -> Playbook:
    """Return a node that has just started, with its peer running the VM in epoch 3; it has not heard it yet."""
    mine, record = (B if me == "b" else A), Record(3, A if owner == "a" else B)
    book = Playbook(Engine(setup(mine), record))
    peer = replace(record, boot=f"{book.engine.setup.peer_id}-machine-1")
    book.peer = replace(book.peer, record=peer, vms={WEB: VmState.RUNNING})
    book.hears(e.Tick())
    book.hears(e.DomainChanged(WEB, running=False))
    book.hears(ended(c.ReadDomain(WEB)))
    return book


def without_disk(view: MirrorView, owner: str = "a") -> Playbook:
    """Return such a node when it knows that it has no half to start from."""
    book = starts(owner=owner)
    book.hears(e.MirrorChanged(view))
    book.hears(ended(c.PrepareVolume(WEB), Outcome.FAILED, "this node has no current half of its mirror"))
    return book


def test_a_lost_half_is_told_in_the_same_turn() -> None:
    """Alert and heartbeat leave with the event, while the VM and its protection are as before."""
    book = paired(B)
    book.hears(e.MirrorChanged(WHOLE))
    decision = book.engine.handle(e.MirrorChanged(HALF), book.now)
    assert alerts(list(decision.commands)) == ["mirror_degraded"]
    assert heartbeats(list(decision.commands))[0].mirror == ("2 note", "")
    assert "/dev/vdb is out of it" in decision.reasons[0]
    assert book.engine.protected


def test_a_mirror_that_is_whole_again_is_told_once() -> None:
    """Each change is told, and what was told already is not told again."""
    book = paired(B)
    told = [alerts(book.hears(e.MirrorChanged(view))) for view in (WHOLE, WHOLE, HALF, HALF, WHOLE, WHOLE)]
    assert told == [[], [], ["mirror_degraded"], [], ["mirror_whole"], []]


def test_the_last_half_that_fails_is_told_again() -> None:
    """No half at all is more than one half lost."""
    book = paired(B)
    none = replace(HALF, halves=0, detail="the last half failed, too")
    told = [alerts(book.hears(e.MirrorChanged(view))) for view in (WHOLE, HALF, none)]
    assert told == [[], ["mirror_degraded"], ["mirror_degraded"]]


def test_a_start_on_one_half_is_told() -> None:
    """Nobody has seen the loss, but the mirror is degraded all the same."""
    book = starts()
    assert alerts(book.hears(e.MirrorChanged(HALF))) == ["mirror_degraded"]


@pytest.mark.parametrize("view", [OLD, DOUBT, replace(OLD, state=MirrorState.NONE)])
def test_a_node_without_a_current_half_says_so(view: MirrorView) -> None:
    """This is no degraded mirror but a node without a copy."""
    assert alerts(starts().hears(e.MirrorChanged(view))) == ["mirror_refused"]


def test_the_peers_note_is_made_durable_once() -> None:
    """It is kept when it is new, and tried again after a failure, not before the retry time."""
    book = paired(A)
    book.hears(e.MirrorChanged(WHOLE))
    keep = c.KeepMirrorNote("7 theirs")
    assert acts(book.peer_says(mirror=("7 theirs", ""))) == [keep]
    assert acts(book.pass_time(1.0, peer_alive=True)) == []
    book.done(keep, outcome=Outcome.UNKNOWN)
    assert acts(book.pass_time(1.5, peer_alive=True)) == []
    assert acts(book.pass_time(1.0, peer_alive=True)) == [keep]
    book.hears(e.MirrorChanged(replace(WHOLE, kept="7 theirs")))
    book.done(keep)
    assert acts(book.pass_time(5.0, peer_alive=True)) == []


def test_a_node_without_a_note_takes_the_peers_memory_of_it() -> None:
    """Its system disk was replaced, or it comes from a release that kept none."""
    book = starts()
    book.hears(e.MirrorChanged(DOUBT))
    commands = acts(book.peer_says(mirror=("", "4 ours")))
    assert c.UseMirrorNote("4 ours") in commands
    assert not any(isinstance(command, c.ReuseHalves) for command in commands)


def test_a_note_of_its_own_is_not_replaced_by_the_peers_memory() -> None:
    """The peer hears of each note after it is durable here."""
    book = paired(A)
    book.hears(e.MirrorChanged(HALF))
    assert acts(book.peer_says(mirror=("", "1 note"))) == []


@pytest.mark.parametrize("view", [OLD, DOUBT])
def test_old_halves_are_emptied_when_the_paired_owner_has_every_good_copy(view: MirrorView) -> None:
    """They become a target for the peer's whole copy, and the volume is prepared again at once."""
    book = without_disk(view)
    commands = book.peer_says()
    assert book.engine.pair is PairState.PAIRED
    assert c.ReuseHalves() in acts(commands) + acts(book.pass_time(0.5, peer_alive=True))
    assert acts(book.hears(e.MirrorChanged(replace(WHOLE, halves=1)))) == [c.PrepareVolume(WEB)]
    book.done(c.ReuseHalves())


def test_old_halves_stay_as_they_are_while_the_peers_copy_is_not_good() -> None:
    """They may be the last that is left."""
    book = without_disk(OLD)
    book.peer = replace(book.peer, copies={WEB: BAD})
    commands = acts(book.pass_time(30.0, peer_alive=True))
    assert book.engine.pair is PairState.PAIRED
    assert not any(isinstance(command, c.ReuseHalves) for command in commands)


def test_an_owner_never_empties_what_it_has() -> None:
    """The epoch is its own: its peer's copy may lack writes that only these disks ever had."""
    book = without_disk(OLD, owner="b")
    commands = acts(book.pass_time(30.0, peer_alive=True))
    assert book.engine.pair is PairState.PAIRED
    assert not any(isinstance(command, c.ReuseHalves) for command in commands)


def test_nothing_is_emptied_without_the_peer() -> None:
    """Its copy may have been lost since it was heard."""
    book = without_disk(OLD)
    assert not any(isinstance(command, c.ReuseHalves) for command in acts(book.pass_time(60.0)))


def attached(
    view: MirrorView, *, good: bool = True, disk: DiskState = DiskState.UP_TO_DATE
) -> tuple[Playbook, list[c.Command]]:
    """Return a backup whose disk is attached and which meets the owner, and what it does then."""
    book = starts()
    book.peer = book.peer if good else replace(book.peer, copies={WEB: BAD})
    book.hears(e.MirrorChanged(view))
    book.hears(ended(c.PrepareVolume(WEB)))
    book.hears(e.DiskChanged(WEB, replace(APART, disk=disk)))
    return book, acts(book.pass_time(2.0, peer_alive=True))


@pytest.mark.parametrize("disk", [DiskState.UP_TO_DATE, DiskState.OUTDATED, DiskState.INCONSISTENT])
def test_a_copy_that_may_lack_writes_is_invalidated_before_it_is_connected(disk: DiskState) -> None:
    """DRBD would only fetch what it noted itself, on the half that was lost; then the doubt is over."""
    book, commands = attached(UNPROVEN, disk=disk)
    assert c.InvalidateDisk(WEB) in commands
    assert c.ConnectDisk(WEB) not in commands
    before = acts(book.hears(e.DiskChanged(WEB, replace(APART, disk=DiskState.INCONSISTENT))))
    assert not any(isinstance(command, c.TrustMirror | c.ConnectDisk) for command in before)  # not durable yet
    after = acts(book.hears(ended(c.InvalidateDisk(WEB))))
    assert c.TrustMirror() in after
    assert c.ConnectDisk(WEB) in after


@pytest.mark.parametrize("disk", [DiskState.DISKLESS, DiskState.ATTACHING])
def test_a_disk_on_its_way_up_ends_no_doubt(disk: DiskState) -> None:
    """DRBD passes through these states before it knows what it holds."""
    _, commands = attached(UNPROVEN, disk=disk)
    assert not any(isinstance(command, c.TrustMirror | c.InvalidateDisk) for command in commands)


def test_a_copy_in_doubt_is_neither_invalidated_nor_connected_beside_a_bad_one() -> None:
    """It may be the best that is left, and a connection would call the two equal."""
    _, commands = attached(UNPROVEN, good=False)
    assert not any(isinstance(command, c.InvalidateDisk | c.ConnectDisk) for command in commands)


def test_a_copy_on_a_current_half_is_connected_as_it_is() -> None:
    """A degraded mirror alone costs no full resynchronisation."""
    _, commands = attached(HALF)
    assert c.ConnectDisk(WEB) in commands
    assert c.InvalidateDisk(WEB) not in commands


def test_a_copy_in_doubt_is_not_called_good() -> None:
    """The peer must not give up its own because of it."""
    book = paired(A)
    assert book.engine.view(book.now).copies == {WEB: Copy(DiskState.UP_TO_DATE, GENERATIONS)}
    book.hears(e.MirrorChanged(UNPROVEN))
    assert book.engine.view(book.now).copies == {WEB: Copy(DiskState.UNKNOWN, GENERATIONS)}
    assert not book.engine.protected


def test_a_connected_copy_in_doubt_is_invalidated_once() -> None:
    """A new daemon finds it connected: DRBD calls it equal, and even a resynchronisation before proves nothing."""
    book = paired(B)
    book.engine.units[WEB].resynced = True
    commands = acts(book.hears(e.MirrorChanged(UNPROVEN)))
    assert c.InvalidateDisk(WEB) in commands
    syncing = replace(in_sync(DiskRole.SECONDARY), disk=DiskState.INCONSISTENT, replication="SyncTarget")
    commands = acts(book.hears(e.DiskChanged(WEB, syncing))) + acts(book.hears(ended(c.InvalidateDisk(WEB))))
    assert c.TrustMirror() in commands
    book.hears(e.MirrorChanged(HALF))
    commands = acts(book.hears(ended(c.TrustMirror())))
    commands += acts(book.hears(e.DiskChanged(WEB, in_sync(DiskRole.SECONDARY))))
    commands += acts(book.pass_time(5.0, peer_alive=True))
    assert c.InvalidateDisk(WEB) not in commands


# ---------------------------------------------------------------- the owner with a half in doubt


def boots_in_doubt(*, heard: bool) -> tuple[Playbook, list[c.Command]]:
    """Return the lone owner whose machine starts on one half in doubt, and what it commands until its disk is up."""
    record = Record(3, A, peer_outdated=not heard)
    book = Playbook(Engine(setup(A), replace(record, generations=((WEB, GENERATIONS[0]),))))
    book.peer = replace(book.peer, record=replace(record, boot="b-machine-1"))
    commands = book.hears(e.Tick()) + book.hears(e.MirrorChanged(UNPROVEN))
    commands += book.hears(e.DomainChanged(WEB, running=False)) + book.hears(ended(c.ReadDomain(WEB)))
    commands += book.hears(ended(c.PrepareVolume(WEB), detail=" ".join(GENERATIONS)))
    return book, commands + book.hears(e.DiskChanged(WEB, replace(APART, disk=DiskState.CONSISTENT)))


def test_an_owner_in_doubt_hands_over_to_the_good_copy() -> None:
    """It serves nothing itself; the peer gets the right, and then this node takes the peer's copy in full."""
    book, commands = boots_in_doubt(heard=True)
    commands += lets_save(book)
    assert not any(isinstance(command, c.PromoteDisk | c.StartDomain) for command in commands)
    assert "the copy of web here is in doubt" in book.reasons
    assert (book.engine.record.epoch, book.engine.record.owner) == (4, B)
    commands += book.peer_says(record=replace(book.engine.record, boot="b-machine-1"))
    commands += book.pass_time(3.0, peer_alive=True)
    assert [command for command in commands if isinstance(command, c.InvalidateDisk | c.ConnectDisk)] == [
        c.InvalidateDisk(WEB)
    ]


def test_an_owner_in_doubt_keeps_the_right_beside_a_bad_copy() -> None:
    """Neither copy is known to be good: nothing is served, handed over or thrown away."""
    book, commands = boots_in_doubt(heard=True)
    book.peer = replace(book.peer, copies={WEB: BAD})
    commands += lets_save(book) + book.pass_time(30.0, peer_alive=True)
    assert book.engine.is_owner
    acted = c.PromoteDisk | c.StartDomain | c.InvalidateDisk | c.ConnectDisk | c.TrustMirror
    assert not any(isinstance(command, acted) for command in commands)


def test_a_lone_owner_in_doubt_waits_until_a_person_vouches() -> None:
    """It takes no right by itself; the override ends the doubt, durably, before anything is served."""
    book, commands = boots_in_doubt(heard=False)
    commands += book.pass_time(60.0)
    assert not any(isinstance(command, c.SaveRecord | c.PromoteDisk | c.TrustMirror) for command in commands)
    commands = book.hears(e.OperatorAsked("override", B, 1))
    saved = next(command for command in commands if isinstance(command, c.SaveRecord))
    commands = acts(book.hears(ended(saved)))
    assert c.TrustMirror() in commands
    assert c.PromoteDisk(WEB) not in commands
    commands = book.hears(e.MirrorChanged(HALF))
    assert c.PromoteDisk(WEB) in acts(commands)


def test_a_lone_owner_whose_other_half_returns_starts() -> None:
    """Both halves were equal, so nothing is in doubt any more."""
    book, _ = boots_in_doubt(heard=False)
    book.pass_time(30.0)
    assert any(isinstance(command, c.SaveRecord) for command in book.hears(e.MirrorChanged(WHOLE)))


def test_a_good_copy_is_not_given_up_for_one_in_doubt() -> None:
    """The owner says that its copy is not known to be good, so this backup does not consent."""
    book = paired(B)
    doubtful = {WEB: Copy(DiskState.UNKNOWN, GENERATIONS)}
    commands = acts(book.peer_says(wants=4, copies=doubtful)) + acts(book.pass_time(20.0, peer_alive=True))
    assert not any(isinstance(command, c.DisconnectDisk | c.OutdateDisk) for command in commands)

"""What several owners together say: pauses, echoes, records in doubt and protection, told to a whole engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import LinkName, Outcome, PairState, Record
from avance.core.unit import VmUnit
from tests.playbook import (
    BIZ,
    PRIV,
    WEB,
    A,
    B,
    Playbook,
    acts,
    alerts,
    ended,
    paired,
    served,
    setup,
    spec,
)


def rtc(book: Playbook, rtc_s: float | None) -> list[c.Command]:
    """Let a tick read the hardware clock; returns all commands."""
    return book.hears(e.Tick(rtc_s))


def test_pause_voids_the_lease_and_pauses_the_vms() -> None:
    """A machine that stood still stops its VMs at once, tells of it, and lets them go on by the next new echo."""
    book = paired(A)
    rtc(book, 5000.0)
    book.now += 0.1
    commands = rtc(book, 5020.0)
    assert acts(commands) == [c.PauseVms()]
    assert "machine_paused" in alerts(commands)
    book.done(c.PauseVms())
    book.now += 0.1
    assert c.UnpauseVms() in book.peer_says()


def test_echo_of_before_the_pause_is_no_right() -> None:
    """A heartbeat that waited in the socket echoes what was sent before the pause: the VMs stand still on."""
    book = paired(A)
    sent = book.now
    rtc(book, 5000.0)
    book.now += 0.1
    rtc(book, 5020.0)
    book.done(c.PauseVms())
    assert acts(book.hears(e.HeartbeatSeen(BIZ, book.peer, sent))) == []


def test_unreadable_clock_changes_nothing() -> None:
    """A clock that could not be read is no evidence of a pause."""
    book = paired(A)
    rtc(book, 5000.0)
    book.now += 0.1
    assert acts(rtc(book, None)) == []


def test_carrier_decides_nothing() -> None:
    """A lost carrier is noted; only the echo decides about a link."""
    book = paired(A)
    assert acts(book.hears(e.LinkChanged(LinkName("priv0"), carrier=False))) == []
    assert "carrier of priv0 is down" in book.reasons


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_record_counts_only_when_durable(outcome: Outcome) -> None:
    """A save that did not succeed changes nothing that the node believes, and is told once."""
    book = paired(B)
    outdated = replace(book.peer.record, peer_outdated=True)
    wanted = served(B, Record(3, A, peer_outdated=True))
    assert c.SaveRecord(wanted) in book.peer_says(record=outdated)
    commands = book.hears(ended(c.SaveRecord(wanted), outcome, "disk hangs"))
    assert not book.engine.record.peer_outdated
    assert "store_failed" in alerts(commands)
    again = book.pass_time(2.2, peer_alive=True)
    assert any(isinstance(command, c.SaveRecord) for command in again), "it is tried again"


def test_a_write_that_may_still_come_gives_no_right() -> None:
    """The save that ends the lone right hangs, and the next try was not begun: the right is not there again."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=True)  # as after a time alone
    book.peer_says()
    dropped = served(A, Record(3, A))
    assert book.engine.sight.durable.saving == dropped, "both copies are equal"
    book.hears(ended(c.SaveRecord(dropped), Outcome.UNKNOWN, "the disk did not answer"))
    again = book.pass_time(2.2, peer_alive=True)
    kept = served(A, Record(3, A, peer_outdated=True))
    assert c.SaveRecord(kept) in again
    book.hears(ended(c.SaveRecord(kept), Outcome.UNKNOWN, "an earlier write still hangs"))
    assert not book.engine.sight.solo


def test_outcome_without_a_save_is_a_programmer_error() -> None:
    """An outcome that belongs to no save in flight stops the daemon."""
    with pytest.raises(AssertionError, match="without a save"):
        paired(A).hears(ended(c.SaveRecord(Record())))


def test_owner_of_a_newer_epoch_renews_no_lease() -> None:
    """A save hangs, so the news of a newer epoch cannot be acted on; the echo that comes with it renews nothing."""
    book = paired(A, policy="safety", watchdog=True)
    book.engine.sight.durable.saving = book.engine.record
    newer = Record(4, B, peer_outdated=True)
    for _ in range(16):
        book.now += 0.5
        commands = book.peer_says(record=newer, pair=PairState.ALONE)
    assert book.engine.pair is PairState.PAIRED, "it could not be judged"
    assert not book.engine.liveness.lease_valid(book.now)
    assert book.engine.guard._busy, "its VMs are being paused"
    assert c.FeedWatchdog() not in commands


def test_unproven_heartbeat_counts_as_a_receipt_only() -> None:
    """A heartbeat that is not believed says nothing about the peer, but it was heard, and it is echoed."""
    book = paired(B)
    before, book.now = book.engine.sight.peer, book.now + 4.0
    book.hears(e.HeartbeatUnproven(PRIV))
    assert book.engine.sight.peer == before
    assert book.engine.liveness.heard_at_s == book.now
    assert not book.engine.liveness.peer_alive(book.now)


def test_machine_that_has_just_started_runs_nothing() -> None:
    """Its tools hang, so nothing is known of its disks; but nothing was started here since."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    book.hears(e.Tick())
    book.engine.sight.durable.record = replace(book.engine.record, boot="a-machine-1")
    assert (book.engine.sight.known, book.engine.sight.sure) == (False, True)
    book.engine.units[WEB].untouched = False
    assert not book.engine.sight.sure


def test_doubt_counts_while_the_peer_is_there() -> None:
    """From the save that ended unknown, or from the moment at which the links became good, whichever is later."""
    book = paired(B)
    book.engine.sight.durable.doubt_from_s = book.now - 100.0
    book.pass_time(3.0, peer_alive=True)
    doubt_s = book.engine.sight.standing(book.now, tick=True, leaving=False).doubt_s
    assert 3.0 <= doubt_s < 5.0
    book.pass_time(5.0)
    assert book.engine.sight.standing(book.now, tick=True, leaving=False).doubt_s == 0.0


def test_volume_that_was_never_brought_up_is_down() -> None:
    """DRBD's tools hang from the start of the machine: nothing of it can be connected."""
    assert VmUnit(spec(), untouched=True).is_down
    assert not VmUnit(spec(), untouched=True, attach_tried=True).is_down
    assert not VmUnit(spec()).is_down

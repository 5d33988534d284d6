"""Health: what people are told of it, how often, and what does not count because nobody could see it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.damper import HOUR_S
from avance.core.health import HELD_S, MOVES_MAX, PING_PONGS_MAX, TOLD_S
from avance.core.migration import TRIES_MAX
from avance.core.model import Ailment, AilmentSeverity, DiskRole, DiskState, DiskView, Outcome, PairState, VmState
from tests.playbook import WEB, A, B, Playbook, alerts, ended, in_sync, lets_save, paired
from tests.unit.avance.core.test_health import (
    A_HEAT,
    BMC,
    FAN,
    FAN_SLOW,
    HOT,
    SILENCE_S,
    WARM,
    Wrong,
    goes,
    lost_network,
    moved,
    pair,
)

CRITICAL: Wrong = ("temperature", "CPU", "critical")
LOST = Ailment(AilmentSeverity.BAD, "copy_lost", WEB)


def stays(commands: list[c.Command]) -> list[str]:
    """What was told to be against a move, each time."""
    told = [one.alert for one in commands if isinstance(one, c.SendAlert) and one.alert.code == "vms_stay"]
    return [f"{one.severity}: {one.text.partition('Against a move: ')[2]}" for one in told]


# ------------------------------------------------------------ what is told is also told to be over


@pytest.mark.parametrize(
    "readings", [(WARM, CRITICAL, HOT), (HOT, CRITICAL, WARM), (FAN_SLOW, FAN), (FAN, FAN_SLOW), (WARM, HOT, CRITICAL)]
)
def test_each_thing_that_is_raised_is_cleared(readings: tuple[Wrong, ...]) -> None:
    """Also where it becomes worse or better before it is over: nothing stays open at the service centre."""
    book, open_ = pair(B), set[str]()
    said = [command for one in readings for command in goes(book, 150.0, one)] + goes(book, 300.0)
    for code in alerts(said):
        assert code not in open_, "it was told already"
        open_ ^= {code.removesuffix("_over")}
        assert len(open_) <= 1, "one sensor says one thing"
    assert open_ == set()
    assert len(alerts(said)) == 2 * len(readings)


def test_what_comes_and_goes_slowly_becomes_one_story() -> None:
    """A fan that stands still for 15 s in each 85: told some times, and then it counts as failed all the time."""
    book = pair(B)
    said = [command for _ in range(3 * 42) for command in (*goes(book, 15.0, FAN), *goes(book, 70.0))]
    assert 1 <= alerts(said).count("fan_failed") <= 8, "three hours, and 126 times"


def test_an_hour_later_it_is_over_soon_again() -> None:
    """What was long ago does not count."""
    book = pair(B)
    for _ in range(3):
        goes(book, 15.0, FAN)
        goes(book, 70.0)
    book.pass_time(HOUR_S, peer_alive=True, tick_s=2.0)
    goes(book, 15.0, FAN)
    assert "fan_failed_over" in alerts(goes(book, 70.0))


# ------------------------------------------------------------ what is against a move


def test_another_thing_against_a_move_is_told_too() -> None:
    """A fan is no reason for a restart; later the network is lost, too, and the VMs have moved too often for today."""
    book = pair()
    book.engine.migration.tries = TRIES_MAX  # no live move will do
    said = goes(book, 10.0 + HELD_S + TOLD_S + 10.0, FAN)
    assert stays(said) == ["warning: a move would restart them, and nobody misses them here."]
    moved(book, PING_PONGS_MAX)
    lost_network(book)
    said = goes(book, TOLD_S + 30.0, FAN)
    assert len(stays(said)) == 1
    assert stays(said)[0].startswith(f"critical: they have moved {PING_PONGS_MAX} times within a day")
    assert stays(goes(book, 300.0, FAN)) == []


def test_what_is_against_it_for_a_moment_is_not_told() -> None:
    """The copies are not equal, and a moment later they are: half a minute is waited for anew with each reason."""
    book = pair()
    goes(book, 35.0, FAN)
    syncing = DiskView(
        DiskRole.PRIMARY, DiskState.UP_TO_DATE, "Connected", DiskRole.SECONDARY, DiskState.INCONSISTENT, "SyncSource"
    )
    lost_network(book)
    book.hears(e.DiskChanged(WEB, syncing))
    assert stays(goes(book, 20.0, FAN)) == []


def test_it_is_told_again_the_next_time() -> None:
    """The VMs were kept, then moved, came back, and are kept again."""
    book = pair()
    moved(book, MOVES_MAX)
    lost_network(book)
    assert len(stays(goes(book, 80.0))) == 1
    book.engine.sight.durable.record = replace(book.engine.record, owner=B)
    book.peer_says(record=replace(book.peer.record, owner=B))
    goes(book, 5.0)
    book.engine.sight.durable.record = replace(book.engine.record, owner=A)
    book.peer_says(record=replace(book.peer.record, owner=A))
    book.engine.health.anew()
    moved(book, MOVES_MAX)  # the same reason as the first time
    assert len(stays(goes(book, 80.0))) == 1


# ------------------------------------------------------------ what nobody could see


def test_a_daemon_that_stood_still_has_not_seen_silence() -> None:
    """Neither is a source silent for that, nor is the time of a hold over."""
    book = pair(B)
    book.hears(e.SensorsRead(BMC, (FAN,)))
    book.pass_time(1.0, peer_alive=True)
    book.now += 3 * SILENCE_S
    seen = alerts(book.hears(e.Tick()) + book.peer_says() + book.pass_time(3.0, peer_alive=True))
    assert "daemon_lag" in seen
    assert not {"sensors_silent", "fan_failed"} & {*seen}
    assert "fan_failed" in alerts(goes(book, 12.0, FAN))


def test_a_better_peer_is_not_held_while_nobody_looks() -> None:
    """The time in which nothing was judged is none in which the peer was better."""
    book = pair()
    lost_network(book)
    book.pass_time(10.0, peer_alive=True)
    book.now += 25.0
    assert "hands_over" not in alerts(book.peer_says() + book.pass_time(3.0, peer_alive=True))


def test_a_peer_whose_daemon_has_just_started_is_not_known_to_be_well() -> None:
    """Both are overheated. A new daemon there says nothing of it for a while: no VM is restarted for that."""
    book = pair()
    book.peer_says(ailments=(A_HEAT,))
    goes(book, 20.0, HOT)
    book.peer_says(boot="b-boot-2", ailments=())
    assert "vms_move" not in alerts(goes(book, 40.0, HOT))
    book.peer_says(ailments=(A_HEAT,))
    assert "vms_move" not in alerts(goes(book, 80.0, HOT))
    book.peer_says(boot="b-boot-3", ailments=())
    assert "vms_move" in alerts(goes(book, SILENCE_S + 2.0, HOT)), "it had the time to say so"


def test_a_copy_that_is_gone_stays_lost() -> None:
    """DRBD has left the peer, or has nothing of the volume at all after a start: the node has no copy all the same."""
    book = paired(B)
    book.engine.units[WEB].attach_tried = True
    gone = replace(in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY), disk=DiskState.DISKLESS)
    book.hears(e.DiskChanged(WEB, gone))
    assert book.engine.health.ailments == (LOST,)
    book.hears(e.DiskChanged(WEB, DiskView(DiskRole.SECONDARY, DiskState.DISKLESS)))
    book.pass_time(20.0, peer_alive=True)
    assert book.engine.health.ailments == (LOST,)
    book.hears(e.DiskChanged(WEB, None))
    unit = book.engine.units[WEB]
    unit.prepared, unit.busy = False, "PrepareVolume"
    book.hears(ended(c.PrepareVolume(WEB), Outcome.FAILED, "no volume group"))
    book.pass_time(20.0, peer_alive=True)
    assert book.engine.health.ailments == (LOST,)


# ------------------------------------------------------------ how often


def test_a_move_counts_when_it_begins() -> None:
    """Whatever becomes of it: each costs clients a restart. The owner counts it once, also when it succeeds."""
    book = pair()
    book.engine.migration.tries = 1  # a live move has failed
    lost_network(book)
    book.pass_time(40.0, peer_alive=True)
    assert book.engine.handover.leaving
    assert book.engine.health._hourly.recent(book.now) == 1
    given_up(book)
    goes(book, 40.0)
    assert book.engine.handover.leaving
    assert book.engine.health._hourly.recent(book.now) == 2
    given_up(book)
    assert "hands_over" not in alerts(goes(book, 100.0)), "twice an hour is enough"


def given_up(book: Playbook) -> None:
    """The peer becomes the worse one for a moment, and the VM runs on."""
    book.peer_says(ailments=(A_HEAT,))
    assert not book.engine.handover.leaving
    unit = book.engine.units[WEB]
    unit.state, unit.busy = VmState.RUNNING, None
    book.peer_says(ailments=())


def test_other_hand_overs_count_as_well() -> None:
    """An owner that loses its disk gives its VMs away; they are not restarted for health twice more in that hour."""
    book = pair()
    gone = replace(in_sync(DiskRole.PRIMARY), disk=DiskState.DISKLESS)
    book.hears(e.DiskChanged(WEB, gone))
    lets_save(book)
    book.peer_says(offers=book.engine.handover.offers)
    assert book.engine.handover.leaving
    assert book.engine.pair is PairState.PAIRED
    assert book.engine.health._hourly.recent(book.now) == 1

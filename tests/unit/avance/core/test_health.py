"""Health: what counts and for how long, what the peer is told, and when the VMs belong to the healthier node."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.damper import HOUR_S
from avance.core.health import AILMENTS_MAX, HELD_S, MOVES_MAX, PING_PONGS_MAX, TOLD_S, in_words, score_of
from avance.core.migration import AGAIN_S, ANSWER_S, TRIES_MAX
from avance.core.model import (
    Ailment,
    AilmentSeverity,
    DiskRole,
    DiskState,
    DiskView,
    MirrorState,
    MirrorView,
    NodeId,
    PairState,
    Record,
)
from avance.wire.frozen import freeze, thaw
from tests.playbook import BIZ, PRIV, WEB, A, B, Playbook, alerts, ended, in_sync, lets_save, paired

BMC = "bmc"
SILENCE_S = 60.0  # three periods of it
Wrong = tuple[str, str, str]
FAN: Wrong = ("fan", "Fan 1", "lost")
FAN_SLOW: Wrong = ("fan", "Fan 1", "low")
SUPPLY: Wrong = ("power supply", "PSU 2", "failed")
HOT: Wrong = ("temperature", "CPU", "fatal")
WARM: Wrong = ("temperature", "CPU", "high")
CORRECTED: Wrong = ("memory", "ECC", "correctable")
NETWORK = Ailment(AilmentSeverity.DEGRADED, "network_lost", "biz0")
A_FAN = Ailment(AilmentSeverity.DEGRADED, "fan_failed", "Fan 1")
A_MIRROR = Ailment(AilmentSeverity.DEGRADED, "mirror_degraded")
A_SUPPLY = Ailment(AilmentSeverity.DEGRADED, "power_supply_failed", "PSU 1")
A_SLOW_FAN = Ailment(AilmentSeverity.POTENTIAL, "fan_slow", "Fan 2")
A_WARM = Ailment(AilmentSeverity.POTENTIAL, "too_warm", "CPU")
A_HEAT = Ailment(AilmentSeverity.BAD, "overheated", "CPU")
A_LOST_COPY = Ailment(AilmentSeverity.BAD, "copy_lost", "web")
UNKNOWN = Ailment(AilmentSeverity.DEGRADED, "of a later version")


def pair(me: NodeId = A, *, owner: NodeId = A) -> Playbook:
    """Return a node of a protected pair that is up for long; its BMC speaks, and says that all is well."""
    book = paired(me, owner=owner, sources=(BMC,))
    book.hears(e.SensorsRead(BMC))
    book.engine.health._peer_from_s -= SILENCE_S
    return book


def agrees(book: Playbook) -> list[c.Command]:
    """Let both nodes show that they can write their records, as an offer asks for."""
    assert book.engine.handover.offers == book.engine.record.epoch + 1
    book.hears(ended(c.SaveRecord(book.engine.record)))
    return book.peer_says(offers=book.engine.handover.offers)


def goes(book: Playbook, seconds: float, *wrong: Wrong) -> list[c.Command]:
    """Let time pass while the BMC says the same again and again; returns all that was commanded."""
    said: list[c.Command] = []
    while seconds > 0:
        said += book.proves(book.hears(e.SensorsRead(BMC, wrong)))
        said += book.pass_time(min(seconds, 5.0), peer_alive=True, tick_s=0.5)
        seconds -= 5.0
    return said


def lost_network(book: Playbook) -> None:
    """Unplug the public network."""
    book.hears(e.LinkChanged(BIZ, carrier=False))


# ------------------------------------------------------------ what counts


def test_a_score_counts_by_severity() -> None:
    """The worst severity stands first, so tuples compare as scores do."""
    assert score_of((A_HEAT, A_FAN, A_MIRROR, A_WARM)) == (1, 2, 1)
    assert score_of(()) == (0, 0, 0)
    assert in_words((1, 2, 0)) == "1 bad, 2 degraded"
    assert in_words((0, 0, 0)) == "nothing"


def test_it_counts_after_its_hold_and_is_told_once() -> None:
    """A fan that stands still for ten seconds; the peer hears it in the same turn."""
    book = pair()
    assert "fan_failed" not in alerts(goes(book, 9.0, FAN))
    said = goes(book, 5.0, FAN)
    assert alerts(said).count("fan_failed") == 1
    (told,) = [one for one in book.said if "fan_failed" in alerts(one.commands)]
    beats = [command.view.ailments for command in told.commands if isinstance(command, c.SendHeartbeat)]
    assert beats == [(A_FAN,)]
    assert "fan_failed" not in alerts(goes(book, 30.0, FAN))


def test_it_is_over_only_after_a_while() -> None:
    """Sixty seconds without it; a fan that starts and stops again and again is one story."""
    book = pair(B)
    goes(book, 15.0, FAN)
    for _ in range(5):
        assert alerts(goes(book, 20.0)) == []
        assert alerts(goes(book, 15.0, FAN)) == []
    assert list(book.engine.health.ailments) == [A_FAN]
    assert alerts(goes(book, 70.0)) == ["fan_failed_over"]
    assert list(book.engine.health.ailments) == []


def test_what_is_shorter_than_its_hold_never_counts() -> None:
    """A cable that was pulled and put back within two seconds."""
    book = pair()
    lost_network(book)
    book.pass_time(1.0, peer_alive=True)
    book.hears(e.LinkChanged(BIZ, carrier=True))
    assert alerts(goes(book, 70.0)) == []


def test_the_worst_reading_of_a_sensor_counts() -> None:
    """It becomes worse soon, better late, and is one ailment all the time."""
    book = pair()
    goes(book, 15.0, FAN_SLOW)
    assert book.engine.health.ailments == (Ailment(AilmentSeverity.POTENTIAL, "fan_slow", "Fan 1"),)
    goes(book, 15.0, FAN)
    assert book.engine.health.ailments == (A_FAN,)
    goes(book, 50.0, FAN_SLOW)
    assert book.engine.health.ailments == (A_FAN,)
    goes(book, 20.0, FAN_SLOW)
    assert book.engine.health.ailments == (Ailment(AilmentSeverity.POTENTIAL, "fan_slow", "Fan 1"),)


def test_a_source_that_says_nothing_is_ill_itself() -> None:
    """Three periods of 20 s; what it said last still counts, and a word of it ends that."""
    book = pair(B)
    goes(book, 15.0, FAN)
    said = book.pass_time(50.0, peer_alive=True)
    assert "sensors_silent" not in alerts(said)
    said = book.pass_time(12.0, peer_alive=True)
    assert alerts(said) == ["sensors_silent"]
    assert {one.code for one in book.engine.health.ailments} == {"fan_failed", "sensors_silent"}
    assert alerts(goes(book, 15.0, FAN)) == ["sensors_silent_over"]


def test_a_source_that_never_spoke_is_ill_too() -> None:
    """The BMC of this node is dead from the beginning; a node that has none misses nothing."""
    book = paired(A, sources=(BMC,))
    assert "sensors_silent" in alerts(book.pass_time(62.0, peer_alive=True))
    assert alerts(paired(A).pass_time(62.0, peer_alive=True)) == []


def test_unknown_words_change_nothing() -> None:
    """A sensor, a reading or a source that this version does not know."""
    book = pair()
    assert alerts(goes(book, 20.0, ("humidity", "Room", "wet"), ("fan", "Fan 1", "purple"))) == []
    book.hears(e.SensorsRead("crystal ball", (FAN,)))
    assert alerts(goes(book, 20.0)) == []


def test_the_private_link_is_nobodys_ailment() -> None:
    """It is one cable: both nodes lose it."""
    book = pair()
    book.hears(e.LinkChanged(PRIV, carrier=False))
    goes(book, 20.0)
    assert book.engine.health.ailments == ()


def test_the_peer_is_told_of_the_worst_only() -> None:
    """A datagram has an end."""
    book = pair()
    many: list[Wrong] = [("fan", f"Fan {number}", "lost") for number in range(AILMENTS_MAX + 3)]
    goes(book, 20.0, HOT, *many)
    ailments = book.engine.health.ailments
    assert len(ailments) == AILMENTS_MAX
    assert ailments[0] == A_HEAT


def test_what_is_known_of_health_can_be_written_down() -> None:
    """A journal that begins in the middle goes on with the same holds."""
    book = pair()
    goes(book, 15.0, FAN)
    lost_network(book)
    other = Playbook(thaw(freeze(book.engine)), book.now)
    assert other.engine.health == book.engine.health
    other.pass_time(5.0, peer_alive=True)
    assert NETWORK in other.engine.health.ailments


# ------------------------------------------------------------ who should have the VMs


@pytest.mark.parametrize(
    ("mine", "theirs", "moves"),
    [
        ((NETWORK,), (), True),
        ((NETWORK,), (NETWORK,), False),  # the switch is dead: nobody is better
        ((NETWORK,), (A_FAN,), False),  # as ill as this node
        ((NETWORK,), (A_FAN, A_MIRROR), False),  # C4: worse than this node
        ((NETWORK,), (A_SLOW_FAN,), True),  # one class better
        ((NETWORK,), (A_SLOW_FAN, A_WARM), True),
        ((NETWORK,), (UNKNOWN,), False),  # what is not known here counts as the peer says
        ((NETWORK,), (A_HEAT,), False),
        ((NETWORK, A_FAN), (A_FAN,), True),
        ((NETWORK, A_FAN), (A_SUPPLY, A_MIRROR), False),
        ((NETWORK, A_SLOW_FAN), (A_FAN,), True),  # equal in the worse class, better in the next
        ((A_HEAT,), (), True),
        ((A_HEAT,), (A_FAN, A_MIRROR, A_SUPPLY), True),  # a bad ailment weighs more than all degraded ones
        ((A_HEAT,), (A_HEAT,), False),
        ((A_HEAT,), (A_LOST_COPY,), False),
        ((A_FAN,), (), True),  # nobody notices a live move
        ((A_FAN,), (A_MIRROR, A_SUPPLY), False),  # P8: the backup is worse
        ((A_SUPPLY,), (), True),
        ((A_WARM,), (), True),
        ((A_MIRROR,), (), True),
        ((), (A_HEAT, A_FAN), False),  # P9: only the backup is ill
        ((), (), False),
    ],
)
def test_the_vms_move_to_a_node_in_better_health(
    mine: tuple[Ailment, ...], theirs: tuple[Ailment, ...], moves: bool
) -> None:
    """Scores are compared, the worst class first."""
    book = pair()
    book.peer_says(ailments=theirs)
    if NETWORK in mine:
        lost_network(book)
    words = {A_HEAT: HOT, A_FAN: FAN, A_SUPPLY: ("power supply", "PSU 1", "failed"), A_WARM: WARM,
             A_SLOW_FAN: ("fan", "Fan 2", "low")}  # fmt: skip
    if A_MIRROR in mine:
        _halves(book, 1)
    said = goes(book, 45.0, *(words[one] for one in mine if one in words))
    assert set(book.engine.health.ailments) == set(mine)
    assert ("vms_move" in alerts(said)) is moves, book.reasons
    assert [one for one in alerts(said) if one in ("vms_move", "hands_over")][:1] == ["vms_move"] * moves


def _halves(book: Playbook, count: int) -> None:
    book.hears(e.MirrorChanged(MirrorView(MirrorState.CURRENT, count, 2, "n", "k", "one is away")))


def test_a_fan_is_no_reason_for_a_restart() -> None:
    """The peer takes part in no live move; after three tries the VMs stay, and a person is told why."""
    book = pair()
    said = goes(book, 10.0 + HELD_S + TRIES_MAX * ANSWER_S + 3 * AGAIN_S + TOLD_S + 30.0, FAN)
    assert alerts(said).count("vms_move") == alerts(said).count("move_failed") == TRIES_MAX
    assert "hands_over" not in alerts(said)
    assert "a move would restart them, and nobody misses them here" in book.reasons


def test_a_lost_network_is_a_reason_for_a_restart() -> None:
    """Clients wait already: after one live move in vain the VMs are stopped, and started on the peer."""
    book = pair()
    lost_network(book)
    said = goes(book, 2.0 + HELD_S + ANSWER_S + 10.0)
    assert [one for one in alerts(said) if one in ("vms_move", "move_failed", "hands_over")] == [
        "vms_move", "move_failed", "hands_over",
    ]  # fmt: skip
    assert c.DestroyDomain(WEB) in said


def test_a_degraded_primary_waits_and_a_bad_one_does_not() -> None:
    """Thirty seconds after it counts; at once where the peer has no bad ailment."""
    book = pair()
    lost_network(book)
    assert "vms_move" not in alerts(book.pass_time(2.0 + HELD_S - 1.0, peer_alive=True))
    assert "vms_move" in alerts(book.pass_time(3.0, peer_alive=True))
    hot = pair()
    assert "vms_move" in alerts(goes(hot, 10.0, HOT))


def test_the_reason_is_told() -> None:
    """What is wrong here, and both scores."""
    book = pair()
    lost_network(book)
    book.pass_time(40.0, peer_alive=True)
    assert "network_lost biz0: node b is in better health (nothing there, 1 degraded here)" in book.reasons
    assert book.engine.migration.moves


def test_a_move_that_has_begun_is_finished() -> None:
    """The peer becomes as ill while the VM stops; one that becomes worse ends it, and the VM comes back."""
    book = pair()
    lost_network(book)
    goes(book, 2.0 + HELD_S + ANSWER_S + 5.0)
    assert book.engine.handover.leaving
    book.peer_says(ailments=(A_FAN,))
    book.pass_time(1.0, peer_alive=True)
    assert book.engine.handover.leaving
    book.peer_says(ailments=(A_FAN, A_SUPPLY))
    book.pass_time(1.0, peer_alive=True)
    assert not book.engine.handover.leaving


def test_the_backup_moves_nothing() -> None:
    """It only says what is wrong with it."""
    book = pair(B)
    lost_network(book)
    assert "vms_move" not in alerts(goes(book, 60.0))
    assert book.engine.health.ailments == (NETWORK,)


def test_a_silent_peer_is_no_better_one() -> None:
    """What it said last counts for nothing."""
    book = pair()
    lost_network(book)
    said = book.pass_time(4.0, peer_alive=True) + book.pass_time(60.0, peer_alive=False)
    assert "vms_move" not in alerts(said)
    assert book.engine.pair is not PairState.PAIRED


# ------------------------------------------------------------ what is against it


def _unequal(book: Playbook) -> None:
    syncing = DiskView(
        DiskRole.PRIMARY, DiskState.UP_TO_DATE, "Connected", DiskRole.SECONDARY, DiskState.INCONSISTENT, "SyncSource"
    )
    book.hears(e.DiskChanged(WEB, syncing))


def _left_there(book: Playbook) -> None:
    book.peer_says(left=(WEB,))


def _unmade_there(book: Playbook) -> None:
    book.peer_says(unmade=(WEB,))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [  # each is undone at the end
        (_unequal, "the copies are not equal"),
        (_left_there, "a VM cannot be started on node b"),
        (_unmade_there, "a VM cannot be started on node b"),
    ],
)
def test_what_is_against_a_move_is_told(spoil: object, why: str) -> None:
    """Once, a while after the move was due; when it is there no more, the VMs move."""
    assert callable(spoil)
    book = pair()
    spoil(book)
    lost_network(book)
    said = goes(book, 2.0 + HELD_S + TOLD_S + 10.0)
    assert alerts(said).count("vms_stay") == 1
    assert "vms_move" not in alerts(said)
    assert f"Against a move: {why}" in book.reasons
    said = book.hears(e.DiskChanged(WEB, in_sync(DiskRole.PRIMARY))) + book.peer_says(left=(), unmade=())
    assert "vms_move" in alerts(said + lets_save(book))


def test_a_peer_in_quarantine_gets_no_vm() -> None:
    """It has died too often."""
    book = paired(A, record=Record(3, A, quarantined=True))
    lost_network(book)
    said = book.pass_time(80.0, peer_alive=True)
    assert "vms_move" not in alerts(said)
    assert "node b is in quarantine" in book.reasons


def test_two_moves_an_hour_are_enough() -> None:
    """The third waits until the first is an hour old."""
    book = pair()
    moved(book, MOVES_MAX)
    lost_network(book)
    assert "vms_move" not in alerts(goes(book, 80.0))
    assert f"they have moved {MOVES_MAX} times within an hour" in book.reasons
    book.now += HOUR_S
    assert "vms_move" in alerts(goes(book, 40.0))


def test_after_two_ping_pongs_only_a_person_goes_on() -> None:
    """Four moves within a day: a critical alert, and `reset-device` of this node allows the next."""
    book = pair()
    moved(book, PING_PONGS_MAX)
    book.now += 2 * HOUR_S
    book.peer_says()
    lost_network(book)
    said = goes(book, 80.0)
    stays = [one.alert for one in said if isinstance(one, c.SendAlert) and one.alert.code == "vms_stay"]
    assert [one.severity for one in stays] == ["critical"]
    assert "avance reset-device a" in stays[0].text
    said = book.hears(e.OperatorAsked("reset-device", A, 1))
    assert "vms_move" in alerts(said + lets_save(book))


def moved(book: Playbook, times: int) -> None:
    """Say that the right has changed hands between these two nodes so often."""
    for _ in range(times):
        health = book.engine.health
        health._hourly, health._daily = health._hourly.counted(book.now), health._daily.counted(book.now)


def test_the_one_that_takes_counts_the_move() -> None:
    """The peer hands over; what the giver counts is tried with both nodes (tests/sim/test_rows_c.py)."""
    book = pair(B)
    book.peer_says(record=Record(4, B, boot="a-machine-1", peer_outdated=True))
    lets_save(book)
    book.pass_time(1.0, peer_alive=True)
    assert book.engine.record.owner == B
    assert book.engine.health._hourly.recent(book.now) == 1

"""Unsafe timers are refused, and the small claims of the values are true."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from avance.core.model import DiskRole, DiskState, Record, Timers
from tests.playbook import A, B, in_sync, peer_gone


def test_default_timers_are_safe() -> None:
    """The published defaults satisfy the inequality."""
    assert Timers().unsafe_reason() is None


@pytest.mark.parametrize("factor", [1.0, 1.5, 10.0, 40.0])
def test_dilation_keeps_safety(factor: float) -> None:
    """Multiplying all times by one factor keeps a safe set safe."""
    times = {field.name: getattr(Timers(), field.name) * factor for field in fields(Timers)}
    assert Timers(**times).unsafe_reason() is None


def test_inequality_is_exact() -> None:
    """The wait may be exactly as long as lease, watchdog and margin, and not a moment shorter."""
    assert Timers(takeover_wait_s=12.0).unsafe_reason() is None
    assert "shorter" in str(Timers(takeover_wait_s=11.99).unsafe_reason())
    assert "shorter" in str(Timers(watchdog_s=10.01).unsafe_reason())
    assert "shorter" in str(Timers(margin_s=1.01).unsafe_reason())


@pytest.mark.parametrize("name", [field.name for field in fields(Timers)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0, -100.0])
def test_senseless_time_is_unsafe(name: str, value: float) -> None:
    """A time that is zero, negative, endless or no number is refused, whichever it is."""
    assert replace(Timers(), **{name: value}).unsafe_reason() is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"heartbeat_s": 2.0},
        {"suspect_s": 3.0},
        {"link_down_s": 5.0},
        {"peer_lost_s": 6.0, "takeover_wait_s": 30.0},
        {"lease_s": 5.0},
        {"grant_s": 6.0},
    ],
)
def test_times_must_rise(changes: dict[str, float]) -> None:
    """Each judgement of silence comes strictly after the one before it."""
    assert "rise" in str(replace(Timers(), **changes).unsafe_reason())


def test_grant_deadline_is_not_later_than_the_watchdog() -> None:
    """A deadline that the watchdog would always beat is refused."""
    assert Timers(grant_s=16.0).unsafe_reason() is None
    assert "watchdog" in str(Timers(grant_s=16.1).unsafe_reason())


@pytest.mark.parametrize("owner", [None, A, B])
@pytest.mark.parametrize("peer_outdated", [False, True])
def test_lone_right_is_owner_and_outdated_peer(owner: str | None, peer_outdated: bool) -> None:
    """The record gives the lone right to its owner only, and only while the peer's copy is outdated."""
    record = Record(3, None if owner is None else A if owner == A else B, peer_outdated=peer_outdated)
    assert record.solo(A) is (owner == A and peer_outdated)


def test_blank_record_claims_nothing() -> None:
    """A record that was never written gives no right, names no arbiter and was in service nowhere."""
    blank = Record()
    assert (blank.epoch, blank.owner, blank.arbiters, blank.boot, blank.cure) == (0, None, (), "", 0)
    assert not blank.solo(A)


def test_in_sync_needs_everything() -> None:
    """Copies are equal only if both are good and connected, and DRBD knows of no difference (docs/safety.md, S30)."""
    good = in_sync(DiskRole.PRIMARY)
    assert good.in_sync
    assert not replace(good, connection="Connecting").in_sync
    assert not replace(good, disk=DiskState.INCONSISTENT).in_sync
    assert not replace(good, peer_disk=DiskState.OUTDATED).in_sync
    assert not replace(good, out_of_sync_kib=4).in_sync
    assert not peer_gone(DiskRole.PRIMARY).in_sync


def test_unnoticed_pause_fits_into_the_wait() -> None:
    """The longest pause that is not noticed, and the second that the hardware clock does not tell, fit exactly."""
    assert Timers(pause_s=2.0).unsafe_reason() is None
    assert "unnoticed pause" in str(Timers(pause_s=2.01).unsafe_reason())
    assert "unnoticed pause" in str(Timers(link_down_s=3.01).unsafe_reason())


def test_second_of_the_hardware_clock_is_no_pause() -> None:
    """A limit below the second that the clock counts in would take each of its steps for a pause."""
    assert Timers(pause_s=1.0).unsafe_reason() is None
    assert "hardware clock" in str(Timers(pause_s=0.99).unsafe_reason())
    assert "hardware clock" in str(Timers(pause_s=1.5, second_s=1.6).unsafe_reason())


def test_longest_hold_of_a_link_is_not_shorter_than_the_first() -> None:
    """Holds double up to the longest one."""
    assert Timers(link_hold_s=160.0).unsafe_reason() is None
    assert "link_hold" in str(Timers(link_hold_s=160.1).unsafe_reason())


@pytest.mark.parametrize("tenths", range(10, 401, 7))
def test_every_dilation_is_safe(tenths: int) -> None:
    """No dilation of the defaults is refused because of the last bit of a sum."""
    times = {field.name: getattr(Timers(), field.name) * tenths / 10 for field in fields(Timers)}
    assert Timers(**times).unsafe_reason() is None

"""Histories that a random seed found and that must hold for good; each says what went wrong in it."""

from __future__ import annotations

from tests.sim.history import run
from tests.sim.inject import Fault
from tests.sim.plan import Plan
from tests.sim.site import SimSite


def test_a_right_that_is_being_given_up_gives_nothing() -> None:
    """A daemon that was stopped reads `in sync` and `frozen` in one breath: it must not use the right that it drops."""
    faults = (
        Fault("link.hold_and_release", "b.priv0", 1.03, 5.96),
        Fault("process.stop", "a/daemon", 14.12),
        Fault("witness.down", "w2", 16.09, 3.15),
    )
    assert run(Plan(1435, SimSite(2, power=True, policy="safety"), faults, 0.57)).violation is None


def test_a_heartbeat_of_long_ago_splits_nothing() -> None:
    """Heartbeats that a switch held back tell of an epoch that was over before: that is no proof of two writers."""
    faults = (
        Fault("power.flicker", "b", 4.91, 10.0, {"times": 2, "off_s": 0.5, "on_s": 2.0}),
        Fault("link.hold_and_release", "b.biz0", 14.83, 25.68),
        Fault("power.reset", "a", 27.68),
    )
    assert run(Plan(1874, SimSite(power=True), faults, 9.1)).violation is None


def test_a_record_of_unknown_outcome_gives_no_right() -> None:
    """The save that ends the lone right ended UNKNOWN: fence-peer gets no answer until the disk is known."""
    faults = (
        Fault("commands.odd", "both", 1.14, None, {"share": 0.22}),
        Fault("process.stop_for", "b/daemon", 5.13, 4.0),
        Fault("commands.odd", "both", 14.3, 15.09, {"share": 0.23}),
    )
    assert run(Plan(4950, SimSite(), faults, 2.0)).violation is None


def test_a_consent_is_given_by_a_copy_that_stays_bad() -> None:
    """B consented as the half synchronised target, and its slow disk made that durable after the copies were equal."""
    faults = (
        Fault("disk.slow", "b", 1.0, None, {"disk": "vda", "delay_s": 1.47}),
        Fault("link.cut", "a.priv0", 1.0, 13.0, {"direction": "both"}),
        Fault("link.cut", "a.biz0", 1.0, 13.0, {"direction": "both"}),
    )
    assert run(Plan(4114, SimSite(0, policy="safety"), faults, 8.76)).violation is None


def test_a_paused_machine_without_a_daemon_writes_nothing() -> None:
    """Nobody in it could notice the pause until its daemon was there again: its VM ran beside the new one, frozen."""
    faults = (Fault("node.pause", "a", 1.0, 16.1), Fault("process.kill", "a/daemon", 1.0))
    assert run(Plan(15465, SimSite(1), faults, 0.0)).violation is None

"""Histories that a random seed found and that must hold for good; each says what went wrong in it."""

from __future__ import annotations

from tests.sim.history import run
from tests.sim.inject import Fault
from tests.sim.plan import TWO_VMS, Plan
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


def test_a_backup_that_was_cut_off_does_not_act_when_it_is_back() -> None:
    """A went on alone by policy and died as B's links came back: B's 17 s were over, its gateway answered again."""
    cut = {"direction": "both"}
    faults = (
        Fault("link.cut", "b.priv0", 13.64, 9.04, cut),
        Fault("link.cut", "b.biz0", 13.64, 9.04, cut),
        Fault("power.flicker", "a", 22.49, 0.5, {"times": 2, "off_s": 0.5, "on_s": 2.0}),
    )
    assert run(Plan(83414, SimSite(0), faults, 0.0)).violation is None


def test_a_backup_looks_in_time_which_node_is_cut_off() -> None:
    """As above, but B's links came back in the second in which it looked, and A had died just before."""
    cut = {"direction": "both"}
    faults = (
        Fault("link.cut", "b.priv0", 3.33, 5.66, cut),
        Fault("link.cut", "b.biz0", 3.33, 5.66, cut),
        Fault("power.cut", "a", 9.04, 26.25),
    )
    assert run(Plan(58874, SimSite(0), faults, 5.0)).violation is None


def test_an_address_that_cannot_be_released_is_silent() -> None:
    """A stood still without a VM, followed the new owner's record, and its order to release the address hung."""
    faults = (
        Fault("power.flicker", "a", 1.64, 10.0, {"times": 2, "off_s": 0.5, "on_s": 2.0}),
        Fault("node.pause", "a", 14.57, 22.31),
        Fault("commands.odd", "both", 17.7, 31.72, {"share": 0.09}),
    )
    assert run(Plan(39773, SimSite(2, policy="safety"), faults, 7.5)).violation is None


def test_writes_of_a_target_go_to_its_source() -> None:
    """B was promoted in the breath in which it became the target of the crashed primary: both have what it writes."""
    blocked = {"blocked_s": 2.88}
    faults = (Fault("node.kill", "a", 4.93, 14.41), Fault("process.blocked", "b/daemon", 15.33, None, blocked))
    assert run(Plan(80169, SimSite(1), faults, 7.13)).violation is None


def test_a_start_that_was_under_way_ends_after_the_thaw() -> None:
    """The domain of A comes up in its first moment after a freeze, on a disk that stands still; nothing is written."""
    faults = (
        Fault("guest.crash", "web", 3.73),
        Fault("node.freeze", "a", 4.62),
        Fault("commands.odd", "both", 5.54, 16.18, {"share": 0.09}),
    )
    assert run(Plan(84271, SimSite(1), faults, 5.32)).violation is None


def test_no_vm_starts_where_no_data_are() -> None:
    """The last disk was lost while DRBD was promoted for a VM that had crashed: there was nothing to start from."""
    faults = (
        Fault("disk.gone", "b", 7.49, None, {"back": "foreign", "press": True}, stays=True),
        Fault("guest.crash", "web", 13.99),
        Fault("disk.gone", "a", 14.03, None, {"back": "old", "press": True}),
    )
    assert run(Plan(6092, SimSite(0), faults, 10.84)).violation is None


def test_nothing_is_handed_over_while_the_own_copy_comes_up() -> None:
    """A's attach had just ended and DRBD had not said what came of it: A handed over a copy that was good."""
    faults = (
        Fault("power.cut_both", "a+b", 5.37, 6.55),
        Fault("link.cut", "a.priv0", 15.38, None, {"direction": "out"}),
        Fault("commands.odd", "both", 16.8, 37.65, {"share": 0.26}),
    )
    assert run(Plan(6148, SimSite(0, power=True), faults, 2.93)).violation is None


def test_no_disk_is_attached_while_consent_is_made_durable() -> None:
    """B consented because it had no copy, and attached its disk in the same turn: then its copy was good."""
    faults = (
        Fault("store.errors", "a", 3.85, None, {"share": 0.22}, stays=True),
        Fault("process.stop_for", "b/daemon", 13.35, 4.0),
        Fault("power.reset", "b", 22.64),
    )
    assert run(Plan(12044, SimSite(0, gateway=False, policy="safety"), faults, 3.0)).violation is None


def test_no_disk_is_attached_while_the_hand_over_is_made_durable() -> None:
    """The same for an owner: DRBD's tool hung, and A gave its VMs away in the turn in which it could attach at last."""
    faults = (
        Fault("power.cut_both", "a+b", 4.49, 1.53),
        Fault("tool.hang", "a/drbd", 6.01, 24.76),
        Fault("link.cut", "b.priv0", 9.58, None, {"direction": "both"}),
    )
    assert run(Plan(18519, SimSite(0, policy="safety"), faults, 2.17)).violation is None


def test_an_outdated_copy_believes_the_owner_that_its_copy_is_good() -> None:
    """DRBD remembers two old generations only: what B knew as the newest had fallen out, and B never connected."""
    faults = (
        Fault("node.pause", "b", 7.37, 30.81),
        Fault("tool.hang", "b/drbd", 29.24, 29.88),
        Fault("process.kill", "b/daemon", 30.72),
    )
    assert run(Plan(5251, SimSite(0, gateway=False), faults, 10.03)).violation is None


def test_a_lone_writer_that_loses_its_disk_stops_looking_for_its_peer() -> None:
    """Its kernel still looked, B's connected, and B's outdated copy became a version of its own."""
    faults = (
        Fault("process.stop", "b/daemon", 5.16, 38.24),
        Fault("commands.odd", "both", 18.48, 14.49, {"share": 0.16}),
        Fault("disk.gone", "a", 25.35, 8.1, {"back": "old", "press": False}),
    )
    assert run(Plan(4796, SimSite(0, power=True), faults, 4.49)).violation is None


def test_a_copy_of_which_the_owner_knows_nothing_newer_is_not_outdated() -> None:
    """A went on alone by its record, but its writes still reached B over the link: B's copy was the newest one."""
    faults = (
        Fault("store.errors", "a", 2.39, 3.99, {"share": 0.84}),
        Fault("process.stop", "b/daemon", 15.12),
        Fault("disk.hang", "a", 17.37, None, {"disk": "vdb", "press": False}),
    )
    assert run(Plan(24993, SimSite(2, power=True), faults, 4.63)).violation is None


def test_an_old_disk_takes_every_block_after_another_one_was_begun_to_be_filled() -> None:
    """What the other disk got was taken out of the bitmap, and then the old one came back and got only the rest."""
    faults = (
        Fault("disk.gone", "a", 1.78, 0.78, {"back": "clone", "press": True}),
        Fault("gateway.down", "gateway", 2.53, 12.73),
        Fault("disk.gone", "a", 14.58, 21.64, {"back": "foreign", "press": True}),
    )
    assert run(Plan(26515, SimSite(1, policy="safety"), faults, 9.39)).violation is None


def test_a_newer_copy_counts_before_it_is_durable() -> None:
    """A could not save that its disk was lost; it promoted the old one while the news was being written."""
    faults = (
        Fault("link.no_datagrams", "priv0", 2.62, 4.05),
        Fault("store.errors", "a", 13.03, None, {"share": 0.94}),
        Fault("disk.gone", "a", 18.57, 0.56, {"back": "clone", "press": False}),
    )
    assert run(Plan(26, SimSite(2), faults, 11.25)).violation is None


def test_a_right_that_came_too_late_goes_back_to_a_copy_that_was_outdated() -> None:
    """A's disk was dropped in the breath in which B consented; B's copy had everything, and nobody served."""
    faults = (
        Fault("tool.hang", "b/xl", 4.57, 13.55),
        Fault("disk.slow", "a", 13.08, None, {"disk": "vdb", "delay_s": 0.78}),
        Fault("link.flap", "a.priv0", 17.49, 3.6, {"down_s": 7.9, "up_s": 3.5}),
    )
    assert run(Plan(6, SimSite(2, policy="safety"), faults, 4.38)).violation is None


def test_a_backup_without_a_disk_gives_no_right_to_an_older_copy() -> None:
    """A's daemon stood still while its disk was lost; B's, lost later, had the writes, and A returned with its own."""
    faults = (
        Fault("process.stop", "a/daemon", 2.53, 33.03),
        Fault("disk.gone", "a", 4.16, 18.59, {"back": "old", "press": True}),
        Fault("disk.gone", "b", 8.53, None, {"back": "old", "press": True}),
    )
    assert run(Plan(97063, SimSite(0, policy="safety"), faults, 10.91)).violation is None


def test_a_person_may_vouch_for_a_lone_owner_in_doubt() -> None:
    """A, alone by right, and B both lack something: A refused the override, because it did not wait for its peer."""
    faults = (
        Fault("disk.slow", "a", 3.93, None, {"disk": "vda", "delay_s": 3.34}),
        Fault("link.no_streams", "priv0", 6.45),
        Fault("disk.hang", "a", 6.47, 20.0, {"disk": "vdb", "press": False}),
        Fault("link.cut", "b.priv0", 9.17, 0.5, {"direction": "both"}),
        Fault("disk.gone", "b", 9.19, 2.0, {"back": "clone", "press": True}),
    )
    assert run(Plan(260, SimSite(1, policy="safety"), faults, 3.37)).violation is None


def test_a_generation_that_nobody_reads() -> None:
    """B's daemon was started anew without a connection and never read what its disk held."""
    faults = (
        Fault("disk.hang", "b", 1.84, 35.0, {"disk": "vda", "press": False}),
        Fault("link.cut", "b.priv0", 3.91, 20.0, {"direction": "out"}),
        Fault("disk.hang", "a", 4.19, None, {"disk": "vdb", "press": True}),
        Fault("process.kill", "b/daemon", 13.47),
    )
    assert run(Plan(309, SimSite(0, gateway=False), faults, 10.82)).violation is None


def test_a_generation_that_the_owners_second_daemon_never_reads() -> None:
    """A's third daemon found its disk attached without a connection; nobody knew what it held."""
    faults = (
        Fault("process.kill", "a/daemon", 3.43),
        Fault("process.kill", "a/daemon", 4.37),
        Fault("link.no_streams", "priv0", 4.44, 10.0),
        Fault("disk.gone", "a", 19.52, 35.0, {"back": "foreign", "press": True}),
    )
    assert run(Plan(610, SimSite(1, gateway=False), faults, 0.56)).violation is None


def test_a_half_that_was_refused_is_read_before_it_meets_again() -> None:
    """B met A in the moment in which A's disks died: it began a generation of its own, and believed its old reading."""
    faults = (
        Fault("link.cut_one_way", "b.priv0", 5.04, 25.19, {"direction": "in"}),
        Fault("link.hold_and_release", "a.biz0", 11.61, 1.32),
        Fault("disk.slow", "a", 21.08, 38.03, {"disk": "vdb", "delay_s": 4.25}),
    )
    assert run(Plan(2998, SimSite(0, policy="safety"), faults, 6.95)).violation is None


def test_a_version_that_a_person_kept_is_not_given_back() -> None:
    """A's version was made from B's, so B's kept one counted as behind: the VM went to A, and to A's data."""
    faults = (
        Fault("link.apart", "priv0", 12.78, 17.38),
        Fault("link.apart", "biz0", 12.78, 17.38),
        Fault("link.no_streams", "priv0", 25.91, 10.85),
    )
    result = run(Plan(967, SimSite(0), faults, 3.44))  # of an odd seed: a person keeps the version of B
    assert result.split
    assert result.violation is None


def test_a_daemon_that_starts_after_a_pause_opens_no_gate() -> None:
    """A stood still while B took over, and its daemon was killed: the next one knew of no pause and let the VM send."""
    faults = (
        Fault("node.pause", "a", 5.75, 27.19),
        Fault("link.no_datagrams", "both", 15.63),
        Fault("process.kill", "a/daemon", 31.97),
    )
    assert run(Plan(7936, SimSite(1), faults, 10.35)).violation is None


def test_a_vm_that_is_left_beside_one_that_runs_is_told() -> None:
    """The tools of the owner hung after one of two VMs had died: the other one ran, and the status said nothing."""
    crossing = {"first": "b", "lag_s": 0.0, "first_s": 12.75, "every_s": 0.72, "pause_s": 4.36, "rounds": 1}
    faults = (
        Fault("tool.hang", "a/all", 5.61, stays=True),
        Fault("link.crossing", "both", 11.79, 45.42, crossing),
        Fault("guest.crash", "web", 14.61),
    )
    assert run(Plan(5518, SimSite(0, vms=TWO_VMS), faults, 9.17)).violation is None


def test_a_disk_is_not_foreign_because_of_the_other_version() -> None:
    """B noted A's version as the newest while both waited for a person, and then refused its own disk."""
    faults = (
        Fault("link.apart", "biz0", 3.49, 26.46, {"only_from": "a"}),
        Fault("link.apart", "priv0", 6.11, 39.0, {"only_from": "a"}),
        Fault("process.stop", "a/daemon", 15.79, 15.47),
        Fault("tool.hang", "b/xl", 20.83),
    )
    result = run(Plan(14778, SimSite(0), faults, 11.89))
    assert result.split
    assert result.violation is None


def test_a_copy_is_not_behind_one_that_it_was_filling() -> None:
    """A's disk was lost while it filled B's copy, and the link broke: A's, the only good one, was called behind."""
    faults = (
        Fault("link.no_large", "both", 4.62, 25.34),
        Fault("disk.gone", "a", 17.02, 8.47, {"back": "foreign", "press": True}),
        Fault("clock.jump", "a", 26.64, parameters={"by_s": -3600.0}),
    )
    assert run(Plan(20022, SimSite(2), faults, 8.68)).violation is None

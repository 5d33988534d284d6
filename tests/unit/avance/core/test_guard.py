"""The guard stops a node without a right, in time, and feeds the watchdog only as the inequality allows."""

from __future__ import annotations

import itertools
import random
from dataclasses import fields, replace

import pytest

from avance.core import commands as c
from avance.core.guard import Guard, Standing
from avance.core.liveness import Liveness
from avance.core.model import PairState, Timers
from tests.playbook import PRIV

TIMERS = Timers()
OWNER = Standing(
    tick=True,
    pair=PairState.PAIRED, may_write=True, known=True, solo=False, lease_valid=True, lease_over=False,
    lease_age_s=0.5, lease_until_s=105.5, owner=True, deciding=False, watchdog=True,
    superseded=False, leaving=False,
)  # fmt: skip
LOST = replace(OWNER, pair=PairState.WAITING, lease_valid=False, lease_over=True, lease_age_s=6.0)
IDLE = replace(OWNER, may_write=False)


def running() -> Guard:
    """Return the guard of a node whose VMs run, unpaused."""
    guard = Guard(TIMERS)
    guard.judge(OWNER, 99.0)
    guard.done(c.UnpauseVms(), ok=True)
    return guard


def names(guard: Guard, standing: Standing, now: float = 100.0) -> list[str]:
    """Return the names of what is commanded, without the moves of the gate."""
    commands = [command for command, _ in guard.judge(standing, now)]
    return [type(command).__name__ for command in commands if not isinstance(command, c.OpenGate)]


def gate(guard: Guard, standing: Standing) -> list[float | None]:
    """Return the ends to which the gate is moved."""
    return [command.until_s for command, _ in guard.judge(standing, 100.0) if isinstance(command, c.OpenGate)]


# ---------------------------------------------------------------- pause and unpause


def test_vms_stand_still_when_the_lease_is_over() -> None:
    """At the end of the lease the VMs are paused, once, and with a reason."""
    guard = running()
    assert names(guard, LOST) == ["PauseVms"]
    assert names(guard, LOST, 100.1) == []
    guard.done(c.PauseVms(), ok=True)
    assert names(guard, LOST, 100.2) == []
    assert guard.paused


def test_failed_pause_is_tried_again() -> None:
    """A pause that did not succeed is commanded again."""
    guard = running()
    names(guard, LOST)
    guard.done(c.PauseVms(), ok=False)
    assert names(guard, LOST, 100.5) == ["PauseVms"]


def test_lone_right_needs_no_lease() -> None:
    """A node with the durable lone right is neither paused nor reset, however long its peer is silent."""
    assert "PauseVms" not in names(running(), replace(LOST, solo=True, lease_age_s=1e6))
    assert "ResetNode" not in names(running(), replace(LOST, solo=True, lease_age_s=1e6))


@pytest.mark.parametrize("right", [{"solo": True}, {"lease_valid": True, "lease_over": False, "lease_age_s": 0.1}])
def test_vms_go_on_when_the_right_is_there_again(right: dict[str, object]) -> None:
    """A new lease, or the lone right, lets paused VMs go on."""
    guard = running()
    names(guard, LOST)
    guard.done(c.PauseVms(), ok=True)
    assert "UnpauseVms" in names(guard, replace(LOST, **right))  # type: ignore[arg-type]  # single fields
    guard.done(c.UnpauseVms(), ok=True)
    assert not guard.paused


@pytest.mark.parametrize("pair", [PairState.FENCED, PairState.SPLIT])
def test_stopped_node_never_lets_vms_go_on(pair: PairState) -> None:
    """A node that is fenced or split lets nothing go on, even with a valid lease."""
    guard = running()
    names(guard, LOST)
    guard.done(c.PauseVms(), ok=True)
    assert "UnpauseVms" not in names(guard, replace(OWNER, pair=pair), 101.0)


def test_restarted_daemon_lets_its_vms_go_on_only_with_a_right() -> None:
    """An earlier run may have left VMs paused: they go on with the first lease, and not before VMs are known."""
    guard = Guard(TIMERS)
    assert names(guard, replace(OWNER, lease_valid=False)) == []
    assert "UnpauseVms" not in names(guard, replace(OWNER, known=False), 100.5)
    assert "UnpauseVms" in names(guard, OWNER, 101.0)


def test_node_without_vms_commands_nothing_but_feeds() -> None:
    """A backup is neither paused, unpaused nor reset."""
    assert set(names(Guard(TIMERS), IDLE)) == {"FeedWatchdog"}
    assert set(names(Guard(TIMERS), replace(LOST, may_write=False, lease_age_s=1e6))) == {"FeedWatchdog"}


# ---------------------------------------------------------------- reset


@pytest.mark.parametrize(("age_s", "resets"), [(6.0, False), (7.999, False), (8.0, True), (60.0, True)])
def test_grant_deadline_resets(age_s: float, resets: bool) -> None:
    """Without a right 8 s after the last echoed heartbeat the node resets itself, and not a moment earlier."""
    assert ("ResetNode" in names(running(), replace(LOST, lease_age_s=age_s))) is resets


def test_right_that_is_being_saved_holds_the_reset_back_but_not_the_pause() -> None:
    """While the lone right is on its way to the disk the VMs stand still and the node is not reset."""
    assert names(running(), replace(LOST, lease_age_s=9.0, deciding=True)) == ["PauseVms"]


def test_fenced_node_resets_whatever_else_holds() -> None:
    """FENCED means reset, with or without VMs, and a reset that did not happen is commanded again after 2 s."""
    guard = running()
    fenced = replace(IDLE, pair=PairState.FENCED, solo=True)
    assert names(guard, fenced, 100.0) == ["ResetNode"]
    assert names(guard, fenced, 101.9) == []
    assert names(guard, fenced, 102.0) == ["ResetNode"]


# ---------------------------------------------------------------- the watchdog


def every_standing() -> list[Standing]:
    """Return every combination of the guard's facts, contradictions left out."""
    return [
        replace(
            OWNER,
            pair=pair,
            may_write=may_write,
            known=known,
            solo=solo,
            lease_valid=valid,
            lease_over=over,
            lease_age_s=age_s,
            lease_until_s=106.0 - age_s,
            deciding=deciding,
        )
        for pair in PairState
        for may_write, known, solo, deciding in itertools.product((False, True), repeat=4)
        for valid, over, age_s in ((True, False, 1.0), (False, False, 3.0), (False, True, 6.5), (False, True, 9.0))
    ]


def test_watchdog_is_fed_only_with_a_right() -> None:
    """Over all facts, a feed needs a valid lease, the lone right, or the knowledge that no VM may be writing here."""
    fed = [standing for standing in every_standing() if "FeedWatchdog" in names(running(), standing)]
    assert fed
    for standing in fed:
        assert standing.lease_valid or standing.solo or (standing.known and not standing.may_write)
        assert standing.pair is not PairState.FENCED


def test_writer_without_a_right_is_paused_or_reset() -> None:
    """Over all facts, a node that may write without lease and without the lone right is paused; late, it is reset."""
    for standing in every_standing():
        if standing.may_write and standing.lease_over and not standing.solo:
            said = names(running(), standing)
            assert "PauseVms" in said
            assert ("ResetNode" in said) is (
                standing.pair is PairState.FENCED or (standing.lease_age_s >= 8.0 and not standing.deciding)
            )


def test_silence_of_the_peer_alone_stops_no_feed() -> None:
    """A node with the lone right, and one without VMs, are fed through any silence."""
    for standing in (replace(LOST, solo=True), replace(LOST, may_write=False)):
        guard = running()
        fed = [now for now in range(100, 200) if "FeedWatchdog" in names(guard, standing, float(now))]
        assert len(fed) == 100


def test_watchdog_is_fed_at_most_once_a_second() -> None:
    """However often the loop turns, feeds are at least a second apart."""
    guard = running()
    fed = [at / 10 for at in range(1000, 1100) if "FeedWatchdog" in names(guard, OWNER, at / 10)]
    assert len(fed) == 10
    assert min(after - before for before, after in itertools.pairwise(fed)) >= 1.0


def test_late_turn_does_not_feed() -> None:
    """A loop that stood still for 2 s is not trusted before its next turn on time."""
    guard = running()
    names(guard, OWNER, 100.0)
    assert "FeedWatchdog" not in names(guard, OWNER, 102.0)
    assert "FeedWatchdog" in names(guard, OWNER, 102.1)


def test_no_watchdog_no_feed() -> None:
    """A site without a watchdog is not fed: the first feed would arm it."""
    assert names(running(), replace(OWNER, watchdog=False)) == []


@pytest.mark.parametrize("seed", range(200))
def test_last_feed_is_never_later_than_the_lease(seed: int) -> None:
    """In simulated time, lossy and one-way links included, a writer without the lone right feeds by a fresh lease only.

    This is the step of the inequality that the watchdog rests on (docs/safety.md, S18): with s the send time
    of the last echoed heartbeat, the last feed is before s + link_down, so the reset before s + link_down + watchdog.
    """
    chance = random.Random(seed)
    liveness, guard, now, s, last_feed = Liveness(TIMERS, (PRIV,)), Guard(TIMERS), 100.0, 100.0, None
    liveness.update(now)
    silent_from = 100.0 + chance.uniform(0.0, 30.0)
    while now < silent_from + 60.0:
        now += chance.choice((0.01, 0.1, 0.1, 0.1, 0.5, 1.9, 4.0))
        if now < silent_from and chance.random() < 0.7:
            sent = now - chance.uniform(0.0, 5.0)
            s = max(s, sent)
            liveness.heartbeat_seen(PRIV, sent, now)
        elif chance.random() < 0.5:
            liveness.heartbeat_seen(PRIV, chance.choice((None, s)), now)
        liveness.update(now)
        standing = replace(
            OWNER,
            lease_valid=liveness.lease_valid(now),
            lease_over=liveness.lease_over(now),
            lease_age_s=liveness.lease_age_s(now),
        )
        said = names(guard, standing, now)
        if "FeedWatchdog" in said:
            last_feed = now
            assert now < s + TIMERS.link_down_s
        if now >= s + TIMERS.grant_s:
            assert guard._reset_at is not None, "and a loop that turns resets the node by itself long before that"
    reset_by = (last_feed or 0.0) + TIMERS.watchdog_s
    assert reset_by <= silent_from + TIMERS.peer_lost_s + TIMERS.takeover_wait_s - TIMERS.margin_s


def test_failed_unpause_is_not_repeated_in_a_hot_loop() -> None:
    """An UnpauseVms that fails is tried again after a pause, like every other command."""
    guard = Guard(TIMERS)
    tries = 0
    for step in range(100):
        if "UnpauseVms" in names(guard, OWNER, 100.0 + step / 100):
            tries += 1
            guard.done(c.UnpauseVms(), ok=False)
    assert tries == 1


# ---------------------------------------------------------------- the gate


def test_gate_follows_the_lease() -> None:
    """The first decision says when the lease ends; later ones by half a heartbeat at least, or when it ends sooner."""
    guard = Guard(TIMERS)
    assert gate(guard, OWNER) == [105.5]
    assert gate(guard, replace(OWNER, lease_until_s=105.7)) == []
    assert gate(guard, replace(OWNER, lease_until_s=105.75)) == [105.75]
    assert gate(guard, replace(OWNER, lease_until_s=105.7)) == [105.7]


def test_lone_right_has_no_end() -> None:
    """With the durable lone right the gate stays open; when that is over, the lease counts again."""
    guard = Guard(TIMERS)
    assert gate(guard, replace(OWNER, solo=True)) == [None]
    assert gate(guard, replace(LOST, solo=True)) == []
    assert gate(guard, OWNER) == [105.5]


def test_fenced_node_closes_the_gate() -> None:
    """Not one frame more, whatever its lease says."""
    guard = Guard(TIMERS)
    assert gate(guard, replace(OWNER, pair=PairState.FENCED)) == [0.0]
    assert gate(guard, replace(OWNER, pair=PairState.FENCED, lease_until_s=200.0)) == []


def test_gate_of_one_that_owns_nothing_is_closed() -> None:
    """A backup sends nothing of a service; when it becomes the owner its lease counts, and then its lone right."""
    guard = Guard(TIMERS)
    backup = replace(IDLE, owner=False)
    assert gate(guard, backup) == [0.0]
    assert gate(guard, replace(backup, lease_until_s=200.0)) == []
    assert gate(guard, IDLE) == [105.5]


def test_gate_never_outlasts_the_lease() -> None:
    """Whatever comes in whatever order: the last end that was said is not later than the lease's."""
    dice = random.Random(8)
    guard, said = Guard(TIMERS), None
    for _ in range(2000):
        until_s = dice.uniform(90.0, 110.0)
        standing = replace(OWNER, lease_until_s=until_s, solo=dice.random() < 0.1)
        said = (gate(guard, standing) or [said])[-1]
        assert (said is None) == standing.solo
        assert said is None or said <= until_s


def test_run_without_an_echo_leaves_the_gate_that_it_finds() -> None:
    """A VM runs, and the end that the run before has set may have passed: only an echo or the lone right moves it."""
    guard, unheard = Guard(TIMERS), replace(OWNER, lease_valid=False, lease_until_s=None)
    assert gate(guard, unheard) == []
    assert gate(guard, OWNER) == [105.5]
    assert gate(Guard(TIMERS), replace(unheard, solo=True)) == [None]
    assert gate(Guard(TIMERS), replace(unheard, may_write=False)) == [0.0]


@pytest.mark.parametrize(("age_s", "feeds"), [(2.9, True), (3.0, False), (5.9, False)])
def test_only_a_fresh_lease_feeds(age_s: float, feeds: bool) -> None:
    """The watchdog is fed while the last echo is younger than 3 s; the rest of the lease covers an unnoticed pause."""
    aged = replace(OWNER, lease_age_s=age_s, lease_until_s=106.0 - age_s)
    assert ("FeedWatchdog" in names(Guard(TIMERS), aged)) is feeds


@pytest.mark.parametrize("dilation", [1.0, 4.0, 8.0, 40.0])
def test_first_turn_closes_the_gate_at_any_dilation(dilation: float) -> None:
    """Whoever owns nothing says so to the gate in its first turn: without a word it would not be put in place."""
    times = {field.name: getattr(Timers(), field.name) * dilation for field in fields(Timers)}
    assert gate(Guard(Timers(**times)), replace(IDLE, owner=False)) == [0.0]


def test_io_that_nobody_works_on_ends_in_a_reset() -> None:
    """Even with the lone right: nothing but a restart of the node helps the VM (decision 0017)."""
    alone = replace(OWNER, solo=True)
    assert "ResetNode" not in names(running(), replace(alone, stuck_looks=4))
    assert "ResetNode" in names(running(), replace(alone, stuck_looks=5))


def test_right_in_doubt_ends_with_a_reset() -> None:
    """What may be on the disk is found out by a start, when the peer has been there for 15 s."""
    idle = replace(IDLE, pair=PairState.WAITING, owner=False)
    assert "ResetNode" not in names(running(), replace(idle, doubt_s=14.9))
    assert "ResetNode" in names(running(), replace(idle, doubt_s=15.0))


@pytest.mark.parametrize(("superseded", "limit_s"), [(True, 4.0), (False, 15.0)])
def test_what_cannot_be_stopped_ends_sooner_where_the_peer_may_run_it(*, superseded: bool, limit_s: float) -> None:
    """4 s when the peer owns a newer epoch, 15 s otherwise (docs/safety.md, S28)."""
    guard, backup = running(), replace(OWNER, owner=False, superseded=superseded)
    assert "ResetNode" not in names(guard, backup, 100.0)
    assert "ResetNode" not in names(guard, backup, 100.0 + limit_s - 0.1)
    assert "ResetNode" in names(guard, backup, 100.0 + limit_s)

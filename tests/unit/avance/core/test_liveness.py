"""Silence is judged as designed: links by echo, the lease by send times, and never by what came before a standstill."""

from __future__ import annotations

from dataclasses import fields

import pytest

from avance.core import commands as c
from avance.core.decision import Draft
from avance.core.liveness import Liveness
from avance.core.model import LinkName, LinkState, PairState, Timers
from tests.playbook import BIZ, PRIV

UP, SUSPECT, DOWN = LinkState.UP, LinkState.SUSPECT, LinkState.DOWN


def fresh() -> Liveness:
    """Return the liveness of a node that has just started."""
    return Liveness(Timers(), (PRIV, BIZ))


def until(
    liveness: Liveness, start: float, seconds: float, *, heard: LinkName | None = None
) -> list[tuple[float, LinkState]]:
    """Judge in steps of 0.1 s, with or without echoes on one link; returns when the private link changed."""
    changes = []
    for step in range(round(seconds * 10) + 1):
        now = start + step / 10
        if heard is not None and step % 5 == 0:
            liveness.heartbeat_seen(heard, now, now)
        changes += [(round(now - start, 1), after) for link, _, after in liveness.update(now) if link == PRIV]
    return changes


def fallen(times: int) -> tuple[Liveness, float]:
    """Return a private link that has just fallen for the given time, and the moment now."""
    liveness, now = fresh(), 1000.0
    for _ in range(times):
        until(liveness, now, 200.0, heard=PRIV)
        until(liveness, now + 200.1, 4.0)
        now += 300.0
    liveness.update(now)
    return liveness, now


# ---------------------------------------------------------------- links


def test_link_goes_suspect_then_down() -> None:
    """A link without an echo is suspect after 2 s and down after 3 s."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    assert until(liveness, 50.0, 6.0) == [(0.0, UP), (2.0, SUSPECT), (3.0, DOWN)]


def test_first_echo_raises_a_link_at_once() -> None:
    """A link that never fell is used as soon as it carries an echo."""
    assert until(fresh(), 50.0, 0.0, heard=PRIV) == [(0.0, UP)]


@pytest.mark.parametrize(("falls", "hold_s"), [(1, 10.0), (2, 20.0), (3, 40.0), (4, 80.0), (5, 160.0), (6, 160.0)])
def test_flapping_link_is_held_ever_longer(falls: int, hold_s: float) -> None:
    """A link that fell is used again after 10 s good, doubled per fall, at most 160 s."""
    liveness, now = fallen(falls)
    assert until(liveness, now, 199.0, heard=PRIV) == [(hold_s, UP)]


def test_hold_starts_anew_with_each_interruption() -> None:
    """The time that a link must be good is one piece: a gap in it starts it anew."""
    liveness, now = fallen(1)
    assert until(liveness, now, 6.0, heard=PRIV) == []
    assert until(liveness, now + 6.1, 4.0) == []
    assert until(liveness, now + 20.0, 12.0, heard=PRIV) == [(10.0, UP)]


def test_restart_of_the_peer_forgives_its_falls() -> None:
    """Falls whose reason was found are not held against the link."""
    liveness, now = fallen(4)
    liveness.forgive()
    assert until(liveness, now, 1.0, heard=PRIV) == [(0.0, UP)]


def test_damped_link_still_shows_that_the_peer_lives() -> None:
    """A link that is not used yet carries heartbeats: the peer is alive by it, whatever is done with the link."""
    liveness, now = fallen(3)
    until(liveness, now, 1.0, heard=PRIV)
    assert liveness.states[PRIV] is DOWN
    assert liveness.peer_alive(now + 1.0)


def test_one_way_fault_takes_the_link_down() -> None:
    """A peer that hears us no more repeats its last echo: that is no new echo, and the link goes down."""
    liveness = fresh()
    for step in range(60):
        liveness.heartbeat_seen(PRIV, 50.0, 50.0 + step / 10)
        liveness.update(50.0 + step / 10)
    assert liveness.states[PRIV] is DOWN
    assert not liveness.peer_alive(56.0)
    assert liveness.last_receipt_at == 55.9, "it is still heard, so a backup does not wait by it"


def test_older_echo_is_no_new_echo() -> None:
    """A heartbeat that was overtaken on its way echoes something older and renews nothing."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.1)
    liveness.heartbeat_seen(PRIV, 49.5, 52.0)
    assert liveness.echo_age_s(52.0) == pytest.approx(1.9)


def test_receipt_without_echo_gives_no_link() -> None:
    """A mere receipt neither raises a link nor gives a lease."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, None, 50.0)
    liveness.update(50.0)
    assert not liveness.peer_alive(50.0)
    assert not liveness.lease_valid(50.0)
    assert liveness.last_receipt_at == 50.0


# ---------------------------------------------------------------- the lease


def test_lease_counts_from_the_send_time() -> None:
    """The lease begins when the echoed heartbeat was sent, and an older echo never shortens it."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 48.0, 50.0)
    liveness.heartbeat_seen(BIZ, 47.0, 50.0)
    assert liveness.lease_age_s(50.0) == 2.0


def test_lease_ends_exactly() -> None:
    """The lease is good until 6 s after the send time, and over from that moment on."""
    liveness = fresh()
    liveness.heartbeat_seen(BIZ, 50.0, 51.0)
    assert liveness.lease_valid(55.999)
    assert not liveness.lease_over(55.999)
    assert not liveness.lease_valid(56.0)
    assert liveness.lease_over(56.0)
    assert liveness.lease_until_s == 56.0


def test_any_link_renews_the_lease() -> None:
    """The echo on a public link is as good as one on the private link."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    liveness.heartbeat_seen(BIZ, 53.0, 53.0)
    assert liveness.lease_age_s(54.0) == 1.0


def test_run_that_has_just_begun_gets_the_time_of_one_lease() -> None:
    """A restarted daemon is given time to hear its peer; that time is no lease."""
    liveness = fresh()
    liveness.update(50.0)
    assert not liveness.lease_over(55.9)
    assert liveness.lease_over(56.0)
    assert liveness.lease_until_s is None
    assert not liveness.lease_valid(50.0)


def test_repeated_echo_renews_no_lease() -> None:
    """A peer that hears us no more gives no lease, however often it repeats itself."""
    liveness = fresh()
    for step in range(70):
        liveness.heartbeat_seen(PRIV, 50.0, 50.0 + step / 10)
    assert not liveness.lease_valid(56.9)


# ---------------------------------------------------------------- standing still


def test_own_standstill_is_no_silence_of_the_peer() -> None:
    """A daemon that stood still for a minute listens anew before it calls the peer silent; its lease is over."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    until(liveness, 50.0, 1.0)
    liveness.update(111.0)
    assert liveness.last_receipt_at == 111.0
    assert not liveness.lease_valid(111.0)
    until(liveness, 111.0, 5.0)
    assert liveness.last_receipt_at == 111.0, "the clock of the receipts then runs as always"


def test_standstill_invents_no_receipt() -> None:
    """A peer that was never heard is not heard by standing still."""
    liveness = fresh()
    liveness.update(50.0)
    liveness.update(111.0)
    assert liveness.last_receipt_at is None


def test_void_ends_the_lease_at_once() -> None:
    """After a pause of the machine the right has ended, though by the machine's own clock it has not."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    liveness.update(50.1)
    liveness.void(50.2)
    assert liveness.lease_until_s == 0.0
    assert not liveness.lease_valid(50.2)
    assert liveness.lease_over(50.2)
    assert not liveness.peer_alive(50.2)


def test_only_a_heartbeat_sent_after_the_pause_counts() -> None:
    """An echo of what was sent before the pause proves nothing; the first echo of a later heartbeat gives a lease."""
    liveness = fresh()
    liveness.void(50.0)
    liveness.heartbeat_seen(PRIV, 49.9, 50.1)
    assert not liveness.lease_valid(50.1)
    assert not liveness.peer_alive(50.1)
    assert liveness.last_receipt_at == 50.1, "but the peer was heard"
    liveness.heartbeat_seen(PRIV, 50.0, 50.3)
    assert liveness.lease_valid(50.3)
    assert not liveness.lease_over(50.3)
    assert liveness.peer_alive(50.3)


def test_peer_has_a_second_to_answer_after_a_pause() -> None:
    """An owner that was paused counts as having lost its peer 1 s later, not at once and not after 5 s."""
    liveness = fresh()
    liveness.void(50.0)
    assert liveness.lease_age_s(50.9) < Timers().peer_lost_s
    assert liveness.lease_age_s(51.0) >= Timers().peer_lost_s


# ---------------------------------------------------------------- programmer errors


def test_echo_from_the_future_is_a_programmer_error() -> None:
    """An echo of something that was not sent yet stops the daemon."""
    with pytest.raises(AssertionError, match="cannot precede"):
        fresh().heartbeat_seen(PRIV, 51.0, 50.0)


def test_a_pair_needs_a_link() -> None:
    """A node without links cannot be paired."""
    with pytest.raises(AssertionError, match="at least one link"):
        Liveness(Timers(), ())


def test_lag_is_told_once_and_excused_for_a_moment() -> None:
    """Two seconds without a judgement are a lag; for one more heartbeat an old echo says nothing of the peer."""
    liveness = fresh()
    liveness.heartbeat_seen(PRIV, 50.0, 50.0)
    liveness.update(50.0)
    liveness.update(51.9)
    assert (liveness.lag_s, liveness.was_late(51.9)) == (0.0, False)
    liveness.update(53.9)
    assert (liveness.lag_s, liveness.was_late(54.4)) == (2.0, True)
    liveness.update(54.0)
    assert (liveness.lag_s, liveness.was_late(54.6)) == (0.0, False)
    liveness.update(56.0)
    assert (liveness.lag_s, liveness.was_late(56.0)) == (2.0, False), "the peer was silent before"


def test_pause_is_no_fall_of_a_link() -> None:
    """A pause of this machine says nothing against a link: the first new echo raises it again."""
    liveness = fresh()
    until(liveness, 50.0, 5.0, heard=PRIV)
    liveness.void(55.1)
    liveness.update(55.1)
    assert until(liveness, 55.2, 1.0, heard=PRIV) == [(0.0, UP)]


# ---------------------------------------------------------------- what the peer's lease can count from


def exchanges(liveness: Liveness, times: int, start: float = 50.0) -> float:
    """Let both nodes hear each other's newest heartbeat at each beat; returns when the last one was."""
    for number in range(times):
        now = start + number / 2
        if number:
            liveness.heartbeat_seen(PRIV, now - 0.5, now)
        liveness.sent(now, echoing=True)
    return start + (times - 1) / 2


def test_every_receipt_counts_for_the_wait() -> None:
    """A receipt without an echo, on a link that is down, even one that is not believed: each can have been echoed."""
    liveness = fresh()
    liveness.update(50.0)
    heard: list[float | None] = [liveness.heard_at_s]
    liveness.heartbeat_seen(BIZ, None, 60.0)
    heard.append(liveness.heard_at_s)
    assert liveness.state(BIZ) is DOWN
    liveness.receipt(PRIV, 70.0)
    assert [*heard, liveness.heard_at_s] == [None, 60.0, 70.0]
    assert liveness.last_receipt_at == 70.0


def test_standing_still_is_no_receipt() -> None:
    """After a standstill of this node the links get new time, but nothing was echoed meanwhile: the wait goes on."""
    liveness = fresh()
    liveness.receipt(PRIV, 50.0)
    until(liveness, 50.0, 1.0)
    liveness.update(60.0)
    assert (liveness.last_receipt_at, liveness.heard_at_s) == (60.0, 50.0)
    assert liveness.catches_up(60.5)
    assert not liveness.catches_up(60.6)


def test_contact_is_one_round_older_than_the_lease() -> None:
    """That the peer hears us is known from its echo; that its own lease lives only from the echo of the echo before."""
    liveness = fresh()
    liveness.sent(50.0, echoing=True)
    liveness.heartbeat_seen(PRIV, 50.0, 50.1)
    assert (liveness.lease_from_s, liveness.contact_s) == (50.0, None), "our heartbeat had nothing to echo yet"
    last = exchanges(fresh_one := fresh(), 6)
    assert fresh_one.lease_from_s == last - 0.5
    assert fresh_one.contact_s == last - 1.0


def test_peer_that_is_not_heard_has_an_old_lease() -> None:
    """The peer hears us and answers, but our echo was old: for its lease that is worth nothing."""
    liveness = fresh()
    last = exchanges(liveness, 6)
    for number in range(1, 8):
        liveness.sent(last + number / 2, echoing=True)
    liveness.heartbeat_seen(PRIV, last + 3.5, last + 3.5)
    assert liveness.lease_from_s == last + 3.5
    assert liveness.contact_s == last - 0.5, "its heartbeat that we echoed last had echoed ours of that time"


def test_what_went_without_an_echo_shows_no_contact() -> None:
    """While this node echoes nothing, an answer of the peer says nothing of the peer's lease."""
    liveness = fresh()
    last = exchanges(liveness, 6)
    liveness.sent(last + 0.5, echoing=False)
    liveness.heartbeat_seen(PRIV, last + 0.5, last + 1.0)
    assert liveness.contact_s == last - 1.0


def test_contact_on_one_link_says_nothing_of_the_other() -> None:
    """The echo on a link is of what was heard on that link."""
    liveness = fresh()
    last = exchanges(liveness, 6)
    liveness.sent(last + 0.5, echoing=True)
    liveness.heartbeat_seen(BIZ, last + 0.5, last + 1.0)
    assert liveness.contact_s == last - 1.0


def test_standstill_spoils_the_proof_and_keeps_the_contact() -> None:
    """After a pause of this machine its clock no longer bounds when the peer could go on alone."""
    liveness = fresh()
    last = exchanges(liveness, 6)
    assert liveness.proof_s == liveness.contact_s
    liveness.void(last + 1.0)
    assert (liveness.contact_s, liveness.proof_s) == (last - 1.0, None)
    after = exchanges(liveness, 4, last + 2.0)
    assert liveness.proof_s == liveness.contact_s == after - 1.0


@pytest.mark.parametrize("dilation", [1.0, 8.0])
def test_peer_has_two_heartbeats_to_answer_after_a_pause(dilation: float) -> None:
    """However slow the site: an owner that was paused waits for two heartbeats before it counts its peer as lost."""
    times = {field.name: getattr(Timers(), field.name) * dilation for field in fields(Timers)}
    liveness = Liveness(Timers(**times), (PRIV, BIZ))
    liveness.void(50.0)
    assert liveness.lease_age_s(50.0 + 0.99 * dilation) < 5.0 * dilation
    assert liveness.lease_age_s(50.0 + dilation) >= 5.0 * dilation


def test_the_return_of_a_link_is_told_only_of_one_that_was_up() -> None:
    """At the start every link comes up, and that is no recovery."""
    live, told = Liveness(Timers(), (PRIV,)), []
    for now in range(100, 120):
        if not 100 < now < 105:
            live.heartbeat_seen(PRIV, float(now), float(now))
        draft = Draft(3, PairState.PAIRED, set())
        live.judge(draft, float(now))
        told += [(now, command.alert.code) for command in draft.commands if isinstance(command, c.SendAlert)]
    assert told == [(103, "link_down"), (115, "link_up")]
    assert live.was_up(PRIV)


def test_a_run_begins_once() -> None:
    """Until the peer is heard, silence and contact count from the first turn."""
    live = Liveness(Timers(), (PRIV,))
    live.begin(100.0)
    live.begin(101.0)
    assert (live.silent_from_s(105.0), live.contact_from_s(105.0)) == (100.0, 100.0)
    live.receipt(PRIV, 103.0)
    assert live.silent_from_s(105.0) == 103.0


def test_a_link_may_fall_for_years() -> None:
    """A loose contact: however often a link has fallen, it is held back for the longest time and is then used again."""
    timers = Timers()
    live, now = Liveness(timers, (PRIV,)), 100.0
    live._links[PRIV].falls = 5000
    seen = set()
    while now < 100.0 + timers.link_hold_max_s + 1.0:
        live.heartbeat_seen(PRIV, now - 0.01, now)
        live.update(now)
        seen.add((live.state(PRIV), now < 100.0 + timers.link_hold_max_s))
        now += 0.5
    assert seen == {(LinkState.DOWN, True), (LinkState.UP, False)}

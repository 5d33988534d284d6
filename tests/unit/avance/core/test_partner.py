"""The peer as it is known: its restarts are counted, a planned one is none, and a mismatch has to last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core.crashloop import CrashLoop, Policy
from avance.core.decision import Draft
from avance.core.model import PairState, PeerView, Record, Timers
from avance.core.partner import Partner, Restarted
from tests.playbook import B

TIMERS = Timers()
DRAFT = Draft(3, PairState.PAIRED, set())
VIEW = PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.PAIRED, Record(3, B), machine="b-machine-1")


def partner(policy: Policy = Policy.THRESHOLD) -> Partner:
    """Return a peer that was paired with at 100 s."""
    one = Partner(TIMERS, CrashLoop(TIMERS.crash_mean_s, policy=policy))
    one.heard(VIEW, DRAFT)
    assert one.met(3, 100.0) is None
    return one


def test_a_peer_that_was_never_heard_cannot_be_paired_with() -> None:
    """It is a mistake of the caller."""
    with pytest.raises(AssertionError, match="never heard"):
        Partner(TIMERS, CrashLoop(TIMERS.crash_mean_s)).met(3, 100.0)


def test_a_restart_of_the_daemon_explains_the_fall_of_the_links() -> None:
    """The machine went on, so nothing counts as a failure."""
    one = partner()
    one.heard(replace(VIEW, boot="b-boot-2"), DRAFT)
    assert one.met(3, 200.0) == Restarted(links_fell=True, too_often=False)
    assert one.crashes.recent(200.0) == 0


def test_restarts_of_the_machine_are_failures() -> None:
    """Each one is counted, and after the second the peer is not synchronised at once."""
    one = partner()
    for number, now in ((2, 200.0), (3, 300.0)):
        assert one.is_stable(now)
        one.heard(replace(VIEW, machine=f"b-machine-{number}", boot=f"b-boot-{number}"), DRAFT)
        assert one.met(3, now) == Restarted(links_fell=True, too_often=False)
    assert not one.is_stable(300.0 + 2 * TIMERS.stable_s - 0.1)
    assert one.is_stable(300.0 + 2 * TIMERS.stable_s)
    one.reset_device()
    assert (one.is_stable(300.0), one.crashes.recent(300.0)) == (True, 0)


def test_a_site_that_never_takes_a_failed_node_back_hears_so() -> None:
    """One restart is too often there."""
    one = partner(Policy.NEVER)
    one.heard(replace(VIEW, machine="b-machine-2"), DRAFT)
    assert one.met(3, 200.0) == Restarted(links_fell=False, too_often=True)


def test_a_restart_for_a_cure_is_planned() -> None:
    """It is known by the epoch for which the peer noted it, and no failure."""
    one = partner(Policy.NEVER)
    one.heard(replace(VIEW, machine="b-machine-2", record=Record(3, B, cure=3)), DRAFT)
    assert one.met(3, 200.0) is None


def test_a_mismatch_is_told_when_it_lasts() -> None:
    """It begins anew after each moment in which both agree, and the next one is told again."""
    one, draft = partner(), Draft(3, PairState.PAIRED, set())
    told = []
    for reason, now in (("x", 200.0), ("x", 204.9), ("x", 205.0), (None, 206.0), ("y", 207.0), ("y", 212.0)):
        one.differs(reason, draft, now)
        told.append(len([command for command in draft.commands if isinstance(command, c.SendAlert)]))
        assert one.rests(now) is (reason is None)
    assert told == [0, 0, 1, 1, 1, 2]


def test_links_get_time_to_come_up() -> None:
    """They do it later than the nodes."""
    one = partner()
    assert [one.links_are_up(now) for now in (109.9, 110.0)] == [False, True]
    assert [one.links_are_up(now, waits=2) for now in (110.0, 120.0)] == [False, True]


@pytest.mark.parametrize("forget", [False, True])
def test_who_is_left_is_remembered(forget: bool) -> None:
    """The boot of its machine shows later whether it was restarted; its words may be forgotten."""
    one = partner()
    one.left(forget=forget)
    assert one.consenter == "b-machine-1"
    assert (one.view is None) is forget


def test_the_last_word_of_a_peer_is_told_and_believed_in_nothing() -> None:
    """People hear why it resets itself; until they are paired again it is told once."""
    one, draft = partner(), Draft(3, PairState.PAIRED, set())
    for _ in range(3):
        one.heard(replace(VIEW, ends="the lease has ended"), draft)
    assert [command.alert.code for command in draft.commands if isinstance(command, c.SendAlert)] == ["peer_resets"]
    assert one.crashes.recent(100.0) == 0

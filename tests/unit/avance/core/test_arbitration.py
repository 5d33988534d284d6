"""Evidence is fetched once, kept for one question only, and never better than what was read."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.arbitration import Arbitration
from avance.core.model import Outcome, Timers
from avance.core.takeover import Answer, Need, Power
from tests.playbook import result

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


def asking(*, power: bool = True) -> Arbitration:
    """Return the evidence for epoch 4, nothing fetched yet."""
    one = Arbitration(Timers(), "boot", power)
    one.begin(4)
    return one


def ends(one: Arbitration, command: c.EvidenceCommand, outcome: Outcome, detail: str, now: float) -> str | None:
    """Let a command end."""
    return one.done(command, result(command, outcome, detail), now)


def answer(one: Arbitration, outcome: Outcome, detail: str, name: str = "w1") -> str | None:
    """Let a witness answer."""
    return ends(one, c.AskWitness(name, 4, "boot-1-2"), outcome, detail, 1.0)


def power_reads(one: Arbitration, detail: str, now: float, outcome: Outcome = OK) -> None:
    """Let the peer's power be read."""
    ends(one, c.ReadPeerPower(), outcome, detail, now)


def ask(one: Arbitration, *names: str) -> list[c.Command]:
    """Fetch the answers of witnesses."""
    return one.fetch((Need.WITNESSES,), names or ("w1",))


# ---------------------------------------------------------------- witnesses


@pytest.mark.parametrize(
    ("detail", "expected"),
    [("granted 4", Answer.GRANTED), ("refused 4 b", Answer.REFUSED), ("untaught", Answer.UNTAUGHT)],
)
def test_answers_are_kept(detail: str, expected: Answer) -> None:
    """A witness grants or refuses; one that was never taught does neither."""
    one = asking()
    assert ask(one) == [c.AskWitness("w1", 4, "boot-2")]
    assert answer(one, OK, detail) == f"witness w1: {detail}"
    assert one.answers == {"w1": expected}
    assert ask(one) == []


def test_silent_witness_is_tried_three_times_with_one_nonce() -> None:
    """Three tries with the same nonce, then the witness counts as silent."""
    one, asked = asking(), []
    for _ in range(5):
        asked += ask(one)
        answer(one, UNKNOWN, "no answer within 1 s")
    assert asked == [c.AskWitness("w1", 4, "boot-2")] * 3
    assert one.answers == {"w1": Answer.SILENT}


@pytest.mark.parametrize(
    ("outcome", "detail"), [(FAILED, "granted 4"), (UNKNOWN, "granted 4"), (OK, "taught"), (OK, "")]
)
def test_only_a_clear_yes_is_a_grant(outcome: Outcome, detail: str) -> None:
    """An answer of another kind, or of an uncertain outcome, is never a grant."""
    one = asking()
    ask(one)
    answer(one, outcome, detail)
    assert one.answers["w1"] is Answer.ASKED


def test_witness_is_not_asked_twice_at_once() -> None:
    """While a question is on its way it is not put again, and the other witness is asked beside it."""
    one = asking()
    assert len(ask(one, "w1")) == 1
    assert ask(one, "w1", "w2") == [c.AskWitness("w2", 4, "boot-2")]


def test_late_answer_to_an_earlier_question_is_dropped() -> None:
    """What a witness grants for a loss that is over is no grant for the next one, and the nonce differs."""
    one = asking()
    first = ask(one)
    one.begin(4)
    assert answer(one, OK, "granted 4") is None
    assert one.answers == {}
    assert ask(one) != first


# ---------------------------------------------------------------- power


def test_power_read_off_in_time_proves_more() -> None:
    """Off before the peer could have gone on alone is better evidence than off."""
    early, late = asking(), asking()
    for one, at in ((early, 9.9), (late, 10.0)):
        assert one.watch_power(10.0, 9.0) == [c.ReadPeerPower()]
        power_reads(one, "off", at)
    assert early.power is Power.OFF_EARLY
    assert late.power is Power.OFF


@pytest.mark.parametrize(
    ("outcome", "detail"), [(OK, "on"), (OK, "unknown"), (FAILED, "off"), (UNKNOWN, "off"), (OK, "")]
)
def test_anything_but_a_read_off_is_no_evidence(outcome: Outcome, detail: str) -> None:
    """An unreachable BMC, or one that says anything else, confirms nothing."""
    one = asking()
    one.watch_power(10.0, 1.0)
    power_reads(one, detail, 2.0, outcome)
    assert one.power is Power.NOT_CUT


def test_power_is_read_at_the_pace_of_heartbeats_and_only_while_it_can_prove() -> None:
    """One reading at a time, half a second apart, and none when it would come too late."""
    one = asking()
    assert one.watch_power(10.0, 1.0) == [c.ReadPeerPower()]
    assert one.watch_power(10.0, 1.1) == []
    power_reads(one, "on", 1.2)
    assert one.watch_power(10.0, 1.6) == []
    assert one.watch_power(10.0, 1.7) == [c.ReadPeerPower()]
    power_reads(one, "on", 1.8)
    assert one.watch_power(10.0, 10.0) == []


def test_without_bmc_nothing_is_read_or_cut() -> None:
    """A site without a BMC asks none."""
    one = asking(power=False)
    assert one.watch_power(10.0, 1.0) == []
    assert one.fetch((Need.CUT_POWER,), ()) == []
    assert one.power is Power.NO_BMC


@pytest.mark.parametrize(("outcome", "expected"), [(OK, Power.OFF), (FAILED, Power.FAILED), (UNKNOWN, Power.FAILED)])
def test_cut_is_commanded_once_and_counts_only_when_confirmed(outcome: Outcome, expected: Power) -> None:
    """The peer is switched off once; only a read-back gives evidence."""
    one = asking()
    assert one.fetch((Need.CUT_POWER,), ()) == [c.CutPeerPower()]
    assert one.power is Power.CUTTING
    assert one.fetch((Need.CUT_POWER,), ()) == []
    ends(one, c.CutPeerPower(), outcome, "x", 2.0)
    assert one.power is expected
    assert one.fetch((Need.CUT_POWER,), ()) == []


def test_fence_that_failed_is_tried_again_less_and_less_often() -> None:
    """A BMC that was away is asked until it answers: after 5 s, 10 s, 20 s ... and never more than 160 s."""
    one, now, pauses = asking(), 0.0, []
    for _ in range(8):
        assert one.fetch((Need.CUT_POWER,), ()) == [c.CutPeerPower()]
        ends(one, c.CutPeerPower(), UNKNOWN, "no answer", now)
        failed_at = now
        while one.power is Power.FAILED:
            now += 1.0
            one.expire(now)
        pauses.append(now - failed_at)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 160.0, 160.0]
    one.begin(5)
    one.fetch((Need.CUT_POWER,), ())
    ends(one, c.CutPeerPower(), UNKNOWN, "no answer", now)
    one.expire(now + 5.0)
    assert one.power is Power.NOT_CUT


def test_untaught_witness_is_asked_again_soon() -> None:
    """It may be taught any moment, and the owner has only 8 s."""
    one = asking()
    ask(one)
    answer(one, OK, "untaught 3 a")
    one.expire(1.9)
    assert one.answers == {"w1": Answer.UNTAUGHT}
    one.expire(2.0)
    assert ask(one) == [c.AskWitness("w1", 4, "boot-2")]


def test_late_reading_does_not_weaken_a_confirmed_cut() -> None:
    """What was confirmed as off is not called early by an old reading, and not undone by one that says on."""
    one = asking()
    one.watch_power(10.0, 1.0)
    one.fetch((Need.CUT_POWER,), ())
    ends(one, c.CutPeerPower(), OK, "off", 2.0)
    power_reads(one, "off", 2.1)
    assert one.power is Power.OFF


def test_failed_cut_may_still_be_followed_by_a_reading() -> None:
    """A fence that failed does not hide that the peer's power reads off later."""
    one = asking()
    one.watch_power(10.0, 1.0)
    one.fetch((Need.CUT_POWER,), ())
    ends(one, c.CutPeerPower(), FAILED, "x", 2.0)
    power_reads(one, "off", 20.0)
    assert one.power is Power.OFF


# ---------------------------------------------------------------- neighbours


def test_neighbours_are_looked_at_once_at_a_time() -> None:
    """One look is on its way; what it saw is kept."""
    one = asking()
    assert one.fetch((Need.NEIGHBOURS,), ()) == [c.ProbeNeighbours()]
    assert one.fetch((Need.NEIGHBOURS,), ()) == []
    one.neighbours_seen(e.NeighboursSeen(True, ("10.77.0.10",)), 1.9)
    assert ends(one, c.ProbeNeighbours(), OK, "", 2.0) is None
    assert (one.gateway, one.claimed, one.looked_at) == (True, ("10.77.0.10",), 1.9)


def test_failed_look_counts_as_no_gateway() -> None:
    """A node that cannot look at its networks is itself cut off."""
    one = asking()
    one.fetch((Need.NEIGHBOURS,), ())
    ends(one, c.ProbeNeighbours(), FAILED, "no device", 2.0)
    assert (one.gateway, one.looked_at) == (False, 2.0)


def test_begin_forgets_everything() -> None:
    """Evidence belongs to one question: a new one starts without any."""
    one = asking()
    ask(one)
    answer(one, OK, "granted 4")
    one.watch_power(10.0, 1.0)
    power_reads(one, "off", 2.0)
    one.begin(5)
    assert (one.epoch, one.answers, one.power) == (5, {}, Power.NOT_CUT)


@pytest.mark.parametrize("power", [Power.OFF_EARLY, Power.OFF])
def test_heard_after_off_is_not_off(power: Power) -> None:
    """What was read before the peer was heard again proves nothing; what was read after it still does."""
    one = asking()
    one.watch_power(5.0 if power is Power.OFF_EARLY else 0.5, 0.0)
    power_reads(one, "off", 1.0)
    assert one.power is power
    one.heard(0.9)
    assert one.power is power
    one.heard(1.1)
    assert one.power is Power.NOT_CUT


def test_heard_after_a_cut_is_not_cut() -> None:
    """The same for power that this node switched off itself."""
    one = asking()
    one.fetch((Need.CUT_POWER,), ())
    ends(one, c.CutPeerPower(), OK, "off", 1.0)
    before = one.power
    one.heard(2.0)
    assert (before, one.power) == (Power.OFF, Power.NOT_CUT)

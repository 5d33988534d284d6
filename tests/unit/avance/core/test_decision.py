"""A draft gathers what one turn decides; an alert carries the state of its moment, and is not repeated."""

from __future__ import annotations

from avance.core import alerts
from avance.core import commands as c
from avance.core.decision import Decision, Draft
from avance.core.model import NodePart, PairState
from tests.playbook import WEB


def draft(told: set[str] | None = None) -> Draft:
    """Return the draft of a turn in epoch 3."""
    return Draft(3, PairState.WAITING, set() if told is None else told)


def test_a_draft_becomes_a_decision() -> None:
    """Commands, reasons and milestones keep their order; the start of a VM is a milestone by itself."""
    made = draft()
    made.say("first", milestone="paired")
    made.command(c.StartDomain(WEB))
    assert not made.quiet
    assert made.decision() == Decision((c.StartDomain(WEB),), ("first",), ("paired", "vm_start_commanded"))


def test_an_alert_carries_the_epoch_and_the_pair_of_its_moment() -> None:
    """What is told before a change still carries the state before it."""
    made, alert = draft(), alerts.protected()
    made.alert(alert)
    made.saved(4)
    made.enter(PairState.ALONE, "epoch 4 is durable")
    made.alert(alert)
    assert made.commands == [c.SendAlert(alert, 3, PairState.WAITING), c.SendAlert(alert, 4, PairState.ALONE)]
    assert made.reasons == ["WAITING -> ALONE: epoch 4 is durable"]


def test_an_alert_is_told_once_until_its_matter_is_in_order() -> None:
    """The memory outlives the draft: a later turn does not repeat the alert either."""
    told: set[str] = set()
    draft(told).once("store_failed", alerts.store_failed("no space"))
    later = draft(told)
    later.once("store_failed", alerts.store_failed("no space"))
    assert later.quiet
    later.in_order("store_failed", "never told")
    later.once("store_failed", alerts.store_failed("no space"))
    assert len(later.commands) == 1


def test_a_reset_says_why() -> None:
    """The reason stands in the journal, in the alert and in the command."""
    made = draft()
    made.reset("this node is fenced")
    assert made.reasons == ["this node is fenced"]
    assert made.decision().commands[-1] == c.ResetNode("this node is fenced")


def test_a_reset_comes_last_and_the_peer_hears_of_it_before() -> None:
    """Whatever is decided after it is done before it, and a heartbeat is sent in this turn."""
    made = draft()
    made.reset("this node is fenced")
    made.command(c.StartDomain(WEB))
    assert (made.urgent, made.ends) == (True, "this node is fenced")
    assert [type(command).__name__ for command in made.decision().commands] == ["SendAlert", "StartDomain", "ResetNode"]


def test_a_part_is_told_once_for_each_failure() -> None:
    """The first failure is an alert, another reason is a line, and so is nothing while all is well."""
    told: set[str] = set()
    draft = Draft(3, PairState.PAIRED, told)
    for problem in ("", "It is gone", "It is gone for good", "", "", "It is gone"):
        draft.part(NodePart.DEVICE, problem, "biz0")
    codes = [one.alert.code for one in draft.commands if isinstance(one, c.SendAlert)]
    assert codes == ["device_failed", "device_restored", "device_failed"]
    assert draft.reasons == [
        "It is gone.", "It is gone for good", "In order again on this node: device biz0.", "It is gone.",
    ]  # fmt: skip
    draft.part(NodePart.DEVICE, "It is gone", "priv0")
    assert len(draft.commands) == 4, "each has its own"

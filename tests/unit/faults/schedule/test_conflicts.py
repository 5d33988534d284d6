"""Proves which steps are refused together, and that the same steps one after the other are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from faults.fault import Trait
from faults.registry import kinds
from faults.schedule import conflicts
from faults.schedule.conflicts import PartialOrder, first_conflict
from faults.schedule.step import Step
from faults.schedule.trigger import Anchor, Milestone, Moment, Range, Trigger

SOON = Trigger(3.0)
EVENT = Trigger(0.0, None, Milestone("vm_running"), 60.0)


def step(
    name: str, fault: str, target: str = "a", when: Trigger = SOON, until: Trigger | None = None, **given: object
) -> Step:
    """A step, for ever when not told otherwise."""
    parameters: Mapping[str, object] = given
    return Step(name, fault, target, when, until, parameters)


def for_s(name: str, seconds: float) -> Trigger:
    """Until so long after the injection of a step."""
    return Trigger(seconds, Anchor(name))


def after(name: str, seconds: float = 1.0, moment: Moment = Moment.HEALED) -> Trigger:
    """After a moment of a step."""
    return Trigger(seconds, Anchor(name, moment), None, 60.0)


KILL = step("k", "node.kill")
HANG = step("h", "disk.hang", until=for_s("h", 5.0))
FREEZE = step("f", "node.freeze", until=for_s("f", 60.0))
CUT = step("c", "link.cut", "a.priv0", until=for_s("c", 10.0))
STOP = step("s", "witness.stop", "w1", until=for_s("s", 10.0))

TOGETHER = [
    (KILL, step("x", "link.cut", "a.priv0", Trigger(5.0)), "while a is off for ever, because it has no until"),
    (KILL, step("x", "disk.gone", "a", after("k", moment=Moment.CONFIRMED)), "or choose the other node"),
    (step("b", "power.cut_both", "a+b"), step("x", "node.pause", "b", Trigger(5.0)), "while b is off for ever"),
    (step("k", "power.cut", until=for_s("k", 60)), step("x", "node.pause", when=Trigger(5)), "off until it is healed"),
    (HANG, step("x", "node.pause", when=Trigger(90.0)), "wedges it"),
    (HANG, step("x", "power.shutdown", when=EVENT), "possible beside a hanging disk are node.freeze"),
    (step("p", "node.pause", until=for_s("p", 1)), step("h", "disk.hang", when=Trigger(90)), "wedges it"),
    (HANG, step("x", "power.cut", when=Trigger(5.0)), "releases the disk that h lets hang"),
    (FREEZE, step("x", "node.pause", when=EVENT), "may hold a at once"),
    (FREEZE, step("x", "power.reset", when=Trigger(5.0)), "a node that stands still cannot take part in it"),
    (FREEZE, step("x", "link.carrier_loss", "a.priv0", Trigger(5.0)), "comes while f (node.freeze) holds the node"),
    (FREEZE, step("x", "link.carrier_loss", "a.biz0", Trigger(5.0)), "while its process is stopped"),
    (CUT, step("x", "link.loss", "a.priv0", Trigger(5.0)), "are both on a.priv0 (in and out)"),
    (CUT, step("x", "link.cut_one_way", "a.priv0", EVENT, direction="out"), "are both on a.priv0 (out)"),
    (step("d", "disk.gone"), step("x", "disk.slow", when=EVENT), "are both on disk vdb of a"),
    (step("d", "disk.gone"), step("x", "disk.slow", when=EVENT, disk="vdb"), "the heal of one takes back the other"),
    (STOP, step("x", "witness.lost_storage", "w1", EVENT), "are both on witness w1"),
    (KILL, step("x", "node.kill", when=EVENT), "are the same fault (node.kill on a)"),
]
NOT_TOGETHER = [
    (KILL, step("x", "node.kill", "b", Trigger(5.0))),
    (KILL, step("x", "link.cut", "a.priv0", Trigger(1.0))),
    (KILL, step("x", "link.cut", "b.biz0", Trigger(5.0))),
    (step("k", "node.kill", until=EVENT), step("x", "link.cut", "a.priv0", after("k"))),
    (step("k", "node.kill", until=for_s("k", 60.0)), step("x", "disk.wrong_disk", when=Trigger(9.0), image="x")),
    (step("k", "node.kill", until=for_s("k", 60.0)), step("x", "link.cut", "a.priv0", Trigger(9.0))),
    (step("k", "node.kill", until=EVENT), step("x", "link.cut", "a.priv0", EVENT)),
    (step("k", "node.kill", until=replace(EVENT, of=Anchor("k"))), step("x", "node.pause", when=Trigger(5.0))),
    (HANG, step("x", "node.pause", when=after("h"))),
    (HANG, step("x", "node.pause", "b", Trigger(4.0))),
    (HANG, step("x", "node.freeze", when=Trigger(4.0))),
    (HANG, step("x", "node.kill", when=Trigger(4.0))),
    (HANG, step("x", "power.cut", when=Trigger(8.0))),
    (FREEZE, step("x", "node.pause", when=after("f"))),
    (FREEZE, step("x", "node.pause", when=Trigger(63.0))),
    (FREEZE, step("x", "power.reset", when=Trigger(1.0))),
    (FREEZE, step("x", "power.cut", when=Trigger(5.0))),
    (FREEZE, step("x", "link.cut", "a.priv0", Trigger(5.0))),
    (step("p", "node.pause"), step("x", "link.carrier_loss", "a.priv0", Trigger(5.0))),
    (CUT, step("x", "link.loss", "a.priv0", Trigger(13.0))),
    (CUT, step("x", "link.cut", "b.priv0", Trigger(3.0))),
    (
        step("c", "link.cut_one_way", "a.priv0", direction="in"),
        step("x", "link.cut_one_way", "a.priv0", direction="out"),
    ),
    (step("d", "disk.gone"), step("x", "disk.gone", disk="vdc")),
]


@pytest.mark.parametrize(("first", "second", "said"), TOGETHER, ids=[f"{a.fault}+{b.fault}" for a, b, _ in TOGETHER])
def test_steps_that_cannot_be_together_are_refused(first: Step, second: Step, said: str) -> None:
    """The refusal names both steps, the reason and what is possible."""
    reason = first_conflict([first, second])
    assert reason is not None
    assert said in reason
    assert first.name in reason
    assert second.name in reason


@pytest.mark.parametrize(("first", "second"), NOT_TOGETHER, ids=[f"{a.fault}+{b.fault}" for a, b in NOT_TOGETHER])
def test_steps_that_may_be_together_are_not_refused(first: Step, second: Step) -> None:
    """Another node, another port, another time, or one that waits for the other."""
    assert first_conflict([first, second]) is None


def test_the_order_in_the_file_is_not_the_order_in_time() -> None:
    """A step that stands later and strikes first is seen as the first one."""
    reason = first_conflict([step("x", "link.cut", "a.priv0", Trigger(5.0)), KILL])
    assert reason is not None
    assert "x (link.cut on a.priv0) comes while a is off for ever" in reason


def test_a_chain_of_waits_counts() -> None:
    """A step that waits for one that waits for the heal of a third is apart from the third."""
    middle = step("m", "link.cut", "b.biz0", after("h"), for_s("m", 1.0))
    assert first_conflict([HANG, middle, step("x", "node.pause", when=after("m", moment=Moment.INJECTED))]) is None
    follower = step("m", "link.cut", "b.biz0", after("h", moment=Moment.INJECTED), for_s("m", 1.0))
    assert first_conflict([HANG, follower, step("x", "node.pause", when=after("m"))]) is not None


def test_who_waits_for_a_heal_comes_after_the_beginning_too() -> None:
    """Without any known time, the chain alone says that the node is off by then."""
    kill = step("k", "node.kill", when=EVENT)
    middle = step("m", "link.cut", "b.biz0", after("k", moment=Moment.INJECTED), for_s("m", 1.0))
    reason = first_conflict([kill, middle, step("x", "link.cut", "a.priv0", after("m"))])
    assert reason is not None
    assert "while a is off for ever" in reason


def test_nobody_knows_how_long_a_proof_takes() -> None:
    """What counts from the proof of a fault may be later than its times say."""
    first = step("f", "link.cut", "b.biz0")
    proved = step("p", "link.cut", "a.priv0", after("f", moment=Moment.CONFIRMED), for_s("p", 1.0))
    timed = step("p", "link.cut", "a.priv0", Trigger(1.0, Anchor("f"), None, 60.0), for_s("p", 1.0))
    later = step("x", "link.loss", "a.priv0", Trigger(100.0))
    assert first_conflict([first, proved, later]) is not None
    assert first_conflict([first, timed, later]) is None


def test_a_heal_that_waits_for_another_heal_counts() -> None:
    """What is over at the heal of a step is over for everybody who waits for that heal."""
    longer = step("m", "link.cut", "b.biz0", until=after("h"))
    assert first_conflict([HANG, longer, step("x", "node.pause", when=after("m"))]) is None


def test_what_a_template_may_draw_counts() -> None:
    """Two ranges that can meet are taken to meet where that matters."""
    apart = step("x", "link.loss", "a.priv0", Trigger(Range(13.0, 20.0)))
    close = step("x", "link.loss", "a.priv0", Trigger(Range(12.0, 20.0)))
    assert first_conflict([CUT, apart]) is None
    assert first_conflict([CUT, close]) is not None


def test_certainty_needs_a_certain_order() -> None:
    """Of two events nobody knows the order, so neither certainly comes during the other."""
    order = PartialOrder(
        [KILL, step("x", "link.cut", "a.priv0", EVENT), step("y", "link.cut", "b.priv0", Trigger(9.0))]
    )
    assert not order.during(KILL, step("x", "link.cut", "a.priv0", EVENT))
    assert order.during(KILL, step("y", "link.cut", "b.priv0", Trigger(9.0)))


def test_every_rule_bites_somewhere() -> None:
    """A trait that no fault has, or a family that does not exist, would be a rule that never bites."""
    assert {trait for kind in kinds().values() for trait in kind.traits} == set(Trait)
    assert {kind.family for kind in kinds().values()} >= conflicts.POSSIBLE_FAMILIES

"""Proves that every fault is known by name with all that a file can say of it, and that nothing else is made."""

from __future__ import annotations

import re

import pytest

from faults import registry
from faults.kinds.link.cut import FAULTS as LINK_FAULTS
from faults.kinds.link.cut import CutOneWay
from faults.kinds.node.power import PowerCut
from faults.registry import build, check, find, kind_of, kinds, step_seed
from testbed import pace
from testbed.errors import UsageError
from testbed.switch.client import Direction


def test_every_fault_can_be_listed() -> None:
    """Each fault has a name in the words of the world, a sentence and readable parameters."""
    assert len(kinds()) == sum(len(family) for family in registry.FAMILIES)
    assert {kind.name for kind in map(kind_of, LINK_FAULTS)} <= kinds().keys()
    for name, kind in kinds().items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
        assert kind.summary.endswith(".")
        assert len(kind.summary.split()) >= 3
        assert not {"target", "self"} & {parameter.name for parameter in kind.parameters}


def test_what_a_kind_says_of_itself() -> None:
    """Needs, targets and chance are known before anything is made."""
    assert find("disk.gone").needs == ("nbdkit",)
    assert find("link.cut").target.startswith("port")
    assert find("power.cut_both").target.startswith("pair")
    assert find("node.kill").target.startswith("node")
    assert find("power.cut").takes_seed
    assert not find("node.kill").takes_seed


def test_a_fault_is_made_with_its_own_types() -> None:
    """Words of a file become the values that the constructor wants."""
    fault = build("link.cut_one_way", "a.priv0", {"direction": "out", "window_s": 1}, seed=5)
    assert isinstance(fault, CutOneWay)
    assert (fault.target, fault.direction, fault.window_s) == ("a.priv0", Direction.OUT, 1.0)


def test_a_seed_that_is_not_given_is_filled_in() -> None:
    """Chance always has a seed, and one that is given is kept."""
    filled = build("power.cut", "a", {}, seed=5)
    given = build("power.cut", "a", {"seed": 6}, seed=5)
    assert isinstance(filled, PowerCut)
    assert isinstance(given, PowerCut)
    assert (filled.seed, given.seed) == (5, 6)
    assert check("power.cut", {})["seed"] == 0


def test_the_seed_of_a_step_is_its_own() -> None:
    """The same schedule gives the same seeds, another step or another seed gives others."""
    assert step_seed(1, 1) == step_seed(1, 1)
    assert len({step_seed(seed, number) for seed in (1, 2) for number in (1, 2, 3)}) == 6


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("link.cutt", {}, "There is no fault 'link.cutt' (did you mean link.cut"),
        ("link.cutt", {}, "possible are link.carrier_loss, link.cut,"),
        ("nothing", {}, "possible are link.carrier_loss"),
        ("link.cut", {"seed": 1}, "link.cut has no parameter 'seed'"),
        ("link.cut", {"direction": "up"}, "direction must be in, out, both, not 'up'"),
        ("disk.metadata_error", {"disk": "vdb"}, "disk.metadata_error needs offset and length"),
        ("power.cut", {"keep": "all"}, "keep must be float"),
        ("power.flicker", {"times": 0}, "power.flicker refuses its parameters {'times': 0}"),
    ],
)
def test_what_is_not_possible_is_refused(name: str, parameters: dict[str, object], said: str) -> None:
    """Each refusal names what there is instead."""
    with pytest.raises(UsageError) as refused:
        build(name, "a", parameters, seed=1)
    assert said in str(refused.value)


def test_times_of_faults_follow_the_dilation_and_rates_go_the_other_way() -> None:
    """Defaults and what a schedule gives alike; jumps of a clock and limits of waits stay, and so do other numbers."""

    def made(name: str, target: str, **given: object) -> dict[str, object]:
        with pace.use(4.0):
            return vars(build(name, target, given, seed=1))

    assert made("node.stale_burst", "a")["freeze_s"] == 20.0
    flap = made("link.flap", "a.priv0", down_s=1.5)
    assert (flap["down_s"], flap["up_s"]) == (6.0, 8.0)
    assert made("link.rate_limit", "a.priv0", bits_per_s=1e6)["bits_per_s"] == 2.5e5
    assert made("process.stop_for", "a/daemon", seconds=3.0)["seconds"] == 12.0
    assert made("clock.jump", "a", by_s=60.0)["by_s"] == 60.0
    assert made("load.cpu", "a", processes=3)["processes"] == 3


TARGET_OF = {"link": "a.priv0", "process": "a/daemon", "guest": "web", "witness": "w1"}


@pytest.mark.parametrize("dilation", [2.0, 4.0, 8.0])
def test_every_fault_can_be_made_at_every_dilation(dilation: float) -> None:
    """No limit of a parameter refuses what `auto` may make of a default."""
    seen = 0
    for kind in kinds().values():
        if any(item.required for item in kind.parameters):
            continue
        target = "host" if kind.name == "load.host" else TARGET_OF.get(kind.family, "a")
        with pace.use(dilation):
            build(kind.name, "a+b" if kind.breaks_both else target, {}, seed=1)
        seen += 1
    assert seen > 40

"""Proves that every fault is known by name with all that a file can say of it, and that nothing else is made.

Also that a target is one that the bed has, and that roles become nodes wherever they stand.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

import faults.kinds
from faults.fault import Aim, Proof, Trait
from faults.kinds.link.cut import FAULTS as LINK_FAULTS
from faults.kinds.link.cut import CutOneWay
from faults.kinds.node.power import PowerCut
from faults.life import Life
from faults.registry import FaultKind, build, check, find, kind_of, kinds, nodes_of, resolve_target, step_seed
from faults.run import director
from faults.schedule.schedule import parse
from faults.verbs.schedule import table
from testbed import pace
from testbed.bed import Bed
from testbed.errors import UsageError
from testbed.history import History
from testbed.switch.client import Direction
from testbed.topology import Topology

TWO_WITNESSES = Topology(witnesses=2)
ROLES = {"primary": "b", "backup": "a"}


def test_every_fault_can_be_listed() -> None:
    """Each fault has a name in the words of the world, a sentence and readable parameters."""
    assert {kind.name for kind in map(kind_of, LINK_FAULTS)} <= kinds().keys()
    for name, kind in kinds().items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
        assert kind.summary.endswith(".")
        assert len(kind.summary.split()) >= 3
        assert not {"target", "self"} & {parameter.name for parameter in kind.parameters}


def test_what_a_kind_says_of_itself() -> None:
    """Needs, targets and chance are known before anything is made."""
    assert find("disk.gone").needs == ("nbdkit",)
    assert find("link.cut").aim is find("link.storm").aim is Aim.PORT
    assert find("power.cut_both").aim is find("clock.apart").aim is Aim.PAIR
    assert find("node.kill").aim is Aim.NODE
    assert Trait.SWITCHES_OFF in find("node.kill").traits
    assert find("link.cut").traits == frozenset()
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
    assert check("power.cut", "a", {}, Topology()).takes_seed


def test_the_seed_of_a_step_is_its_own() -> None:
    """The same schedule gives the same seeds, another step or another seed gives others."""
    assert step_seed(1, 1) == step_seed(1, 1)
    assert len({step_seed(seed, number) for seed in (1, 2) for number in (1, 2, 3)}) == 6


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("link.cutt", {}, "There is no fault 'link.cutt' (did you mean link.cut"),
        ("link.cutt", {}, "possible are link.carrier_loss, link.cut,"),
        ("nothing", {}, "possible are clock.jump"),
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


TARGET_OF = {
    Aim.NODE: "a",
    Aim.PAIR: "a+b",
    Aim.PORT: "a.priv0",
    Aim.PROCESS: "a/daemon",
    Aim.VM: "web",
    Aim.WITNESS: "w1",
    Aim.HOST: "host",
}


@pytest.mark.parametrize("dilation", [2.0, 4.0, 8.0])
def test_every_fault_can_be_made_at_every_dilation(dilation: float) -> None:
    """No limit of a parameter refuses what `auto` may make of a default."""
    seen = 0
    for kind in kinds().values():
        if any(item.required for item in kind.parameters):
            continue
        with pace.use(dilation):
            build(kind.name, TARGET_OF[kind.aim], {}, seed=1)
        seen += 1
    assert seen > 40


def test_no_fault_is_forgotten() -> None:
    """Each class below `faults/kinds` that has a name of its own and no underscore can be ordered by that name."""
    named = set()
    for path in Path(faults.kinds.__path__[0]).rglob("*.py"):
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(part, ast.ClassDef) and not part.name.startswith("_"):
                named |= {name for name in map(_name_of, part.body) if name}
    assert named == set(kinds())


def _name_of(part: ast.stmt) -> str:
    """The name of a fault that a line of its class gives: `name = "x.y"`, or the default of a field."""
    targets = [part.target] if isinstance(part, ast.AnnAssign) else part.targets if isinstance(part, ast.Assign) else []
    if [target.id for target in targets if isinstance(target, ast.Name)] != ["name"]:
        return ""
    texts = [one.value for one in ast.walk(part) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return texts[0] if texts else ""


def aimed_at(aim: Aim) -> FaultKind:
    """Stand in for a fault that is aimed at this."""
    return FaultKind("x.y", "It breaks.", (), (), find("node.kill").make, aim)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("link.cut", "primary.priv0"),
        ("link.cut", "b.biz0"),
        ("link.cut", "client.biz0"),
        ("disk.gone", "backup"),
        ("node.kill", "a"),
        ("power.cut_both", "a+b"),
        ("link.cut", "witness1.biz0"),
        ("witness.stop", "w2"),
        ("power.cut_both", "backup+primary"),
    ],
)
def test_targets_of_the_bed_are_accepted(name: str, target: str) -> None:
    """Nodes, roles and ports are targets."""
    check(name, target, {}, TWO_WITNESSES)


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("link.cut", "a", "link.cut breaks a port (a.priv0, primary.biz0); there is no 'a'; possible are prim"),
        ("link.cut", "primary.eth0", "there is no 'primary.eth0'"),
        ("node.kill", "c", "possible are primary, backup, a, b."),
        ("node.kill", "a+b", "there is no 'a+b'"),
        ("power.cut_both", "a", "power.cut_both breaks a pair"),
        ("power.cut_both", "a+backup", "there is no 'a+backup'"),
        ("witness.stop", "a", "witness.stop breaks a witness (w1); there is no 'a'; possible are w1, w2."),
        ("disk.gone", ["a"], "there is no ['a']"),
    ],
)
def test_other_targets_are_refused(name: str, target: object, said: str) -> None:
    """The refusal names what is possible."""
    with pytest.raises(UsageError) as refused:
        check(name, target, {}, TWO_WITNESSES)
    assert said in str(refused.value)


def test_each_aim_has_its_targets() -> None:
    """What runs in a node, the VM and the host are targets of the faults that say so."""
    bed = Topology()
    assert "primary/daemon" in aimed_at(Aim.PROCESS).targets(bed)
    assert aimed_at(Aim.VM).targets(bed) == ("web",)
    assert aimed_at(Aim.HOST).targets(bed) == find("load.host").targets(bed) == ("host",)
    assert "host" not in find("load.cpu").targets(bed)
    assert all(aimed_at(aim).targets(bed) for aim in Aim)


def test_the_topology_says_which_vms_networks_and_witnesses_are_targets() -> None:
    """Others are refused with the list."""
    large = Topology(networks=3, vms=2, witnesses=0)
    for name, target in (("guest.crash", "web1"), ("link.cut", "primary.biz2"), ("link.cut", "client.biz1")):
        check(name, target, {}, large)
    for name, target, bed, said in (
        ("guest.crash", "web1", Topology(), "there is no 'web1'; possible are web."),
        ("guest.crash", "web2", large, "possible are web, web1."),
        ("link.cut", "primary.biz1", Topology(), "there is no 'primary.biz1'"),
        ("witness.stop", "w2", Topology(), "possible are w1."),
        ("witness.stop", "w1", large, "possible are none."),
    ):
        with pytest.raises(UsageError) as refused:
            check(name, target, {}, bed)
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("target", "resolved"),
    [
        ("primary", "b"),
        ("backup.priv0", "a.priv0"),
        ("primary/daemon", "b/daemon"),
        ("primary+backup", "b+a"),
        ("a.priv0", "a.priv0"),
        ("client.biz0", "client.biz0"),
        ("web", "web"),
        ("w1", "w1"),
        ("witness1.biz0", "witness1.biz0"),
    ],
)
def test_roles_become_nodes(target: str, resolved: str) -> None:
    """Names of nodes stay as they are."""
    assert resolve_target(target, ROLES) == resolved


def test_a_role_that_nobody_has_is_refused() -> None:
    """Without a primary nothing can be done to it."""
    with pytest.raises(UsageError, match="There is no primary now"):
        resolve_target("primary.priv0", {})


def test_a_target_belongs_to_its_nodes() -> None:
    """Conflicts are looked for node by node."""
    assert nodes_of("a.priv0") == {"a"}
    assert nodes_of("primary/daemon") == {"primary"}
    assert nodes_of("a+b") == {"a", "b"}
    assert nodes_of("web") == nodes_of("client.biz0") == frozenset()


NEW_FAULT = '''"""A fault that nobody has heard of."""

from faults.fault import Aim, Proof, Trait


class CableStolen:
    """Somebody takes the cable home."""

    name = "cable.stolen"
    aim = Aim.PORT
    traits = frozenset({Trait.NEEDS_QMP})

    def __init__(self, target: str, *, length_m: float = 2.0) -> None:
        self.target = target
        self.length_m = length_m

    async def prepare(self, bed):
        """Look at it."""

    async def inject(self, bed):
        """Take it."""

    async def confirm(self, bed):
        """It is not there."""
        return Proof.of(True, 1.0, {"length_m": self.length_m})

    async def heal(self, bed):
        """Bring it back."""


FAULTS = (CableStolen,)
'''


@pytest.fixture
def new_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more file beside the faults there are."""
    (tmp_path / "cable.py").write_text(NEW_FAULT, encoding="utf-8")
    monkeypatch.setattr(faults.kinds, "__path__", [*faults.kinds.__path__, str(tmp_path)])
    kinds.cache_clear()
    yield
    sys.modules.pop("faults.kinds.cable", None)
    kinds.cache_clear()


def test_a_new_fault_is_one_file(new_family: None) -> None:
    """It is found by its name, listed, checked in schedules with its targets and conflicts, made, and lives."""
    kind = find("cable.stolen")
    assert (kind.summary, kind.family, kind.aim) == ("Somebody takes the cable home.", "cable", Aim.PORT)
    assert "cable.*  target: port" in table([kind], [])
    header = '{"schema": "testbed.schedule/1", "scenario": "x", "seed": 1}'
    line = '{"name": "theft", "fault": "cable.stolen", "target": "a.priv0", "when": {"after_s": 5}, "with": {}}'
    longer = line.replace("{}", '{"length_m": 3}')
    (act,) = director.build(parse(f"{header}\n{longer}\n"))
    frozen = '{"name": "f", "fault": "node.freeze", "target": "a", "when": {"after_s": 1}, "until": {"after_s": 9}}'
    with pytest.raises(UsageError, match=r"theft \(cable.stolen on a.priv0\) comes while f \(node.freeze\) holds"):
        parse(f"{header}\n{frozen}\n{line}\n")
    with pytest.raises(UsageError, match=r"cable.stolen breaks a port .* there is no 'a'"):
        parse(f"{header}\n{line.replace('a.priv0', 'a')}\n")

    async def story() -> Proof:
        async with Life(act.fault, cast("Bed", SimpleNamespace(history=History()))) as life:
            return await life.prove()

    assert asyncio.run(story()).evidence == {"length_m": 3.0}

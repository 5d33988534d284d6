"""Proves that a target is one that the bed has, and that roles become nodes wherever they stand."""

from __future__ import annotations

import pytest

from faults.fault import Aim
from faults.registry import FaultKind, find
from faults.targets import check_target, nodes_of, possible_targets, resolve_target
from testbed.errors import UsageError
from testbed.topology import Topology

TWO_WITNESSES = Topology(witnesses=2)
ROLES = {"primary": "b", "backup": "a"}


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
    check_target(target, find(name), TWO_WITNESSES)


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
        check_target(target, find(name), TWO_WITNESSES)
    assert said in str(refused.value)


def test_each_aim_has_its_targets() -> None:
    """What runs in a node, the VM and the host are targets of the faults that say so."""
    bed = Topology()
    assert "primary/daemon" in possible_targets(aimed_at(Aim.PROCESS), bed)
    assert possible_targets(aimed_at(Aim.VM), bed) == ("web",)
    assert possible_targets(aimed_at(Aim.HOST), bed) == possible_targets(find("load.host"), bed) == ("host",)
    assert "host" not in possible_targets(find("load.cpu"), bed)
    assert all(possible_targets(aimed_at(aim), bed) for aim in Aim)


def test_the_topology_says_which_vms_networks_and_witnesses_are_targets() -> None:
    """Others are refused with the list."""
    large = Topology(networks=3, vms=2, witnesses=0)
    for name, target in (("guest.crash", "web1"), ("link.cut", "primary.biz2"), ("link.cut", "client.biz1")):
        check_target(target, find(name), large)
    for name, target, bed, said in (
        ("guest.crash", "web1", Topology(), "there is no 'web1'; possible are web."),
        ("guest.crash", "web2", large, "possible are web, web1."),
        ("link.cut", "primary.biz1", Topology(), "there is no 'primary.biz1'"),
        ("witness.stop", "w2", Topology(), "possible are w1."),
        ("witness.stop", "w1", large, "possible are none."),
    ):
        with pytest.raises(UsageError) as refused:
            check_target(target, find(name), bed)
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

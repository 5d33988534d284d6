"""The gate of the lease on a real bridge in a private network, with the kernel's own program and clock."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from pathlib import Path

from avance.adapters.gate import LeaseGate, instructions, uplinks_of
from tests.unit.avance.adapters.lan import lan

VMS = ["vm ipv4", "vm ipv6", "vm arp"]
SERVICE = ["service ipv4", "service arp"]
OWN = ["own ipv4", "own arp", "own probe", "own ipv6"]


def test_everything_passes_while_the_right_lasts() -> None:
    """Without an end, and before it, no frame is held back."""
    assert lan()["gate"]["absent"] == lan()["gate"]["no end"] == lan()["gate"]["later"] == VMS + SERVICE + OWN


def test_only_the_nodes_own_traffic_passes_afterwards() -> None:
    """What VMs and the service address send stays here; heartbeats and the node's own questions go out."""
    assert lan()["gate"]["never"] == OWN


def test_it_closes_by_itself() -> None:
    """Nobody has to do anything at the end of the lease: the next frame is held back."""
    assert lan()["gate"]["in time"] == ["vm ipv4"]
    assert lan()["gate"]["too late"] == []


def test_it_is_on_the_uplink_only_and_replaces_itself() -> None:
    """The outside port of the bridge is guarded, not the domain's; a second daemon takes it over."""
    assert lan()["gate"]["guarded"] == ["eth1"]
    assert lan()["gate"]["problem"] is None


def test_it_is_not_put_in_place_without_an_end() -> None:
    """A gate that has never heard of a lease would hold everything back; it says so instead."""
    assert lan()["gate"]["no end yet"] == "the lease has no end to compare with yet"


def test_missing_network_is_told(tmp_path: Path) -> None:
    """No device is behind the network: nothing is guarded, and the status can say why."""
    gate = LeaseGate(["biz0"], IPv4Address("10.77.0.10"), lambda device, program: None, tmp_path)
    gate.open_until(None)
    asyncio.run(gate.attach())
    assert gate.problem is not None
    assert gate.guarded == ()


def test_uplinks_are_the_ports_but_the_domains(tmp_path: Path) -> None:
    """Of a bridge its ports without the back ends; a plain device is its own uplink; an absent one has none."""
    for port in ("eth1", "bond0", "vif3.0"):
        (tmp_path / "biz0" / "brif" / port).mkdir(parents=True)
    (tmp_path / "eth2").mkdir()
    assert uplinks_of("biz0", tmp_path) == ["bond0", "eth1"]
    assert uplinks_of("eth2", tmp_path) == ["eth2"]
    assert uplinks_of("eth9", tmp_path) == []


def test_jumps_stay_in_the_program() -> None:
    """Whole instructions; two own addresses make it longer by the comparison of one."""
    one = instructions(3, [b"\x02" + bytes(5)], IPv4Address("10.77.0.10"))
    two = instructions(3, [b"\x02" + bytes(5), b"\x04" + bytes(5)], IPv4Address("10.77.0.10"))
    assert len(one) % 8 == 0
    assert len(two) - len(one) == 4 * 8

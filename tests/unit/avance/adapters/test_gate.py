"""The gate of the lease: what it guards, and the program that it gives to the kernel."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from pathlib import Path

from avance.adapters.gate import LeaseGate, instructions, uplinks_of


def test_missing_network_is_told(tmp_path: Path) -> None:
    """No device is behind the network: nothing is guarded, and the status can say why."""
    gate = LeaseGate(["biz0"], IPv4Address("10.77.0.10"), lambda device, program: None, lambda device: True, tmp_path)
    gate.open_until(None)
    asyncio.run(gate.keep())
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

"""The gate of the lease: what it guards, and the program that it gives to the kernel."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from avance.adapters.gate import LeaseGate, instructions


def test_missing_network_is_told(tmp_path: Path) -> None:
    """No device is behind the network: nothing is guarded, and the status can say why."""
    gate = LeaseGate(["biz0"], IPv4Address("10.77.0.10"), lambda device, program: None, lambda device: True, tmp_path)
    gate.open_until(None)
    asyncio.run(gate.keep())
    assert gate.problem is not None
    assert gate.guarded == ()


def test_jumps_stay_in_the_program() -> None:
    """Whole instructions; two own addresses make it longer by the comparison of one."""
    one = instructions(3, [b"\x02" + bytes(5)], IPv4Address("10.77.0.10"))
    two = instructions(3, [b"\x02" + bytes(5), b"\x04" + bytes(5)], IPv4Address("10.77.0.10"))
    assert len(one) % 8 == 0
    assert len(two) - len(one) == 4 * 8


@pytest.mark.parametrize(("there", "devices"), [(False, ("eth1",)), (True, ("eth1", "eth2"))])
def test_gate_that_vanished_is_put_back(tmp_path: Path, there: bool, devices: tuple[str, ...]) -> None:
    """A filter that is gone, or a device that is new: it is put there again, or it is said why not."""
    for device in devices:
        (tmp_path / device).mkdir()
        (tmp_path / device / "address").write_text("02:00:00:00:00:01\n")
    put: list[str] = []
    gate = LeaseGate(
        devices, IPv4Address("10.77.0.10"), lambda device, _: put.append(device), lambda _: there, tmp_path
    )
    gate.open_until(None)
    gate.problem, gate.guarded = None, ("eth1",)  # as it was before
    asyncio.run(gate.keep())
    assert put == [*devices] or gate.problem, "without the rights of root the kernel takes no program"


def test_gate_in_place_is_left_alone(tmp_path: Path) -> None:
    """A look costs no new program."""
    (tmp_path / "eth1").mkdir()
    gate = LeaseGate(["eth1"], IPv4Address("10.77.0.10"), lambda device, program: None, lambda _: True, tmp_path)
    gate.problem, gate.guarded = None, ("eth1",)
    asyncio.run(gate.keep())
    assert gate.problem is None

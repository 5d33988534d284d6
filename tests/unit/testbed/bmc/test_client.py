"""Proves the IPMI client: what counts as a reading, and that silence and refusal are errors."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from testbed.bmc.client import IpmiFailed, Reading, parse_reading, reading_command
from tests.unit.testbed.bmc.bmc_bench import LampPower, bmc_bench

needs_sim = pytest.mark.skipif(
    not (shutil.which("ipmi_sim") and shutil.which("ipmitool")), reason="ipmi_sim or ipmitool is not installed"
)


@pytest.mark.parametrize(
    ("sensor", "text", "expected"),
    [
        ("Fan 1", " 64 c0 00 00\n", Reading(6000, 0)),
        ("Fan 1", " 00 c0 c3 00\n", Reading(0, 0b11)),  # the two highest bits mean nothing
        ("PSU 2", " 00 c0 03 80\n", Reading(0, 0b11)),
        ("Memory", " 02 c0 02\n", Reading(0, 0b10)),
    ],
)
def test_the_bytes_of_a_reading(sensor: str, text: str, expected: Reading) -> None:
    """Value in the sensor's unit, and its states."""
    assert parse_reading(sensor, text) == expected


@pytest.mark.parametrize(("text", "what"), [("", "no reading"), ("Unable to", "no reading"), ("00 e0 00", "cannot be")])
def test_what_is_no_reading_is_an_error(text: str, what: str) -> None:
    """Silence is not zero, nor is a sensor that has not been polled yet."""
    with pytest.raises(IpmiFailed, match=what):
        parse_reading("Fan 1", text)


def test_a_reading_is_one_raw_command() -> None:
    """The same words work in the node."""
    assert reading_command("CPU Temp") == ["raw", "0x04", "0x2d", "0x05"]


@needs_sim
def test_a_client_asks_over_the_switch() -> None:
    """Status, reading and ping; a command that the BMC refuses is an error with its reason."""

    async def scenario() -> None:
        lamp = LampPower()
        async with bmc_bench(lamp) as bench, bench.asker() as client:
            assert await client.ping(5) is not None
            assert await client.power_is_on()
            lamp.on = False
            assert not await client.power_is_on()
            assert await client.reading("Fan 1") == Reading(6000, 0)
            with pytest.raises(IpmiFailed, match="failed with code 1"):
                await client.command("chassis", "power", "diag")
            await bench.bmc.lose_power()
            assert await client.ping(0.1) is None

    asyncio.run(asyncio.wait_for(scenario(), 60))

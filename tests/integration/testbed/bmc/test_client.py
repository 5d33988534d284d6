"""Proves the IPMI client with the real ipmitool and ipmi_sim, over the switch."""

from __future__ import annotations

import asyncio

import pytest

from testbed.bmc.client import IpmiFailed, SensorReading
from tests.unit.testbed.bmc.bmc_bench import LampPower, bmc_bench


def test_a_client_asks_over_the_switch() -> None:
    """Status, reading and ping; a command that the BMC refuses is an error with its reason."""

    async def scenario() -> None:
        lamp = LampPower()
        async with bmc_bench(lamp) as bench, bench.asker() as client:
            assert await client.ping(5) is not None
            assert await client.power_is_on()
            lamp.on = False
            assert not await client.power_is_on()
            assert await client.reading("Fan 1") == SensorReading(6000, 0)
            with pytest.raises(IpmiFailed, match="failed with code 1"):
                await client.command("chassis", "power", "diag")
            await bench.bmc.lose_power()
            assert await client.ping(0.1) is None

    asyncio.run(asyncio.wait_for(scenario(), 60))

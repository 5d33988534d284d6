"""Proves a BMC with the real ipmi_sim: who may sign on, and who may know the password."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from testbed.bmc.client import IpmiClient, IpmiFailed
from testbed.errors import MachineError
from tests.unit.testbed.bmc.bmc_bench import BMC_IP, LampPower, bmc_bench


def test_another_user_signs_on() -> None:
    """The BMC knows the new one and no other; a restored node finds the one that it was told of."""

    async def scenario() -> None:
        async with bmc_bench(LampPower()) as bench:
            old = (bench.bmc.user, bench.bmc.password)
            await bench.bmc.sign_on("somebody", "else")
            async with bench.asker() as client:
                assert await client.power_is_on()
            async with IpmiClient(bench.client, BMC_IP, user=old[0], password=old[1]) as client:
                with pytest.raises(IpmiFailed):
                    await client.power_is_on()

    asyncio.run(scenario())


def test_nothing_but_the_private_directory_has_the_password() -> None:
    """It is in no command line and no artefact, and nobody else can read its file; without it the BMC says why."""

    async def scenario() -> None:
        async with bmc_bench(LampPower()) as bench:
            bmc = bench.bmc
            secret = bmc.password.encode()
            configuration = bench.directory / "a-bmc.conf"
            assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
            assert secret in configuration.read_bytes()
            async with bench.asker() as client:
                assert await client.power_is_on()
            artefacts = [path for path in (bench.directory / "run").rglob("*") if path.is_file()]
            assert {"commands", "ipmi_sim.log"} <= {path.name for path in artefacts}
            assert not [path for path in artefacts if secret in path.read_bytes()]
            assert bmc.pid is not None
            assert secret not in Path(f"/proc/{bmc.pid}/cmdline").read_bytes()
            await bmc.lose_power()
            configuration.unlink()
            with pytest.raises(MachineError, match=r"The BMC of node a ended with code 1: .*Unable to open"):
                await bmc.get_power()
            assert bmc.pid is None

    asyncio.run(asyncio.wait_for(scenario(), 30))

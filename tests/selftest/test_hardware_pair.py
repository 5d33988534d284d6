"""The BMC on the real pair: a restored node reads its own sensors, and its peer really switches it off."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.hardware.bmc import runs
from faults.kinds.hardware.sensors import FanStopped, read_in_node
from faults.life import Life
from testbed.bed import Session
from testbed.site import SiteOptions
from testbed.wait import wait_until

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(shutil.which("ipmi_sim") is None, reason="ipmi_sim is not installed"),
    pytest.mark.skipif(shutil.which("ipmitool") is None, reason="ipmitool is not installed"),
]


PAIR_TIMEOUT_S = 60.0
PASSWORD_FILE = "/run/bmc-password"


@dataclass(frozen=True)
class _Story:
    sensors: str
    fan: Proof
    blind_s: float
    later: str
    says: list[str]
    was_on: bool
    is_on: bool
    process_runs: bool


async def _pair_story(out: Path) -> _Story:
    async with Session(out, SiteOptions()) as session:
        await session.protect()
        bed = session.bed
        node, bmc = bed.nodes["a"], bed.bmcs["a"]
        guest, peer = node.machine.guest, bed.nodes["b"].machine.guest
        sensors = await guest.must_succeed(["ipmitool", "-c", "sdr", "elist"], timeout_s=PAIR_TIMEOUT_S)
        fan = FanStopped("a")
        life = Life(fan, bed)
        proof = await life.prove()
        await life.heal()
        await bmc.lose_power()
        assert await read_in_node(bed, "a", "Fan 1") is None, "a dead BMC was read"
        await bmc.get_power()
        since_s = time.monotonic()

        async def read_again() -> bool:
            return await read_in_node(bed, "a", "Fan 1") is not None

        await wait_until(read_again, what="node a to read its sensors again", timeout_s=PAIR_TIMEOUT_S)
        blind_s = time.monotonic() - since_s
        later = await guest.must_succeed(["ipmitool", "-c", "sdr", "elist"], timeout_s=PAIR_TIMEOUT_S)

        await peer.write_file(PASSWORD_FILE, bmc.password.encode())
        ask = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", bmc.address, "-U", bmc.user, "-f", PASSWORD_FILE]
        was_on, pid = node.is_on, node.machine.pid
        says = [
            await peer.must_succeed([*ask, "chassis", "power", word], timeout_s=PAIR_TIMEOUT_S)
            for word in ("status", "off", "status")
        ]
        return _Story(sensors, proof, blind_s, later, says, was_on, node.is_on, runs(pid, "qemu"))


@pytest.mark.timeout(2400)  # most of it when there is no snapshot yet
def test_a_restored_node_reads_its_sensors_and_its_peer_switches_it_off(tmp_path: Path) -> None:
    """The whole chain on the real pair: Linux under Xen, its interface to the BMC, the peer's ipmitool, a dead QEMU."""
    story = asyncio.run(_pair_story(tmp_path / "run"))
    for sensors in (story.sensors, story.later):
        assert "Fan 1,6000,RPM,ok" in sensors
        assert "PSU 2" in sensors
    assert story.fan.verdict is FaultVerdict.CONFIRMED, story.fan.evidence
    assert story.fan.evidence["node_now"] == {"value": 0, "over_limits": ["lower_warning", "lower_critical"]}
    assert [text.strip().rpartition(" ")[2] for text in story.says] == ["on", "Down/Off", "off"]
    assert (story.was_on, story.is_on, story.process_runs) == (True, False, False)

"""Faults of a node's hardware, as its BMC tells of them. The faults of the BMC itself are in `bmc` beside it.

A fault here changes what a sensor of the BMC reads, and nothing else: no fan stands still, no bit flips, no node gets
slower. It is believed when a client that asks the BMC over the network reads it, and where the node runs Linux also
when the node reads the same through its own interface. It must never trust the file by which it was ordered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

from faults.fault import Proof
from testbed.bed import Bed
from testbed.bmc.bmc import Bmc
from testbed.bmc.client import IpmiClient, IpmiFailed, SensorReading, parse_reading, reading_command
from testbed.bmc.sensors import CORRECTABLE, FAILED, PRESENT, SENSORS, STATES, UNCORRECTABLE
from testbed.errors import MachineError, UsageError, WaitTimeout
from testbed.wait import wait_until

SEEN_TIMEOUT_S = 3.0  # a BMC polls its sensors each 0.1 s
NODE_TIMEOUT_S = 20.0  # ipmitool in an emulated node
NODE_DEVICE = "/dev/ipmi0"


def bmc_of(bed: Bed, node: str) -> Bmc:
    """Return the BMC of a node; raises UsageError when there is none."""
    if node not in bed.nodes:
        raise UsageError(f"there is no node {node!r}; there are: {', '.join(sorted(bed.nodes))}")
    bmcs: Mapping[str, Bmc] = getattr(bed, "bmcs", {})
    if node not in bmcs:
        raise UsageError(f"node {node} has no BMC; a fault of its hardware needs one")
    return bmcs[node]


def client_of(bed: Bed, node: str) -> IpmiClient:
    """Return a client of a node's BMC that asks from the client's port of the switch."""
    bmc = bmc_of(bed, node)
    return IpmiClient(bed.client, bmc.address, user=bmc.user, password=bmc.password)


async def read_over_lan(bed: Bed, node: str, sensor: str) -> SensorReading:
    """Read a sensor as another machine does."""
    async with client_of(bed, node) as client:
        return await client.reading(sensor)


async def read_in_node(bed: Bed, node: str, sensor: str) -> SensorReading | None:
    """Read a sensor as the node itself does, or None where no Linux with such an interface runs."""
    has_linux = getattr(bed, "image", None) is not None
    if not has_linux or not bed.nodes[node].is_on:
        return None
    guest = bed.nodes[node].machine.guest
    try:
        await guest.must_succeed(["test", "-c", NODE_DEVICE], timeout_s=NODE_TIMEOUT_S)
        text = await guest.must_succeed(["ipmitool", *reading_command(sensor)], timeout_s=NODE_TIMEOUT_S)
        return parse_reading(sensor, text)
    except (MachineError, IpmiFailed, WaitTimeout):
        return None


def _told(sensor: str, reading: SensorReading | None) -> dict[str, object] | None:
    if reading is None:
        return None
    limits = SENSORS[sensor].is_threshold
    names = [name for place, name in enumerate(STATES) if reading.states >> place & 1] if limits else []
    return {"value": reading.value, "over_limits": names} if limits else {"states": f"{reading.states:#06b}"}


class SensorFault:
    """What the faults of a sensor share: one sensor shows trouble, and the event log of the BMC says so too."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("ipmi_sim", "ipmitool")

    def __init__(self, target: str, sensor: str, value: int, states: int) -> None:
        self.target = target
        self.sensor = sensor
        self.value = value
        self.states = states  # those that must be set; they must not be set before
        self._injected_at_s: float | None = None
        self._before: SensorReading
        self._node_before: SensorReading | None = None
        self._events_before: list[str] = []

    async def prepare(self, bed: Bed) -> None:
        """Read the sensor, over the network and in the node, and the event log."""
        self._before = await read_over_lan(bed, self.target, self.sensor)
        self._node_before = await read_in_node(bed, self.target, self.sensor)
        async with client_of(bed, self.target) as client:
            self._events_before = await client.events()

    async def inject(self, bed: Bed) -> None:
        """Let the sensor show it."""
        bmc_of(bed, self.target).show(self.sensor, self.value)
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when a sensor that was well before is read as troubled from outside, and by the node if it can."""
        there = await self._becomes(bed, there=True)
        now = await read_over_lan(bed, self.target, self.sensor)
        in_node = await read_in_node(bed, self.target, self.sensor)
        async with client_of(bed, self.target) as client:
            events = await client.events()
        evidence: dict[str, object] = {
            "sensor": self.sensor,
            "lan_before": _told(self.sensor, self._before),
            "lan_now": _told(self.sensor, now),
            "node_before": _told(self.sensor, self._node_before),
            "node_now": _told(self.sensor, in_node),
            "new_events": [line for line in events[len(self._events_before) :] if self.sensor in line],
        }
        seen = there and (in_node is None or self._shows(in_node))
        return Proof.of(None if self._shows(self._before) else seen, self._injected_at_s, evidence)

    async def heal(self, bed: Bed) -> None:
        """Let the sensor read its normal value, and verify it from outside; raises WaitTimeout otherwise."""
        bmc_of(bed, self.target).set_normal(self.sensor)
        if not await self._becomes(bed, there=False):
            raise WaitTimeout(
                f"{self.sensor} of node {self.target} still shows the fault {SEEN_TIMEOUT_S:g} s after its heal."
            )

    def _shows(self, reading: SensorReading) -> bool:
        return reading.states & self.states == self.states

    async def _becomes(self, bed: Bed, *, there: bool) -> bool:
        async with client_of(bed, self.target) as client:

            async def as_wanted() -> bool:
                reading = await client.reading(self.sensor)
                return self._shows(reading) if there else not reading.states & self.states

            try:
                await wait_until(
                    as_wanted,
                    what=f"{self.sensor} of node {self.target}",
                    timeout_s=SEEN_TIMEOUT_S,
                    poll_s=0.05,
                    tolerate=(IpmiFailed,),
                )
            except WaitTimeout:
                return False
        return True


def _state(*names: str) -> int:
    return sum(1 << STATES.index(name) for name in names)


def _one_of_two(what: str, number: int) -> str:
    if number not in (1, 2):
        raise UsageError(f"a node has two of these, number 1 and 2: {what} {number} does not exist")
    return f"{what} {number}"


class FanStopped(SensorFault):
    """One of the two fans stands still, and the BMC says so; nothing gets warmer by it."""

    name = "hardware.fan_stopped"

    def __init__(self, target: str, *, fan: int = 1) -> None:
        super().__init__(target, _one_of_two("Fan", fan), 0, _state("lower_warning", "lower_critical"))


class PowerSupplyLost(SensorFault):
    """One of the two power supplies has failed, and the other one carries the node: it runs on, without redundancy."""

    name = "hardware.power_supply_lost"

    def __init__(self, target: str, *, supply: int = 1) -> None:
        super().__init__(target, _one_of_two("PSU", supply), PRESENT | FAILED, FAILED)
        self.other = f"PSU {3 - supply}"

    async def prepare(self, bed: Bed) -> None:
        """Refuse it when the other one has failed: a node without any supply is off, and this fault is none."""
        if (await read_over_lan(bed, self.target, self.other)).states & FAILED:
            raise UsageError(f"{self.other} of node {self.target} has failed already; to lose both is power.cut")
        await super().prepare(bed)


class Overheating(SensorFault):
    """A temperature is above its critical limit, of the processor (`cpu`) or of the air that comes in (`inlet`)."""

    name = "hardware.overheating"

    def __init__(self, target: str, *, where: str = "cpu", celsius: int = 95) -> None:
        sensor = {"cpu": "CPU Temp", "inlet": "Inlet Temp"}.get(where)
        if sensor is None:
            raise UsageError(f"there is no temperature of {where!r}; there are: cpu, inlet")
        limits = SENSORS[sensor].limits or {}
        least = limits["upper_critical"] + 1
        if not least <= celsius <= 0xFF:
            raise UsageError(f"{celsius} degrees are not overheating of {where}; possible are {least} to 255")
        super().__init__(target, sensor, celsius, _state("upper_warning", "upper_critical"))


class MemoryFault(SensorFault):
    """The BMC reports a memory error, corrected or not; no content of the node's memory has changed."""

    name = "hardware.memory_error"

    def __init__(self, target: str, *, correctable: bool = True) -> None:
        state = CORRECTABLE if correctable else UNCORRECTABLE
        super().__init__(target, "Memory", state, state)


FAULTS = (FanStopped, PowerSupplyLost, Overheating, MemoryFault)

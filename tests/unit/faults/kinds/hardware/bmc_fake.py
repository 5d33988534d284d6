"""A BMC and its client without a process: what the tests of the faults' judgement share."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Self, cast

from testbed.bed import Bed
from testbed.bmc.client import IpmiFailed, SensorReading
from testbed.bmc.sensors import SENSORS
from testbed.history import History
from tests.unit.testbed.bmc.bmc_bench import LampPower


@dataclass
class FakeBmc:
    """Reads what it was shown, and answers as it was told to."""

    power: LampPower = field(default_factory=LampPower)
    states: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    answers: bool = True
    obeys: bool = True
    says_on: bool | None = None
    heals: bool = True
    pid: int | None = 1
    has_power: bool = True
    address: str = ""
    user: str = ""
    password: str = ""
    pace: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(delay_s=0.0))
    wire: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(connected=True))
    endpoint: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(port="bmc-a.biz0"))
    commands: list[tuple[str, ...]] = field(default_factory=list)
    lies: bool = False

    def show(self, sensor: str, value: int) -> None:
        """Put a fan, the only kind that is shown here, below or above both limits."""
        if self.obeys:
            self.states[sensor] = value if not SENSORS[sensor].is_threshold else (0b11 if value < 1200 else 0)
            self.log.append(f"9, {sensor}")

    def set_normal(self, sensor: str) -> None:
        """Be well again, or not."""
        if self.heals:
            self.states.pop(sensor, None)

    async def lose_power(self) -> None:
        """Answer no more."""
        self.answers = self.has_power = False

    # What a client of it does.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    async def reading(self, sensor: str) -> SensorReading:
        """Answer, if it answers."""
        if not self.answers:
            raise IpmiFailed("no answer")
        return SensorReading(0, self.states.get(sensor, 0))

    async def events(self) -> list[str]:
        """The log."""
        return list(self.log)

    async def ping(self, _timeout_s: float) -> float | None:
        """Answer after the delay, if it answers."""
        return 0.001 + self.pace.delay_s if self.answers else None

    async def power_is_on(self) -> bool:
        """Tell the truth or not."""
        return self.power.is_on() if self.says_on is None else self.says_on

    async def command(self, *words: str) -> str:
        """Note it."""
        self.commands.append(words)
        return ""


def bed_with(bmc: FakeBmc, *, pid: int = 1) -> Bed:
    """A bed with this BMC and a switch whose cuts do nothing but their work."""

    async def cut(_port: str, _direction: object) -> float:
        bmc.answers = False
        return 7.0

    async def heal(_port: str, _direction: object) -> float:
        bmc.answers = bmc.heals
        return 8.0

    node = SimpleNamespace(is_on=True, machine=SimpleNamespace(pid=pid))
    switch = SimpleNamespace(cut=cut, heal=heal)
    parts = {"nodes": {"a": node}, "bmcs": {"a": bmc}, "switch": switch, "client": None, "history": History()}
    return cast("Bed", SimpleNamespace(**parts))

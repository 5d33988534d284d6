"""A switch that answers from a script: what the unit tests of link faults share. The real one is in tests/selftest."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, cast

from testbed.bed import Bed
from testbed.errors import SwitchError
from testbed.history import History
from testbed.switch.client import Direction

PORTS = ("a.priv0", "b.priv0")


def port() -> dict[str, Any]:
    """Counters of a port at zero."""
    return {
        "segment": "priv0",
        "in": {"frames": 0, "dropped_rule": 0},
        "out": {"frames": 0, "dropped_rule": 0, "dropped_queue": 0, "dropped_absent": 0, "queued": 0},
    }


@dataclass
class ScriptedSwitch:
    """Counts rules and answers `observe` with the next counters and records of its script."""

    counters: dict[str, Any] = field(default_factory=lambda: {name: port() for name in PORTS})
    step: dict[str, dict[str, int]] = field(default_factory=dict)  # "a.priv0 in" -> what each look adds
    records: dict[int, list[list[float]]] = field(default_factory=dict)  # by the number of the tap
    live: dict[int, dict[str, Any]] = field(default_factory=dict)
    frames: list[str] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    stoppable: bool = True
    refused: int = 0  # the number of the rule that the switch does not take
    now_s: float = 0.0

    async def ports(self) -> dict[str, Any]:
        """The names are what is asked for."""
        return self.counters

    async def cut(self, _port: str, _direction: Direction) -> float:
        """Say that it was done."""
        return 5.0

    async def heal(self, _port: str, _direction: Direction) -> float:
        """Say that it was done."""
        return 6.0

    async def rule_add(self, port: str, direction: Direction, kind: str, **_more: object) -> tuple[int, float]:
        """Note the rule, or refuse it."""
        if len(self.live) + 1 == self.refused:
            raise SwitchError("there is no room for this rule")
        number = len(self.live) + 1
        self.live[number] = {"rule": number, "port": port, "direction": direction.value, "kind": kind}
        return number, 5.0

    async def rule_remove(self, number: int) -> dict[str, Any]:
        """Mark it as gone."""
        self.live[number]["gone"] = True
        return {}

    async def rules(self) -> dict[str, Any]:
        """Those that are left."""
        listed = [item for item in self.live.values() if "gone" not in item]
        return {"rules": listed, "injections": [{"injection": number} for number in self.running]}

    async def observe(self, taps: list[int], **_more: object) -> dict[str, Any]:
        """One look; the counters move on."""
        self.now_s += 1.0
        for place, moved in self.step.items():
            name, direction = place.split()
            for word, count in moved.items():
                self.counters[name][direction][word] += count
        seen = {
            str(tap): {
                "matched": len(self.records.get(tap, [])),
                "records": self.records.get(tap, []),
                "frames": self.frames,
            }
            for tap in taps
        }
        return {"t_s": self.now_s, "ports": copy.deepcopy(self.counters), "taps": seen}

    async def inject(self, *_where: object, **_more: object) -> tuple[int, float]:
        """Say that it runs."""
        self.running.append(1)
        return 1, 5.0

    async def inject_stop(self, number: int) -> int:
        """End it, or not."""
        if self.stoppable:
            self.running.remove(number)
            return 1
        raise SwitchError("there is no such injection")


@dataclass
class World:
    """The part of a bed that link faults use."""

    switch: ScriptedSwitch = field(default_factory=ScriptedSwitch)
    history: History = field(default_factory=History)
    nodes: dict[str, Any] = field(default_factory=dict)

    @property
    def bed(self) -> Bed:
        """Typed as what the faults expect."""
        return cast("Bed", self)

"""A bed without machines for faults inside nodes: its agent runs harmless scripts on the host, or answers from a table.

It must never be given a script that changes the host beyond processes and files of the test itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from testbed.bed import Bed
from testbed.errors import GuestCommandError
from testbed.history import History
from testbed.node.agent import ExecResult
from testbed.process import run
from testbed.topology import Topology

Script = Callable[[Sequence[str]], str]


@dataclass
class HostAgent:
    """Runs commands here; with `script` it answers them itself and runs nothing."""

    script: Script | None = None
    files: dict[str, str] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    clock_s: Callable[[], float] | None = None

    async def must_succeed(self, argv: Sequence[str], *, timeout_s: float) -> str:
        """Return what the command wrote."""
        done = await self.run(argv, timeout_s=timeout_s)
        if done.returncode:
            raise GuestCommandError(f"code {done.returncode}: {done.stderr}")
        return done.stdout

    async def run(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Run it, or let the script answer."""
        if self.script is not None:
            return ExecResult(0, self.script(argv), "")
        done = await run(argv, timeout_s=timeout_s, check=False)
        return ExecResult(done.returncode, done.stdout, done.stderr)

    async def read_file(self, path: str) -> bytes:
        """Read from the table, or from the host."""
        return self.files[path].encode() if path in self.files else Path(path).read_bytes()

    async def write_file(self, path: str, content: bytes) -> None:
        """Note it."""
        self.written.append(f"{path} {len(content)}")

    async def wall_clock_s(self) -> float:
        """Tell the time of the test."""
        assert self.clock_s is not None
        return self.clock_s()


@dataclass
class QuietSwitch:
    """Notes taps; each look returns the next heartbeats, as (port, time) pairs of the last window."""

    looks: list[tuple[float, dict[str, list[float]]]] = field(default_factory=list)
    taps: dict[int, str] = field(default_factory=dict)
    matches: list[dict[str, object]] = field(default_factory=list)

    async def rule_add(
        self, port: str, _direction: object, kind: str, *, match: dict[str, object]
    ) -> tuple[int, float]:
        """Note the tap."""
        assert kind == "tap"
        self.matches.append(match)
        number = len(self.matches)
        self.taps[number] = port
        return number, 0.0

    async def rule_remove(self, number: int) -> None:
        """Forget the tap."""
        del self.taps[number]

    async def observe(self, taps: Sequence[int], *, reset: bool = False) -> dict[str, object]:
        """Return the next look; a reset sees nothing of its own."""
        t_s, seen = (0.0, {}) if reset or not self.looks else self.looks.pop(0)
        return {
            "t_s": t_s,
            "taps": {str(tap): {"records": [[at_s, 60, 0] for at_s in seen.get(self.taps[tap], [])]} for tap in taps},
        }


@dataclass
class InnerBed:
    """The parts of a bed that these faults use."""

    agent: HostAgent = field(default_factory=HostAgent)
    switch: QuietSwitch = field(default_factory=QuietSwitch)
    is_on: bool = True
    daemon: str | None = "/run/service/product"
    artefacts: Path = Path()
    history: History = field(default_factory=History)

    @property
    def bed(self) -> Bed:
        """As the faults want it."""
        machine = SimpleNamespace(guest=self.agent, pid=os.getpid(), execute=_no_disks)
        node = SimpleNamespace(is_on=self.is_on, machine=machine)
        product = SimpleNamespace(daemon=self.daemon, journal="/var/log/product/journal", status=("product", "status"))
        bed = SimpleNamespace(
            nodes={"a": node, "b": node},
            switch=self.switch,
            topology=Topology(),
            image=SimpleNamespace(product=product),
            options=SimpleNamespace(artefacts=self.artefacts),
            history=self.history,
        )
        return cast("Bed", bed)


async def _no_disks(_command: str, *, timeout_s: float) -> list[object]:
    assert timeout_s > 0
    return []

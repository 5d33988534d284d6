"""What else this host does: pressure, steal and busy ticks between two samples of the kernel's counters.

It must never say 0 where the host does not tell.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HostSample:
    """What the kernel says about contention at one moment; None where this host does not tell."""

    t_s: float
    pressure_us: int | None
    steal_ticks: int
    busy_ticks: int
    total_ticks: int

    @staticmethod
    def take(proc: Path = Path("/proc")) -> HostSample:
        """Read the counters now."""
        fields = [int(word) for word in (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        idle = fields[3] + fields[4]
        pressure: int | None = None
        with contextlib.suppress(OSError):
            match = re.search(r"^some .*total=(\d+)", (proc / "pressure" / "cpu").read_text(encoding="ascii"))
            pressure = None if match is None else int(match[1])
        return HostSample(time.monotonic(), pressure, fields[7], sum(fields) - idle, sum(fields))


def between(begin: HostSample, end: HostSample) -> dict[str, float | None]:
    """Return the shares of the time between two samples, for the `host` part of a result."""
    seconds = end.t_s - begin.t_s
    ticks = end.total_ticks - begin.total_ticks
    pressure: float | None = None
    if begin.pressure_us is not None and end.pressure_us is not None and seconds > 0:
        pressure = round((end.pressure_us - begin.pressure_us) / 1e6 / seconds, 4)
    return {
        "duration_s": round(seconds, 3),
        "cpu_pressure_some": pressure,
        "steal": round((end.steal_ticks - begin.steal_ticks) / ticks, 4) if ticks else None,
        "busy": round((end.busy_ticks - begin.busy_ticks) / ticks, 4) if ticks else None,
    }

"""Whether the host was quiet enough for a run's times to mean something; pure.

Under emulation on a few cores some contention is normal, so the limits were found by measuring quiet runs and runs
beside deliberate hogs (docs/testing.md). It must never excuse the product: a host beyond a limit makes a run neither
pass nor fail. It must never take a figure that this host does not give for a good one; only the probe's lateness has
to be there, because it is measured by the bed itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """The most that a figure of a result's `host` may be, and what it says when it is more."""

    key: str
    most: float
    unit: str
    sentence: str
    required: bool = False


LIMITS = (
    Limit("probe_lateness_p99_s", 0.1, "s", "the probe itself was late: p99", required=True),
    Limit("switch_lateness_median_s", 0.005, "s", "the switch sent held frames late: median"),
    Limit("switch_lateness_max_s", 0.1, "s", "the switch sent a held frame late: worst"),
    Limit("steal", 0.05, "of the time", "another machine took this one's processors: steal"),
    Limit("cpu_pressure_some", 0.3, "of the time", "processes waited for a processor: pressure"),
)


def reasons(host: Mapping[str, object], limits: tuple[Limit, ...] = LIMITS) -> list[str]:
    """Return why the host of a run was not fit for measuring; empty when it was, as far as it tells."""
    found = []
    for limit in limits:
        value = host.get(limit.key)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if known and value <= limit.most:  # type: ignore[operator]  # a number, as was just asked
            continue
        if known or limit.required:
            found.append(f"{limit.sentence} {_text(value)} {limit.unit}, limit {limit.most:g} {limit.unit}")
    return found


def lateness_fields(lateness: Mapping[str, object]) -> dict[str, object]:
    """Return the switch's own lateness as fields of a result's `host`; None when it held no frame back."""
    return {f"switch_lateness_{key}": lateness.get(key) for key in ("median_s", "max_s")}


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

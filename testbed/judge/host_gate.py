"""Whether the host was quiet enough for a run's times to mean something; pure.

Under emulation on a few cores some contention is normal, so the limits were found by measuring quiet runs and runs
beside deliberate hogs (docs/measurements/host-noise.md). It must never excuse the product: a host beyond a limit makes
a run neither pass nor fail. It must never take a figure that this host does not give for a good one; only the probe's
lateness has to be there, because it is measured by the bed itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """The most that a figure of a result's `host` may be, and what it says when it is more.

    A limit with `dilates` is multiplied by the dilation, as the client's patience is. One with `by_speed` is evidence
    only, as soon as the speed is known: speed says what pressure and steal only hint at.
    """

    key: str
    most: float
    unit: str
    sentence: str
    required: bool = False
    dilates: bool = False
    by_speed: bool = False


LIMITS = (
    Limit("probe_lateness_p99_s", 0.1, "s", "the probe itself was late: p99", required=True, dilates=True),
    Limit("switch_lateness_median_s", 0.005, "s", "the switch sent held frames late: median", dilates=True),
    Limit("switch_lateness_max_s", 0.1, "s", "the switch sent a held frame late: worst", dilates=True),
    Limit("steal", 0.05, "of the time", "another machine took this one's processors: steal", by_speed=True),
    Limit("cpu_pressure_some", 0.3, "of the time", "processes waited for a processor: pressure", by_speed=True),
)


def reasons(
    host: Mapping[str, object], dilation: float = 1.0, limits: tuple[Limit, ...] = LIMITS, *, is_whole: bool = True
) -> list[str]:
    """Return why the host of a run was not fit for measuring; empty when it was, as far as it tells.

    What has to be there is missing without a reason in a run that broke off, which is not `is_whole`.
    """
    slow, known_speed = _too_slow(host.get("speed"), dilation)
    found = [slow] if slow else []
    for limit in limits:
        if limit.by_speed and known_speed:
            continue
        most = limit.most * (dilation if limit.dilates else 1.0)
        value = host.get(limit.key)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if known and value <= most:  # type: ignore[operator]  # a number, as was just asked
            continue
        if known or (limit.required and is_whole):
            found.append(f"{limit.sentence} {_text(value)} {limit.unit}, limit {most:g} {limit.unit}")
    return found


def is_too_slow(host: Mapping[str, object], dilation: float) -> bool:
    """Say whether the host is known to have been too slow for too long."""
    return bool(_too_slow(host.get("speed"), dilation)[0])


def _too_slow(speed: object, dilation: float) -> tuple[str, bool]:
    """Return the sentence about a host that was too slow for too long ("" when it was not), and whether that is known.

    Too long is a whole window of `testbed.host.speed` in the mean: 60 s times the dilation.
    """
    lowest = speed.get("lowest") if isinstance(speed, Mapping) else None
    if not isinstance(speed, Mapping) or not isinstance(lowest, int | float):
        return "", False
    if lowest * dilation >= 1:
        return "", True
    text = (
        f"the host was too slow: for {speed.get('window_s', 0):g} s it ran at {lowest:.2g} of the reference, "
        f"which times dilation {dilation:g} is below 1"
    )
    return text, True


def lateness_fields(lateness: Mapping[str, object]) -> dict[str, object]:
    """Return the switch's own lateness as fields of a result's `host`; None when it held no frame back."""
    return {f"switch_lateness_{key}": lateness.get(key) for key in ("median_s", "max_s")}


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

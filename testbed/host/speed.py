"""How fast this host is for the bed, in one number; and what dilation follows from it. Pure.

Speed 1 is 5 million additions of a Python loop in 0.25 s of wall time, at the priority of the nodes. Neither steal nor
pressure shows a slow processor: one host did that loop in 0.2 s and in 0.85 s within an hour, without either.

At the start both is done at once: as many loops as there are nodes, in wall time, so that programs beside them count.
While a bed runs, its own work is on the same processors, and must not count against the host. So a point of the trace
has two factors. `processor`: how fast a few milliseconds of the loop went on a processor; what the loop itself waited
for one is taken off. `share`: which part of the time that the nodes wanted a processor they had one, where they may
have waited at most for as long as programs that are not the bed's had it.

It must never call a host fast of which nothing was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

REFERENCE_ADDITIONS, REFERENCE_S = 5_000_000, 0.25
TCG_REFERENCE_S = 0.7  # of the fixed work under TCG where the loop takes 0.25 s; measured side by side, 0.62 to 0.75
DILATIONS = (1.0, 2.0, 4.0, 8.0)
SPEED_MIN = 1 / DILATIONS[-1]
WINDOW_S = 60.0  # of the lowest speed, before the dilation; docs/measurements/host-noise.md says why


@dataclass(frozen=True)
class Measured:
    """The speed at the start: of the loops, and of QEMU's fixed work under TCG (None where it was not asked)."""

    loop: float
    tcg: float | None = None

    @property
    def speed(self) -> float:
        """The lower one: a bed needs both."""
        return self.loop if self.tcg is None else min(self.loop, self.tcg)

    def text(self) -> str:
        """Both, for people."""
        more = "" if self.tcg is None else f", {self.tcg:.2f} under TCG"
        return f"{self.loop:.2f} by the loop{more}"


@dataclass(frozen=True)
class SpeedSample:
    """The host at one moment on the monotonic clock; `pressure` is None where the kernel does not tell it."""

    t_s: float
    processor: float
    share: float
    pressure: float | None = None
    steal: float | None = None

    @property
    def speed(self) -> float:
        """What the bed got of the reference."""
        return self.processor * self.share

    @property
    def figures(self) -> tuple[float | None, ...]:
        """Speed, its two factors, pressure and steal."""
        return self.speed, self.processor, self.share, self.pressure, self.steal


def of_loop(additions: int, took_s: float) -> float:
    """Return the speed of so many additions in so many seconds."""
    return REFERENCE_S * additions / REFERENCE_ADDITIONS / max(took_s, 1e-9)


def share(ran_s: float, waited_s: float, foreign_s: float) -> float:
    """Return which part of its wish for a processor the bed got, 0 to 1.

    `ran_s` and `waited_s` are those of the nodes in some time, `foreign_s` what others than the bed computed meanwhile:
    waiting beyond that was for the bed's own work.
    """
    lost_s = min(max(waited_s, 0.0), max(foreign_s, 0.0))
    wanted_s = max(ran_s, 0.0) + lost_s
    return 1.0 if wanted_s <= 0 else (wanted_s - lost_s) / wanted_s


def dilation_for(speed: float) -> float | None:
    """Return the smallest dilation with which a host of this speed is fast enough, or None when there is none."""
    return next((dilation for dilation in DILATIONS if dilation * speed >= 1), None)


def advice(measured: Measured) -> str:
    """Return what `testbed doctor` says, and a run before it begins."""
    chosen = dilation_for(measured.speed)
    begin = f"this computer runs at {measured.speed:.2g} of the reference"
    return f"{begin}; {refusal(measured)}" if chosen is None else f"{begin}; dilation {chosen:g} will be used"


def refusal(measured: Measured) -> str:
    """Return the sentence that refuses a host which is too slow for every dilation, with what to do."""
    return (
        f"{measured.speed:.2g} is below 1/{DILATIONS[-1]:g}, too slow for dilation {DILATIONS[-1]:g}: end other "
        "programs, or take a faster computer; a larger dilation can be given by hand (--dilation 16)"
    )


def lowest(points: Sequence[SpeedSample], window_s: float) -> float | None:
    """Return the lowest mean speed over a window of this length; over all points when they span less. None without."""
    if not points:
        return None
    if points[-1].t_s - points[0].t_s <= window_s:
        return fmean(point.speed for point in points)
    found, begin = [], 0
    for end, point in enumerate(points):
        if point.t_s - points[0].t_s < window_s:
            continue
        while points[begin].t_s < point.t_s - window_s:
            begin += 1
        found.append(fmean(one.speed for one in points[begin : end + 1]))
    return min(found)


def as_fields(
    points: Sequence[SpeedSample], measured: Measured | None, dilation: float, zero_at_s: float
) -> Mapping[str, object]:
    """Return the speed for `host` of result.json; the moments of the trace count from `zero_at_s`."""
    window_s = WINDOW_S * dilation
    low = lowest(points, window_s)
    return {
        "start": None if measured is None else {"loop": _rounded(measured.loop), "tcg": _rounded(measured.tcg)},
        "median": _rounded(median(one.speed for one in points)) if points else None,
        "lowest": _rounded(low),
        "lowest_dilated": None if low is None else _rounded(low * dilation),
        "window_s": window_s,
        "columns": ["t_s", "speed", "processor", "share", "pressure", "steal"],
        "trace": [[round(one.t_s - zero_at_s, 1), *map(_rounded, one.figures)] for one in points],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

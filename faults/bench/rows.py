"""The rows of the benchmark: what each figure is called, its unit, and its target; and the table that is printed. Pure.

It must never say whether a target was reached: a figure stands beside it, and a person judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from testbed.bench.guest_disk import KINDS
from testbed.figures.statistics import SampleSummary, Value

DISK_RATIO_MIN = 0.7


class Area(StrEnum):
    """What can be measured by itself with `--only`."""

    SWITCH = "switch"
    DISK = "disk"
    PAIR = "pair"
    IMAGE = "image"
    RECOVERY = "recovery"


class Better(StrEnum):
    """On which side of its target a figure should be."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True)
class Promise:
    """What is promised of one figure; without a target it is shown for comparison only."""

    part: Area
    unit: str
    target: float | None
    better: Better = Better.LOWER
    digits: int = 1


def disk_ratio(kind: str, *, is_fresh: bool) -> str:
    """The name of the row that compares the disk server with a plain file."""
    return f"disk, {kind}, {'first write' if is_fresh else 'rewrite'}: ratio"


def disk_speed(kind: str, *, is_fresh: bool) -> str:
    """The name of the row with the disk server's own speed."""
    return f"disk, {kind}, {'first write' if is_fresh else 'rewrite'}: server"


def _disk_promises() -> dict[str, Promise]:
    found = {}
    for kind in KINDS:
        for is_fresh in (True, False):
            ratio = Promise(Area.DISK, "", DISK_RATIO_MIN, Better.HIGHER, digits=2)
            found[disk_ratio(kind.name, is_fresh=is_fresh)] = ratio
            found[disk_speed(kind.name, is_fresh=is_fresh)] = Promise(Area.DISK, "MB/s", None, Better.HIGHER)
    return found


PROMISES: dict[str, Promise] = {
    "cold boot to protected": Promise(Area.PAIR, "s", 60.0),
    "restore to protected, VM answering the client": Promise(Area.PAIR, "s", 3.0),
    "primary crash: backup commands VM start": Promise(Area.PAIR, "s", 20.0),
    "primary crash: client served again": Promise(Area.PAIR, "s", 45.0),
    "primary crash: redundancy restored": Promise(Area.PAIR, "s", 300.0),
    "image build from nothing": Promise(Area.IMAGE, "s", 600.0),
    "image build, nothing changed": Promise(Area.IMAGE, "s", 2.0),
    "peak host memory of a protected pair": Promise(Area.PAIR, "MiB", 4096.0),
    "switch: frames of 1,500 bytes": Promise(Area.SWITCH, "1/s", 20_000.0, Better.HIGHER, digits=0),
    "switch: with frames of 9,000 bytes": Promise(Area.SWITCH, "MB/s", 100.0, Better.HIGHER, digits=0),
    "switch: added latency when idle": Promise(Area.SWITCH, "us", 200.0, digits=0),
    "switch: own lateness, as it exports it": Promise(Area.SWITCH, "ms", None, digits=2),
    "switch: lateness of a timed cut": Promise(Area.SWITCH, "ms", 5.0, digits=2),
    "link.cut by the director: due to cut": Promise(Area.SWITCH, "ms", 5.0, digits=2),
    "power cut, its BMC reads off: VM start commanded": Promise(Area.RECOVERY, "s", 7.0),
    "kernel panic, cut by the BMC: VM start commanded": Promise(Area.RECOVERY, "s", 10.0),
    "power cut of the primary: VM start commanded": Promise(Area.RECOVERY, "s", 17.0),
    "power cut of the primary: client served again": Promise(Area.RECOVERY, "s", 35.0),
    "power cut of the backup: service stands still": Promise(Area.RECOVERY, "s", 8.0),
    "hung disk of the backup: service stands still": Promise(Area.RECOVERY, "s", 8.0),
    "daemon: share of a dom0 processor": Promise(Area.RECOVERY, "", 0.03, digits=3),
    "protected pair at rest: host cores": Promise(Area.RECOVERY, "", 0.12, digits=3),
    "daemon: killed to its first heartbeat": Promise(Area.RECOVERY, "s", 3.0),
    "multicasts of a node on a link, most in a second": Promise(Area.RECOVERY, "1/s", 10.0, digits=0),
    **_disk_promises(),
}


@dataclass(frozen=True)
class Row:
    """One line of the table; `target` is a limit, `better` says on which side of it; no summary without a value."""

    name: str
    unit: str
    target: float | None
    better: Better
    note: str
    summary: SampleSummary | None
    digits: int = 1

    @property
    def n(self) -> int:
        """How many values the row has."""
        return 0 if self.summary is None else self.summary.n

    @property
    def target_text(self) -> str:
        """The target with its side, as the table shows it."""
        if self.target is None:
            return "-"
        sign = "<=" if self.better is Better.LOWER else ">="
        return f"{sign} {self.target:.{1 if self.target < 1000 else 0}f}"

    def as_json(self) -> dict[str, object]:
        """The row in fixed keys; a value that is only known to be more is a text such as "> 60.0"."""
        found = self.summary
        names = ("median", "min", "p90", "max")
        shown = {name: None if found is None else _plain(getattr(found, name)) for name in names}
        interval = None if found is None or found.interval is None else [_plain(end) for end in found.interval]
        fields = {key: value for key, value in asdict(self).items() if key not in ("summary", "digits")}
        return {**fields, "n": self.n, **shown, "median_interval": interval}


def _plain(value: Value) -> float | str:
    return value.text() if value.censored else value.at


def loads_text(loads: Mapping[Area, Sequence[float]]) -> str:
    """How busy the host was before each measurement, in words."""
    shown = [f"{part} {min(seen):.1f} to {max(seen):.1f}" for part, seen in loads.items() if seen]
    return "load average of a minute before each measurement: " + (", ".join(shown) or "unknown")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text; what they were measured under stands below."""
    heads = f"{'median':>8} {'interval':>17} {'min':>8} {'p90':>8} {'max':>8} {'target':>10}"
    lines = [f"{'what':<48} {'unit':<5} {'n':>2} {heads}"]
    for row in rows:
        found = row.summary
        interval = "-" if found is None or found.interval is None else found.interval.text(row.digits)
        shown = ["-"] * 4
        if found is not None:
            shown = [value.text(row.digits) for value in (found.median, found.min, found.p90, found.max)]
        median, least, p90, most = shown
        lines.append(
            f"{row.name:<48} {row.unit:<5} {row.n:>2} {median:>8} {interval:>17} {least:>8} {p90:>8} {most:>8} "
            f"{row.target_text:>10}"
        )
    return "\n".join([*lines, *dict.fromkeys(row.note for row in rows)])

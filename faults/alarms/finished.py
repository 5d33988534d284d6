"""A finished run as far as alarms go: what was broken when, and which alerts came. Read from its directory.

The result names the faults and the alerts; the schedule beside it has the parameters of the faults and what the site
was told. It must never guess: what a run does not say is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.judge.verdict import Verdict

RESULT = "result.json"
USED, ALERTS = "schedule-used.jsonl", "alerts.jsonl"


@dataclass(frozen=True, slots=True)
class HeardAlert:
    """One alert that the service centre got; `text` is empty where the run has not kept it."""

    code: str
    node: str
    at_s: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class PastFault:
    """One fault that was really there; seconds count from the start of the run. It was never healed: None."""

    name: str
    target: str
    at_s: float
    healed_at_s: float | None = None
    step: str = ""
    parameters: tuple[tuple[str, object], ...] = ()

    @property
    def text(self) -> str:
        """For people."""
        values = "".join(f", {name} {value}" for name, value in self.parameters if name == "disk")
        return f"{self.name} on {self.target}{values}"

    def in_force(self, at_s: float) -> bool:
        """Say whether it was there at a moment."""
        return self.at_s <= at_s and (self.healed_at_s is None or at_s < self.healed_at_s)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """One run; `power`: its nodes knew each other's BMC. `ended_s`: when it was over; None: nobody has noted it."""

    name: str
    verdict: Verdict
    dilation: float
    faults: tuple[PastFault, ...]
    alerts: tuple[HeardAlert, ...]
    speed: float | None = None
    power: bool = False
    ended_s: float | None = None

    def healed_s(self, fault: PastFault) -> float:
        """When a fault was over: at its heal, at the end of the run, or never."""
        ended_s = float("inf") if self.ended_s is None else self.ended_s
        return ended_s if fault.healed_at_s is None else fault.healed_at_s


def results_below(directories: Iterable[Path]) -> list[Path]:
    """Return the results of all runs in these directories, each once.

    Raises:
        UsageError: a directory has none.
    """
    found: dict[Path, Path] = {}
    for directory in directories:
        here = sorted(directory.rglob(RESULT))
        if not here:
            raise UsageError(f"There is no {RESULT} in {directory} or below it; name directories of finished runs.")
        found |= {path.resolve(): path for path in here}
    return list(found.values())


def read_run(path: Path) -> FinishedRun:
    """Read one run by the path of its result.

    Raises:
        UsageError: it is no result of a run.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _run(document, path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no result of a run: {error!r}.") from error


def _run(document: Mapping[str, Any], path: Path) -> FinishedRun:
    lines = _lines(path.with_name(USED))
    site: Mapping[str, Any] = next((line.get("site", {}) for line in lines if "scenario" in line), {})
    given = {line["name"]: line.get("with", {}) for line in lines if "fault" in line}
    texts = {line.get("id"): line.get("text", "") for line in _lines(path.with_name(ALERTS))}
    faults = tuple(
        PastFault(
            one["name"], one["target"], float(one["injected_at_s"]), one.get("healed_at_s"), one.get("step", ""),
            tuple(sorted(given.get(one.get("step"), {}).items())),
        )
        for one in document["faults"]
        if one["verdict"] == "confirmed" and one["injected_at_s"] is not None
    )  # fmt: skip
    alerts = tuple(
        HeardAlert(one["code"], one["node"], float(one["received_at_s"]), one.get("text") or texts.get(one["id"], ""))
        for one in document["call_home"]
    )
    speed = document["host"].get("speed") or {}
    return FinishedRun(
        f"{document['scenario']}/{path.parent.name}", Verdict(document["verdict"]), float(document["dilation"]), faults,
        tuple(sorted(alerts, key=lambda one: one.at_s)), speed.get("median"), bool(site.get("power", False)),
        document["host"].get("duration_s"),
    )  # fmt: skip


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; none where there is no such file, and without one that was cut off."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in found if isinstance(line, dict)]

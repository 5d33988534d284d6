"""What the terminal shows of one run: its story, its faults, what the client saw on each level, what the oracles say.

It must never hide the reasons of a verdict, and always names the line with which the run can be run again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from testbed.judge.result import Result
from testbed.report import story

STORY = "timeline.txt"


def summary(out: Path, result: Result) -> str:
    """Return the timeline with its tables, the figures and the verdict for the terminal."""
    path = out / STORY
    told = path.read_text(encoding="utf-8").rstrip() if path.exists() else f"no story was written: {path} is not there"
    return "\n".join([told, "", *figures(result), f"again: {story.again(out)}"])


def figures(result: Result) -> list[str]:
    """The figures of a run and its verdict, one line each."""
    phases = ", ".join(f"{name} {'-' if at is None else f'{at:.1f} s'}" for name, at in result.phases_s.items())
    ledger = result.ledger
    lost, stale = _known(ledger["lost"]), _known(ledger["stale"])
    resolution = "" if result.outage_resolution_s is None else f" (resolution {result.outage_resolution_s:g} s)"
    return [
        f"phases after the first fault: {phases}",
        f"seen by the client: {story.outage(asdict(result))}{resolution}",
        f"writes: {ledger['acknowledged']} acknowledged, {lost} lost, {stale} stale" + _given_up(ledger),
        f"two nodes active at once: {_known(result.dual_active)}",
        f"accelerator {result.accel}, dilation {result.dilation:g}, {_speed(result)}, seed {result.seed:#x}",
        f"verdict: {result.verdict}" + "".join(f"\n  because {reason}" for reason in result.reasons),
        *([f"what to do: {result.what_to_do}"] if result.what_to_do not in ("", "nothing") else []),
    ]


def _speed(result: Result) -> str:
    """The host's speed in a run, in a few words."""
    told = result.host.get("speed")
    middle, low = (told.get("median"), told.get("lowest")) if isinstance(told, dict) else (None, None)
    if middle is None or low is None:
        return "host speed unknown"
    return f"host speed {middle:.2f} (lowest {low:.2f})"


def _given_up(ledger: dict[str, object]) -> str:
    """How many writes are in the version only that a person gave up; nothing where there are none."""
    given_up = ledger.get("given_up")
    return f", {given_up} in the version that was given up only" if given_up else ""


def _known(value: object) -> object:
    return "unknown" if value is None else value

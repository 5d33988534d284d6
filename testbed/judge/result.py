"""The result of a run: what happened, in fixed keys, and the one pure judgement over it.

The order of the judgement is the order of what is sacred: a violation of safety is a failure whatever else happened;
a host that was too slow makes everything else worthless, also what came too late or not at all; a fault that is not
proven does the same; a noisy host makes the times worthless.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from testbed.host.speed import DILATIONS
from testbed.judge import host_gate
from testbed.judge.finding import Finding, as_fields
from testbed.judge.phases import TAKEOVER
from testbed.judge.verdict import Verdict
from testbed.vocabulary import PHASES, Phase

SCHEMA = "testbed.result/2"  # 1 had no such key; its findings had a `state`: holds, violated or blind
LEDGER_COUNTS = ("acknowledged", "lost", "stale", "unknown", "duplicated", "resurrected", "given_up")


class Expect(StrEnum):
    """What the run is to show of the product, beyond that it is safe, serves again and is redundant again."""

    TAKEOVER = "takeover"  # the backup starts the VM, once, and the service centre hears of it
    MOVE = "move"  # the VM goes to the other node while it runs: once, and without a start
    STAY = "stay"  # the VM runs on where it is
    RETURN = "return"  # the VM was gone for a while, and serves again where it was
    CHOICE = "choice"  # persons force both nodes to run, and choose one of the two versions; the other one is kept
    ANY = "any"


@dataclass(frozen=True)
class FaultResult:
    """One fault: its name, where, whether it was really there, since when, and what proves it.

    `late_s` is how long after its due time the injection began; `healed_at_s` is None when it was never taken back.
    """

    name: str
    target: str
    verdict: str
    injected_at_s: float | None
    evidence: Mapping[str, object]
    step: str = ""
    late_s: float | None = None
    healed_at_s: float | None = None
    problem: str | None = None


@dataclass
class Result:
    """Everything that goes into result.json; times named `_s` count from the start of the run, phases from the fault.

    A value that has no source is None, never 0.
    """

    scenario: str
    accel: str
    dilation: float
    seed: int
    started_wall: str
    schema: str = SCHEMA
    faults: list[FaultResult] = field(default_factory=list)
    expect: Expect = Expect.ANY
    outage_max_s: float | None = None
    phases_s: dict[Phase, float | None] = field(default_factory=lambda: dict.fromkeys(PHASES))
    is_redundant: bool | None = None
    failovers: int | None = None
    restarts: int | None = None
    limits_s: dict[str, float] = field(default_factory=dict)  # how long was waited for what did not come
    levels: dict[str, object] = field(default_factory=dict)  # of the first VM
    vms: dict[str, object] = field(default_factory=dict)  # what the client saw of each VM's service
    findings: list[dict[str, object]] = field(default_factory=list)
    outage_s: float | None = None
    outage_resolution_s: float | None = None
    ledger: dict[str, object] = field(default_factory=lambda: {"acknowledged": 0, "lost": None, "stale": None})
    dual_active: int | None = None
    call_home: list[dict[str, object]] = field(default_factory=list)
    host: dict[str, object] = field(default_factory=dict)
    topology: dict[str, object] = field(default_factory=dict)
    versions: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    broken: str = ""  # what ended the run before its time, as a sentence
    restore_failures: int = 0
    files: dict[str, object] = field(default_factory=dict)
    verdict: Verdict = Verdict.INCONCLUSIVE
    reasons: list[str] = field(default_factory=list)
    what_to_do: str = ""

    def write(self, path: Path) -> None:
        """Write result.json whole or not at all."""
        part = path.with_suffix(".partial")
        part.write_text(json.dumps(asdict(self), indent=1, default=str) + "\n", encoding="utf-8")
        part.replace(path)


def not_reached(result: Result, at_s: float, names: Iterable[Phase] = PHASES) -> None:
    """Note for the phases without a time that they were not reached until then: their values are "greater than"."""
    for name in names:
        if result.phases_s.get(name) is None:
            result.limits_s.setdefault(name, round(at_s, 3))


def take(result: Result, findings: Sequence[Finding]) -> None:
    """Note what the oracles found, and the figures of it that have keys of their own; None is what nobody could see."""
    result.findings = as_fields(findings)
    said = {one.oracle: one for one in findings}
    if (writes := said.get("writes")) is not None:
        result.ledger |= {key: writes.evidence.get(key) for key in LEDGER_COUNTS}
    if (moves := said.get("failovers")) is not None:
        result.failovers, result.restarts = _count(moves, "vm_moves"), _count(moves, "vm_starts")
    if (shared := said.get("dual_active")) is not None:
        result.dual_active = _count(shared, "overlaps")


def _count(finding: Finding, key: str) -> int | None:
    value = finding.evidence.get(key)
    return len(value) if isinstance(value, list) else value if isinstance(value, int) else None


def judge(result: Result, *, alerts_wanted: tuple[str, ...], oracles: Iterable[str]) -> tuple[Verdict, list[str]]:
    """Return the verdict and every reason for it that is not "all is well"; `oracles` are all that had to be asked."""
    violations = _violations(result)
    if violations:
        return Verdict.FAIL, violations
    broken = [f"the run broke off: {result.broken}"] if result.broken else []
    noisy = host_gate.reasons(result.host, result.dilation, is_whole=not result.broken)
    if host_gate.is_too_slow(result.host, result.dilation) or (broken and noisy):
        return Verdict.INVALID_HOST, noisy + broken
    if broken:
        return Verdict.INCONCLUSIVE, broken
    unproven = [
        f"fault {f.name} on {f.target}: {f.verdict}" + (f" ({f.problem})" if f.problem else "")
        for f in result.faults
        if f.verdict != "confirmed"
    ]
    if unproven or not result.faults:
        return Verdict.INCONCLUSIVE, unproven or ["no fault was injected"]
    if noisy:
        return Verdict.INVALID_HOST, noisy
    missing = _missing(result, alerts_wanted)
    if missing:
        return Verdict.FAIL, missing
    blind = _blind(result, oracles)
    return (Verdict.INCONCLUSIVE, blind) if blind else (Verdict.PASS, [])


def what_to_do(result: Result) -> str:
    """Return one sentence that says what a person does next, by the verdict."""
    match result.verdict:
        case Verdict.PASS:
            return "nothing"
        case Verdict.FAIL:
            return "read timeline.txt from the first reason on; `testbed replay` repeats it, `testbed shrink` cuts it"
        case Verdict.INCONCLUSIVE if result.broken:
            return "look at console-*.log and switch.log of the run, then run it again; no promise was tested"
        case Verdict.INCONCLUSIVE:
            return "look at the evidence of the faults in result.json, then run it again: nothing was proven"
    speed = result.host.get("speed")
    lowest = speed.get("lowest") if isinstance(speed, Mapping) else None
    larger = [one for one in DILATIONS if one > result.dilation]
    if isinstance(lowest, int | float) and lowest * result.dilation < 1:
        larger = [one for one in larger if one * lowest >= 1]
    again = f", or run it again with --dilation {larger[0]:g}" if larger else ""
    return f"end other programs on this computer and run it again{again}"


def _violations(result: Result) -> list[str]:
    return [f"{one['oracle']}: {one['text']}" for one in result.findings if one["verdict"] == Verdict.FAIL]


def _missing(result: Result, alerts_wanted: tuple[str, ...]) -> list[str]:
    missing = list(result.problems)
    if result.expect is Expect.TAKEOVER:
        phases: tuple[Phase, ...] = (*TAKEOVER, "redundancy")
        missing += [f"phase {name} was never reached" for name in phases if result.phases_s.get(name) is None]
        if result.outage_s is None:
            missing.append("no outage with a beginning and an end was seen by the client")
    elif not result.is_redundant:
        missing.append("the pair was not redundant again after the heal")
    if result.expect in (Expect.STAY, Expect.RETURN) and result.failovers:
        missing.append(f"the VM was to stay where it was, and moved {result.failovers} times")
    if result.expect is Expect.MOVE and result.failovers != 1:
        missing.append(f"the VM was to move once, and moved {result.failovers} times")
    if result.expect in (Expect.STAY, Expect.MOVE) and result.restarts:
        missing.append(f"the VM was to run on, and was started anew {result.restarts} times")
    outage_s = result.limits_s.get("outage") if result.outage_s is None else result.outage_s
    if result.outage_max_s is not None and (outage_s or 0.0) > result.outage_max_s * result.dilation:
        limit_s = result.outage_max_s * result.dilation
        missing.append(f"the client was without service for {outage_s:.1f} s; at most {limit_s:g} s are promised")
    codes = {alert["code"] for alert in result.call_home}
    missing += [f"Call Home never reported {code}" for code in alerts_wanted if code not in codes]
    return missing


def _blind(result: Result, oracles: Iterable[str]) -> list[str]:
    told = {one["oracle"] for one in result.findings}
    return [f"the oracle {name} was not asked" for name in oracles if name not in told] + [
        f"the oracle {one['oracle']} could not see: {one['text']}"
        for one in result.findings
        if one["verdict"] == Verdict.INCONCLUSIVE and one["needed"]
    ]

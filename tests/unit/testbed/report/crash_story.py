"""Invented runs that the tests of timeline, story, picture and report share.

In the first, node a loses power, node b takes over, a comes back. The second has four faults of which one is not taken
back and one never came, and levels of the probe.
"""

from __future__ import annotations

import random
from typing import TypeAlias

from testbed.vocabulary import Milestone, PairState, VmState

Change: TypeAlias = tuple[PairState, PairState]

ZERO_AT_S = 1000.0
PERIOD_S = 0.05
LAST_OK_S, FIRST_OK_S = -0.02, 14.28

PHASES_S = {"detect": 5.1, "decide": 5.6, "promote": 6.4, "vm_start": 8.3, "service_up": 14.2, "redundancy": 31.0}
RESULT: dict[str, object] = {
    "scenario": "primary-crash",
    "verdict": "pass",
    "reasons": [],
    "accel": "tcg",
    "dilation": 1.0,
    "faults": [{"name": "power_cut", "target": "a", "verdict": "confirmed", "injected_at_s": 40.0, "evidence": {}}],
    "phases_s": PHASES_S,
    "outage_s": 14.3,
    "ledger": {"acknowledged": 812, "lost": 0, "stale": 0, "unknown": 2},
}


def journal(
    node: str, t_s: float, milestone: Milestone | None, *, pair: Change = ("PAIRED", "PAIRED"),
    vm: tuple[VmState, VmState] | None = None, reason: str = "",
) -> dict[str, object]:  # fmt: skip
    """One journal record at a time relative to the injection, in the words that the product publishes."""
    vms = {} if vm is None else {"vms": {"web": list(vm)}}
    entry = {"node": node, "milestone": milestone, "pair": list(pair), "reason": reason, **vms}
    return {"t_s": ZERO_AT_S + t_s, "source": f"journal.{node}", "kind": "line", "entry": entry}


def probes(seed: int = 7) -> list[dict[str, object]]:
    """Writes on a fixed schedule, unanswered during the outage."""
    rng = random.Random(seed)
    made: list[dict[str, object]] = []
    for index in range(-160, 700):
        intended = index * PERIOD_S
        good = not LAST_OK_S < intended < FIRST_OK_S
        latency = rng.lognormvariate(-4.2, 0.5) if good else 0.5
        made.append(
            {"t_s": ZERO_AT_S + intended + latency, "source": "probe", "kind": "ok" if good else "info",
             "intended_s": ZERO_AT_S + intended, "latency_s": latency if good else None}
        )  # fmt: skip
    return made


def records() -> list[dict[str, object]]:
    """The whole run, sorted by time."""
    alone: Change = ("ALONE", "ALONE")
    story: list[dict[str, object]] = [
        journal("a", -30, "protected", vm=("STARTING", "RUNNING")),
        journal("b", -30, "protected", vm=("STANDBY", "STANDBY")),
        {"t_s": ZERO_AT_S, "source": "fault", "kind": "confirmed", "name": "power_cut", "target": "a"},
        {"t_s": ZERO_AT_S + 0.01, "source": "qmp.a", "kind": "event", "event": "SHUTDOWN", "data": {}},
        {"t_s": ZERO_AT_S + 0.01, "source": "machine.a", "kind": "killed", "pid": 7, "returncode": -9},
        {"t_s": ZERO_AT_S + 16.0, "source": "machine.a", "kind": "started", "pid": 8},
        journal("b", 5.1, "peer_lost", pair=("PAIRED", "WAITING"), reason="all links silent for 5.0 s"),
        journal("b", 5.6, "takeover_decided", pair=("WAITING", "WAITING"), vm=("STANDBY", "STANDBY")),
        journal("b", 5.7, "epoch_saved", pair=("WAITING", "ALONE"), vm=("STANDBY", "PROMOTING")),
        journal("b", 6.4, "disk_promoted", vm=("PROMOTING", "STARTING"), pair=alone),
        journal("b", 6.5, "vm_start_commanded", pair=alone),
        journal("b", 8.3, "vm_running", vm=("STARTING", "RUNNING"), pair=alone),
        journal("b", 8.6, "service_address_up", pair=alone),
        journal("a", 24.0, "daemon_started", pair=("STARTING", "STARTING"), vm=("STANDBY", "STANDBY")),
        journal("b", 26.2, "peer_returned", pair=("ALONE", "PAIRED")),
        journal("a", 26.3, None, pair=("STARTING", "PAIRED")),
        journal("a", 26.3, "paired"),
        journal("b", 27.0, "resync_started"),
        journal("b", 31.0, "protected"),
        *probes(),
    ]
    return sorted(story, key=lambda item: float(str(item["t_s"])))


def fault(
    step: str, name: str, target: str, verdict: str, *times: float | None, problem: str | None = None
) -> dict[str, object]:
    """One fault of a result: injected and healed at times of the run, which begins 5 s before the first injection."""
    injected, healed, late = (*times, None, None, None)[:3]
    return {
        "step": step, "name": name, "target": target, "verdict": verdict, "injected_at_s": injected,
        "healed_at_s": healed, "late_s": late, "problem": problem, "evidence": {"seen": step},
    }  # fmt: skip


FAULTS = [
    fault("dead", "node.kill", "a", "confirmed", 5.0, 21.0, 0.0004),
    fault("daemon", "process.kill", "b/daemon", "mismatch", None, 14.0, 0.012),
    fault("slow", "disk.slow", "b", "confirmed", 33.5, None, 0.0),
    fault("cut", "link.cut", "b.priv0", "not injected", problem="not armed: waited 240 s for a resynchronisation"),
]
LEVELS: dict[str, object] = {
    "l2": {"outage_s": 14.1, "outages": 1, "longest_gap_s": 14.1, "flaps": 0, "slow": 0, "slow_s": 0.0, "good": 9},
    "udp": {"outage_s": None, "outage_at_least_s": 20.04, "outages": 2, "longest_gap_s": 20.0, "flaps": 2, "slow": 3,
            "slow_s": 0.15, "good": 8},
    "l3": {"outage_s": None, "outage_at_least_s": 0.0, "outages": 0, "longest_gap_s": 0.4, "flaps": 0, "good": 7},
    "tcp_long": {"outage_s": 15.0, "outages": 2, "good": 5, "connection": {"fate": "reset", "ended_s": 14.9,
                 "reconnected_s": 15.1}},
    "tcp": "not available, because this kernel gives no network namespace",
}  # fmt: skip
FINDINGS = [
    {"oracle": "dual_active", "verdict": "pass", "text": "nobody", "evidence": {}},
    {"oracle": "replicas_equal", "verdict": "inconclusive", "text": "the nodes are not in sync", "evidence": {}},
    {"oracle": "writes", "verdict": "fail", "text": "write 7 was lost", "evidence": {"lost": [7]}},
]
MANY: dict[str, object] = {
    **RESULT, "verdict": "fail", "reasons": ["writes: write 7 was lost", "the client saw no end", "x " * 200],
    "faults": FAULTS, "levels": LEVELS, "findings": FINDINGS, "expect": "any",
    "phases_s": {**PHASES_S, "fence": 0.0, "guest_up": 13.0},
}  # fmt: skip


def level(name: str, kind: str, edge_s: float | None, seen_s: float, **more: object) -> dict[str, object]:
    """One change of a level, noticed later than the answer that shows it."""
    key = "first_ok_at_s" if kind == "up" else "last_ok_at_s"
    edge = None if edge_s is None else ZERO_AT_S + edge_s
    source = f"probe.{name}" if name != "udp" else "probe"
    return {"t_s": ZERO_AT_S + seen_s, "source": source, "kind": kind, key: edge, **more}


def many_records() -> list[dict[str, object]]:
    """The second run."""
    made = records()
    made.append({"t_s": ZERO_AT_S - 5, "source": "history", "kind": "zero", "zero_at_s": ZERO_AT_S - 5})
    ordered = {"t_s": ZERO_AT_S + 6.0, "source": "fault", "kind": "injected", "name": "process.kill"}
    made.append({**ordered, "target": "b/daemon", "step": "daemon", "late_s": 0.012})
    for name, begin, end in (("l2", 0.0, 13.0), ("l3", 0.1, 13.3), ("tcp_new", 0.0, 14.6), ("udp", -0.02, 14.28)):
        made += [level(name, "up", -4.9, -4.5), level(name, "down", begin, begin + 2), level(name, "up", end, end + 1)]
    made += [level("tcp_long", "up", -4.9, -4.5), level("tcp_long", "down", 0.0, 2.0)]
    made.append({"t_s": ZERO_AT_S + 14.9, "source": "probe.tcp_long", "kind": "connection_ended", "how": "reset"})
    made.append(level("tcp_long", "up", 15.1, 16.0))
    return sorted(made, key=lambda item: float(str(item["t_s"])))

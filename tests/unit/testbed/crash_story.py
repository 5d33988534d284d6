"""An invented run that the tests of timeline and picture share: node a loses power, node b takes over, a comes back."""

from __future__ import annotations

import random

ZERO_AT_S = 1000.0
PERIOD_S = 0.05
LAST_OK_S, FIRST_OK_S = -0.02, 14.28

RESULT: dict[str, object] = {
    "scenario": "primary-crash",
    "verdict": "pass",
    "reasons": [],
    "accel": "tcg",
    "dilation": 1.0,
    "faults": [{"name": "power_cut", "target": "a", "verdict": "confirmed", "injected_at_s": 40.0, "evidence": {}}],
    "phases_s": {"detect": 5.1, "decide": 5.6, "promote": 6.4, "vm_start": 8.3, "service_up": 14.2, "redundancy": 31.0},
    "outage_s": 14.3,
    "ledger": {"acknowledged": 812, "lost": 0, "stale": 0, "unknown": 2},
}


def journal(node: str, t_s: float, milestone: str | None, **more: object) -> dict[str, object]:
    """One journal record at a time relative to the injection."""
    pair = more.pop("pair", ["PAIRED", "PAIRED"])
    entry = {"node": node, "milestone": milestone, "pair": pair, **more}
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
    alone = {"pair": ["ALONE", "ALONE"]}
    story: list[dict[str, object]] = [
        journal("a", -30, "protected", vms={"web": ["STARTING", "RUNNING"]}),
        journal("b", -30, "protected", vms={"web": ["STANDBY", "STANDBY"]}),
        {"t_s": ZERO_AT_S, "source": "fault", "kind": "confirmed", "name": "power_cut", "target": "a"},
        {"t_s": ZERO_AT_S + 0.01, "source": "qmp.a", "kind": "event", "event": "SHUTDOWN", "data": {}},
        {"t_s": ZERO_AT_S + 0.01, "source": "machine.a", "kind": "killed", "pid": 7, "returncode": -9},
        {"t_s": ZERO_AT_S + 16.0, "source": "machine.a", "kind": "started", "pid": 8},
        journal("b", 2.1, None, pair=["PAIRED", "SUSPECT"]),
        journal("b", 5.1, "peer_lost", pair=["SUSPECT", "ALONE"], reason="all links silent for 5.0 s"),
        journal("b", 5.6, "takeover_decided", vms={"web": ["STANDBY", "CLAIMING"]}, **alone),
        journal("b", 5.7, "epoch_saved", vms={"web": ["CLAIMING", "PROMOTING"]}, **alone),
        journal("b", 6.4, "disk_promoted", vms={"web": ["PROMOTING", "STARTING"]}, **alone),
        journal("b", 6.5, "vm_start_commanded", **alone),
        journal("b", 8.3, "vm_running", vms={"web": ["STARTING", "RUNNING"]}, **alone),
        journal("b", 8.6, "service_address_up", **alone),
        journal("a", 24.0, "daemon_started", pair=["UNPAIRED", "UNPAIRED"], vms={"web": ["STANDBY", "STANDBY"]}),
        journal("b", 26.2, "peer_returned", pair=["ALONE", "PAIRED"]),
        journal("a", 26.3, "paired", pair=["UNPAIRED", "PAIRED"]),
        journal("b", 27.0, "resync_started"),
        journal("b", 31.0, "protected"),
        *probes(),
    ]
    return sorted(story, key=lambda item: float(str(item["t_s"])))

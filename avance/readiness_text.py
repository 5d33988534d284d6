"""What would happen if the primary died now: as a part of the status document, and in words for people. Pure.

Schema `status.json`; what is foreseen comes from core/readiness.py.
"""

from __future__ import annotations

from typing import Any

from avance.core.engine import Engine
from avance.core.model import Forecast, VmForecast, VmId
from avance.core.rehearsal import in_words


def readiness_of(engine: Engine, now: float) -> dict[str, Any] | None:
    """Return what is foreseen, the same on both nodes; None while no backup stands by."""
    seen = engine.readiness.seen(engine.sight, now)
    if seen is None:
        return None
    backup, forecast = seen
    setup = engine.setup
    told = {one.vm: one for one in forecast.vms}
    return {
        "primary": setup.peer_id if backup == setup.me else setup.me,
        "backup": backup,
        "ready": forecast.ready,
        "seconds": forecast.seconds,
        "seconds_power_off": forecast.off_s,
        "means": forecast.means,
        "reasons": list(forecast.reasons),
        "memory_known": forecast.memory,
        "vms": {vm: _vm(forecast, told.get(vm, VmForecast(VmId(vm)))) for vm in engine.units},
    }


def _vm(forecast: Forecast, one: VmForecast) -> dict[str, Any]:
    why, action = in_words(one.lacks) if one.lacks else (None, None)
    ready = not one.lacks and forecast.seconds is not None
    runs_s = None
    if ready and forecast.seconds is not None and one.start_s is not None:
        runs_s = round(forecast.seconds + one.start_s, 1)
    return {"ready": ready, "seconds": runs_s, "lacks": one.lacks or None, "text": why, "action": action}


def readiness_text(readiness: dict[str, Any] | None) -> str:
    """Return what is foreseen as a person wants to read it."""
    if readiness is None:
        return "NOT READY: no backup stands by, so there is nobody to take over (avance status says why)"
    primary, backup = readiness["primary"], readiness["backup"]
    if readiness["seconds"] is None:
        reasons = "; ".join(readiness["reasons"])
        first = f"NOT READY: if node {primary} died now, node {backup} would not take over: {reasons}"
    else:
        word = "READY" if readiness["ready"] else "NOT READY"
        first = (
            f"{word}: if node {primary} died now, node {backup} would order its VMs to start after"
            f" {readiness['seconds']:.1f} s, by {readiness['means']}"
        )
    if readiness["seconds_power_off"] is not None:
        first += f"; after {readiness['seconds_power_off']:.1f} s if its power is gone, too"
    lines = [first, *(_vm_line(name, one) for name, one in readiness["vms"].items())]
    if not readiness["memory_known"]:
        lines.append(f"how much memory is free on node {backup} is not known")
    return "\n".join(lines)


def _vm_line(name: str, one: dict[str, Any]) -> str:
    if one["lacks"] is not None:
        return f"vm {name}: would not start: {one['text']}. {one['action']}."
    if not one["ready"]:
        return f"vm {name}: would not start, for the node would not take over"
    if one["seconds"] is None:
        return f"vm {name}: would start; how long its start takes there is not known yet"
    return f"vm {name}: would run after {one['seconds']:.1f} s"

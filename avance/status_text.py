"""The status in words for people: the one fact that matters first. Pure; schema `avance/schema/status.json`."""

from __future__ import annotations

import json
from typing import Any

from avance.core.model import Wanted
from avance.vm_list import WHY_OFF


def status_text(status: dict[str, Any]) -> str:
    """Return the status as a person wants to read it: the one fact that matters first."""
    if status["pair"] == "UNPAIRED" and status["waits"]:
        return f"NOT SERVING: {status['waits']}"
    if status["pair"] == "UNPAIRED":
        return "NOT PAIRED: run `avance pair` on both nodes"
    word = "PROTECTED" if status["protected"] else "NOT PROTECTED"
    links = ", ".join(f"{name} {state}" for name, state in status["links"].items())
    address = status["service_address"]
    lines = [
        f"{word}: node {status['node']} is {status['role']}, pair {status['pair']}, epoch {status['epoch']}",
        f"links:           {links}",
        f"service address: {address['address']}" + (" (here)" if address["held"] else ""),
        f"call home:       {_call_home_text(status['call_home'])}",
        f"arbitration:     {_arbitration_text(status)}",
        f"watchdog:        {_watchdog_text(status['watchdog'])}",
        f"gate:            {status['gate']['problem'] or 'in place'}",
        f"drbd module:     {status['drbd']['problem'] or status['drbd']['version'] or 'not loaded yet'}",
        f"data disks:      {_mirror_text(status['mirror'])}",
    ]
    if status.get("waits"):
        lines.insert(1, f"WAITS: {status['waits']}")
    readiness = status.get("readiness")
    if readiness is not None and not readiness["ready"]:
        lacking = ", ".join(name for name, vm in readiness["vms"].items() if not vm["ready"])
        lines.insert(1, f"NOT READY for the loss of node {readiness['primary']}: {lacking}; see `avance readiness`")
    for node, parts in status["unguarded"].items():
        lines.insert(1, f"NOT GUARDED: the {' and the '.join(parts)} of node {node} would not stop it when it hangs")
    lines += _definitions_lines(status["definitions"])
    if status["quarantined"]:
        lines.append("QUARANTINED: the other node failed too often; `avance reset-device NODE` takes it back")
    if status["rejected"]:
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(status["rejected"].items()))
        lines.append(f"refused datagrams: {refused}")
    for name, vm in status["vms"].items():
        disks = f"{vm.get('disk', '?')}/{vm.get('peer_disk', '?')}, {vm.get('connection', '?')}"
        why = WHY_OFF[Wanted(vm["wanted"])]
        lines.append(f"vm {name}: {vm['state']}, {f'{why}, ' if why else ''}disks {disks}")
    if status["dilation"] != 1.0:
        lines.append(f"all times are multiplied by {status['dilation']:g} (declared dilation)")
    return "\n".join(lines)


def definitions_text(found: dict[str, Any]) -> str:
    """Return which definitions count, with their contents, for a person who compares two nodes."""
    lines = [f"definitions number {found['number']}, {found['hash']}", *_definitions_lines(found)]
    return "\n".join([*lines, json.dumps({"site": found["site"], "vms": found["vms"]}, indent=1, sort_keys=True)])


def _definitions_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"definitions wait: {found['waits']}"] if found["waits"] else []
    mine, peers = found["hash"], found["peer_hash"]
    if peers is not None and mine != peers:
        lines.append(f"DEFINITIONS DIFFER: {mine} here, {peers} on the peer; until they are equal no disk connects")
    return lines


def _arbitration_text(status: dict[str, Any]) -> str:
    words = status["arbitration"]
    means = ", ".join(words["arbiters"]) or f"policy {words['policy']}"
    lease = "" if words["lease_s"] is None or words["solo"] else f", lease {words['lease_s']:.1f} s"
    hole = ", HOLE OPEN: a cut of every link can lead to two writers" if words["hole"] == "open" else ""
    return means + (", this node may write alone" if words["solo"] else "") + lease + hole


def _call_home_text(call_home: dict[str, Any]) -> str:
    refused = "; some were refused for good: see /var/lib/avance/callhome/refused.jsonl"
    return f"{call_home['queued']} alerts waiting" + (refused if call_home.get("refused") else "")


def _watchdog_text(watchdog: dict[str, Any]) -> str:
    if not watchdog["configured"]:
        return "off"
    return watchdog["problem"] or ("armed" if watchdog["armed"] else "not armed yet")


def _mirror_text(mirror: dict[str, Any]) -> str:
    detail = f": {mirror['detail']}" if mirror["detail"] else ""
    if mirror["state"] == "CURRENT":
        return f"{mirror['halves']} of {mirror['of']} halves{detail}"
    return f"{mirror['state']}, {mirror['halves']} of {mirror['of']} halves{detail}"

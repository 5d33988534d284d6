"""The phases of a recovery, each stamped by a source of its own, from the merged records of a run; pure.

A phase that no source has stamped is absent, never 0. This module must never take the product's word for what the wire
or the client can tell: the journal dates decisions, the switch dates frames, the probe dates the service.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from testbed.history import HistoryRecord
from testbed.milestones import milestone_of
from testbed.vocabulary import Milestone, Phase

# Phase -> the milestone that dates it, for what happens inside a node and nobody else can see.
MILESTONES: Mapping[Phase, Milestone] = {
    "detect": "peer_lost",
    "decide": "epoch_saved",
    "promote": "disk_promoted",
    "vm_start": "vm_start_commanded",
}
TAKEOVER: tuple[Phase, ...] = ("detect", "decide", "promote", "vm_start", "guest_up", "service_up")
SOURCES: Mapping[Phase, str] = {
    **dict.fromkeys(MILESTONES, "journal of the surviving node"),
    "fence": "process and events of the old node's machine",
    "guest_up": "first frame of the VM (of the last one, with several) at another port of the switch",
    "service_up": "first of five good answers in a row to the client",
    "redundancy": "journals of both nodes, and the status of both",
}
MACHINE_ENDS = ("killed", "died", "quit")
MACHINE_EVENTS = ("RESET", "SHUTDOWN", "WATCHDOG")


@dataclass(frozen=True)
class Recovery:
    """What the records must be searched for: the primary before the fault, its peer, since when, and the VMs' MACs."""

    old: str
    new: str
    since_s: float
    vm_macs: Collection[str]


def stamp(records: Iterable[HistoryRecord], recovery: Recovery) -> dict[Phase, float]:
    """Return the times (of the records' clock) of all phases that the records can date but service and redundancy."""
    found: dict[Phase, float] = {}
    up: dict[str, float] = {}
    for record in records:
        if record.t_s >= recovery.since_s:
            phase, mac = _phase(record, recovery), _guest_up(record, recovery)
            if phase is not None:
                found.setdefault(phase, record.t_s)
            if mac:
                up.setdefault(mac, record.t_s)
    return found | ({"guest_up": max(up.values())} if up and set(up) == set(recovery.vm_macs) else {})


def _phase(record: HistoryRecord, recovery: Recovery) -> Phase | None:
    if record.source == f"journal.{recovery.new}":
        milestone = milestone_of(record)
        return next((phase for phase, name in MILESTONES.items() if name == milestone), None)
    if record.source == f"machine.{recovery.old}" and record.kind in MACHINE_ENDS:
        return "fence"
    if record.source == f"qmp.{recovery.old}" and record.fields.get("event") in MACHINE_EVENTS:
        return "fence"
    return None


def _guest_up(record: HistoryRecord, recovery: Recovery) -> str:
    """The MAC of a VM that sends at a port of the new node, or the empty text."""
    mac = str(record.fields.get("mac"))
    is_claim = record.source == "switch" and record.kind == "claim" and mac in recovery.vm_macs
    return mac if is_claim and str(record.fields.get("port")).startswith(f"{recovery.new}.") else ""

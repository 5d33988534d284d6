"""The milestones of the product's journal in words for people, and how one is read from a record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from testbed.history import HistoryRecord
from testbed.vocabulary import Milestone

MILESTONES: Mapping[Milestone, str] = {
    "daemon_started": "product started",
    "paired": "paired with its peer",
    "peer_lost": "peer lost (no heartbeat on any link)",
    "takeover_decided": "takeover decided",
    "epoch_saved": "new epoch on disk",
    "disk_promoted": "disk promoted, this node may write",
    "vm_start_commanded": "VM start commanded",
    "vm_running": "VM runs",
    "service_address_up": "service address taken",
    "peer_returned": "peer is back",
    "resync_started": "resynchronisation of the disks started",
    "protected": "protected: both disks hold the same data",
    "move_begun": "the VMs begin to move while they run",
    "vm_received": "the moving VM is complete, and stands still",
    "vm_sent": "the moving VM has left",
}


def milestone_of(entry: HistoryRecord) -> Milestone | None:
    """Return the milestone that a journal record published, if any; also one that a newer product has added."""
    line = entry.fields.get("entry")
    value = line.get("milestone") if isinstance(line, dict) else None
    return cast("Milestone", value) if isinstance(value, str) else None


def in_words(milestone: str) -> str:
    """Return a milestone in words for people; one that a newer product has added is shown as it is."""
    return next((text for name, text in MILESTONES.items() if name == milestone), milestone.replace("_", " "))

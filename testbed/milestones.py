"""The milestones that the product publishes in its journal, in words, and how one is read from a record; pure."""

from __future__ import annotations

from testbed.history import Record

MILESTONES = {
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
}


def milestone_of(entry: Record) -> str | None:
    """Return the milestone that a journal record published, if any."""
    line = entry.fields.get("entry")
    value = line.get("milestone") if isinstance(line, dict) else None
    return value if isinstance(value, str) else None

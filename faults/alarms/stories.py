"""Alerts that belong to one story, under its name: what follows of a lost node, a lost link, a lost disk. Pure data.

The table of alarms uses them for what may come besides. A code that a fault *must* bring from one node does not stand
in a story that either node may tell: otherwise the wrong node could tell it unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from testbed.vocabulary import AlertCode

# What says that something is over or in order; such an alert alarms nobody.
ALL_CLEAR: tuple[AlertCode, ...] = (
    "address_restored", "alerts_restored", "bmc_restored", "configuration_restored", "device_restored",
    "fan_failed_over", "fan_slow_over", "gate_restored", "journal_restored", "link_up", "memory_corrects_over",
    "memory_failed_over", "mirror_whole", "module_restored", "much_too_warm_over", "network_lost_over",
    "overheated_over", "peer_returned", "power_supply_failed_over", "protected", "record_restored",
    "removal_restored", "sensors_silent_over", "too_warm_over", "two_copies", "vm_started", "watchdog_restored",
    "witness_restored",
)  # fmt: skip
LINK: tuple[AlertCode, ...] = ("link_down", "link_up")
COPIES: tuple[AlertCode, ...] = ("one_copy", "two_copies", "protected", "copy_behind", "not_ready", "ready_again")
# A node is not heard, goes, and comes back; the other one takes over or goes on alone.
AWAY: tuple[AlertCode, ...] = (
    *LINK, *COPIES, "peer_lost", "peer_returned", "alone", "takeover", "takeover_refused", "waits_for_peer", "fenced",
    "fence_failed", "peer_resets", "resets_itself", "was_reset", "vm_started", "quarantined",
)  # fmt: skip
# The replication stands although the nodes hear each other: the backup restarts for a cure.
CURE: tuple[AlertCode, ...] = (*AWAY, "backup_down", "cures_used_up", "replication_unsteady")
# Data disks of the node that is hit.
MIRROR: tuple[AlertCode, ...] = (
    "mirror_degraded", "mirror_whole", "mirror_refused", "mirror_reused", "foreign_disk", "last_disk",
)  # fmt: skip
# The VMs go to the other node, or stay for a stated reason.
MOVE: tuple[AlertCode, ...] = (
    "vms_move", "vms_stay", "move_failed", "hands_over", "takeover", "vm_started", "protected", "copy_behind",
)  # fmt: skip
# What a node keeps for itself cannot be written.
RECORDS: tuple[AlertCode, ...] = (
    "record_failed", "record_restored", "store_failed", "journal_failed", "journal_restored", "alerts_failed",
    "alerts_restored", "configuration_failed", "configuration_restored", "command_failed",
)  # fmt: skip
VM: tuple[AlertCode, ...] = ("vm_crashed", "vm_left", "vm_started", "protected", "command_failed", "hands_over")
LATE: tuple[AlertCode, ...] = ("daemon_lag", "machine_paused")

# What a person reads in place of the codes.
NAMED: Mapping[str, tuple[AlertCode, ...]] = {
    "link": LINK, "copies": COPIES, "node away": AWAY, "cure": CURE, "disks": MIRROR, "move": MOVE, "records": RECORDS,
    "VM": VM, "late": LATE,
}  # fmt: skip


def in_stories(codes: Iterable[AlertCode]) -> tuple[list[str], list[AlertCode]]:
    """Return the names of the stories that are wholly among these codes, the longest first, and the codes beside them.

    A story that is part of those before it is not named.
    """
    wanted = list(dict.fromkeys(codes))
    names: list[str] = []
    covered: set[AlertCode] = set()
    for name, story in sorted(NAMED.items(), key=lambda item: -len(item[1])):
        if set(story) <= set(wanted) and not set(story) <= covered:
            names.append(name)
            covered |= set(story)
    return names, [code for code in wanted if code not in covered]

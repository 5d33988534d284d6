"""The words that the bed and the product share, as types; a word that is misspelt is refused where it is used.

What the product publishes stands in `avance/schema`; a test compares. Phases are the bed's own. It must never hold a
word that nobody publishes.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Milestone: TypeAlias = Literal[
    "daemon_started", "paired", "peer_lost", "takeover_decided", "epoch_saved", "disk_promoted", "vm_start_commanded",
    "vm_running", "service_address_up", "peer_returned", "resync_started", "protected",
    "move_begun", "vm_received", "vm_sent",
]  # fmt: skip
# As one node sees the pair; a node that was never paired says UNPAIRED in its status, and keeps no journal then.
PairState: TypeAlias = Literal["UNPAIRED", "STARTING", "PAIRED", "WAITING", "ALONE", "FENCED", "SPLIT"]
VmState: TypeAlias = Literal[
    "CHECKING", "STANDBY", "PROMOTING", "STARTING", "RUNNING", "SENDING", "RECEIVING", "RECEIVED",
    "STOPPING", "DEMOTING", "FAILED",
]  # fmt: skip
AlertCode: TypeAlias = Literal[
    "address_failed", "address_restored", "alerts_failed", "alerts_restored", "alone", "backup_down", "bmc_failed",
    "bmc_restored", "command_failed", "configuration_failed", "configuration_restored", "copy_behind", "copy_lost",
    "cures_used_up", "daemon_lag", "datagrams_refused", "definitions_differ", "definitions_refused", "device_failed",
    "device_restored", "fan_failed", "fan_failed_over", "fan_slow", "fan_slow_over", "fence_failed", "fenced",
    "foreign_disk", "gate_failed", "gate_restored", "hands_over", "journal_failed", "journal_restored", "last_disk",
    "link_down", "link_up", "machine_paused", "memory_corrects", "memory_corrects_over", "memory_failed",
    "memory_failed_over", "mirror_degraded", "mirror_refused", "mirror_reused", "mirror_whole", "module_failed",
    "module_restored", "move_failed", "much_too_warm", "much_too_warm_over", "network_lost", "network_lost_over",
    "no_good_copy", "not_ready", "off_by_guest", "one_copy", "operator_keep", "operator_leave", "operator_move",
    "operator_override", "operator_reset_device", "out_of_sync", "overheated", "overheated_over", "pair_mismatch",
    "peer_lost", "peer_resets", "peer_returned", "power_supply_failed", "power_supply_failed_over", "protected",
    "quarantined", "ready_again", "record_failed", "record_restored", "removal_failed", "removal_restored",
    "replication_unsteady", "resets_itself", "runs_on", "sensors_silent", "sensors_silent_over", "split",
    "store_failed", "takeover", "takeover_refused", "too_warm", "too_warm_over", "two_copies", "vm_crashed",
    "vm_left", "vm_started", "vms_move", "vms_stay", "waits_for_peer", "was_reset", "watchdog_failed",
    "watchdog_restored", "witness_failed", "witness_restored",
]  # fmt: skip
Phase: TypeAlias = Literal["detect", "decide", "fence", "promote", "vm_start", "guest_up", "service_up", "redundancy"]

PREFIX = "avance-"  # before a VM's name stand these letters, where a tool speaks of its domain, resource or volume
KEPT = ".kept-"  # behind it stand these, and an epoch, where a volume holds the version that a person gave up

ALERT_CODES: tuple[AlertCode, ...] = get_args(AlertCode)
PHASES: tuple[Phase, ...] = get_args(Phase)


def in_tools(vm: str) -> str:
    """What Xen, DRBD and LVM call a VM, its resource and its volume."""
    return PREFIX + vm


def is_kept_of(vm: str, volume: str) -> bool:
    """Say whether a volume holds a version of the VM that a person gave up (`avance keep`)."""
    return volume.startswith(in_tools(vm) + KEPT)

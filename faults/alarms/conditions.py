"""Which fault of the bed trips each condition of health, and why no row demands some alerts. Pure data.

The codes are those that the product publishes: a condition has the code of its alert. Tests compare this with the
product's own table of conditions, with its list of codes, and with the registry of faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.vocabulary import AlertCode


@dataclass(frozen=True, slots=True)
class Tripped:
    """What trips a condition: a fault with these parameters; otherwise `without` says why nothing in the bed does."""

    fault: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    on: str = ""
    without: str = ""

    @property
    def text(self) -> str:
        """For people."""
        if self.without:
            return f"nothing: {self.without}"
        values = "".join(f", `{name}` {str(value).lower()}" for name, value in self.values.items())
        return f"`{self.fault}`{f' on {self.on}' if self.on else ''}{values}"


CONDITIONS: Mapping[AlertCode, Tripped] = {
    "network_lost": Tripped("link.carrier_loss", on="a public link of a node"),
    "mirror_degraded": Tripped("disk.gone", {"disk": "vdb"}),
    "copy_lost": Tripped("disk.hang", {"disk": "vdb"}),
    "record_failed": Tripped("disk.write_error", {"disk": "vda"}),
    "fan_slow": Tripped(
        without="the fan of the bed's BMC turns as it should or stands still. The rule is that of `fan_failed`, with"
        " another limit of the same sensor, and the reading of both limits is tested without a node"
    ),
    "fan_failed": Tripped("hardware.fan_stopped"),
    "power_supply_failed": Tripped("hardware.power_supply_lost"),
    "too_warm": Tripped(
        without="`hardware.overheating` begins above the critical limit. The rule is that of `much_too_warm`, with"
        " another limit of the same sensor, and the reading of all three limits is tested without a node"
    ),
    "much_too_warm": Tripped("hardware.overheating", {"celsius": 95}),
    "overheated": Tripped("hardware.overheating", {"celsius": 105}),
    "memory_corrects": Tripped("hardware.memory_error", {"correctable": True}),
    "memory_failed": Tripped("hardware.memory_error", {"correctable": False}),
    "sensors_silent": Tripped("bmc.slow"),
}
# Alerts that no row demands of one fault by itself, or that only are an end that no row waits for.
UNDEMANDED: Mapping[AlertCode, str] = {
    "backup_down": "It comes when a link is still dead after a restart of the backup: the row B1 demands it.",
    "command_failed": "It tells that an order for a VM failed and is tried again. The alert that names the cause is the"
    " one that is demanded.",
    "copy_behind": "It follows when a node that had the VMs comes back; what made it go is told by another alert.",
    "cures_used_up": "It comes when restarts did not help three times: the row B15 demands it.",
    "definitions_differ": "It takes two changes on nodes that do not hear each other, which is no fault of the bed. The"
    " simulator does it.",
    "definitions_refused": "It takes a definition that one node cannot take, which is no fault of the bed. The"
    " simulator does it.",
    "fan_slow": "Nothing in the bed makes a fan slow; see the table of conditions.",
    "fan_slow_over": "Nothing in the bed makes a fan slow; see the table of conditions.",
    "gate_failed": "No fault of the bed takes the gate out of the kernel. Unit tests do.",
    "gate_restored": "No fault of the bed takes the gate out of the kernel. Unit tests do.",
    "last_disk": "It takes a lost node and a lost disk of the other one, so no single fault brings it.",
    "module_failed": "It takes an image with the wrong module of DRBD, and the image of the bed has the right one.",
    "module_restored": "It takes an image with the wrong module of DRBD, and the image of the bed has the right one.",
    "no_good_copy": "It takes two copies that are both incomplete, so no single fault brings it.",
    "not_ready": "It comes when the backup could not take over for 60 s, whatever the reason is. A fault that is healed"
    " earlier does not bring it.",
    "ready_again": "It is the end of a story that no row demands.",
    "runs_on": "It takes a guest that does not shut down when a person asks it to, which is no fault of the bed.",
    "one_copy": "It comes when two copies were not equal for 60 s, whatever the reason is. A fault that is healed"
    " earlier does not bring it.",
    "out_of_sync": "It takes a contradiction of DRBD with itself, which no fault of the bed can make.",
    "pair_mismatch": "It takes two nodes of different sites or versions, which is no fault of the bed.",
    "quarantined": "It comes when a node has failed six times: the rows A8 and A11 demand it.",
    "removal_failed": "It takes a VM that is removed; the bed removes none on a faulty node.",
    "removal_restored": "It takes a VM that is removed; the bed removes none on a faulty node.",
    "split": "It takes a person who forces both nodes: the row D19 demands it.",
    "takeover_refused": "It takes a node that is lost while the other one has no good copy: the rows A10 and F1"
    " demand it.",
    "too_warm": "Nothing in the bed makes a part a little too warm; see the table of conditions.",
    "too_warm_over": "Nothing in the bed makes a part a little too warm; see the table of conditions.",
    "waits_for_peer": "It takes a node that starts alone: the row J2 demands it.",
    "watchdog_failed": "The watchdog of the bed's machines is always there. Unit tests take it away.",
    "watchdog_restored": "The watchdog of the bed's machines is always there. Unit tests take it away.",
}  # fmt: skip

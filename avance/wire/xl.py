"""Xen's xl: domain configuration text, argument vectors and the parser of `xl list` (xl(1), xl.cfg(5), Xen 4.17)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from avance.core.model import VmId, VmSpec
from avance.wire.drbd import device_path

# xenstore-watch prints a line at each change; these two special watches fire when any domain begins or ends
# (docs/misc/xenstore.txt of Xen, 'Special watches').
WATCH_ARGV = ("xenstore-watch", "@introduceDomain", "@releaseDomain")
LIST_ARGV = ("xl", "list")
DOMAIN_DEVICE = re.compile(r"vif\d+\.\d+")  # libxl's name of a network back end: domain and number of the card


@dataclass(frozen=True, slots=True)
class Domain:
    """One line of `xl list`: a domain that is shut down or crashed still stands there, but does not run."""

    name: str
    running: bool
    paused: bool = False


def domain_config(spec: VmSpec) -> str:
    """Return the xl.cfg(5) text of a VM; a dead domain is destroyed, because avance itself decides on restarts."""
    return f"""name = "{spec.name}"
type = "pv"
kernel = "{spec.kernel}"
ramdisk = "{spec.ramdisk}"
cmdline = "{spec.cmdline}"
memory = {spec.memory_mib}
vcpus = 1
disk = ["phy:{device_path(spec)},xvda,w"]
vif = ["mac={spec.mac},bridge={spec.network}"]
on_poweroff = "destroy"
on_reboot = "destroy"
on_watchdog = "destroy"
on_crash = "destroy"
"""


def create_argv(config_path: str) -> list[str]:
    """Create a domain and leave no xl process behind that would act on its own (`-e`)."""
    return ["xl", "create", "-q", "-e", config_path]


def destroy_argv(vm: VmId) -> list[str]:
    """Destroy a domain at once."""
    return ["xl", "destroy", vm]


def pause_argv(vm: VmId) -> list[str]:
    """Stop the virtual processors of a domain; Xen counts, so each one needs an `unpause` of its own."""
    return ["xl", "pause", vm]


def unpause_argv(vm: VmId) -> list[str]:
    """Take one `pause` of a domain back."""
    return ["xl", "unpause", vm]


def parse_list(text: str) -> list[Domain]:
    """Parse `xl list`; states are r(unning) b(locked) p(aused) s(hutdown) c(rashed) d(ying).

    Raises:
        ValueError: the table has another shape than the one of Xen 4.17.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("Name"):
        raise ValueError(f"not a domain list: {text[:80]!r}")
    domains = []
    for line in lines[1:]:
        columns = line.split()
        if len(columns) != 6 or len(columns[4]) != 6:
            raise ValueError(f"not a line of a domain list: {line!r}")
        states = set(columns[4])
        domains.append(Domain(columns[0], running=not set("scd") & states, paused="p" in states))
    return domains

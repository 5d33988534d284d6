"""Xen's xl: the uuid and the configuration text of a domain, and argument vectors (xl(1), xl.cfg(5), Xen 4.17)."""

from __future__ import annotations

import hashlib
import re

from avance.core.model import VmId, VmSpec
from avance.wire import names
from avance.wire.drbd import device_path

DOMAIN_DEVICE = re.compile(r"vif\d+\.\d+")  # libxl's name of a network back end: domain and number of the card
_UUID_SPACE = b"avance.vm:"


def uuid_of(vm: VmId) -> str:
    """Return the uuid of a VM's domains, as 32 hexadecimal digits; it depends on the name only.

    Xen keeps it from the first moment of a domain until nothing of it is left, so a domain that was never finished, or
    that is dying and has lost its name, is still known.
    """
    digits = hashlib.sha1(_UUID_SPACE + vm.encode(), usedforsecurity=False).hexdigest()[:32]
    return f"{digits[:12]}5{digits[13:16]}{int(digits[16], 16) & 0x3 | 0x8:x}{digits[17:]}"  # RFC 9562, version 5


def domain_config(spec: VmSpec, bridge: str) -> str:
    """Return the xl.cfg(5) text of a VM with its card on a bridge; the texts of the VM can be quoted (`config.parse`).

    Nobody but avance decides on restarts. One that its guest has ended stays listed, with the reason, until avance
    destroys it.
    """
    uuid = uuid_of(spec.name)
    return f"""name = "{names.of(spec.name)}"
uuid = "{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"
type = "pv"
kernel = "{spec.kernel}"
ramdisk = "{spec.ramdisk}"
cmdline = "{spec.cmdline}"
memory = {spec.memory_mib}
vcpus = 1
disk = ["phy:{device_path(spec)},xvda,w"]
vif = ["mac={spec.mac},bridge={bridge}"]
on_poweroff = "preserve"
on_reboot = "preserve"
on_watchdog = "destroy"
on_crash = "destroy"
"""


def create_argv(config_path: str) -> list[str]:
    """Create a domain and leave no xl process behind that would act on its own (`-e`)."""
    return ["xl", "create", "-q", "-e", config_path]


def shutdown_argv(number: int) -> list[str]:
    """Ask the guest of a domain to shut down; xl does not wait until it has."""
    return ["xl", "shutdown", str(number)]


def destroy_argv(number: int) -> list[str]:
    """Destroy a domain at once; by its number, because names may be anything."""
    return ["xl", "destroy", str(number)]


# The peer is at descriptor 3 (`send_argv`). What xl sends goes there; what comes from there goes to xl, and from nobody
# else: xl sees that the peer has closed. When xl is gone, so is all of this.
_TRANSPORT = "cat <&3 & exec >&3; cat; kill $!"
_WITH_THE_DAEMON = ["setpriv", "--pdeathsig", "KILL", "sh", "-c"]  # an xl that nobody watches must not go on


def send_argv(number: int) -> list[str]:
    """Send a domain to the peer that is connected at standard input; it stands still there then (`-p`).

    xl(1), migrate: with an empty `-s` the last word is a text for the shell that carries what xl says and hears.
    """
    migrate = ["xl", "migrate", "-p", "-s", "", str(number), _TRANSPORT]
    return [*_WITH_THE_DAEMON, 'exec "$@" 3<&0 </dev/null', "sh", *migrate]


def receive_argv() -> list[str]:
    """Take in a domain from the peer that is connected at standard input, and leave it paused (`-p`).

    No xl process stays behind that would act on its own (`-e`). xl hears at standard input and speaks at its output.
    """
    return [*_WITH_THE_DAEMON, 'exec "$@" >&0', "sh", "xl", "migrate-receive", "-e", "-p"]

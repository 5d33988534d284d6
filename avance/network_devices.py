"""What the kernel says of the network devices of this machine, in sysfs. It changes nothing.

What cannot be read is unknown: a daemon that can open no more files must not take its cables for dead.
"""

from __future__ import annotations

import errno
from pathlib import Path

from avance.files import read_text
from avance.wire.xl import DOMAIN_DEVICE

DEVICES = Path("/sys/class/net")
_NONE = (errno.ENOENT, errno.ENODEV, errno.EINVAL)  # there is no such device, or it is down


def uplinks_of(device: str, root: Path = DEVICES) -> list[str]:
    """Return the devices by which a network leaves this machine: a bridge's ports but the domains', or itself."""
    try:
        return _ports(device, root)
    except OSError:
        return [device] if (root / device).exists() else []


def _ports(device: str, root: Path) -> list[str]:
    ports = sorted(port.name for port in (root / device / "brif").iterdir())
    return [port for port in ports if not DOMAIN_DEVICE.fullmatch(port)]


def read_carrier(device: str, root: Path = DEVICES) -> bool | None:
    """Say whether a network has a carrier here, None if nobody can tell; an absent device has none (sysfs-class-net).

    A bridge has one of its own as long as any of its ports has, a VM's too. So its uplinks are asked.
    """
    try:
        uplinks = _ports(device, root)
    except OSError as error:
        if error.errno not in _NONE:
            return None
        uplinks = [device]
    found = {_has_carrier(root / uplink) for uplink in uplinks}
    return True if True in found else None if None in found else False


def _has_carrier(device: Path) -> bool | None:
    try:
        return read_text(device / "carrier") == "1"
    except OSError as error:
        return False if error.errno in _NONE else None

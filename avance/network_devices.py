"""What the kernel says of the network devices of this machine, in sysfs. It changes nothing."""

from __future__ import annotations

from pathlib import Path

from avance.files import read_text
from avance.wire.xl import DOMAIN_DEVICE

DEVICES = Path("/sys/class/net")


def uplinks_of(device: str, root: Path = DEVICES) -> list[str]:
    """Return the devices by which a network leaves this machine: a bridge's ports but the domains', or itself."""
    try:
        ports = sorted(port.name for port in (root / device / "brif").iterdir())
    except OSError:
        return [device] if (root / device).exists() else []
    return [port for port in ports if not DOMAIN_DEVICE.fullmatch(port)]


def read_carrier(device: str, root: Path = DEVICES) -> bool:
    """Say whether a network has a carrier here; a device that is absent or down has none (sysfs-class-net).

    A bridge has one of its own as long as any of its ports has, a VM's too. So its uplinks are asked.
    """
    return any(_has_carrier(root / uplink) for uplink in uplinks_of(device, root))


def _has_carrier(device: Path) -> bool:
    try:
        return read_text(device / "carrier") == "1"
    except OSError:
        return False

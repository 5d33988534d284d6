"""The network of this node's domains: all their back ends at once off the wire, and back on it.

In this very process and without a fork, because a node that has lost its right must be silent at once; `xl` needs a
tenth of a second and more to start. A back end that is down neither takes a frame from its domain nor gives it one
(kernel, drivers/net/xen-netback/interface.c). It must never touch a device that is not a domain's.
"""

from __future__ import annotations

import fcntl
import re
import socket
import struct
from pathlib import Path

from avance.core.model import Outcome
from avance.core.results import Done
from avance.wire.xl import DOMAIN_DEVICE

_DEVICES = Path("/sys/class/net")
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h
_REQUEST = struct.Struct("16sH22x")  # struct ifreq with its flags


class DomainWires:
    """The port `Wires`."""

    def __init__(self, devices: Path = _DEVICES, pattern: re.Pattern[str] = DOMAIN_DEVICE) -> None:
        self._devices = devices
        self._pattern = pattern

    def take_down(self) -> Done:
        """Take every domain of this node off the network; no domain at all is done too."""
        return self._set(up=False)

    def bring_up(self) -> Done:
        """Put every domain of this node on the network again."""
        return self._set(up=True)

    def _set(self, *, up: bool) -> Done:
        try:
            return self._set_all(up=up)
        except OSError as error:  # no descriptor is free, or sysfs cannot be read
            return Done(Outcome.UNKNOWN, f"network devices: {error}")

    def _set_all(self, *, up: bool) -> Done:
        complaints, changed = [], []
        names = sorted(path.name for path in self._devices.iterdir() if self._pattern.fullmatch(path.name))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for name in names:
                try:
                    set_up(control, name, up=up)
                    changed.append(name)
                except OSError as error:
                    if (self._devices / name).exists():  # else its domain has just ended: nothing is sent any more
                        complaints.append(f"{name}: {error}")
        if complaints:
            return Done(Outcome.FAILED, "; ".join(complaints))
        return Done(Outcome.OK, " ".join(changed))


def set_up(control: socket.socket, name: str, *, up: bool) -> None:
    """Set a network device up or down, and leave its other flags alone (netdevice(7)).

    Raises:
        OSError: there is no such device, or this process may not.
    """
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, _REQUEST.pack(name.encode(), 0))
    flags: int = _REQUEST.unpack(answer)[1]
    wanted = flags | _IFF_UP if up else flags & ~_IFF_UP
    if wanted != flags:
        fcntl.ioctl(control, _SIOCSIFFLAGS, _REQUEST.pack(name.encode(), wanted))

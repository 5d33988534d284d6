"""What somebody, or the kernel, changes in a node's own Linux behind the product's back.

The service address is deleted by hand, the card of the private link is gone, a domain that belongs to nobody runs. The
order goes through the out-of-band channel; the evidence is the kernel's own notice of it, the switch, or a separate
look. The product is meant to mend the first two by itself, so heal looks first whether it has.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from faults.fault import Proof
from faults.kinds.evidence.inside import check_node, shell
from faults.kinds.evidence.silence import PortSilence
from testbed.bed import Bed
from testbed.errors import GuestCommandError, UsageError, WaitTimeout
from testbed.topology import PREFIX, PRIVATE
from testbed.wait import wait_until

MENDED_S = 30.0
POLL_S = 1.0
_LOG, _PID = "/run/fault-address.log", "/run/fault-address.pid"
_WATCH = f'setsid ip -o monitor address > {_LOG} 2>&1 < /dev/null & echo "$!" > {_PID}'
_UNWATCH = f"kill $(cat {_PID}) 2> /dev/null; rm -f {_PID}; true"
_DEVICE = 'basename "$(readlink -f /sys/class/net/"$1"/device)"'
_DRIVER = "/sys/bus/virtio/drivers/virtio_net"
_BACK = f'echo "$1" > {_DRIVER}/bind; ip link set "$2" up; true'  # as the node does at its start
_FOREIGN = "/run/fault-foreign.cfg"
_CREATE = f"""
printf 'name = "%s"\\nkernel = "%s"\\nmemory = %s\\n' "$1" "$2" "$3" > {_FOREIGN}
xl create -q -p {_FOREIGN}
"""
_LIST = "xl list -v"


async def _mended(seen: Callable[[], Awaitable[bool]], what: str) -> None:
    await wait_until(seen, what=what, timeout_s=MENDED_S, poll_s=POLL_S, tolerate=(GuestCommandError,))


class _LinuxFault:
    """What these faults share: a node that is on."""

    name: ClassVar[str]

    def __init__(self, target: str) -> None:
        self.target = target
        self._injected_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Refuse a node that is off."""
        check_node(bed, self.target)


class AddressDeleted(_LinuxFault):
    """Somebody deletes the service address from the node that holds it, by hand."""

    name = "linux.address_deleted"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._device = ""

    async def prepare(self, bed: Bed) -> None:
        """Find the device that has it, and let the kernel tell of every change."""
        await super().prepare(bed)
        self._device = await self._held_by(bed)
        if not self._device:
            raise UsageError(f"node {self.target} does not hold the service address {bed.topology.service}")
        await shell(bed, self.target, _WATCH)

    async def _held_by(self, bed: Bed) -> str:
        found = await shell(bed, self.target, 'ip -o -4 addr show to "$1"', f"{bed.topology.service}/32")
        words = found.split()
        return words[1] if len(words) > 1 else ""

    async def inject(self, bed: Bed) -> None:
        """Delete it."""
        self._injected_at_s = time.monotonic()
        await shell(bed, self.target, 'ip addr del "$1" dev "$2"', f"{bed.topology.service}/{PREFIX}", self._device)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the kernel has told that this address was deleted; the product may have put it back since."""
        told = await shell(bed, self.target, f"cat {_LOG}")
        deleted = [line for line in told.splitlines() if line.startswith("Deleted") and bed.topology.service in line]
        return Proof.of(bool(deleted), self._injected_at_s, {"kernel": deleted, "device": self._device})

    async def heal(self, bed: Bed) -> None:
        """Wait until the product has put it back, on this node or its peer; else put it back by hand."""

        async def held() -> bool:
            return not bed.nodes[self.target].is_on or bool(await self._held_by(bed))

        try:
            await _mended(held, f"the service address on node {self.target}")
        except WaitTimeout:
            await shell(bed, self.target, 'ip addr add "$1" dev "$2"', f"{bed.topology.service}/{PREFIX}", self._device)

    async def remove_instruments(self, bed: Bed) -> None:
        """End the kernel's telling."""
        if bed.nodes[self.target].is_on:
            await shell(bed, self.target, _UNWATCH)


class CardGone(_LinuxFault):
    """The network card of the private link is gone from the node, as when its driver has lost it."""

    name = "linux.card_gone"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._silence = PortSilence(target)
        self._bus = ""

    async def prepare(self, bed: Bed) -> None:
        """Find the card on its bus, and let the node be heard."""
        await super().prepare(bed)
        self._bus = (await shell(bed, self.target, _DEVICE, bed.topology.devices[PRIVATE])).strip()
        if not self._bus.startswith("virtio"):
            raise UsageError(f"node {self.target} has no card {bed.topology.devices[PRIVATE]} to take away")
        await self._silence.note_healthy(bed)

    async def inject(self, bed: Bed) -> None:
        """Take the driver from it."""
        self._injected_at_s = time.monotonic()
        await shell(bed, self.target, f'echo "$1" > {_DRIVER}/unbind', self._bus)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the kernel has no such card and the switch hears nothing at the private port any more."""
        port, device = f"{self.target}.{PRIVATE}", bed.topology.devices[PRIVATE]
        await self._silence.falls_silent(bed)
        before, after = self._silence.before[port], self._silence.after[port]
        cards = await self._cards(bed)
        evidence: dict[str, object] = {"frames_before": before, "frames_after": after, "cards": cards}
        return Proof.of(None if not before else not after and device not in cards, self._injected_at_s, evidence)

    async def _cards(self, bed: Bed) -> list[str]:
        return (await shell(bed, self.target, "ls /sys/class/net")).split()

    async def heal(self, bed: Bed) -> None:
        """Give the driver back; verified by the card. A node that was reset has found it by itself."""

        async def there() -> bool:
            device = bed.topology.devices[PRIVATE]
            if (
                not bed.nodes[self.target].is_on
                or device in (await shell(bed, self.target, "ls /sys/class/net")).split()
            ):
                return True
            await shell(bed, self.target, _BACK, self._bus, bed.topology.devices[PRIVATE])
            return False

        await _mended(there, f"the card of node {self.target}")


class ForeignDomain(_LinuxFault):
    """A domain that belongs to nobody, with a blank in its name, is there and stays paused."""

    name = "linux.foreign_domain"

    def __init__(self, target: str, *, called: str = "not ours") -> None:
        super().__init__(target)
        self.called = called

    async def inject(self, bed: Bed) -> None:
        """Create it, as large as a workload guest: into less its kernel does not fit."""
        guest = bed.image.workload
        self._injected_at_s = time.monotonic()
        await shell(bed, self.target, _CREATE, self.called, guest.kernel, str(guest.memory_mib))

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when Xen lists it by a look of its own."""
        listed = await shell(bed, self.target, _LIST)
        return Proof.of(f"\n{self.called} " in listed, self._injected_at_s, {"listed": listed.splitlines()[1:]})

    async def heal(self, bed: Bed) -> None:
        """Destroy it; verified by the list. With a reset of its node it is gone."""

        async def gone() -> bool:
            if not bed.nodes[self.target].is_on or f"\n{self.called} " not in await shell(bed, self.target, _LIST):
                return True
            await shell(bed, self.target, 'xl destroy "$1"; true', self.called)
            return False

        await _mended(gone, f"the domain {self.called!r} to end")


FAULTS = (AddressDeleted, CardGone, ForeignDomain)

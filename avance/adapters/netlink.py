"""Addresses and links through rtnetlink (pyroute2), and gratuitous ARP for the service address.

pyroute2 takes seconds to import under emulation, so it is imported late and in a thread (the only file that may).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avance.config import Config
from avance.core.events import LinkChanged
from avance.core.model import Outcome
from avance.core.results import Done
from avance.ports import Sink

_ANNOUNCE_S = (0.0, 0.1, 0.2)  # gratuitous ARP after these pauses; well below 10 multicasts per second
_ETH_P_ARP = 0x0806
_CALL_S = 20.0
_RTMGRP_LINK = 1  # linux/rtnetlink.h
_EGRESS = 0xFFFFFFF3  # linux/pkt_sched.h: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
_ALL_PROTOCOLS = 0x0003  # linux/if_ether.h: ETH_P_ALL
_MESSAGE_BYTES_MAX = 65536
_MESSAGES_MAX = 1000  # messages taken at once; more come at the next turn of the loop

_Untyped = Any  # pyroute2 has no types


class NodeNetwork:
    """The port `Network`."""

    def __init__(self, config: Config, sink: Sink) -> None:
        self._config = config
        self._sink = sink
        self._ready = asyncio.Event()
        self._route: _Untyped = None

    async def run(self) -> None:
        """Give every link of this node its address, then report each change of a carrier, for ever."""
        await self._bring_up()
        await self._follow()

    async def _bring_up(self) -> None:
        self._route = await asyncio.to_thread(_open_route)
        for link in self._config.links:
            await asyncio.to_thread(self._add, link.device, link.address)
        self._ready.set()

    async def _follow(self) -> None:
        """Wake at each rtnetlink message about a link, and look at the carriers; the messages only ring the bell."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        carriers = {link.name: read_carrier(link.device) for link in self._config.links}
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as bell:
            bell.bind((0, _RTMGRP_LINK))
            loop.add_reader(bell, news.set)
            try:
                while True:
                    await news.wait()
                    _drain(bell)
                    news.clear()
                    for link in self._config.links:
                        carrier = read_carrier(link.device)
                        if carrier is not carriers[link.name]:
                            carriers[link.name] = carrier
                            self._sink(LinkChanged(link.name, carrier=carrier))
            finally:
                loop.remove_reader(bell)

    async def wait_up(self) -> Done:
        """Wait until every link has its address, which DRBD needs to find itself in its configuration."""
        try:
            async with asyncio.timeout(_CALL_S * self._config.dilation):
                await self._ready.wait()
        except TimeoutError:
            return Done(Outcome.FAILED, "the links of this node have no addresses yet")
        return Done(Outcome.OK)

    async def hold_address(self) -> Done:
        """Bring the service address up and announce it."""
        return await self._perform(self._add, announce=True)

    async def release_address(self) -> Done:
        """Take the service address down."""
        return await self._perform(self._remove, announce=False)

    async def _perform(self, act: Callable[[str, ipaddress.IPv4Interface], None], *, announce: bool) -> Done:
        device, address = self._config.service_device, self._config.service_address
        try:
            async with asyncio.timeout(_CALL_S * self._config.dilation):
                await self._ready.wait()
                await asyncio.to_thread(act, device, address)
                for pause_s in _ANNOUNCE_S if announce else ():
                    await asyncio.sleep(pause_s)
                    announce_address(device, address.ip)
        except TimeoutError:
            return Done(Outcome.UNKNOWN, f"rtnetlink did not answer for {address} on {device}")
        except OSError as error:
            return Done(Outcome.FAILED, f"{address} on {device}: {error}")
        return Done(Outcome.OK)

    def _add(self, device: str, address: ipaddress.IPv4Interface) -> None:
        self._change("add", device, address, already=errno.EEXIST)

    def _remove(self, device: str, address: ipaddress.IPv4Interface) -> None:
        self._change("del", device, address, already=errno.EADDRNOTAVAIL)

    def _change(self, verb: str, device: str, address: ipaddress.IPv4Interface, *, already: int) -> None:
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - slow import, see the module's docstring

        found = self._route.link_lookup(ifname=device)
        if not found:
            raise OSError(errno.ENODEV, f"there is no network device {device}")
        prefix = address.network.prefixlen
        try:
            self._route.addr(verb, index=found[0], address=str(address.ip), prefixlen=prefix)
        except NetlinkError as error:
            if error.code != already:
                raise OSError(error.code, str(error)) from error


def read_carrier(device: str, root: Path = Path("/sys/class/net")) -> bool:
    """Say whether a device has a carrier; one that is absent or down has none (sysfs-class-net)."""
    try:
        return (root / device / "carrier").read_text().strip() == "1"
    except OSError:
        return False


def put_filter(device: str, program: int) -> None:
    """Hang a loaded BPF program into the way out of a device, in the place of an earlier one (tc-bpf(8)).

    Raises:
        OSError: there is no such device, or the kernel does not take the program.
    """
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - slow import, see the module's docstring

    with _open_route() as route:
        found = route.link_lookup(ifname=device)
        if not found:
            raise OSError(errno.ENODEV, f"there is no network device {device}")
        try:
            route.tc("replace", "clsact", found[0])
            route.tc(
                "replace-filter", "bpf", found[0], parent=_EGRESS, protocol=_ALL_PROTOCOLS, prio=1, handle=1,
                fd=program, name="avance_lease", direct_action=True,
            )  # fmt: skip
        except NetlinkError as error:
            raise OSError(error.code, f"{device}: {error}") from error


def _drain(bell: socket.socket) -> None:
    for _ in range(_MESSAGES_MAX):
        try:
            bell.recv(_MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            continue  # the kernel dropped messages (ENOBUFS): the look at the carriers makes up for it


def warm_up() -> None:
    """Import pyroute2 ahead of its first use; takes seconds, so it belongs into a thread."""
    import pyroute2  # noqa: F401, PLC0415 - slow import, see the module's docstring


def _open_route() -> _Untyped:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow import, see the module's docstring

    return IPRoute()


def gratuitous_arp(mac: bytes, ip: ipaddress.IPv4Address) -> bytes:
    """Return the broadcast frame that tells everybody who drives this address (RFC 5227, section 3)."""
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP)
    return ethernet + struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, ip.packed, b"\0" * 6, ip.packed)


def announce_address(device: str, ip: ipaddress.IPv4Address) -> None:
    """Send one gratuitous ARP from a device.

    Raises:
        OSError: the device cannot send.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as sock:
        sock.bind((device, _ETH_P_ARP))
        sock.send(gratuitous_arp(sock.getsockname()[4], ip))

"""Addresses and links through rtnetlink (pyroute2), and gratuitous ARP for the service address.

pyroute2 takes seconds to import under emulation, so it is imported late and in a thread (the only file that may).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from avance.config import Config, LinkConfig
from avance.core.events import AddressSeen, LinkChanged, PartSeen
from avance.core.model import LinkName, NodePart, Outcome
from avance.core.results import Done
from avance.network_devices import DEVICES, read_carrier
from avance.ports import Sink

# Gratuitous ARP so long after the address is up, times the dilation: who is just starting misses the first.
ANNOUNCE_S: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0)
_ETH_P_ARP = 0x0806
_CALL_S = 20.0
_LOOK_S = 5.0  # between two looks when the kernel has said nothing
_GROUPS = 0x01 | 0x08 | 0x10  # linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR
_FILTER = "avance_lease"
_LOOPBACK = "lo"
_EGRESS = 0xFFFFFFF3  # linux/pkt_sched.h: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
_ALL_PROTOCOLS = 0x0003  # linux/if_ether.h: ETH_P_ALL
_MESSAGE_BYTES_MAX = 65536
_MESSAGES_MAX = 1000  # messages taken at once; more come at the next turn of the loop

_Untyped = Any  # pyroute2 has no types


class NodeNetwork:
    """The port `Network`.

    The addresses of the links are its own business: each has its address while its device is there, also after the
    device was made anew or somebody has flushed it. While the device of the private link is not there, the loopback
    has that address: DRBD's tool finds this host by it, and without it does not even let a VM's I/O go on. Whether this
    node holds the service address the core decides.
    """

    def __init__(self, config: Config, sink: Sink) -> None:
        self._config = config
        self._sink = sink
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self._route: _Untyped = None
        self._calls = asyncio.Lock()  # one call of rtnetlink at a time
        self._carriers: dict[LinkName, bool] = {}
        self._given: set[LinkName] = set()  # the links whose device has got its address since it appeared
        self._problems: dict[LinkName, str] = {}
        self._announced = asyncio.Event()
        self._held: bool | None = None  # where the last command left the service address; None: nobody knows

    async def run(self) -> None:
        """Give every link its address, report devices, carriers and a service address that moved, for ever."""
        with _Bell() as bell:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._announce_again())
                while True:
                    await self._look()
                    self._news.set()
                    await bell.wait(_LOOK_S)

    async def _look(self) -> None:
        """Look at every link and at the service address, and put back what is missing of the links."""
        for link in self._config.links:
            present = (DEVICES / link.device).exists()
            read = read_carrier(link.device) if present else False
            carrier = self._carriers.get(link.name, True) if read is None else read
            if self._carriers.get(link.name, True) is not carrier:  # at first the core takes it to be up
                self._sink(LinkChanged(link.name, carrier=carrier))
            self._carriers[link.name] = carrier
            problem = await self._put(link) if present else await self._missing(link)
            if problem != self._problems.get(link.name, ""):
                self._sink(PartSeen(NodePart.DEVICE, problem, link.name))
            self._problems[link.name] = problem
            if link.name == self._config.replication_link and is_here(link.address.ip):
                self._ready.set()
        present = is_here(self._config.service_address.ip)
        if self._held is not None and present is not self._held:
            self._sink(AddressSeen(present))

    async def _missing(self, link: LinkConfig) -> str:
        self._given.discard(link.name)
        if link.name == self._config.replication_link and not is_here(link.address.ip):
            with contextlib.suppress(OSError, TimeoutError):  # it is tried again at the next look
                await self._call(self._add, _LOOPBACK, _alone(link.address))
        return (
            f"The network device {link.device} of link {link.name} is not there: this node neither hears nor sends on"
            " it. Look at the card and its driver; as soon as the device is back, it is used again"
        )

    async def _put(self, link: LinkConfig) -> str:
        """Let a device have its address; returns why it has none, for a person."""
        if link.name in self._given and is_here(link.address.ip):
            return ""
        try:
            await self._call(self._add, link.device, link.address)
            if link.name == self._config.replication_link:
                await self._call(self._remove, _LOOPBACK, _alone(link.address))
        except (OSError, TimeoutError) as error:
            return (
                f"Link {link.name} has no address: {link.address} could not be given to {link.device} "
                f"({str(error) or 'rtnetlink does not answer'}). It is tried again and again; look at the device"
            )
        self._given.add(link.name)
        return ""

    async def wait_changed(self, timeout_s: float) -> None:
        """Return when something of the network has changed since the last call, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()

    async def wait_up(self) -> Done:
        """Wait until this node has the address of the private link: DRBD finds itself by it in its configuration."""
        try:
            async with asyncio.timeout(_CALL_S * self._config.dilation):
                await self._ready.wait()
        except TimeoutError:
            why = (
                self._problems.get(self._config.replication_link) or "the private link of this node has no address yet"
            )
            return Done(Outcome.FAILED, why)
        return Done(Outcome.OK)

    async def hold_address(self) -> Done:
        """Bring the service address up and announce it."""
        return await self._perform(self._add, announce=True)

    async def release_address(self) -> Done:
        """Take the service address down."""
        return await self._perform(self._remove, announce=False)

    async def _perform(self, act: Callable[[str, ipaddress.IPv4Interface], None], *, announce: bool) -> Done:
        device, address = self._config.service_device, self._config.service_address
        self._held = None
        try:
            await self._call(act, device, address)
            if announce:
                announce_address(device, address.ip)
        except TimeoutError:
            return Done(Outcome.UNKNOWN, f"rtnetlink did not answer for {address} on {device}")
        except OSError as error:
            return Done(Outcome.FAILED, f"{address} on {device}: {error}")
        self._held = announce
        if announce:
            self._announced.set()
        return Done(Outcome.OK)

    async def _announce_again(self) -> None:
        """Announce the service address some more times after each first one, as long as this node has it."""
        device, address = self._config.service_device, self._config.service_address.ip
        while True:
            await self._announced.wait()
            self._announced.clear()
            for before_s, at_s in pairwise(ANNOUNCE_S):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout((at_s - before_s) * self._config.dilation):
                        await self._announced.wait()
                if self._announced.is_set() or self._held is not True or not is_here(address):
                    break
                with contextlib.suppress(OSError):  # the device is away just now
                    announce_address(device, address)

    async def _call(
        self, act: Callable[[str, ipaddress.IPv4Interface], None], device: str, address: ipaddress.IPv4Interface
    ) -> None:
        """Change an address. Raises OSError with the kernel's answer, TimeoutError when there was none."""
        async with asyncio.timeout(_CALL_S * self._config.dilation), self._calls:
            await asyncio.to_thread(act, device, address)

    def _add(self, device: str, address: ipaddress.IPv4Interface) -> None:
        self._change("add", device, address, already=errno.EEXIST)

    def _remove(self, device: str, address: ipaddress.IPv4Interface) -> None:
        self._change("del", device, address, already=errno.EADDRNOTAVAIL)

    def _change(self, verb: str, device: str, address: ipaddress.IPv4Interface, *, already: int) -> None:
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - slow import, see the module's docstring

        self._route = self._route or _open_route()
        try:
            found = self._route.link_lookup(ifname=device)
            if not found:
                raise OSError(errno.ENODEV, f"there is no network device {device}")
            prefix = address.network.prefixlen
            self._route.addr(verb, index=found[0], address=str(address.ip), prefixlen=prefix)
        except NetlinkError as error:
            if error.code != already:
                raise OSError(error.code, str(error)) from error


class _Bell:
    """Rings at each message of the kernel about devices, addresses or filters; a context manager that owns a socket."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._rung = asyncio.Event()

    def __enter__(self) -> Self:
        """Listen; without a socket it rings after the time that its owner waits, and no sooner."""
        with contextlib.suppress(OSError):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
            )
            self._socket.bind((0, _GROUPS))
            asyncio.get_running_loop().add_reader(self._socket, self._rung.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    async def wait(self, timeout_s: float) -> None:
        """Return at the next message, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        if self._socket is not None:
            _drain(self._socket)
        self._rung.clear()


def _alone(address: ipaddress.IPv4Interface) -> ipaddress.IPv4Interface:
    """The same address without its network: nobody else is reached by it."""
    return ipaddress.IPv4Interface((address.ip, address.max_prefixlen))


def is_here(ip: ipaddress.IPv4Address) -> bool:
    """Say whether this machine has an address: only then something can be bound to it (ip(7))."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((str(ip), 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


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
                fd=program, name=_FILTER, direct_action=True,
            )  # fmt: skip
        except NetlinkError as error:
            raise OSError(error.code, f"{device}: {error}") from error


def has_filter(device: str) -> bool:
    """Say whether the way out of a device has the program that `put_filter` hangs there.

    Raises:
        OSError: there is no such device, or the kernel does not say.
    """
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - slow import, see the module's docstring

    with _open_route() as route:
        found = route.link_lookup(ifname=device)
        if not found:
            raise OSError(errno.ENODEV, f"there is no network device {device}")
        try:
            hung = [filter_.get_attr("TCA_OPTIONS") for filter_ in route.get_filters(index=found[0], parent=_EGRESS)]
        except NetlinkError as error:
            raise OSError(error.code, f"{device}: {error}") from error
    return any(options is not None and options.get_attr("TCA_BPF_NAME") == _FILTER for options in hung)


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

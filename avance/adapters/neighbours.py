"""A look at the public networks by ARP: do the gateways answer, and does somebody else answer for our addresses?

An answer is evidence for the choice of a side and never a right. Raw sockets, because the kernel's own ARP would learn
from what it sees, and a node that only looks must not change anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avance.config import Config
from avance.core.events import NeighboursSeen
from avance.core.model import Outcome, VmId, VmSpec
from avance.core.results import Done
from avance.files import read_small, read_text
from avance.ports import Sink
from avance.wire import arp

_TRIES = 2
_WAIT_S = 0.5  # for answers, after the last question of a try
_PAUSE_S = 0.2  # between two questions: below ten broadcasts a second, whatever the number of addresses
_FRAME_BYTES_MAX = 2048
_BURST_MAX = 64  # frames taken from one socket before others get their turn
_NETWORK_DEVICES = Path("/sys/class/net")
_SAID_MAX = 4096  # senders that are kept of one look; a flood must not fill the memory
_BRIDGE_ENTRY = struct.Struct("6sBx4xB3x")  # mac, port, is it local, age, high byte of the port, unused
_BRIDGE_TABLE_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class _DeviceSocket:
    """A raw socket on one device, and who said what on it."""

    device: str
    socket: socket.socket
    said: set[arp.Said] = field(default_factory=set)

    @property
    def mac(self) -> bytes:
        mac: bytes = self.socket.getsockname()[4]
        return mac


@dataclass(frozen=True, slots=True)
class _Question:
    device: str
    sender: ipaddress.IPv4Address
    target: ipaddress.IPv4Address


class ArpNeighbours:
    """The port `Neighbours`."""

    def __init__(self, config: Config, sink: Sink, devices: Path = _NETWORK_DEVICES) -> None:
        self._sink = sink
        self._slow = config.dilation
        self._devices = devices
        self._links = {link.name: link for link in config.links}
        self._gateways = [
            _Question(self._links[name].device, self._links[name].address.ip, gateway)
            for name, gateway in config.gateways
        ]
        self._service = _Question(config.service_device, arp.NOBODY, config.service_address.ip)
        self._vms: dict[VmId, list[_Question]] = {}
        for spec in config.vms:
            self.add(spec)

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        self._vms[spec.name] = [self._question(spec)]

    def change(self, spec: VmSpec) -> None:
        """Ask for the new address as well; until its next start, wherever that is, the VM answers for the old one."""
        asked, question = self._vms.setdefault(spec.name, []), self._question(spec)
        if question not in asked:
            asked.append(question)

    def remove(self, vm: VmId) -> None:
        """Take a VM out of care."""
        self._vms.pop(vm, None)

    def _question(self, spec: VmSpec) -> _Question:
        device = next(link.device for name, link in self._links.items() if name == spec.network)
        return _Question(device, arp.NOBODY, ipaddress.IPv4Address(spec.address))

    async def probe(self) -> Done:
        """Look at all networks; what was seen is an event before this is done."""
        own = [self._service, *(each for asked in self._vms.values() for each in asked)]
        questions = [*self._gateways, *own]
        silent: dict[str, str] = {}
        with contextlib.ExitStack() as stack:
            ports: dict[str, _DeviceSocket] = {}
            for device in sorted({question.device for question in questions}):
                try:
                    ports[device] = stack.enter_context(_listening(device))
                except OSError as error:
                    silent[device] = f"{device}: {error}"
            for _ in range(_TRIES):
                for question in questions:
                    if not _answered(ports, question):
                        self._ask(ports, question, silent)
                        await asyncio.sleep(_PAUSE_S)
                await asyncio.sleep(_WAIT_S * self._slow)
            gateway = any(_answered(ports, each) for each in self._gateways) if self._gateways else None
            claimed = tuple(str(each.target) for each in own if self._is_claimed(ports, each))
        self._sink(NeighboursSeen(gateway, claimed))
        return Done(Outcome.OK, "; ".join(silent.values()))

    def _ask(self, ports: dict[str, _DeviceSocket], question: _Question, silent: dict[str, str]) -> None:
        port = ports.get(question.device)
        if port is None:
            return
        try:
            port.socket.send(arp.question(port.mac, sender=question.sender, target=question.target))
        except OSError as error:  # down, or a full queue: nobody is heard there
            silent[port.device] = f"{port.device}: {error}"

    def _is_claimed(self, ports: dict[str, _DeviceSocket], question: _Question) -> bool:
        port = ports.get(question.device)
        if port is None:
            return False
        macs = {said.mac for said in port.said if said.ip == question.target}
        return bool(macs - own_macs(port.device, self._devices) - {port.mac})


def own_macs(bridge: str, devices: Path = _NETWORK_DEVICES) -> set[bytes]:
    """Return the addresses that a bridge has learnt on the ports of this node's own domains (vif*).

    The VM has the same MAC on both nodes, so only the port tells whether it is ours that answers. The table is the
    bridge's `brforward` in sysfs, entries as struct __fdb_entry of linux/if_bridge.h.
    """
    try:
        ports = [port for port in (devices / bridge / "brif").iterdir() if port.name.startswith("vif")]
        numbers = {int(read_text(port / "port_no"), 16) for port in ports}
        table = read_small(devices / bridge / "brforward", _BRIDGE_TABLE_BYTES_MAX)
    except (OSError, ValueError):  # not a bridge, or a port that has just gone
        return set()
    whole = len(table) - len(table) % _BRIDGE_ENTRY.size
    entries = _BRIDGE_ENTRY.iter_unpack(table[:whole])
    return {mac for mac, low, high in entries if low | high << 8 in numbers}


def _answered(ports: dict[str, _DeviceSocket], question: _Question) -> bool:
    port = ports.get(question.device)
    return port is not None and any(said.ip == question.target for said in port.said)


@contextlib.contextmanager
def _listening(device: str) -> Iterator[_DeviceSocket]:
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_PACKET, kind, 0) as sock:  # protocol 0: it hears nothing before it is bound
        sock.bind((device, arp.ETHERTYPE))
        port = _DeviceSocket(device, sock)
        loop.add_reader(sock, _hear, port)
        try:
            yield port
        finally:
            loop.remove_reader(sock)


def _hear(port: _DeviceSocket) -> None:
    for _ in range(_BURST_MAX):
        try:
            said = arp.parse(port.socket.recv(_FRAME_BYTES_MAX))
        except OSError:
            return  # nothing more, or a device that went down: then it is silent
        if said is not None and len(port.said) < _SAID_MAX:
            port.said.add(said)

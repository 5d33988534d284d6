"""A public network in a private namespace: the node's bridge with a wire to the outside and one to its own domain.

Run as a program: `python -m tests.integration.avance.adapters.netns_lan`. It tries the adapters `neighbours`, `vif` and
`gate` there and prints what came of it as one line of JSON. Exit code 77 and a sentence on stderr: the host gives no
such namespace.
It must never touch the host's own network: it leaves it before it does anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from avance.adapters.gate import LeaseGate
from avance.adapters.neighbours import ArpNeighbours
from avance.adapters.netlink import has_filter, put_filter
from avance.adapters.process import run
from avance.adapters.vif import DomainWires
from avance.core.events import Event
from avance.core.model import LinkName, Outcome
from avance.wire import arp
from tests.unit.avance.site import config

NEW_NAMESPACES = 0x40000000 | 0x00020000  # network and mounts (sched.h)
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
GATEWAY, SERVICE, VM = "10.77.0.2", "10.77.0.10", "10.77.0.20"
VM_MAC = bytes.fromhex("00163e770020")
OTHER_MAC = bytes.fromhex("020000000001")
IMPOSSIBLE = 77
FRAME_S = 0.03  # in which a frame is through


@dataclass
class Wire:
    """The far end of a device: answers ARP for some addresses, and notes when each broadcast came."""

    tap: int
    answers: dict[str, bytes] = field(default_factory=dict)
    broadcasts: list[float] = field(default_factory=list)
    frames: int = 0

    def readable(self) -> None:
        """Take a frame, and answer it when it asks for one of ours."""
        frame = os.read(self.tap, 2048)
        self.frames += 1
        if frame[12:14] != b"\x08\x06":
            return
        if frame[:6] == b"\xff" * 6:
            self.broadcasts.append(time.monotonic())
        target = str(IPv4Address(frame[38:42]))
        mac = self.answers.get(target)
        if mac is not None and frame[20:22] == b"\0\1":
            body = frame[14:20] + b"\0\2" + mac + frame[38:42] + frame[22:28] + frame[28:32]
            os.write(self.tap, frame[6:12] + mac + b"\x08\x06" + body + b"\0" * 18)


def tap(name: str) -> int:
    """Make a device whose frames this program reads and writes."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


async def must(*argv: str) -> None:
    """Run a command that has to succeed."""
    completed = await run(argv, timeout_s=100)
    if completed.outcome is not Outcome.OK:
        raise OSError(completed.detail)


async def build() -> tuple[Wire, Wire]:
    """Leave the host's network, then make the bridge with its two ports: the outside and the own domain."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NAMESPACES) != 0:
        raise PermissionError(ctypes.get_errno(), "new namespaces (unshare) need CAP_SYS_ADMIN")
    await must("mount", "--make-rprivate", "/")
    await must("mount", "-t", "sysfs", "sys", "/sys")  # of this network
    outside, domain = Wire(tap("eth1")), Wire(tap("vif1.0"))
    await must("ip", "link", "add", "biz0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
    for name in ("eth1", "vif1.0"):
        await must("ip", "link", "set", name, "master", "biz0", "up")
    await must("ip", "link", "set", "biz0", "up")
    await must("ip", "address", "add", "10.77.0.11/24", "dev", "biz0")
    return outside, domain


@contextmanager
def living(*wires: Wire) -> Iterator[None]:
    """Let the far ends answer."""
    loop = asyncio.get_running_loop()
    for wire in wires:
        loop.add_reader(wire.tap, wire.readable)
    try:
        yield
    finally:
        for wire in wires:
            loop.remove_reader(wire.tap)


def up(name: str) -> bool:
    """Say whether a device is up."""
    return bool(int(Path(f"/sys/class/net/{name}/flags").read_text(), 16) & 1)


async def probe(*, gateway: bool = True) -> dict[str, object]:
    """Look once and return the outcome and what was seen."""
    events: list[Event] = []
    site = replace(config(), gateways=((LinkName("biz0"), IPv4Address(GATEWAY)),) if gateway else ())
    begun = time.monotonic()
    done = await ArpNeighbours(site, events.append).probe()
    return {
        "done": list(asdict(done).values()),
        "seen": [asdict(event) for event in events],
        "took_s": time.monotonic() - begun,
    }


def senders(domain: Wire) -> dict[str, Callable[[], None]]:
    """Return how each kind of frame is sent; the names are what the tests ask for."""
    node = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    node.bind(("biz0", 0))
    mac = node.getsockname()[4]

    def from_node(frame: bytes) -> None:
        with contextlib.suppress(OSError):  # ENOBUFS: dropped on its way
            node.send(frame)

    def from_domain(frame: bytes) -> None:
        os.write(domain.tap, frame)

    ways = {
        "vm ipv4": (from_domain, ipv4(VM_MAC, VM)),
        "vm ipv6": (from_domain, ipv6(VM_MAC)),
        "vm arp": (from_domain, arp.question(VM_MAC, sender=IPv4Address(VM), target=IPv4Address(GATEWAY))),
        "service ipv4": (from_node, ipv4(mac, SERVICE)),
        "service arp": (from_node, arp.question(mac, sender=IPv4Address(SERVICE), target=IPv4Address(SERVICE))),
        "own ipv4": (from_node, ipv4(mac, "10.77.0.11")),
        "own arp": (from_node, arp.question(mac, sender=IPv4Address("10.77.0.11"), target=IPv4Address(GATEWAY))),
        "own probe": (from_node, arp.question(mac, sender=IPv4Address("0.0.0.0"), target=IPv4Address(VM))),
        "own ipv6": (from_node, ipv6(mac)),
    }
    return {name: partial(send, frame) for name, (send, frame) in ways.items()}


def framed(source: bytes, kind: int, body: bytes) -> bytes:
    """Return a broadcast frame."""
    return b"\xff" * 6 + source + struct.pack("!H", kind) + body


def ipv4(source: bytes, address: str) -> bytes:
    """Return a broadcast UDP packet, which a bridge with a firewall takes for whole too."""
    ends = IPv4Address(address).packed + b"\xff" * 4
    words = struct.unpack("!10H", struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + ends)
    total = sum(words)
    check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF  # RFC 1071
    return framed(source, 0x0800, struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, check) + ends + bytes(26))


def ipv6(source: bytes) -> bytes:
    """Return a packet without a payload to all nodes (RFC 8200: 59 is "no next header")."""
    ends = IPv6Address("fe80::1").packed + IPv6Address("ff02::1").packed
    return framed(source, 0x86DD, struct.pack("!IHBB", 6 << 28, 0, 59, 64) + ends + bytes(6))


async def passing(outside: Wire, ways: dict[str, Callable[[], None]]) -> list[str]:
    """Send one frame of each kind and return which of them reached the outside."""
    passed = []
    for name, send in ways.items():
        seen = outside.frames
        send()
        await asyncio.sleep(FRAME_S)
        if outside.frames > seen:
            passed.append(name)
    return passed


async def gates(outside: Wire, domain: Wire) -> dict[str, object]:
    """What passes the lease's gate before it is there, and for each end of the lease."""
    gate, ways = LeaseGate(["biz0"], IPv4Address(SERVICE), put_filter, has_filter), senders(domain)
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")  # the kernel's own words would be counted
    found: dict[str, object] = {}
    with living(outside, domain):
        await gate.keep()
        found["no end yet"] = gate.problem
        found["absent"] = await passing(outside, ways)
        for name, end_s in (("no end", None), ("later", time.monotonic() + 60.0), ("never", 0.0)):
            gate.open_until(end_s)
            await gate.keep()  # again: a daemon that was restarted does so
            found[name] = await passing(outside, ways)
            found["problem"] = gate.problem
        gate.open_until(time.monotonic() + 5 * FRAME_S)
        found["in time"] = await passing(outside, {"vm ipv4": ways["vm ipv4"]})
        await asyncio.sleep(5 * FRAME_S)
        found["too late"] = await passing(outside, {"vm ipv4": ways["vm ipv4"]})
        gate.open_until(None)
    found["guarded"] = list(gate.guarded)
    return found


async def story() -> dict[str, object]:
    """Try everything; the keys are what the tests ask for."""
    outside, domain = await build()
    found: dict[str, object] = {}
    with living(outside, domain):
        domain.answers = {VM: VM_MAC}
        outside.answers = {GATEWAY: OTHER_MAC}
        found["own domain"] = await probe()
        found["broadcasts"] = outside.broadcasts.copy()
        domain.answers = {}
        outside.answers = {SERVICE: OTHER_MAC, VM: VM_MAC}
        found["claimed"] = await probe()
        found["no gateway"] = await probe(gateway=False)
    found["gate"] = await gates(outside, domain)
    wires = DomainWires()
    begun = time.monotonic()
    down = wires.take_down()
    found["down"] = [down.outcome, down.detail, up("vif1.0"), up("eth1"), up("biz0"), time.monotonic() - begun]
    raised = wires.bring_up()
    found["up"] = [raised.outcome, raised.detail, up("vif1.0")]
    await must("ip", "link", "set", "biz0", "down")
    found["bridge down"] = await probe()
    await must("ip", "link", "delete", "biz0")
    found["no bridge"] = await probe()
    return found


def main() -> int:
    """Print what came of it."""
    try:
        found = asyncio.run(story())
    except OSError as error:
        sys.stderr.write(f"this host cannot give a private network with a bridge: {error}\n")
        return IMPOSSIBLE
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

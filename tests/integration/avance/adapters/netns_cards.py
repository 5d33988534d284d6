"""Network cards that are missing, come, are flushed and are made anew, in a private namespace.

Run as a program: `python -m tests.integration.avance.adapters.netns_cards`. It tries the adapters `netlink`,
`heartbeat` and `gate` there and prints what came of it as one line of JSON. Exit code 77 and a sentence on stderr: the
host gives no such namespace. It must never touch the host's own network: it leaves it before it does anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import IPv4Address

from avance.adapters import netlink
from avance.adapters.gate import LeaseGate
from avance.adapters.heartbeat import HeartbeatChannel
from avance.adapters.netlink import NodeNetwork, has_filter, is_here, put_filter
from avance.adapters.process import run
from avance.core.events import Event
from avance.core.model import LinkName
from avance.network_devices import DEVICES
from tests.integration.avance.adapters.netns_lan import IMPOSSIBLE, NEW_NAMESPACES, must
from tests.unit.avance.adapters.test_heartbeat import VIEW
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.site import config

PRIVATE, PUBLIC, SERVICE = IPv4Address("10.9.0.1"), IPv4Address("10.77.0.11"), IPv4Address("10.77.0.10")
LIMIT_S = 60.0
ANNOUNCE_S = tuple(at_s / 20 for at_s in netlink.ANNOUNCE_S)  # here nobody has to start


async def card() -> socket.socket:
    """Put the private card in; returns the far end of its wire."""
    await must("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
    await must("ip", "link", "set", "far0", "up")
    await must("ip", "link", "set", "eth0", "up")
    far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
    far.bind(("far0", 0))
    return far


def asks_for_peer(far: socket.socket) -> bool:
    """Say whether somebody asks on the wire for the peer's address: then a heartbeat was sent."""
    try:
        while True:
            frame = far.recv(2048)
            if frame[12:14] == b"\x08\x06" and frame[38:42] == IPv4Address("10.9.0.2").packed:
                return True
    except BlockingIOError:
        return False


async def announcing(network: NodeNetwork) -> dict[str, object]:
    """Take the service address, let go of it, and take it again; says how often it was announced."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3)) as wire:
        wire.bind(("biz0", 3))
        again = [(await network.hold_address()).outcome, is_here(SERVICE)]
        four = await announcements(wire, at_least=len(ANNOUNCE_S))
        await network.hold_address()
        await network.release_address()
        one = await announcements(wire)
        await network.hold_address()
    return {"held again": again, "announced": four, "announced, then released": one}


async def announcements(wire: socket.socket, *, at_least: int = 0) -> int:
    """Return how often the service address was announced, after so many came and twice their time has passed."""
    count = 0

    def heard() -> bool:
        nonlocal count
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = wire.recv(2048)
                count += frame[12:14] == b"\x08\x06" and frame[28:32] == frame[38:42] == SERVICE.packed
        return count >= at_least

    await come(heard)
    await asyncio.sleep(2 * ANNOUNCE_S[-1])
    heard()
    return count


async def come(what: Callable[[], bool]) -> bool:
    """Say whether something comes to hold in time."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await until(what)
    except TimeoutError:
        return False
    return True


async def held_by(address: IPv4Address) -> list[str]:
    """Return the devices that have an address, when that has come to rest."""
    devices: list[str] = []
    for _ in range(100):
        listed = (await run(["ip", "-o", "-4", "address"], timeout_s=LIMIT_S)).stdout
        devices, before = [line.split()[1] for line in listed.splitlines() if f" {address}/" in line], devices
        if devices == before and len(devices) == 1:
            break
        await asyncio.sleep(0.1)
    return devices


async def bridged(network: NodeNetwork, link: LinkName) -> dict[str, object]:
    """Put a card and the wire of a VM into the bridge, then unplug the card."""
    for port, end in (("eth1", "far1"), ("vif1.0", "guest")):
        await must("ip", "link", "add", port, "type", "veth", "peer", "name", end)
        for name in (port, end):
            await must("ip", "link", "set", name, "up")
        await must("ip", "link", "set", port, "master", "biz0")
    both = [await come(lambda: network._carriers[link]), bridge_carrier()]
    await must("ip", "link", "set", "far1", "down")
    return {"bridge": both, "bridge, card dead": [await come(lambda: not network._carriers[link]), bridge_carrier()]}


def bridge_carrier() -> str:
    """What the kernel says of the bridge itself."""
    return (DEVICES / "biz0" / "carrier").read_text().strip()


async def hung() -> bool:
    """Say whether the gate is on the private card."""
    return await asyncio.to_thread(has_filter, "eth0")


async def sent(channel: HeartbeatChannel, far: socket.socket) -> list[int]:
    """Send heartbeats until one is on the wire; returns how many were not sent before, and after."""
    before = channel.unsent[next(iter(channel.unsent))]
    while not asks_for_peer(far):
        channel.send(VIEW, echoing=True)
        await asyncio.sleep(0.05)
    after = channel.unsent[next(iter(channel.unsent))]
    return [before, after]


async def story() -> dict[str, object]:
    """Try everything; the keys are what the tests ask for."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NAMESPACES) != 0:
        raise PermissionError(ctypes.get_errno(), "new namespaces (unshare) need CAP_SYS_ADMIN")
    await must("mount", "--make-rprivate", "/")
    await must("mount", "-t", "sysfs", "sys", "/sys")  # of this network
    await must("ip", "link", "set", "lo", "up")
    netlink.ANNOUNCE_S = ANNOUNCE_S
    site, events, found = config(), list[Event](), dict[str, object]()
    network, gate = NodeNetwork(site, events.append), LeaseGate(["eth0"], SERVICE, put_filter, has_filter)
    gate.open_until(None)

    def told() -> list[list[str]]:
        seen = [[type(event).__name__, *map(str, asdict(event).values())] for event in events]
        events.clear()
        return seen

    with HeartbeatChannel(site, "boot", events.append, lambda _: None) as channel:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(network.run())
            await come(lambda: len(events) >= 4)
            channel.send(VIEW, echoing=True)
            found["no card"] = [told(), {str(link): count for link, count in channel.unsent.items()}]
            found["no card, addresses"] = [await come(lambda: is_here(PRIVATE)), is_here(PUBLIC)]
            found["no card, is up"] = (await network.wait_up()).outcome
            far = await card()
            await must("ip", "link", "add", "biz0", "type", "bridge")
            await must("ip", "link", "set", "biz0", "up")
            found["cards come"] = await come(lambda: is_here(PRIVATE) and is_here(PUBLIC))
            found["is up"] = (await network.wait_up()).outcome
            found["cards come, addresses"] = await held_by(PRIVATE)
            async with asyncio.timeout(LIMIT_S):
                found["sent"] = await sent(channel, far)
            await gate.keep()
            found["gate"] = [gate.problem, await hung()]
            await must("tc", "filter", "del", "dev", "eth0", "egress")
            lost = await hung()
            await gate.keep()
            found["gate again"] = [lost, gate.problem, await hung()]
            found["held"] = [(await network.hold_address()).outcome, is_here(SERVICE)]
            told()
            await must("ip", "address", "flush", "dev", "biz0")
            found["flushed"] = await come(lambda: any(type(event).__name__ == "AddressSeen" for event in events))
            found["flushed, told"] = told()
            found["flushed, back"] = [await come(lambda: is_here(PUBLIC)), is_here(SERVICE)]
            found |= await announcing(network)
            far.close()
            await must("ip", "link", "delete", "eth0")
            await come(lambda: any("eth0 of link priv0 is not there" in str(event) for event in events))
            told()
            found["gone, addresses"] = [await come(lambda: is_here(PRIVATE)), await held_by(PRIVATE)]
            far = await card()
            found["anew"] = await come(lambda: is_here(PRIVATE))
            await come(lambda: any(type(event).__name__ == "PartSeen" for event in events))
            found["anew, addresses"] = await held_by(PRIVATE)
            found["anew, told"] = [one for one in told() if one[0] == "PartSeen"]
            async with asyncio.timeout(LIMIT_S):
                found["anew, sent"] = await sent(channel, far)
            await gate.keep()
            found["anew, gate"] = [gate.problem, await hung()]
            far.close()
            found |= await bridged(network, site.links[1].name)
            running.cancel()
    return found


def main() -> int:
    """Print what came of it."""
    try:
        found = asyncio.run(story())
    except OSError as error:
        sys.stderr.write(f"this host cannot give a private network: {error}\n")
        return IMPOSSIBLE
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

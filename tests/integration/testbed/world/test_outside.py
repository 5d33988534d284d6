"""Tests of testbed.world.outside: its start, and a real QEMU seen from a switch port.."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from testbed.errors import MachineError
from testbed.history import History
from testbed.process import run
from testbed.wait import wait_for_record
from testbed.world.outside import Outside
from testbed.world.service_centre.server import ServiceCentre
from testbed.world.tls import ensure_credentials

NODE_MAC = bytes.fromhex("525400770001")
NODE_IP, GATEWAY_IP, CENTRE_IP = (socket.inet_aton(f"10.77.0.{host}") for host in (11, 2, 4))
LIMIT_S = 100.0


class Place:
    """The files of one test."""

    def __init__(self, sockets: Path, directory: Path) -> None:
        self.local, self.remote, self.centre = sockets / "q", sockets / "s", sockets / "c"
        self.log = directory / "outside.log"
        self.directory = directory
        self.history = History()

    def outside(self, qemu: str = "qemu-system-x86_64") -> Outside:
        """The outside world of this place."""
        return Outside(
            local=self.local, remote=self.remote, centre=self.centre, log=self.log, history=self.history, qemu=qemu
        )

    def kinds(self) -> list[str]:
        """What the outside world recorded."""
        return [record.kind for record in self.history if record.source == "outside"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place with short socket paths."""
    with tempfile.TemporaryDirectory(prefix="tb-") as sockets:
        yield Place(Path(sockets), tmp_path)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run one scene with a limit that only a hang can reach."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(limited())


def arp_request(address: bytes) -> bytes:
    """Who has this address? Tell the node."""
    return (
        b"\xff" * 6 + NODE_MAC + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        + NODE_MAC + NODE_IP + bytes(6) + address
    ).ljust(60, b"\0")  # fmt: skip


def checksum(data: bytes) -> bytes:
    """The Internet checksum."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def echo_request(mac: bytes, address: bytes) -> bytes:
    """An ICMP echo request from the node."""
    echo = struct.pack("!BBHHH", 8, 0, 0, 0x4242, 1) + b"ping" * 4
    echo = echo[:2] + checksum(echo) + echo[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(echo), 1, 0, 64, 1, 0) + NODE_IP + address
    return mac + NODE_MAC + b"\x08\x00" + head[:10] + checksum(head) + head[12:] + echo


class Port:
    """The switch's end of the pair of datagram sockets."""

    def __init__(self, own: Path, peer: Path) -> None:
        self._own, self._peer = own, peer
        self._socket = self._bind()

    def _bind(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.bind(str(self._own))
        return made

    def restart(self) -> None:
        """Do what a restarted switch does: a new socket under the old name."""
        self.close()
        self._socket = self._bind()

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self._own.unlink()

    async def ask(self, frame: bytes, expected: Callable[[bytes], bool]) -> bytes:
        """Send the frame every half second until an expected one comes."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT_S):
            while True:
                self._socket.sendto(frame, str(self._peer))
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        while True:
                            answer = await loop.sock_recv(self._socket, 65536)
                            if expected(answer):
                                return answer

    async def resolve(self, address: bytes) -> bytes:
        """The MAC address that answers for an IP address."""
        answer = await self.ask(
            arp_request(address),
            lambda frame: frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == address,
        )
        return answer[22:28]

    async def ping(self, address: bytes) -> None:
        """Ask for an echo and wait for it."""
        mac = await self.resolve(address)
        await self.ask(
            echo_request(mac, address), lambda frame: frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 0
        )


def test_gateway_and_centre_answer_on_the_wire_also_after_restarts(place: Place) -> None:
    """ARP and ping work, still after the switch restarted, and again after QEMU was killed, which is recorded."""

    async def scene() -> None:
        port = Port(place.remote, place.local)
        try:
            async with place.outside() as outside:
                gateway, centre = await port.resolve(GATEWAY_IP), await port.resolve(CENTRE_IP)
                assert gateway != centre
                await port.ping(GATEWAY_IP)
                port.restart()
                await port.ping(GATEWAY_IP)
                mark = place.history.mark()
                os.kill(outside.pid, signal.SIGKILL)
                await wait_for_record(
                    place.history,
                    lambda record: record.kind == "started",
                    what="restart",
                    timeout_s=LIMIT_S,
                    after=mark,
                )
                assert await port.resolve(GATEWAY_IP) == gateway
                await port.ping(GATEWAY_IP)
        finally:
            port.close()
        assert not place.local.exists()

    play(scene)
    assert place.kinds() == ["started", "died", "started"]


def test_alerts_travel_over_tcp_and_tls(place: Place) -> None:
    """From a network namespace: ping, alerts one by one and at once are acknowledged, other ports stay closed."""

    async def scene() -> None:
        credentials = ensure_credentials(place.directory, say=lambda _: None)
        centre = ServiceCentre(
            socket=place.centre,
            tls=credentials.server_context(),
            store=place.directory / "alerts.jsonl",
            token="t",
            history=place.history,
        )
        async with centre, place.outside():
            node = Path(__file__).with_name("netns_node.py")
            argv = [
                sys.executable,
                str(node),
                str(place.remote),
                str(place.local),
                str(credentials.authority),
                "10",
                "4",
            ]
            done = await run(argv, timeout_s=40, check=False)
            if done.returncode == 77:
                pytest.skip(done.stderr.strip())
            assert done.returncode == 0, done.stderr
            figures = json.loads(done.stdout)
            assert figures["ping"]
            assert figures["other_refused"]
            assert [item[0] for item in figures["serial"] + figures["parallel"]] == [200] * 14
            assert len(centre.received) == 14
            (place.directory / "figures.json").write_text(done.stdout)  # for a person who wants to know the times

    play(scene)


def test_a_qemu_that_ends_at_once_is_an_error(place: Place) -> None:
    """The error carries the last words instead of a time-out."""

    async def scene() -> None:
        with pytest.raises(MachineError, match="ended at once"):
            async with place.outside(qemu="false"):
                pass

    play(scene)
    assert "started" not in place.kinds()

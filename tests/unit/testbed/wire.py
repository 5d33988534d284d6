"""A switch in the test's own process with a device on each port: what the tests of switch, control and watch share."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from testbed.switch.control import Request, SwitchControl
from testbed.switch.core import SwitchCore

SEGMENTS = {"priv0": ["a.priv0", "b.priv0"], "biz0": ["a.biz0", "b.biz0", "client.biz0"]}
MAC_A, MAC_B, MAC_VM = "52:54:00:77:00:01", "52:54:00:77:00:02", "00:16:3e:77:00:20"
EVERYBODY = "ff:ff:ff:ff:ff:ff"


def ether(target: str, source: str, payload: bytes = b"hello", kind: bytes = b"\x88\xb5") -> bytes:
    """A frame of an experimental type."""
    return bytes.fromhex(target.replace(":", "")) + bytes.fromhex(source.replace(":", "")) + kind + payload


class Device:
    """What QEMU is for the switch: a datagram socket of its own."""

    def __init__(self, directory: Path, port: str) -> None:
        self.target = str(directory / f"s-{port}")
        self.path = directory / f"q-{port}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.path.unlink(missing_ok=True)
        self.socket.bind(str(self.path))

    def send(self, frame: bytes) -> None:
        """Send one frame into the switch."""
        self.socket.sendto(frame, self.target)

    def receive(self) -> list[bytes]:
        """All frames that have arrived."""
        frames = []
        try:
            while True:
                frames.append(self.socket.recv(20_000))
        except BlockingIOError:
            return frames

    def vanish(self) -> None:
        """Do what a killed QEMU does: the socket closes, its name stays."""
        self.socket.close()


class Bench:
    """A switch in this process, its devices, and a control connection."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.core = SwitchCore(directory, SEGMENTS, queue_frames=5)
        self.listener = SwitchControl(self.core, directory / "control")
        self.devices = {name: Device(directory, name) for names in SEGMENTS.values() for name in names}
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control.connect(str(directory / "control"))
        self.control.setblocking(False)
        self.unread = b""
        self.run()

    def run(self) -> None:
        """Let the switch do all that is ready."""
        while self.core.turn(0):
            pass

    def send(self, port: str, frame: bytes) -> None:
        """Send one frame and let the switch deal with it."""
        self.devices[port].send(frame)
        self.run()

    def got(self, port: str) -> list[bytes]:
        """What the device at the port has received since the last look."""
        return self.devices[port].receive()

    def messages(self) -> list[dict[str, Any]]:
        """All lines that have come on the control connection."""
        self.run()
        try:
            while data := self.control.recv(65_536):
                self.unread += data
                self.run()
        except BlockingIOError:
            pass
        *lines, self.unread = self.unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def ask(self, operation: str, **fields: object) -> dict[str, Any]:
        """The reply to one request."""
        request: Request = {"id": 7, "op": operation, **fields}
        self.control.sendall(json.dumps(request).encode() + b"\n")
        (reply,) = [message for message in self.messages() if "event" not in message]
        return reply

    def counters(self, port: str, direction: str) -> dict[str, Any]:
        """The counters of a directed port as the control socket tells them."""
        counters: dict[str, Any] = self.ask("ports")["ports"][port][direction]
        return counters

    def close(self) -> None:
        """Close all."""
        self.listener.close()
        self.core.close()
        self.control.close()
        for device in self.devices.values():
            device.socket.close()

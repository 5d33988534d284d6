"""A client that speaks to BMCs over the wires of the bed: ipmitool on the host, its datagrams sent by an endpoint.

ipmitool talks to a port of the loopback; from there its datagrams take the way of every other host on the segment,
so that cuts, delays and captures apply. The password travels in the environment, never on a command line. It must
never take silence for an answer: what was not said is an error.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from testbed import pace
from testbed.bmc.sensors import SENSORS
from testbed.errors import TestbedError
from testbed.lan import packets
from testbed.lan.endpoint import Endpoint
from testbed.process import run

PROGRAM = "ipmitool"
RMCP_PORT = 623
COMMAND_TIMEOUT_S = 20.0
CIPHER_SUITE = 3  # the best that ipmi_sim has: SHA-1 and AES
_DATAGRAM_BYTES_MAX = 4096
_GET_SENSOR_READING = (0x04, 0x2D)
# An ASF presence ping (DSP0136, section 3.2.4.2): the only question that a BMC answers without a session.
_PING = bytes.fromhex("0600ff06 000011be 80 00 00 00")
_TAG_AT, _TYPE_AT, _PONG = 9, 8, 0x40


class IpmiFailed(TestbedError):
    """An IPMI command got no answer or was refused; the text has ipmitool's last words."""


@dataclass(frozen=True)
class SensorReading:
    """What a sensor reads: its value (for a discrete sensor 0) and its states, one bit for each."""

    value: int
    states: int


def parse_reading(sensor: str, text: str) -> SensorReading:
    """Take the answer of "get sensor reading", as ipmitool prints its bytes; raises IpmiFailed when it is none."""
    try:
        data = bytes.fromhex("".join(text.split()))
        raw, flags, states = data[0], data[1], data[2:4]
    except (ValueError, IndexError) as error:
        raise IpmiFailed(f"{sensor} gave no reading but {text.strip()!r}.") from error
    if flags & 0x20:
        raise IpmiFailed(f"{sensor} cannot be read now (flags {flags:#04x}); a BMC says so until its first poll.")
    described = SENSORS[sensor]
    mask = 0x3F if described.is_threshold else described.bits
    value = raw * described.factor if described.is_threshold else 0
    return SensorReading(value, int.from_bytes(states, "little") & mask)


def reading_command(sensor: str) -> list[str]:
    """The words after `ipmitool` that read a sensor; the same over the LAN and in the node."""
    return ["raw", *(f"{number:#04x}" for number in (*_GET_SENSOR_READING, SENSORS[sensor].number))]


class IpmiClient:
    """A client of one BMC, as an async context manager."""

    def __init__(self, endpoint: Endpoint, address: str, *, user: str, password: str) -> None:
        self._endpoint = endpoint
        self.address = address
        self._user = user
        self._password = password
        self._pongs: dict[int, asyncio.Future[float]] = {}
        self._tag = 0

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(("127.0.0.1", 0))
        self._tool: tuple[str, int] | None = None
        self._port, self._ping_port = self._endpoint.free_port(), self._endpoint.free_port()
        self._endpoint.listen(self._port, self._answered)
        self._endpoint.listen(self._ping_port, self._ponged)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._asked)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._endpoint.stop_listening(self._port)
        self._endpoint.stop_listening(self._ping_port)

    async def command(self, *words: str, patience_s: int = 2, retries: int = 3) -> str:
        """Run one command of ipmitool and return what it printed; raises IpmiFailed.

        Each datagram is waited for so long and asked so often; the whole has a limit that leaves room for all of them.
        """
        argv = [
            PROGRAM, "-I", "lanplus", "-C", str(CIPHER_SUITE), "-H", "127.0.0.1",
            "-p", str(self._socket.getsockname()[1]), "-U", self._user, "-E",
            "-N", str(patience_s), "-R", str(retries), *words,
        ]  # fmt: skip
        env = {**os.environ, "IPMI_PASSWORD": self._password}
        limit_s = COMMAND_TIMEOUT_S + 10 * patience_s
        return (await run(argv, timeout_s=limit_s, env=env, error=IpmiFailed)).stdout

    async def power_is_on(self, *, patience_s: int = 2) -> bool:
        """Ask for the power of the node."""
        text = await self.command("chassis", "power", "status", patience_s=patience_s)
        words = text.strip().rpartition(" ")[2]
        if words not in ("on", "off"):
            raise IpmiFailed(f"the BMC {self.address} gave no power status but {text.strip()!r}.")
        return words == "on"

    async def reading(self, sensor: str) -> SensorReading:
        """Read one sensor."""
        return parse_reading(sensor, await self.command(*reading_command(sensor)))

    async def events(self) -> list[str]:
        """The lines of the system event log, the oldest first."""
        text = await self.command("-c", "sel", "elist")
        return [line for line in text.splitlines() if line[:1].isdigit()]

    async def ping(self, timeout_s: float) -> float | None:
        """Ask once whether a BMC is there; returns how many seconds the answer took, or None without an answer."""
        self._tag = tag = (self._tag + 1) % 255  # 255 would ask for no answer
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._pongs[tag] = pong
        question = bytearray(_PING)
        question[_TAG_AT] = tag
        begun_s = time.monotonic()
        self._endpoint.udp_send(self.address, RMCP_PORT, self._ping_port, bytes(question))
        try:
            async with pace.timeout(timeout_s):
                return await pong - begun_s
        except TimeoutError:
            return None
        finally:
            del self._pongs[tag]

    def _asked(self) -> None:
        try:
            payload, self._tool = self._socket.recvfrom(_DATAGRAM_BYTES_MAX)
        except OSError:  # nothing there any more
            return
        self._endpoint.udp_send(self.address, RMCP_PORT, self._port, payload)

    def _answered(self, datagram: packets.Udp, _now_s: float) -> None:
        if self._tool is not None and datagram.source_ip == self.address:
            self._socket.sendto(datagram.payload, self._tool)

    def _ponged(self, datagram: packets.Udp, now_s: float) -> None:
        payload = datagram.payload
        if datagram.source_ip != self.address or len(payload) <= _TAG_AT or payload[_TYPE_AT] != _PONG:
            return
        pong = self._pongs.get(payload[_TAG_AT])
        if pong is not None and not pong.done():
            pong.set_result(now_s)

"""What the sensors of this node's own BMC say, read through the node's own interface to it.

The device is that of the kernel's IPMI driver (linux/ipmi.h). No program is started: a whole reading is a few dozen
short messages, in a thread of its own. It is open for a reading only, and what sensors there are is asked once, and
again after an error. A reading that did not end, or in which no sensor could be read, is told to nobody: the core
notices the silence (docs/decisions/0030-health-is-compared.md). It must never call well what it has not looked at: a
sensor that said that something is wrong, and cannot be read just now, still says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import select
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from avance.clock import now_s
from avance.core.conditions import BMC, PERIODS_S, SOUND
from avance.core.events import SensorsRead
from avance.late import in_time
from avance.ports import Sink
from avance.wire import ipmi_sensors as wire

DEVICE = Path("/dev/ipmi0")
READ_S = 15.0  # deadline of one reading, at dilation 1
_RECORDS_MAX = 1024  # a real BMC has up to a few hundred
_MS_PER_S = 1000

# linux/ipmi.h, with the sizes of this machine. An ioctl(2) has direction, size, 'i' and number in its code.
_ADDRESS = struct.Struct("@ihBx")  # struct ipmi_system_interface_addr
_ADDRESS_BYTES_MAX, _DATA_BYTES_MAX = 40, 272
_REQUEST = struct.Struct("@PIlBBHP")  # struct ipmi_req: address, its length, number; function, command, length, data
_ANSWER = struct.Struct("@iPIlBBHP")  # struct ipmi_recv: the same after its kind
_SYSTEM_INTERFACE, _BMC_CHANNEL, _RESPONSE = 0x0C, 0x0F, 1
_SEND = 2 << 30 | _REQUEST.size << 16 | ord("i") << 8 | 13  # IPMICTL_SEND_COMMAND
_RECEIVE = 3 << 30 | _ANSWER.size << 16 | ord("i") << 8 | 11  # IPMICTL_RECEIVE_MSG_TRUNC

Wrong = tuple[tuple[str, str, str], ...]


class BmcLine(Protocol):
    """A way to a BMC."""

    def ask(self, question: wire.IpmiRequest, until_s: float) -> bytes:
        """Return the answer, whose first byte is the completion code; raises OSError when there is none in time."""
        ...


class BmcDevice:
    """The open device of the driver."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLIN)
        self._number = 0

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[BmcDevice]:
        """Open it for a while.

        Raises:
            OSError: there is no BMC, or its driver is not there.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def ask(self, question: wire.IpmiRequest, until_s: float) -> bytes:
        """Put a question; the answer to an earlier one that came too late is passed over."""
        self._number += 1
        data = ctypes.create_string_buffer(question.data, len(question.data) + 1)
        packed = _ADDRESS.pack(_SYSTEM_INTERFACE, _BMC_CHANNEL, question.unit)
        address = ctypes.create_string_buffer(packed, len(packed))
        message = (question.function, question.command, len(question.data), ctypes.addressof(data))
        request = _REQUEST.pack(ctypes.addressof(address), len(packed), self._number, *message)
        fcntl.ioctl(self._descriptor, _SEND, request)
        while True:
            left_ms = (until_s - now_s()) * _MS_PER_S
            if left_ms <= 0 or not self._ready.poll(left_ms):
                raise TimeoutError(f"the BMC did not answer to command {question.command:#04x}")
            with contextlib.suppress(BlockingIOError):
                kind, number, answer = self._received()
                if (kind, number) == (_RESPONSE, self._number):
                    return answer

    def _received(self) -> tuple[int, int, bytes]:
        address = ctypes.create_string_buffer(_ADDRESS_BYTES_MAX)
        data = ctypes.create_string_buffer(_DATA_BYTES_MAX)
        room = (ctypes.addressof(address), _ADDRESS_BYTES_MAX, 0, 0, 0, _DATA_BYTES_MAX, ctypes.addressof(data))
        received = bytearray(_ANSWER.pack(0, *room))
        fcntl.ioctl(self._descriptor, _RECEIVE, received)
        kind, _, _, number, _, _, length, _ = _ANSWER.unpack(received)
        return kind, number, data.raw[:length]


class BmcSensors:
    """Reads all of them in each period, and tells what is wrong."""

    def __init__(
        self,
        hear: Sink,
        dilation: float,
        opened: Callable[[], AbstractContextManager[BmcLine]] = lambda: BmcDevice.opened(DEVICE),
    ) -> None:
        self._hear = hear
        self._slow = dilation
        self._opened = opened
        self._at_work = threading.Lock()
        self._sensors: tuple[wire.OwnSensor, ...] = ()
        self._words: dict[wire.OwnSensor, str] = {}  # what each of them read when it could be read last

    async def run(self) -> None:
        """Read for ever."""
        while True:
            await self.look()
            await asyncio.sleep(PERIODS_S[BMC] * self._slow)

    async def look(self) -> None:
        """Read once, and tell it; without a reading nothing is told."""
        try:
            wrong = await in_time(self._read, READ_S * self._slow)
        except OSError:  # also when it took too long
            return
        if wrong is not None:
            self._hear(SensorsRead(BMC, wrong))

    def _read(self) -> Wrong | None:
        """Read every sensor, in a thread; None when none of them could be read.

        Raises:
            OSError: it did not come to its end, or an earlier one still hangs in the kernel.
        """
        if not self._at_work.acquire(blocking=False):
            raise BlockingIOError("the last reading has not ended yet")
        known, self._sensors = self._sensors, ()  # whatever ends this reading early, they are asked for again
        try:
            until_s = now_s() + READ_S * self._slow
            with self._opened() as line:
                known = known or _sensors(line, until_s)
                words = {one: _word(line, one, until_s) for one in known}
        finally:
            self._at_work.release()
        if all(word is None for word in words.values()):
            return None
        self._sensors = known
        self._words = {one: self._words.get(one, SOUND) if word is None else word for one, word in words.items()}
        return tuple((one.sensor.value, one.name, word) for one, word in self._words.items() if word != SOUND)


def _word(line: BmcLine, sensor: wire.OwnSensor, until_s: float) -> str | None:
    """Return what a sensor reads, None when it cannot be read."""
    answer = line.ask(wire.reading_of(sensor), until_s)
    try:
        return wire.parse_reading(sensor, answer)
    except ValueError:
        return None


def _sensors(line: BmcLine, until_s: float) -> tuple[wire.OwnSensor, ...]:
    """Ask which there are.

    Raises:
        OSError: the BMC does not say it.
    """
    found: list[wire.OwnSensor] = []
    record = wire.FIRST
    try:
        reservation = wire.parse_reservation(line.ask(wire.RESERVE, until_s))
        for _ in range(_RECORDS_MAX):
            after, text = wire.parse_part(
                line.ask(wire.part_of_record(reservation, record, 0, wire.HEADER_BYTES), until_s)
            )
            length = wire.length_of(text)
            while len(text) < length:
                count = min(wire.PART_BYTES, length - len(text))
                answer = line.ask(wire.part_of_record(reservation, record, len(text), count), until_s)
                text += wire.parse_part(answer)[1]
            found += wire.sensors_of(text)
            if after == wire.LAST:
                break
            record = after
    except ValueError as error:
        raise OSError(f"the records of the sensors cannot be read: {error}") from error
    return wire.told_apart(found)

"""The reading of sensors on a stand-in of a BMC: what is told, what is told to nobody, and what is asked again.

The kernel's driver and a real ipmi_sim are in tests/integration/avance/adapters/test_bmc_sensors.py.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avance.adapters import bmc_sensors as module
from avance.adapters.bmc_sensors import BmcDevice, BmcSensors
from avance.clock import now_s
from avance.core.conditions import BMC, PERIODS_S
from avance.core.events import Event, SensorsRead
from avance.wire.ipmi_sensors import RESERVE, IpmiRequest
from testbed.bmc.sensors import SENSORS, record
from tests.unit.avance.adapters import nasty
from tests.unit.avance.adapters.tools import beside, descriptors, until

RESERVATION = b"\x34\x12"
GOOD = {1: 0xC0, 2: 0xC0, 3: 0x01, 4: 0x01, 5: 0xC0, 6: 0xC0, 7: 0x00}
REFUSED = b"\xcb"


class FakeBmc:
    """Answers as the specification says, with the records of the bed's BMCs."""

    def __init__(self) -> None:
        self.states = dict(GOOD)
        self.flags = dict.fromkeys(GOOD, 0xC0)
        self.away = False
        self.last = 0xFFFF  # the number after the last record
        self.records = [record(one) for one in SENSORS.values()]
        self.asked: list[int] = []
        self.opened_times = 0
        self.held = threading.Event()
        self.held.set()

    @contextmanager
    def opened(self) -> Iterator[FakeBmc]:
        """The way to it."""
        self.opened_times += 1
        self.held.wait(30)
        if self.away:
            raise FileNotFoundError("no /dev/ipmi0")
        yield self

    def ask(self, question: IpmiRequest, until_s: float) -> bytes:
        """Answer one question."""
        self.asked.append(question.command)
        match question.command:
            case 0x22:
                return b"\0" + RESERVATION
            case 0x23:
                return self._part(question.data)
            case _:
                return self._reading(question.data[0])

    def _part(self, data: bytes) -> bytes:
        assert data[:2] == RESERVATION
        number, first, count = int.from_bytes(data[2:4], "little"), data[4], data[5]
        index = max(number, 1) - 1
        after = self.last if index + 1 == len(self.records) else index + 2
        return b"\0" + after.to_bytes(2, "little") + self.records[index][first : first + count]

    def _reading(self, number: int) -> bytes:
        if number not in self.states:
            return REFUSED
        return bytes([0, 0, self.flags[number], self.states[number], 0x80])


def looks(bmc: FakeBmc, times: int = 1) -> list[Event]:
    """What is told in so many readings."""
    told: list[Event] = []
    sensors = BmcSensors(told.append, 1.0, bmc.opened)

    async def story() -> None:
        for _ in range(times):
            await sensors.look()

    asyncio.run(story())
    return told


def test_all_is_well() -> None:
    """That is told, too: the core knows by it that somebody looks."""
    assert looks(FakeBmc()) == [SensorsRead(BMC, ())]


def test_what_is_wrong_is_told() -> None:
    """Several things at once, by the names that the BMC gives its sensors."""
    bmc = FakeBmc()
    bmc.states |= {1: 0xC3, 4: 0x03, 6: 0xF8}
    wrong = (("fan", "Fan 1", "lost"), ("power supply", "PSU 2", "failed"), ("temperature", "Inlet Temp", "fatal"))
    assert looks(bmc) == [SensorsRead(BMC, wrong)]


def test_which_sensors_there_are_is_asked_once() -> None:
    """Then a reading is one question for each of them."""
    bmc = FakeBmc()
    assert len(looks(bmc, times=3)) == 3
    assert bmc.asked.count(RESERVE.command) == 1
    assert bmc.asked[-2 * len(SENSORS) :] == [0x2D] * 2 * len(SENSORS)


def test_a_sensor_that_cannot_be_read_is_nothing_wrong() -> None:
    """Unavailable, or gone: the others are told."""
    bmc = FakeBmc()
    bmc.states[1], bmc.flags[1] = 0xC3, 0xE0
    del bmc.states[2]
    bmc.states[5] = 0xC8
    assert looks(bmc) == [SensorsRead(BMC, (("temperature", "CPU Temp", "high"),))]


def test_what_cannot_be_read_any_more_is_not_mended() -> None:
    """A fan that stood still, and whose sensor is away then, stands still; as soon as it can be read it may be well."""
    bmc, told = FakeBmc(), list[Event]()
    sensors = BmcSensors(told.append, 1.0, bmc.opened)

    async def story() -> None:
        bmc.states[1] = 0xC3
        await sensors.look()
        bmc.flags[1] = 0xE0
        await sensors.look()
        bmc.away = True
        await sensors.look()
        bmc.away = False  # all records are read anew
        await sensors.look()
        bmc.flags[1], bmc.states[1] = 0xC0, 0xC0
        await sensors.look()

    asyncio.run(story())
    assert told == [SensorsRead(BMC, (("fan", "Fan 1", "lost"),))] * 3 + [SensorsRead(BMC, ())]


def test_nothing_is_told_when_nothing_could_be_read() -> None:
    """All unavailable, no device, no sensors, a record that is none: never that all is well, and it is tried again."""
    bmc = FakeBmc()
    bmc.flags = dict.fromkeys(GOOD, 0xE0)
    assert looks(bmc, times=2) == []
    assert bmc.asked.count(RESERVE.command) == 2
    bmc = FakeBmc()
    bmc.away = True
    assert looks(bmc) == []
    bmc = FakeBmc()
    bmc.records = [bytes.fromhex("0100511100")]
    assert looks(bmc) == []
    bmc.records = [b""]
    assert looks(bmc) == []


def test_records_without_an_end_are_left() -> None:
    """A BMC whose records point at each other in a circle: those that were read count."""
    bmc = FakeBmc()
    bmc.last = 1
    assert looks(bmc) == [SensorsRead(BMC, ())]


def test_a_bmc_that_comes_back_is_read_again() -> None:
    """An error ends nothing; the sensors are asked for anew, and may be others."""
    bmc, told = FakeBmc(), list[Event]()
    sensors = BmcSensors(told.append, 1.0, bmc.opened)

    async def story() -> None:
        await sensors.look()
        bmc.away = True
        await sensors.look()
        assert len(told) == 1
        bmc.away = False
        bmc.records, bmc.states[3] = bmc.records[2:3], 0x03
        await sensors.look()

    asyncio.run(story())
    assert told[1:] == [SensorsRead(BMC, (("power supply", "PSU 1", "failed"),))]


def test_a_reading_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by its deadline, no second one is begun beside it, and what comes late is told to nobody."""
    monkeypatch.setattr(module, "READ_S", 0.05)
    bmc, told = FakeBmc(), list[Event]()
    sensors = BmcSensors(told.append, 1.0, bmc.opened)

    async def story() -> None:
        bmc.held.clear()
        await sensors.look()
        await sensors.look()
        assert bmc.opened_times == 1
        assert told == []
        bmc.held.set()
        monkeypatch.setattr(module, "READ_S", 30.0)
        await until(lambda: not sensors._at_work.locked())
        assert told == []
        await sensors.look()

    asyncio.run(story())
    assert told == [SensorsRead(BMC, ())]


def test_it_is_told_in_each_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, also when nothing has changed."""
    monkeypatch.setitem(PERIODS_S, BMC, 0.001)
    told = list[Event]()

    async def story() -> None:
        await until(lambda: len(told) >= 3)

    beside(BmcSensors(told.append, 1.0, FakeBmc().opened).run(), story)
    assert set(told) == {SensorsRead(BMC, ())}


class FakeDriver:
    """The kernel's side of the device, as far as ioctl(2) shows it: answers wait in a queue, and a pipe says so."""

    def __init__(self, answers: list[tuple[int, int, bytes]]) -> None:
        self.answers = answers  # kind, how much later than the question's number, bytes
        self.sent: list[tuple[bytes, int, int, int, bytes]] = []
        self.readable, self._signal = os.pipe()
        self._number = 0

    def ioctl(self, descriptor: int, code: int, given: bytes | bytearray) -> int:
        """Take a request, or fill an answer in."""
        assert descriptor == self.readable
        if code == module._SEND:
            address, length, self._number, function, command, size, data = module._REQUEST.unpack(given)
            raw = ctypes.string_at(address, length), function, command, size
            self.sent.append((*raw, ctypes.string_at(data, size)))
            os.write(self._signal, b"x" * len(self.answers))
            return 0
        assert code == module._RECEIVE
        os.read(self.readable, 1)
        kind, late, answer = self.answers.pop(0)
        if not answer:
            raise BlockingIOError
        _, address, room, _, _, _, size, data = module._ANSWER.unpack(given)
        assert len(answer) <= size
        ctypes.memmove(data, answer, len(answer))
        filled = module._ANSWER.pack(kind, address, room, self._number + late, 0x2B, 0, len(answer), data)
        assert isinstance(given, bytearray)
        given[:] = filled
        return 0

    def close(self) -> None:
        """End it."""
        os.close(self.readable)
        os.close(self._signal)


def test_a_question_as_the_driver_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and addresses of linux/ipmi.h; only the answer to this very question counts, and waiting has an end."""
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert (module._SEND, module._RECEIVE) == (0x8028690D, 0xC030690B)
    driver = FakeDriver([(1, -1, b"\0late"), (2, 0, b"\0event"), (1, 0, b""), (1, 0, b"\0answer")])
    monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
    device = BmcDevice(driver.readable)
    assert device.ask(IpmiRequest(0x04, 0x2D, b"\x07", unit=2), now_s() + 30) == b"\0answer"
    address = (0x0C).to_bytes(4, "little") + (0x0F).to_bytes(2, "little") + b"\x02\0"
    assert driver.sent == [(address, 0x04, 0x2D, 1, b"\x07")]
    with pytest.raises(TimeoutError, match="did not answer to command 0x22"):
        device.ask(RESERVE, now_s() - 1)
    driver.close()


def looks_at(device: Path) -> list[Event]:
    """What is told of a node whose device is this."""
    told = list[Event]()
    asyncio.run(BmcSensors(told.append, 1.0, lambda: BmcDevice.opened(device)).look())
    return told


@pytest.mark.parametrize("how", nasty.FILES)
def test_what_is_no_bmc_tells_nothing(tmp_path: Path, how: str) -> None:
    """Whatever stands in the place of the device: nobody waits for it, nothing is told, nothing is left open."""
    nasty.file(tmp_path / "ipmi0", how)
    before = descriptors()
    assert looks_at(tmp_path / "ipmi0") == []
    assert descriptors() == before


def test_without_a_descriptor_nothing_is_told() -> None:
    """A process that can open nothing goes on."""
    told = list[Event]()
    sensors = BmcSensors(told.append, 1.0, lambda: BmcDevice.opened(Path(os.devnull)))

    async def story() -> None:
        before = descriptors()
        with nasty.no_descriptor():
            await sensors.look()
        assert descriptors() == before

    asyncio.run(story())
    assert told == []

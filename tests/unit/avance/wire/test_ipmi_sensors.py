"""Records and readings of sensors, by bytes built by hand from IPMI 2.0 and by the records of the bed's BMCs."""

from __future__ import annotations

import pytest

from avance.core import conditions
from avance.core.conditions import HealthSensor
from avance.wire import ipmi_sensors as wire
from avance.wire.ipmi_sensors import IpmiRequest, OwnSensor
from testbed.bmc.sensors import SENSORS, record

TEMPERATURE, FAN, SUPPLY, MEMORY = 0x01, 0x04, 0x08, 0x0C
EVENT_ONLY = 0x03
WORKS = 0xC0  # flags: events and scanning are on (table 35-15)


def sensor(kind: int, name: str = "X") -> OwnSensor:
    """A sensor of this type."""
    return OwnSensor(5, 0, kind, name)


def compact(
    name: bytes, *, kind: int = SUPPLY, code: int = 0x6F, owner: int = 0x20, where: int = 0, shared: bytes = b"\x01\0"
) -> bytes:
    """A compact record (table 43-2), by its bytes: 13 to 23 are masks and units."""
    body = bytes([owner, where, 7, 10, 1, 0x7F, 0x40, kind, code]) + bytes(9) + shared + bytes(6)
    return bytes([1, 0, 0x51, 0x02, len(body) + len(name)]) + body + name


def letters(name: str) -> bytes:
    """A name in 8-bit letters (section 43.15)."""
    return bytes([0xC0 | len(name)]) + name.encode("latin-1")


def test_questions_are_those_of_the_specification() -> None:
    """Reserve SDR Repository (33.11), Get SDR (33.12), Get Sensor Reading (35.14)."""
    assert IpmiRequest(0x0A, 0x22, b"") == wire.RESERVE
    assert wire.part_of_record(0x1234, 0x0102, 5, 22) == IpmiRequest(0x0A, 0x23, bytes.fromhex("3412 0201 05 16"))
    assert wire.reading_of(OwnSensor(0x31, 3, FAN, "X")) == IpmiRequest(0x04, 0x2D, b"\x31", unit=3)


def test_answers_about_records() -> None:
    """A reservation, a part of a record with the number of the next one, and the length from a header."""
    assert wire.parse_reservation(bytes.fromhex("00 3412")) == 0x1234
    after, text = wire.parse_part(bytes.fromhex("00 0200 0100510136"))
    assert (after, text) == (2, bytes.fromhex("0100510136"))
    assert wire.length_of(text) == 5 + 0x36
    assert wire.length_of(bytes.fromhex("0100511136")) == 5, "what is not understood is not read"


@pytest.mark.parametrize("answer", ["", "c1", "00", "00 34", "cb 00 00 00 00", "c5 3412"])
def test_a_refusal_and_a_cut_answer_are_no_answer(answer: str) -> None:
    """A completion code that is not 0, or too few bytes."""
    given = bytes.fromhex(answer)
    for parse in (wire.parse_reservation, wire.parse_part, lambda raw: wire.parse_reading(sensor(FAN), raw)):
        with pytest.raises(ValueError, match="the BMC answered"):
            parse(given)
    with pytest.raises(ValueError, match="cut"):
        wire.length_of(given[:4])


def test_records_of_the_beds_bmc() -> None:
    """Each of its sensors is found, by the name that the BMC gives it."""
    found = [one for described in SENSORS.values() for one in wire.sensors_of(record(described))]
    assert [(one.number, one.name, one.kind) for one in found] == [
        (described.number, described.name, described.kind) for described in SENSORS.values()
    ]
    kinds = (HealthSensor.FAN, HealthSensor.POWER_SUPPLY, HealthSensor.TEMPERATURE, HealthSensor.MEMORY)
    assert {one.sensor for one in found} == set(kinds)


@pytest.mark.parametrize(
    "given",
    [
        b"", compact(letters("X"))[:5], compact(letters("X"))[:31],
        compact(letters("X"), owner=0x2C),  # of another controller
        compact(letters("X"), where=0x70),  # behind another channel
        compact(letters("X"), kind=0x02),  # a voltage
        compact(letters("X"), code=0x0B),  # whether supplies are redundant
        compact(letters("X"), kind=FAN, code=0x08),  # whether a fan is plugged in
        bytes([1, 0, 0x51, EVENT_ONLY]) + compact(letters("X"))[4:],
    ],
)  # fmt: skip
def test_what_is_passed_over(given: bytes) -> None:
    """Cut records, sensors of others, and kinds without words in the table."""
    assert wire.sensors_of(given) == ()


def test_sensors_that_share_a_record() -> None:
    """Three with numbers, two with letters; the second byte says with which one they begin."""
    by_number = wire.sensors_of(compact(letters("PSU "), shared=bytes([0x03, 1])))
    assert [(one.number, one.name) for one in by_number] == [(7, "PSU 1"), (8, "PSU 2"), (9, "PSU 3")]
    by_letter = wire.sensors_of(compact(letters("DIMM "), kind=MEMORY, shared=bytes([0x12, 0x80 | 25])))
    assert [one.name for one in by_letter] == ["DIMM Z", "DIMM AA"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (letters("PSU\0\0 1\x1b[2J\n"), "PSU\ufffd\ufffd 1\ufffd[2J"),
        (bytes.fromhex("83 29dca6"), "IPMI"),  # the example of section 43.15, packed
        (b"\xc0", "sensor 0x07"),
        (bytes.fromhex("42 1234"), "sensor 0x07"),  # digits
    ],
)
def test_names(given: bytes, name: str) -> None:
    """Letters, packed letters, and a number in the place of no name; nothing in it steers a terminal."""
    assert [one.name for one in wire.sensors_of(compact(given))] == [name]


def test_sensors_of_one_name_are_told_apart() -> None:
    """The second one has its number in its name; one that is listed twice counts once, and the kind is a difference."""
    one, other = OwnSensor(1, 0, FAN, "FAN"), OwnSensor(2, 0, FAN, "FAN")
    given = (one, one, other, sensor(MEMORY, "FAN"))
    assert [one.name for one in wire.told_apart(given)] == ["FAN", "FAN (0x02)", "FAN"]
    units = [OwnSensor(2, unit, FAN, "FAN") for unit in range(3)]
    names = [one.name for one in wire.told_apart((one, *units))]
    assert names == ["FAN", "FAN (0x02)", "FAN (0x02, unit 1)", "FAN (0x02, unit 2)"], "none may be left out"


@pytest.mark.parametrize(
    ("kind", "states", "word"),
    [
        (TEMPERATURE, 0, ""), (TEMPERATURE, 1 << 3, "high"), (TEMPERATURE, 1 << 4 | 1 << 3, "critical"),
        (TEMPERATURE, 1 << 5 | 1 << 4 | 1 << 3, "fatal"), (TEMPERATURE, 1 << 5, "fatal"),
        (TEMPERATURE, 0b111, ""),  # too cold is none of our matters
        (TEMPERATURE, 0xC0, ""),  # reserved: they read as ones
        (FAN, 1 << 0, "low"), (FAN, 1 << 1 | 1 << 0, "lost"), (FAN, 1 << 2, "lost"), (FAN, 0b111000, ""),
        (SUPPLY, 1 << 0, ""), (SUPPLY, 0, ""), (SUPPLY, 1 << 1 | 1 << 0, "failed"), (SUPPLY, 1 << 3, "failed"),
        (SUPPLY, 1 << 4, "failed"), (SUPPLY, 1 << 2 | 1 << 5 | 1 << 7, ""),
        (MEMORY, 0, ""), (MEMORY, 1 << 0, "correctable"), (MEMORY, 1 << 5, "correctable"),
        (MEMORY, 1 << 1 | 1 << 0, "uncorrectable"), (MEMORY, 1 << 6 | 1 << 8, ""),
    ],
)  # fmt: skip
def test_words(kind: int, states: int, word: str) -> None:
    """The bits of tables 35-15 and 42-3, and the word that the worst of them has in the table of conditions."""
    answer = bytes([0, 100, WORKS]) + states.to_bytes(2, "little")
    one = sensor(kind)
    assert wire.parse_reading(one, answer) == word
    assert not word or conditions.of(one.sensor, word) is not None
    assert wire.parse_reading(one, answer[:4]) in (word, ""), "the second byte of states may be missing"


@pytest.mark.parametrize("flags", [WORKS | 0x20, 0x20, 0x80, 0x00])
def test_what_cannot_be_read_now(flags: int) -> None:
    """Unavailable, or not scanned: what it says beside that is old."""
    assert wire.parse_reading(sensor(FAN), bytes([0, 0, flags, 0x07])) is None
    assert wire.parse_reading(sensor(FAN), bytes([0, 0, flags])) is None


def test_a_reading_without_states_is_none() -> None:
    """A value alone says nothing of limits."""
    with pytest.raises(ValueError, match="the BMC answered 00 64 c0"):
        wire.parse_reading(sensor(FAN), bytes([0, 100, WORKS]))

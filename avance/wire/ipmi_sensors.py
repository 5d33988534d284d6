"""What a BMC says of its sensors, as the bytes of IPMI 2.0: its records of them, and what one reads.

Only what core/conditions.py has words for is understood: limits of temperatures and fans, states of power supplies and
memory. Sensors of another kind, and those of other controllers behind the BMC, are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from avance.core.conditions import SOUND, HealthSensor
from avance.wire.quoted import printable

FIRST, LAST = 0x0000, 0xFFFF  # "the first record" in a question, and "there is no other one" in an answer
HEADER_BYTES = 5
PART_BYTES = 22  # of a record in one answer: as many as each bus between BMC and asker can carry (section 33.12)
_STORAGE, _SENSOR = 0x0A, 0x04  # network functions
_BMC = 0x20  # the BMC's own address on its bus
_FULL, _COMPACT = 0x01, 0x02  # kinds of record of a sensor that can be read (sections 43.1 and 43.2)
_NAME_AT = {_FULL: 47, _COMPACT: 31}
_SHARING_AT = 23
_LIMITS, _STATES = 0x01, 0x6F  # event/reading types (table 42-1): crossed limits; states that belong to the sensor type
_SCANNED, _UNAVAILABLE = 0x40, 0x20  # flags of a reading (section 35.14)

# By sensor type (table 42-3): what it is, what its bits mean, and the words for them, the worst first.
_KINDS: dict[int, tuple[HealthSensor, int, tuple[tuple[int, str], ...]]] = {
    # at or above the upper non-recoverable, critical, non-critical limit
    0x01: (HealthSensor.TEMPERATURE, _LIMITS, ((1 << 5, "fatal"), (1 << 4, "critical"), (1 << 3, "high"))),
    # at or below the lower critical or non-recoverable limit; the lower non-critical one
    0x04: (HealthSensor.FAN, _LIMITS, ((1 << 1 | 1 << 2, "lost"), (1 << 0, "low"))),
    # failure; input lost; input lost or out of range
    0x08: (HealthSensor.POWER_SUPPLY, _STATES, ((1 << 1 | 1 << 3 | 1 << 4, "failed"),)),
    # an error that could not be corrected; one that was, or so many that they are not logged any more
    0x0C: (HealthSensor.MEMORY, _STATES, ((1 << 1, "uncorrectable"), (1 << 0 | 1 << 5, "correctable"))),
}


@dataclass(frozen=True, slots=True)
class IpmiRequest:
    """One request: network function, command, data, and the logical unit of the BMC that is asked."""

    function: int
    command: int
    data: bytes = b""
    unit: int = 0


@dataclass(frozen=True, slots=True)
class OwnSensor:
    """A sensor of this node's BMC that core/conditions.py has words for; `kind` is its IPMI sensor type."""

    number: int
    unit: int
    kind: int
    name: str

    @property
    def sensor(self) -> HealthSensor:
        """What it is."""
        return _KINDS[self.kind][0]


RESERVE = IpmiRequest(_STORAGE, 0x22)  # Reserve SDR Repository: parts of records are read under its number


def part_of_record(reservation: int, record: int, first: int, count: int) -> IpmiRequest:
    """Get SDR: ask for some bytes of a record."""
    data = reservation.to_bytes(2, "little") + record.to_bytes(2, "little") + bytes([first, count])
    return IpmiRequest(_STORAGE, 0x23, data)


def reading_of(sensor: OwnSensor) -> IpmiRequest:
    """Get Sensor Reading."""
    return IpmiRequest(_SENSOR, 0x2D, bytes([sensor.number]), sensor.unit)


def parse_reservation(answer: bytes) -> int:
    """Return the number.

    Raises:
        ValueError: this is none.
    """
    return int.from_bytes(_body(answer, 2)[:2], "little")


def parse_part(answer: bytes) -> tuple[int, bytes]:
    """Return the number of the next record, and the bytes of this one.

    Raises:
        ValueError: this is no part of a record.
    """
    body = _body(answer, 3)
    return int.from_bytes(body[:2], "little"), body[2:]


def length_of(header: bytes) -> int:
    """Return how many bytes a record has whose first ones these are; of one that is not understood, no more than these.

    Raises:
        ValueError: these are too few.
    """
    if len(header) < HEADER_BYTES:
        raise ValueError(f"the header of a record is cut: {header.hex(' ')}")
    return HEADER_BYTES + header[4] if header[3] in _NAME_AT else HEADER_BYTES


def sensors_of(record: bytes) -> tuple[OwnSensor, ...]:
    """Return the sensors that a record tells of: none, one, or several that share it.

    A cut record tells of none.
    """
    name_at = _NAME_AT.get(record[3]) if len(record) > HEADER_BYTES else None
    if name_at is None or len(record) <= name_at:
        return ()
    owner, where, number, kind, code = record[5], record[6], record[7], record[12], record[13]
    if owner != _BMC or where >> 4 or kind not in _KINDS or _KINDS[kind][1] != code:
        return ()
    name = _name(record[name_at:]) or f"sensor {number:#04x} "
    first = OwnSensor(number, where & 0x03, kind, name.strip())
    shared, modifier = record[_SHARING_AT], record[_SHARING_AT + 1]
    count = shared & 0x0F if record[3] == _COMPACT else 1
    if count <= 1:
        return (first,)
    as_letter, offset = bool(shared >> 4 & 0x03), modifier & 0x7F
    names = [f"{name}{_letter(offset + i) if as_letter else offset + i}" for i in range(count)]
    return tuple(replace(first, number=(number + i) & 0xFF, name=name) for i, name in enumerate(names))


def told_apart(sensors: Iterable[OwnSensor]) -> tuple[OwnSensor, ...]:
    """Return each sensor once; of those that have the same name each but the first has more in its name.

    That is its number, and its logical unit where that is not enough.
    """
    found: dict[tuple[HealthSensor, str], OwnSensor] = {}
    for one in dict.fromkeys(sensors):
        names = (one.name, f"{one.name} ({one.number:#04x})", f"{one.name} ({one.number:#04x}, unit {one.unit})")
        named = next((replace(one, name=name) for name in names if (one.sensor, name) not in found), one)
        found.setdefault((named.sensor, named.name), named)
    return tuple(found.values())


def parse_reading(sensor: OwnSensor, answer: bytes) -> str | None:
    """Return the word of core/conditions.py for what a sensor reads, and None when it cannot be read now.

    Raises:
        ValueError: the BMC refused, or this is no reading.
    """
    body = _body(answer, 2)
    if body[1] & _UNAVAILABLE or not body[1] & _SCANNED:
        return None
    states = int.from_bytes(_body(answer, 3)[2:4], "little")
    return next((word for bits, word in _KINDS[sensor.kind][2] if states & bits), SOUND)


def _body(answer: bytes, least: int) -> bytes:
    """Take the completion code off."""
    if not answer or answer[0] or len(answer) <= least:
        raise ValueError(f"the BMC answered {answer[:16].hex(' ') or 'nothing'}")
    return answer[1:]


def _name(given: bytes) -> str:
    """Read a name with its type and length before it (section 43.15); "" of one that is not written in letters."""
    kind, raw = given[0] >> 6, given[1 : 1 + (given[0] & 0x1F)]
    bits = int.from_bytes(raw, "little")
    match kind:
        case 3:
            text = raw.decode("latin-1").rstrip("\0")
        case 2:  # six bits for each letter
            text = "".join(chr(0x20 + (bits >> 6 * i & 0x3F)) for i in range(len(raw) * 8 // 6))
        case _:
            text = ""
    return re.sub(r"\s+", " ", printable(text)) if text.strip() else ""


def _letter(number: int) -> str:
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)

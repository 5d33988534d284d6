"""What the hardware of a node can measure, and the texts that tell ipmi_sim about it; pure.

The table of sensors is the only place that knows a sensor's number, type and limits. The records (SDR) follow the
IPMI 2.0 specification, section 43. It must never hold a value: what the sensors read are the files of a running BMC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ADDRESS = 0x20  # of a BMC on its own bus, by the specification
POLL_MS = 100
SEL_ENTRIES_MAX = 512
SESSIONS_MAX = 10
MANUFACTURER, PRODUCT = 0x001291, 0x0F02
THRESHOLD, DISCRETE = 0x01, 0x6F  # event/reading type codes
FULL, COMPACT = 0x01, 0x02  # kinds of record
# The order of the limits in a full record, and that of the bits in the state of a sensor.
LIMITS = ("upper_fatal", "upper_critical", "upper_warning", "lower_fatal", "lower_critical", "lower_warning")
STATES = ("lower_warning", "lower_critical", "lower_fatal", "upper_warning", "upper_critical", "upper_fatal")


@dataclass(frozen=True)
class Sensor:
    """One sensor: what it is, what it reads when all is well, and its limits in the unit that people read."""

    number: int
    name: str
    kind: int  # IPMI sensor type: 1 temperature, 4 fan, 8 power supply, 12 memory
    entity: tuple[int, int]  # what it belongs to, and which of these
    normal: int  # in `unit`, or the bits of a discrete sensor
    unit: int = 0  # 1 degrees Celsius, 18 revolutions per minute; 0 for a discrete sensor
    factor: int = 1  # `unit` for one step of the raw byte
    limits: Mapping[str, int] | None = None
    bits: int = 0  # the bits that a discrete sensor can set

    @property
    def is_threshold(self) -> bool:
        """Whether it measures, in contrast to one that has states."""
        return self.limits is not None

    def raw(self, value: int) -> int:
        """The byte, or the bits, that stand for a value."""
        assert 0 <= value // self.factor <= 0xFF, f"{self.name} cannot show {value}"
        return value // self.factor


PRESENT, FAILED = 1 << 0, 1 << 1  # states of a power supply
CORRECTABLE, UNCORRECTABLE = 1 << 0, 1 << 1  # states of the memory
_CPU_LIMITS = {"upper_warning": 80, "upper_critical": 90, "upper_fatal": 100}
_INLET_LIMITS = {"upper_warning": 38, "upper_critical": 42, "upper_fatal": 47}
_FAN_LIMITS = {"lower_critical": 1200, "lower_warning": 2400}

SENSORS = {
    sensor.name: sensor
    for sensor in (
        Sensor(1, "Fan 1", 0x04, (29, 1), 6000, unit=18, factor=60, limits=_FAN_LIMITS),
        Sensor(2, "Fan 2", 0x04, (29, 2), 6000, unit=18, factor=60, limits=_FAN_LIMITS),
        Sensor(3, "PSU 1", 0x08, (10, 1), PRESENT, bits=0b1111),
        Sensor(4, "PSU 2", 0x08, (10, 2), PRESENT, bits=0b1111),
        Sensor(5, "CPU Temp", 0x01, (3, 1), 45, unit=1, limits=_CPU_LIMITS),
        Sensor(6, "Inlet Temp", 0x01, (55, 1), 24, unit=1, limits=_INLET_LIMITS),
        Sensor(7, "Memory", 0x0C, (32, 1), 0, bits=0b11),
    )
}


def _le16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _header(sensor: Sensor, capabilities: int) -> bytes:
    """Owner, entity, "initialise everything and switch it on", capabilities, type."""
    code = THRESHOLD if sensor.is_threshold else DISCRETE
    return bytes([ADDRESS, 0, sensor.number, *sensor.entity, 0x7F, capabilities, sensor.kind, code])


def _full_body(sensor: Sensor) -> bytes:
    assert sensor.limits is not None
    limits, settable, events, lower, upper = sensor.limits, 0, 0, 0, 0
    # An event of a limit has two bits, "going low" and "going high"; only the sensible one of each is wanted.
    for place, name in enumerate(STATES):
        if name in limits:
            settable |= 1 << place
            events |= 1 << (2 * place + (1 if place >= 3 else 0))
            if place < 3:
                lower |= 1 << (12 + place)
            else:
                upper |= 1 << (12 + place - 3)
    values = bytes(sensor.raw(limits.get(name, 0)) for name in LIMITS)
    normal = sensor.raw(sensor.normal)
    return (
        _header(sensor, 0x68)  # re-arms itself; hysteresis and limits can be read and set
        + _le16(lower | events)
        + _le16(upper | events)
        + bytes([settable, settable])  # which limits can be read, which can be set
        + bytes([0, sensor.unit, 0, 0])  # unsigned; base unit; no modifier; linear
        + bytes([sensor.factor, 0, 0, 0, 0, 0])  # M, tolerance, B, accuracy, exponents
        + bytes([0x01, normal, normal, normal, 0xFF, 0])  # nominal reading; normal maximum, minimum; greatest, least
        + values
        + bytes([1, 1, 0, 0, 0])  # hysteresis up and down, reserved, OEM
    )


def _compact_body(sensor: Sensor) -> bytes:
    return (
        _header(sensor, 0x40)
        + _le16(sensor.bits) * 3  # states that are reported when they come, when they go, and that can be read
        + bytes([0xC0, 0, 0])  # no numeric reading
        + bytes([1, 0, 0, 0, 0, 0, 0, 0])  # not shared; no hysteresis; reserved; OEM
    )


def record(sensor: Sensor) -> bytes:
    """The sensor data record of a sensor."""
    kind, body = (FULL, _full_body(sensor)) if sensor.is_threshold else (COMPACT, _compact_body(sensor))
    name = sensor.name.encode("ascii")
    body += bytes([0xC0 | len(name)]) + name
    return _le16(sensor.number) + bytes([0x51, kind, len(body)]) + body


def emulation(values: Path) -> str:
    """The command file of ipmi_sim: one controller with these sensors, each reading its file in `values`."""
    lines = [f"mc_setbmc {ADDRESS:#x}"]
    # Device id, no device SDRs, revision 3, firmware 9.08, sensors + SDR + SEL + FRU + event receiver + chassis.
    lines += [f"mc_add {ADDRESS:#x} 0 no-device-sdrs 0x23 9 8 0x9f {MANUFACTURER:#x} {PRODUCT:#x}"]
    lines += [f"sel_enable {ADDRESS:#x} {SEL_ENTRIES_MAX} 0x0a"]
    for sensor in SENSORS.values():
        data = " ".join(f"{byte:#04x}" for byte in record(sensor))
        code = THRESHOLD if sensor.is_threshold else DISCRETE
        source = f'poll {POLL_MS} file "{values / str(sensor.number)}"'
        lines += [f"main_sdr_add {ADDRESS:#x} {data}"]
        lines += [f"sensor_add {ADDRESS:#x} 0 {sensor.number} {sensor.kind:#x} {code:#x} {source}"]
    return "\n".join([*lines, f"mc_enable {ADDRESS:#x}", ""])


def configuration(*, node: str, user: str, password: str, chassis: str) -> str:
    """The configuration of ipmi_sim: RMCP+ only for one user; the kernel chooses both ports, on the loopback only."""
    for text in (node, user, password, chassis):
        assert '"' not in text, "the format knows no escape for a quote"
        assert "\n" not in text, "the format is made of lines"
    guid = f"bed0{node.encode().hex():0<28}"[:32]
    return f"""name "bmc-{node}"
set_working_mc {ADDRESS:#x}
startlan 1
  addr 127.0.0.1 0
  priv_limit admin
  guid {guid}
endlan
user 2 true "{user}" "{password}" admin {SESSIONS_MAX}
serial 15 127.0.0.1 0 codec VM
chassis_control "{chassis}"
"""

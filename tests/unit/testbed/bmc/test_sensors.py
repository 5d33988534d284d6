"""Proves the texts for ipmi_sim: records of the right shape, a configuration that lets nobody in without a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.bmc.sensors import SENSORS, configuration, emulation, record


def test_numbers_names_and_things_are_unique() -> None:
    """Two sensors never share a number, and a node has two fans and two power supplies."""
    assert len({sensor.number for sensor in SENSORS.values()}) == len(SENSORS)
    assert len({sensor.entity for sensor in SENSORS.values()}) == len(SENSORS)
    kinds = [sensor.kind for sensor in SENSORS.values()]
    assert (kinds.count(0x04), kinds.count(0x08)) == (2, 2)


@pytest.mark.parametrize("name", SENSORS)
def test_a_record_has_the_length_that_it_says(name: str) -> None:
    """Header, number, name at its end; ipmitool stops at the first record that is too short."""
    sensor, data = SENSORS[name], record(SENSORS[name])
    assert data[:3] == bytes([sensor.number, 0, 0x51])
    assert data[4] == len(data) - 5
    assert data[7] == sensor.number
    assert data.endswith(bytes([0xC0 | len(name)]) + name.encode())
    assert len(data) - len(name) == (48 if sensor.is_threshold else 32)


def test_the_limits_of_a_fan_stand_where_the_specification_wants_them() -> None:
    """Upper fatal, critical, warning, then lower fatal, critical, warning, in steps of 60 revolutions per minute."""
    data = record(SENSORS["Fan 1"])
    assert list(data[36:42]) == [0, 0, 0, 0, 20, 40]
    assert data[18:20] == bytes([0b011, 0b011])
    assert int.from_bytes(data[14:16], "little") == 0b011_0000_0000_0101
    assert data[24] == 60


def test_the_limits_of_a_temperature_are_upper_ones() -> None:
    """Its events are those of going high."""
    data = record(SENSORS["CPU Temp"])
    assert list(data[36:42]) == [100, 90, 80, 0, 0, 0]
    assert int.from_bytes(data[14:16], "little") == 0b1010_1000_0000
    assert int.from_bytes(data[16:18], "little") == 0b111_1010_1000_0000


def test_a_value_that_a_sensor_cannot_show_is_refused() -> None:
    """One byte, in the steps of the sensor."""
    assert SENSORS["Fan 1"].raw(6000) == 100
    with pytest.raises(AssertionError, match="CPU Temp cannot show 256"):
        SENSORS["CPU Temp"].raw(256)


def test_each_sensor_is_described_before_it_is_added() -> None:
    """ipmi_sim takes limits and events from the record when the sensor is added, and enables the controller last."""
    lines = emulation(Path("values")).splitlines()
    for sensor in SENSORS.values():
        added = next(i for i, line in enumerate(lines) if line.startswith(f"sensor_add 0x20 0 {sensor.number} "))
        assert lines[added - 1].startswith(f"main_sdr_add 0x20 {sensor.number:#04x} 0x00 0x51")
        assert f'file "values/{sensor.number}"' in lines[added]
    assert lines[0] == "mc_setbmc 0x20"
    assert lines[-1] == "mc_enable 0x20"


def test_only_the_loopback_and_only_rmcp_plus() -> None:
    """The kernel chooses the ports; without a list of allowed methods no session of IPMI 1.5 opens."""
    text = configuration(node="a", user="someone", password="secret", chassis="python helper /run/a-chassis")
    assert "addr 127.0.0.1 0" in text
    assert "serial 15 127.0.0.1 0 codec VM" in text
    assert 'user 2 true "someone" "secret" admin 10' in text
    assert "allowed_auths" not in text
    assert "guid bed06100000000000000000000000000" in text


@pytest.mark.parametrize(("password", "what"), [('a"b', "no escape"), ("a\nb", "made of lines")])
def test_a_text_that_the_format_cannot_hold_is_refused(password: str, what: str) -> None:
    """A quote or a new line in a value would change the meaning of the file."""
    with pytest.raises(AssertionError, match=what):
        configuration(node="a", user="u", password=password, chassis="c")

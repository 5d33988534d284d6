"""What sysfs says of network devices."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from avance import network_devices
from avance.network_devices import read_carrier, uplinks_of


def test_carrier_is_read_from_sysfs(tmp_path: Path) -> None:
    """A device has a carrier only when the kernel says so; one that is down or absent has none."""
    for name, text in (("eth0", "1\n"), ("eth1", "0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "carrier").write_text(text)
    assert [read_carrier(name, tmp_path) for name in ("eth0", "eth1", "eth2")] == [True, False, False]


@pytest.mark.parametrize(
    ("ports", "carrier"),
    [({"eth1": "0", "vif1.0": "1"}, False), ({"eth1": "1", "vif1.0": "0"}, True), ({"eth1": "0", "eth2": "1"}, True),
     ({"eth1": "0"}, False), ({}, False), ({"vif1.0": "1"}, False)],
)  # fmt: skip
def test_carrier_of_a_bridge_is_that_of_its_uplinks(tmp_path: Path, ports: dict[str, str], *, carrier: bool) -> None:
    """The port of a VM of this node keeps its bridge up, although no client is reached any more."""
    for name, text in {"biz0": "1", **ports}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "carrier").write_text(f"{text}\n")
    (tmp_path / "biz0" / "brif").mkdir()
    for name in ports:
        (tmp_path / "biz0" / "brif" / name).mkdir()
    assert read_carrier("biz0", tmp_path) is carrier


def test_uplinks_are_the_ports_but_the_domains(tmp_path: Path) -> None:
    """Of a bridge its ports without the back ends; a plain device is its own uplink; an absent one has none."""
    for port in ("eth1", "bond0", "vif3.0"):
        (tmp_path / "biz0" / "brif" / port).mkdir(parents=True)
    (tmp_path / "eth2").mkdir()
    assert uplinks_of("biz0", tmp_path) == ["bond0", "eth1"]
    assert uplinks_of("eth2", tmp_path) == ["eth2"]
    assert uplinks_of("eth9", tmp_path) == []


def test_what_cannot_be_read_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that may open no more files says nothing of its cables; one that is seen to carry is enough."""

    def read(path: Path) -> str:
        if path.parent.name == "eth1":
            raise OSError(errno.EMFILE, "Too many open files")
        return path.read_text().strip()

    monkeypatch.setattr(network_devices, "read_text", read)
    for name, text in (("eth1", "1"), ("eth2", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "carrier").write_text(text)
        (tmp_path / "biz0" / "brif" / name).mkdir(parents=True)
    assert read_carrier("eth1", tmp_path) is None
    assert read_carrier("biz0", tmp_path) is True
    (tmp_path / "eth2" / "carrier").write_text("0")
    assert read_carrier("biz0", tmp_path) is None

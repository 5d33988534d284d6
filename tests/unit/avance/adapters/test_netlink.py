"""Gratuitous ARP byte by byte, and addresses whose outcome is always told."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from pathlib import Path

import pytest

from avance.adapters.netlink import NodeNetwork, announce_address, gratuitous_arp, read_carrier
from avance.core.events import Event
from avance.core.model import Outcome
from tests.unit.avance.site import config

MAC = bytes.fromhex("525400770001")
IP = ipaddress.IPv4Address("10.77.0.10")


class Route:
    """Stands for rtnetlink: knows some devices and notes what it was asked to change."""

    def __init__(self, *devices: str) -> None:
        self.devices = devices
        self.calls: list[tuple[object, ...]] = []

    def link_lookup(self, *, ifname: str) -> list[int]:
        """Return the index of a device."""
        return [7] if ifname in self.devices else []

    def addr(self, verb: str, *, index: int, address: str, prefixlen: int) -> None:
        """Note a change."""
        self.calls.append((verb, index, address, prefixlen))


def network(route: Route) -> NodeNetwork:
    """Return the adapter on a stand-in of rtnetlink (white box: the real one would change this machine)."""
    events: list[Event] = []
    made = NodeNetwork(config(), events.append)
    made._route = route
    made._ready.set()
    return made


def test_gratuitous_arp_is_as_rfc_5227_says() -> None:
    """A broadcast request whose sender and target are the announced address."""
    expected = """
        ffffffffffff 525400770001 0806
        0001 0800 06 04 0001 525400770001 0a4d000a 000000000000 0a4d000a
    """
    assert gratuitous_arp(MAC, IP) == bytes.fromhex(expected)


def test_missing_device_cannot_announce() -> None:
    """A device that is not there is an error of the operating system."""
    with pytest.raises(OSError, match=r".") as caught:
        announce_address("no-such-dev0", IP)
    assert caught.value.errno in (errno.ENODEV, errno.EPERM)


def test_address_is_removed() -> None:
    """Releasing takes the service address off the device of its network."""
    route = Route("eth0", "biz0")
    done = asyncio.run(network(route).release_address())
    assert done.outcome is Outcome.OK
    assert route.calls == [("del", 7, "10.77.0.10", 24)]


def test_missing_device_is_a_failure() -> None:
    """An address for a device that is not there is FAILED, with the device named."""
    done = asyncio.run(network(Route()).hold_address())
    assert done.outcome is Outcome.FAILED
    assert "no network device biz0" in done.detail


def test_failed_announcement_is_a_failure_and_no_crash() -> None:
    """A device that cannot send makes the outcome FAILED; the daemon lives on and tries again."""
    present = {name for _, name in socket.if_nameindex()}
    if "biz0" in present:
        pytest.skip("this machine really has a device biz0")
    route = Route("biz0")
    done = asyncio.run(network(route).hold_address())
    assert done.outcome is Outcome.FAILED
    assert route.calls == [("add", 7, "10.77.0.10", 24)]


def test_carrier_is_read_from_sysfs(tmp_path: Path) -> None:
    """A device has a carrier only when the kernel says so; one that is down or absent has none."""
    for name, text in (("eth0", "1\n"), ("eth1", "0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "carrier").write_text(text)
    assert [read_carrier(name, tmp_path) for name in ("eth0", "eth1", "eth2")] == [True, False, False]


@pytest.mark.parametrize(
    ("ports", "carrier"),
    [({"eth1": "0", "vif1.0": "1"}, False), ({"eth1": "1", "vif1.0": "0"}, True), ({"eth1": "0", "eth2": "1"}, True),
     ({"eth1": "0"}, False), ({}, True), ({"vif1.0": "1"}, True)],
)  # fmt: skip
def test_carrier_of_a_bridge_is_that_of_its_cards(tmp_path: Path, ports: dict[str, str], *, carrier: bool) -> None:
    """The port of a VM of this node keeps its bridge up, although no client is reached any more."""
    for name, text in {"biz0": "1", **ports}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "carrier").write_text(f"{text}\n")
    for name in ports:
        (tmp_path / "biz0" / "brif" / name).mkdir(parents=True)
    assert read_carrier("biz0", tmp_path) is carrier

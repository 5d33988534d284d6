"""VMs and tombstones as values; what is refused is in tests/unit/avance/test_refusals.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from avance.core.model import LinkName, VmId
from avance.errors import ConfigError
from avance.vm_config import FIRST_DRBD_PORT, Tombstone, parse_vms
from tests.unit.avance.site import vm

NETWORKS = {LinkName("biz0"): IPv4Network("10.77.0.0/24")}


def test_vms_and_tombstones_are_told_apart() -> None:
    """A tombstone is no VM: it has no address that could be taken."""
    specs, removed = parse_vms([vm(number=3), {"name": "db", "number": 5, "removed": True}], NETWORKS, set())
    assert [(spec.name, spec.minor, spec.port) for spec in specs] == [("web", 3, FIRST_DRBD_PORT + 3)]
    assert removed == (Tombstone(VmId("db"), 5),)


def test_taken_address_is_refused() -> None:
    """Two machines with one address would disturb each other."""
    with pytest.raises(ConfigError, match="belongs to a node or the service"):
        parse_vms([vm(number=0)], NETWORKS, {IPv4Address("10.77.0.20")})

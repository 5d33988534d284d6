"""VMs and tombstones as values; what is refused is in tests/unit/avance/test_refusals.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from avance.core.model import LinkName, VmId, Wanted
from avance.errors import ConfigError
from avance.vm_config import FIRST_DRBD_PORT, Tombstone, parse_vms
from tests import schema_check
from tests.unit.avance.site import vm

NETWORKS = {LinkName("biz0"): IPv4Network("10.77.0.0/24")}


def test_vms_and_tombstones_are_told_apart() -> None:
    """A tombstone is no VM: it has no address that could be taken."""
    specs, removed = parse_vms([vm(number=3), {"name": "db", "number": 5, "removed": True}], NETWORKS, set())
    assert [(spec.name, spec.minor, spec.port) for spec in specs] == [("web", 3, FIRST_DRBD_PORT + 3)]
    assert removed == (Tombstone(VmId("db"), 5),)


@pytest.mark.parametrize("wanted", list(Wanted))
def test_what_is_wanted_of_a_vm(wanted: Wanted) -> None:
    """It is to run unless something else stands there; the published schema has the same words."""
    (spec,), _ = parse_vms([vm(number=3, wanted=wanted.value)], NETWORKS, set())
    assert (spec.wanted, spec.runs) == (wanted, wanted is Wanted.RUNNING)
    assert schema_check.complaints("vm", vm(wanted=wanted.value)) == []
    assert parse_vms([vm(number=3)], NETWORKS, set())[0][0].runs


def test_the_schema_has_what_a_definition_has() -> None:
    """No more and no less."""
    assert schema_check.complaints("vm", vm()) == []
    for key in vm():
        assert schema_check.complaints("vm", {name: value for name, value in vm().items() if name != key})
    for more in ({"wanted": "asleep"}, {"removed": True}, {"more": 1}):
        assert schema_check.complaints("vm", vm(**more))


def test_taken_address_is_refused() -> None:
    """Two machines with one address would disturb each other."""
    with pytest.raises(ConfigError, match="belongs to a node or the service"):
        parse_vms([vm(number=0)], NETWORKS, {IPv4Address("10.77.0.20")})

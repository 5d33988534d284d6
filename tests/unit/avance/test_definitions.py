"""A VM keeps its DRBD minor and port whatever becomes of the others, and no person gives them."""

from __future__ import annotations

import pytest

from avance.config import parse
from avance.definitions import VMS_MAX, added, numbered, removed, without_tombstones
from avance.errors import ConfigError
from avance.parsed import Json
from tests.unit.avance.site import site, vm

DB = vm(name="db", mac="00:16:3e:77:00:21", address="10.77.0.21")


def placed(vms: Json) -> dict[str, tuple[int, int]]:
    """Return minor and port of each VM."""
    return {spec.name: (spec.minor, spec.port) for spec in parse("a", site(), vms).vms}


def test_file_of_an_earlier_release_keeps_its_order() -> None:
    """Without numbers the order was the number."""
    assert numbered([vm(), DB]) == [vm(number=0), DB | {"number": 1}]
    assert placed([vm(), DB]) == {"web": (0, 7789), "db": (1, 7790)}


def test_kept_number_does_not_follow_the_order() -> None:
    """In whichever order the definitions stand, and whichever are there, each has its own device and port."""
    web, db = numbered([vm(), DB])
    assert placed([db, web]) == placed([web, db]) == {"web": (0, 7789), "db": (1, 7790)}
    assert placed([db]) == {"db": (1, 7790)}


def test_order_is_no_difference() -> None:
    """Two nodes with the same numbered definitions agree, whatever stands first in their files."""
    web, db = numbered([vm(), DB])
    assert parse("a", site(), [db, web]).config_hash == parse("a", site(), [web, db]).config_hash


def test_numbers_are_compared() -> None:
    """Nodes that number their VMs otherwise are not equal: the port of one VM would be that of another."""
    one, other = added(added([], vm()), DB), added(added([], DB), vm())
    assert parse("a", site(), one).config_hash != parse("a", site(), other).config_hash


def test_new_vm_gets_a_free_number() -> None:
    """The lowest that is free; nobody else's changes."""
    web, db = numbered([vm(), DB])
    assert added([db], vm()) == [web, db]
    assert [one["number"] for one in numbered([{"name": str(one)} for one in range(VMS_MAX)])] == list(range(VMS_MAX))


def test_person_gives_no_number() -> None:
    """It would let two nodes differ."""
    with pytest.raises(ConfigError, match="the product gives it"):
        added([], vm(number=3))
    with pytest.raises(ConfigError, match="at most 8"):
        added([vm(name=str(one)) for one in range(VMS_MAX)], vm())
    with pytest.raises(ConfigError, match="must not say `removed`"):
        added([], vm(removed=True))


def test_removed_vm_leaves_its_name_and_number() -> None:
    """A tombstone keeps both taken, and nothing else of the definition stays."""
    vms = removed([vm(), DB], "web")
    assert vms == [{"name": "web", "number": 0, "removed": True}, DB | {"number": 1}]
    config = parse("a", site(), vms)
    assert [spec.name for spec in config.vms] == ["db"]
    assert [(one.name, one.minor) for one in config.removed] == [("web", 0)]
    assert added(vms, vm(name="new"))[-1]["number"] == 2
    with pytest.raises(ConfigError, match="was removed, and its name is taken"):
        added(vms, vm())


def test_tombstones_are_no_vms() -> None:
    """Eight VMs fit beside eight tombstones; a tombstone cannot be removed once more, and is dropped in the end."""
    vms: Json = [vm(name=f"x{one}") for one in range(VMS_MAX)]
    for one in range(VMS_MAX):
        vms = removed(vms, f"x{one}")
    vms = [*vms, *(vm(name=f"y{one}") for one in range(VMS_MAX))]
    assert [entry["number"] for entry in numbered(vms)] == list(range(2 * VMS_MAX))
    assert [entry["number"] for entry in without_tombstones(vms)] == list(range(VMS_MAX, 2 * VMS_MAX))
    with pytest.raises(ConfigError, match="there is no VM 'x0'; there are: y0, y1"):
        removed(vms, "x0")


def test_tombstone_is_a_difference() -> None:
    """Nodes of which one has removed a VM are not equal, and so the peer is known to have removed it, too."""
    assert parse("a", site(), [DB]).config_hash != parse("a", site(), removed([vm(), DB], "web")).config_hash

"""New definitions take effect: what is told to whom, what needs a start of the daemon, and what must not be taken."""

from __future__ import annotations

import pytest

from avance.apply import apply, why_not
from avance.config import Config, parse
from avance.core.events import Event, VmAdded, VmChanged, VmRemoved
from avance.core.model import Outcome, VmId, VmSpec
from avance.core.results import Done
from avance.definitions import added, numbered, removed, without_tombstones
from avance.leftovers import Leftovers
from avance.parsed import Json
from tests.playbook import WEB
from tests.unit.avance.site import site, vm

DB = vm(name="db", mac="00:16:3e:77:00:21", address="10.77.0.21")
ONE: list[Json] = numbered([vm()])
TWO: list[Json] = added(ONE, DB)


class Told:
    """Everybody who is told, in the order in which it is said; the core first."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.leftovers = Leftovers(self, self, lambda _: None, dilation=1.0)  # type: ignore[arg-type,return-value]

    def put(self, event: Event) -> None:
        """Be the core."""
        self.said.append(event)

    def add(self, spec: VmSpec) -> None:
        """Be an adapter."""
        self.said.append(f"add {spec.name}")

    def change(self, spec: VmSpec) -> None:
        """Be an adapter."""
        self.said.append(f"change {spec.name} {spec.memory_mib}")

    def remove(self, name: VmId) -> None:
        """Be an adapter."""
        self.said.append(f"remove {name}")

    async def clear(self, *_: object) -> Done:
        """Never asked here."""
        return Done(Outcome.FAILED)


def given(vms: Json, **changes: Json) -> Config:
    """Return a configuration of node a."""
    return parse("a", site(**changes), vms)


def applied(before: Config, after: Config) -> tuple[bool, Told]:
    """Apply, with one adapter."""
    told = Told()
    return apply(before, after, told.put, [told], told.leftovers), told


def test_added_changed_and_removed_are_told() -> None:
    """The core hears of each VM before the adapters do: what they report of it is then known, or ignored."""
    before = given(TWO)
    vms = added(removed(TWO, "db"), vm(name="new", mac="00:16:3e:77:00:22", address="10.77.0.22"))
    after = given([entry | {"memory_mib": 128} if entry["name"] == "web" else entry for entry in vms])
    again, told = applied(before, after)
    web, new = after.vms
    assert not again
    assert told.said == [
        VmRemoved(VmId("db"), after.config_hash), "remove db", VmChanged(web, after.config_hash), "change web 128",
        VmAdded(new, after.config_hash), "add new",
    ]  # fmt: skip
    assert told.leftovers.unfinished == ("db",)


def test_nothing_new_is_told_to_nobody() -> None:
    """Equal definitions change nothing."""
    again, told = applied(given(TWO), given(TWO))
    assert not again
    assert not told.said


@pytest.mark.parametrize("change", [{"policy": "safety"}, {"dilation": 2.0}, {"watchdog": False}])
def test_another_site_needs_a_start(change: dict[str, Json]) -> None:
    """Then nobody is told anything: until then the daemon works, and says that it does, with what it has."""
    again, told = applied(given(TWO), given(removed(TWO, "db"), **change))
    assert again
    assert not told.said
    assert not told.leftovers.unfinished


def test_removal_of_a_vm_that_was_never_here() -> None:
    """A node that was away hears of both at once: there may be nothing to remove, and the hash is another one."""
    after = given(removed(TWO, "db"))
    again, told = applied(given(ONE), after)
    assert not again
    assert told.said == [VmRemoved(VmId("db"), after.config_hash), "remove db"]


def test_dropped_tombstone_alone_needs_a_start() -> None:
    """There is no event that says it; a start of the daemon is harmless."""
    vms = removed(TWO, "db")
    again, told = applied(given(vms), given(without_tombstones(vms)))
    assert again
    assert not told.said


def test_name_of_a_dropped_tombstone_is_free() -> None:
    """The VM is a new one then."""
    vms = removed(ONE, "web")
    after = given(added(without_tombstones(vms), vm()))
    again, told = applied(given(vms), after)
    assert not again
    assert told.said == [VmAdded(after.vms[0], after.config_hash), "add web"]


def test_what_must_not_be_taken() -> None:
    """Each with its sentence; what is removed in order, or grows from what is here, has none."""
    before = given(TWO)
    assert why_not(before, given(TWO), ()) == why_not(before, given(removed(TWO, "db")), ()) == ""
    assert why_not(given(ONE), before, ()) == ""
    assert "of which these definitions know nothing" in why_not(before, given(ONE), ())
    other = [ONE[0] | {"number": 1}, TWO[1] | {"number": 0}]
    assert "is another one than that of node a" in why_not(before, given(other), ())
    larger = [ONE[0] | {"volume_mib": 64}, TWO[1]]
    assert "a volume of another size" in why_not(before, given(larger), ())


def test_definitions_that_are_taken_delete_nothing() -> None:
    """What comes from these definitions may remove a VM; what a person takes instead of them may not."""
    before, after = given(TWO), given(removed(TWO, "db"))
    assert why_not(before, after, ()) == ""
    assert "remove the VM db, and its volume with all its data on node a" in why_not(before, after, (), taken=True)
    assert why_not(after, after, (), taken=True) == ""


def test_tombstone_stays_until_all_is_gone() -> None:
    """A node that still removes a VM takes no definitions that forget it."""
    vms = removed(TWO, "web")
    assert why_not(given(vms), given(vms), (WEB,)) == ""
    assert why_not(given(vms), given(without_tombstones(vms)), ()) == ""
    sentence = why_not(given(vms), given(without_tombstones(vms)), (WEB,))
    assert sentence == "node a still removes the VM web; look at its status, and try again"

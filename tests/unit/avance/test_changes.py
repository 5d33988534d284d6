"""What a person may change, and what is refused before anybody is asked; nothing secret is shown."""

from __future__ import annotations

from typing import Any

import pytest

from avance.changes import SITE_CHANGEABLE, Contents, changed, shown
from avance.config import parse
from avance.core.model import Wanted
from avance.errors import ConfigError
from tests.unit.avance.site import SECRET, W1, full_site, site, vm, with_bmc, with_links

DB = vm(name="db", mac="00:16:3e:77:00:21", address="10.77.0.21")
TOMBSTONE = {"name": "old", "number": 1, "removed": True}
BEFORE = Contents(full_site(), [vm(number=0), TOMBSTONE])

# What is another one in the site that is given to a pair, and the key that is named.
FIXED: list[tuple[dict[str, Any], str]] = [
    ({"timers": {}}, "timers"), ({"secret": SECRET[::-1]}, "secret"), ({"dilation": 2.0}, "dilation"),
    ({"nodes": with_links(a={"biz0": {"device": "eth7"}})}, "nodes"), ({"nodes": {"a": {}, "c": {}}}, "nodes"),
    ({"nodes": []}, "nodes"), ({"replication_link": "biz0"}, "replication_link"), ({"watchdog": True}, "watchdog"),
    ({"service_address": {"network": "biz0", "address": "10.77.0.9/24"}}, "service_address"),
    ({"data_integrity": True}, "data_integrity"), ({"more": 1}, "more"),
]  # fmt: skip
# What is asked for, and a word of the answer.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"op": "vm-add", "vm": vm(name="x", number=3)}, "must not say `number`"),
     ({"op": "vm-change", "vm": vm(number=0)}, "must not say `number`"), ({"op": "vm-change", "vm": DB}, "there is no"),
     ({"op": "vm-change", "vm": vm(volume_mib=64)}, "its size cannot be changed"),
     ({"op": "vm-change", "vm": {"name": "old"}}, "there is no VM 'old'"), ({"op": "vm-change", "vm": []}, "an object"),
     ({"op": "vm-change"}, "an object"), ({"op": "vm-remove", "name": "web"}, "say --delete-volume"),
     ({"op": "vm-remove", "name": "web", "delete_volume": "yes"}, "say --delete-volume"),
     ({"op": "vm-remove", "name": "nobody", "delete_volume": True}, "there is no VM 'nobody'"),
     ({"op": "vm-wanted", "name": "nobody", "wanted": "off"}, "there is no VM 'nobody'"),
     ({"op": "vm-wanted", "name": "old", "wanted": "running"}, "there is no VM 'old'"),
     ({"op": "site-change", "site": 5}, "an object"), ({"op": "site-change"}, "an object"),
]  # fmt: skip


def test_vm_is_added() -> None:
    """It gets a number; what was removed is forgotten where both agree, and its number is free again."""
    both = changed({"op": "vm-add", "vm": DB}, BEFORE, alone=False)
    assert both.text == "vm add db"
    assert both.contents.vms == [vm(number=0), {**DB, "number": 1}]
    alone = changed({"op": "vm-add", "vm": DB}, BEFORE, alone=True)
    assert alone.contents.vms == [vm(number=0), TOMBSTONE, {**DB, "number": 2}]


def test_vm_is_changed() -> None:
    """It keeps its number, and everything else may be another."""
    other = vm(memory_mib=128, kernel="/k", mac="00:16:3e:77:00:99", address="10.77.0.99")
    made = changed({"op": "vm-change", "vm": other}, BEFORE, alone=False)
    assert made.contents == Contents(full_site(), [{**other, "number": 0}])
    assert parse("a", made.contents.site, made.contents.vms).vms[0].memory_mib == 128


@pytest.mark.parametrize(
    ("wanted", "text"),
    [(Wanted.SHUT_DOWN, "vm stop web"), (Wanted.OFF, "vm power-off web"),
     (Wanted.OFF_BY_GUEST, "the guest has switched off web")],
)  # fmt: skip
def test_vm_is_wanted_off_and_on(wanted: Wanted, text: str) -> None:
    """It stands in its definition for as long as it is to be off; then the definition is what it was."""
    off = changed({"op": "vm-wanted", "name": "web", "wanted": wanted}, BEFORE, alone=False)
    assert (off.text, off.contents.vms) == (text, [vm(number=0, wanted=wanted.value)])
    assert parse("a", off.contents.site, off.contents.vms).vms[0].wanted is wanted
    on = changed({"op": "vm-wanted", "name": "web", "wanted": Wanted.RUNNING}, off.contents, alone=False)
    assert (on.text, on.contents.vms) == ("vm start web", [vm(number=0)])


def test_a_changed_definition_leaves_a_vm_off() -> None:
    """Unless it says what is wanted."""
    before = Contents(full_site(), [vm(number=0, wanted="off")])
    made = changed({"op": "vm-change", "vm": vm(memory_mib=128)}, before, alone=False)
    assert made.contents.vms == [vm(number=0, memory_mib=128, wanted="off")]
    made = changed({"op": "vm-change", "vm": vm(wanted="running")}, before, alone=False)
    assert made.contents.vms == [vm(number=0, wanted="running")]


def test_vm_is_removed() -> None:
    """A tombstone stands in its place."""
    made = changed({"op": "vm-remove", "name": "web", "delete_volume": True}, BEFORE, alone=False)
    assert made.contents.vms == [{"name": "web", "number": 0, "removed": True}]
    assert made.text == "vm remove web"


@pytest.mark.parametrize(
    "change",
    [{"policy": "safety"}, {"witnesses": [W1]}, {"gateways": {}}, {"quarantine": {}}, {"stay_without_disk": True},
     {"call_home": None}, {"nodes": with_bmc(user="other")}],
)  # fmt: skip
def test_site_is_changed(change: dict[str, Any]) -> None:
    """What a site may get while the pair runs."""
    made = changed({"op": "site-change", "site": full_site(**change)}, BEFORE, alone=False)
    assert made.contents.site == full_site(**change)
    parse("a", made.contents.site, made.contents.vms)


@pytest.mark.parametrize(("change", "key"), FIXED)
def test_site_that_needs_another_pair_is_refused(change: dict[str, Any], key: str) -> None:
    """What two nodes that run cannot change one after the other, or only a new start of everything."""
    with pytest.raises(ConfigError, match=f"site.{key} cannot be changed while the nodes are paired; what can be: "):
        changed({"op": "site-change", "site": full_site(**change)}, BEFORE, alone=False)


@pytest.mark.parametrize(("request_", "why"), REFUSED)
def test_change_that_cannot_be_is_refused(request_: dict[str, Any], why: str) -> None:
    """Each with its sentence, which says that nothing was changed."""
    with pytest.raises(ConfigError, match=why) as refused:
        changed(request_, BEFORE, alone=False)
    assert str(refused.value).endswith("nothing was changed")


def test_the_first_change_of_a_site_without_something_adds_it() -> None:
    """A key that was not there may come."""
    before = Contents(site(), [])
    for key in ("witnesses", "gateways", "quarantine"):
        assert key in SITE_CHANGEABLE
        changed({"op": "site-change", "site": site(**{key: full_site()[key]})}, before, alone=True)


def test_nothing_secret_is_shown() -> None:
    """Neither the site's secret nor that of anybody else."""
    text = str(shown(full_site()))
    for secret in (SECRET, "pass-of-a", "pass-of-b", "t0ken-of-the-tests"):
        assert secret not in text
    assert "10.77.0.31" in text

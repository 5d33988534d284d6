"""What a person may change of the definitions: each verb as a function from the contents to other contents. Pure.

A change that cannot work is refused here, before anybody is asked to agree. What is left is checked as a whole by
`config.parse`, and once more by the node that is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avance.core.model import Wanted
from avance.definitions import NUMBER, WANTED, added, is_tombstone, numbered, removed, without_tombstones
from avance.errors import ConfigError
from avance.parsed import Json

VERBS = ("vm-add", "vm-change", "vm-remove", "site-change")
WANTS = "vm-wanted"  # what is wanted of a VM; persons ask for it in other words (avance/vm_life.py)
_ASKED_BY = {
    Wanted.RUNNING: "vm start",
    Wanted.SHUT_DOWN: "vm stop",
    Wanted.OFF: "vm power-off",
    Wanted.OFF_BY_GUEST: "the guest has switched off",
}
# Whatever else the nodes would have to change at one instant, or is built into what runs (docs/decisions/0028).
SITE_CHANGEABLE = ("policy", "call_home", "witnesses", "gateways", "quarantine", "stay_without_disk")
_NODE_CHANGEABLE = "bmc"


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of the definitions: a site and its VMs, as JSON."""

    site: Json
    vms: list[Json]


@dataclass(frozen=True, slots=True)
class Changed:
    """Other contents; `text` says in words what a person has asked for."""

    text: str
    contents: Contents


def changed(request: dict[str, Any], before: Contents, *, alone: bool) -> Changed:
    """Return what a request makes of the contents.

    What both nodes agree on has no tombstones any more; a node that still removes the VM refuses that.

    Raises:
        ConfigError: it is refused.
    """
    op = request["op"]
    vms = numbered(before.vms) if alone else without_tombstones(before.vms)
    if op == "site-change":
        site = request.get("site")
        _check_site(before.site, site)
        return Changed("site change", Contents(site, vms))
    if op == "vm-remove":
        name = str(request.get("name"))
        if request.get("delete_volume") is not True:
            raise ConfigError(
                f"the volume of VM {name} would be deleted on both nodes, with all its data; say --delete-volume if"
                " that is meant; nothing was changed"
            )
        return Changed(f"vm remove {name}", Contents(before.site, removed(vms, name)))
    if op == WANTS:
        name, wanted = str(request.get("name")), Wanted(request["wanted"])
        return Changed(f"{_ASKED_BY[wanted]} {name}", Contents(before.site, _with_wanted(vms, name, wanted)))
    definition = request.get("vm")
    name = str(definition.get("name")) if isinstance(definition, dict) else "?"
    if op == "vm-add":
        return Changed(f"vm add {name}", Contents(before.site, added(vms, definition)))
    return Changed(f"vm change {name}", Contents(before.site, _vm_changed(vms, definition)))


def _known(vms: list[Json], name: object, hint: str = "") -> Json:
    old = next((entry for entry in vms if not is_tombstone(entry) and entry["name"] == name), None)
    if old is None:
        known = ", ".join(entry["name"] for entry in vms if not is_tombstone(entry)) or "none"
        raise ConfigError(f"there is no VM {name!r}; there are: {known}; {hint}nothing was changed")
    return old


def _with_wanted(vms: list[Json], name: str, wanted: Wanted) -> list[Json]:
    old = _known(vms, name)
    kept = {key: value for key, value in old.items() if key != WANTED}
    new = kept if wanted is Wanted.RUNNING else {**kept, WANTED: wanted.value}
    return [new if entry is old else entry for entry in vms]


def _vm_changed(vms: list[Json], definition: Json) -> list[Json]:
    if not isinstance(definition, dict):
        raise ConfigError("the definition of a VM is an object; nothing was changed")
    if NUMBER in definition:
        raise ConfigError(f"a definition must not say `{NUMBER}`: the product gives it; nothing was changed")
    name = definition.get("name")
    old = _known(vms, name, "`avance vm add` adds one; ")
    if definition.get("volume_mib") != old["volume_mib"]:
        raise ConfigError(
            f"VM {name} has a volume of {old['volume_mib']} MiB, and its size cannot be changed; nothing was changed"
        )
    wanted = {WANTED: old[WANTED]} if WANTED in old else {}  # it stays, where the definition does not speak of it
    return [{**wanted, **definition, NUMBER: old[NUMBER]} if entry is old else entry for entry in vms]


def _check_site(old: Json, new: Json) -> None:
    """Refuse what two nodes that run cannot change one after the other."""
    if not isinstance(new, dict):
        raise ConfigError("a site is an object; nothing was changed")
    differ = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    for key in differ:
        if key in SITE_CHANGEABLE:
            continue
        if key == "nodes" and _without_bmcs(old[key]) == _without_bmcs(new.get(key)):
            continue
        possible = ", ".join((*SITE_CHANGEABLE, f"nodes.NAME.{_NODE_CHANGEABLE}"))
        raise ConfigError(
            f"site.{key} cannot be changed while the nodes are paired; what can be: {possible}; nothing was changed"
        )


def _without_bmcs(nodes: Json) -> Json:
    if not isinstance(nodes, dict) or not all(isinstance(entry, dict) for entry in nodes.values()):
        return None
    return {
        name: {key: value for key, value in entry.items() if key != _NODE_CHANGEABLE} for name, entry in nodes.items()
    }


_SECRETS = ("secret", "password", "token")


def shown(value: Json) -> Json:
    """Return contents for people: what is secret in them is left out."""
    if isinstance(value, dict):
        return {key: "(secret)" if key in _SECRETS else shown(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shown(part) for part in value]
    return value


__all__ = ["SITE_CHANGEABLE", "VERBS", "WANTS", "Changed", "Contents", "changed", "shown"]

"""The VMs of a configuration into frozen values, and the tombstones of those that were removed. Pure.

A VM that was removed stays in the definitions as a tombstone until nothing of it is left on either node. It is no VM: a
tombstone only keeps name and number taken (docs/safety.md, S44).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from avance.checked import NAME, address_of, is_host, keys
from avance.core.model import LinkName, VmId, VmSpec, Wanted
from avance.definitions import NUMBER, WANTED, is_tombstone
from avance.errors import ConfigError
from avance.parsed import Json

FIRST_DRBD_PORT = 7789
PATH_BYTES_MAX = 4095  # PATH_MAX of Linux, without the zero at its end
CMDLINE_BYTES_MAX = 1023  # MAX_GUEST_CMDLINE of Xen, without the zero at its end: the rest would be cut off in silence
_BACK_END_MAC = "fe:ff:ff:ff:ff:ff"  # what Xen gives to its own end of every card: the bridge would keep the frames
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_Networks = Mapping[LinkName, ipaddress.IPv4Network]
_Taken = set[ipaddress.IPv4Address]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stands in the place of a removed VM: its name, and the minor of its DRBD resource."""

    name: VmId
    minor: int


def parse_vms(
    value: list[Json], networks: _Networks, taken: _Taken
) -> tuple[tuple[VmSpec, ...], tuple[Tombstone, ...]]:
    """Check the numbered definitions; return the VMs and the tombstones.

    `networks`: those in which a VM may be. `taken`: the addresses of others.

    Raises:
        ConfigError: with one sentence that names the place and what is possible there.
    """
    vms = [entry for entry in value if not is_tombstone(entry)]
    specs = tuple(_vm(index, entry, networks, taken) for index, entry in enumerate(vms))
    removed = tuple(Tombstone(VmId(entry["name"]), entry[NUMBER]) for entry in value if is_tombstone(entry))
    for what in ("name", "mac", "address"):
        if len({getattr(spec, what) for spec in specs}) < len(specs):
            raise ConfigError(f"two VMs have the same {what}")
    return specs, removed


def _vm(index: int, value: Json, networks: _Networks, taken: _Taken) -> VmSpec:
    place = f"vm {value.get('name', index)!r}" if isinstance(value, dict) else f"vm {index}"
    texts = {"name", "kernel", "ramdisk", "cmdline", "mac", "network", "address"}
    keys(place, value, needed=texts | {"memory_mib", "volume_mib", NUMBER}, optional={WANTED})
    if not all(isinstance(value[key], str) for key in texts):
        raise ConfigError(f"{place}: {', '.join(sorted(texts))} must be texts")
    if not NAME.fullmatch(value["name"]) or not _MAC.fullmatch(value["mac"]):
        raise ConfigError(f"{place}: the name must match {NAME.pattern} and the mac {_MAC.pattern}")
    if int(value["mac"][:2], 16) & 1 or value["mac"] in ("00:00:00:00:00:00", _BACK_END_MAC):
        raise ConfigError(f"{place}: the mac {value['mac']} is no address of a single card")
    network = networks.get(value["network"])
    if network is None:
        raise ConfigError(f"{place}: network {value['network']!r} is not one of the public links {list(networks)}")
    address = address_of(f"{place}: address", value["address"])
    if not is_host(address, network):
        raise ConfigError(f"{place}: address {address} is no host of the link's network {network}")
    if address in taken:
        raise ConfigError(f"{place}: address {address} belongs to a node or the service")
    for key, low, high in (("memory_mib", 64, 65536), ("volume_mib", 4, 1 << 20)):
        if isinstance(value[key], bool) or not isinstance(value[key], int) or not low <= value[key] <= high:
            raise ConfigError(f"{place}: {key} must be a whole number from {low} to {high}")
    if value.get(WANTED, Wanted.RUNNING) not in list(Wanted):
        raise ConfigError(f"{place}: {WANTED} is {value[WANTED]!r}; possible are {', '.join(Wanted)}")
    _check_texts(place, {key: value[key] for key in sorted(texts)})
    values = {key: value[key] for key in texts - {"name"}}
    return VmSpec(
        name=VmId(value["name"]),
        memory_mib=value["memory_mib"],
        volume_mib=value["volume_mib"],
        minor=value[NUMBER],
        port=FIRST_DRBD_PORT + value[NUMBER],
        wanted=Wanted(value.get(WANTED, Wanted.RUNNING)),
        **values,
    )


def _check_texts(place: str, texts: Mapping[str, str]) -> None:
    """Refuse what could break out of the file that xl reads, or what Xen would cut off or could not open."""
    for key, text in texts.items():
        if not text.isprintable() or any(mark in text for mark in "\"'\\"):
            raise ConfigError(f"{place}: {key} holds a quote, a backslash, a line break or another control character")
    for key in ("kernel", "ramdisk"):
        text = texts[key]
        if not text.startswith("/") or text.endswith("/") or len(text.encode()) > PATH_BYTES_MAX:
            raise ConfigError(
                f"{place}: {key} must be the whole path of a file, from / on, of at most {PATH_BYTES_MAX} bytes"
            )
    if len(texts["cmdline"].encode()) > CMDLINE_BYTES_MAX:
        raise ConfigError(f"{place}: cmdline has more than {CMDLINE_BYTES_MAX} bytes, which a domain cannot be given")

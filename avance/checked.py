"""What is checked in every part of a configuration: keys, names, addresses. Pure.

Each refusal is one sentence that names the place.
"""

from __future__ import annotations

import ipaddress
import re

from avance.errors import ConfigError
from avance.parsed import Json

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def keys(place: str, value: Json, *, needed: set[str], optional: set[str]) -> None:
    """Refuse what is no object, lacks a key, or has one that nobody knows.

    Raises:
        ConfigError: so.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be an object with the keys {sorted(needed)}")
    missing, unknown = needed - value.keys(), value.keys() - needed - optional
    if missing:
        raise ConfigError(f"{place} lacks {', '.join(sorted(missing))}")
    if unknown:
        possible = sorted(needed | optional)
        raise ConfigError(f"{place} has unknown keys {', '.join(sorted(unknown))}; possible are {possible}")


def address_of(place: str, text: Json) -> ipaddress.IPv4Address:
    """Return an address.

    Raises:
        ConfigError: it is none.
    """
    try:
        return ipaddress.IPv4Address(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"{place} is {text!r}; it must be an IPv4 address") from error


def is_host(address: ipaddress.IPv4Address, network: ipaddress.IPv4Network) -> bool:
    """Say whether a machine can have this address there: not the network's own, nor broadcast, nor a special one."""
    ends = {network.network_address, network.broadcast_address} if network.num_addresses > 2 else set()
    special = address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved
    return address in network and address not in ends and not special

"""What is checked in every part of a configuration: keys, names, addresses, certificates. Pure.

Each refusal is one sentence that names the place.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection

from avance.errors import ConfigError
from avance.parsed import Json

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")  # RFC 1122, 3.2.1.3
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # RFC 1123, 2.1
_HOST_MAX = 253
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")
_SEQUENCE, _BIT_STRING, _CONSTRUCTED, _LONG = 0x30, 0x03, 0x20, 0x80  # tags and lengths of DER (ITU-T X.690, 8.1)
_PARTS = [_SEQUENCE, _SEQUENCE, _BIT_STRING]  # of a certificate: what is signed, how, the signature (RFC 5280, 4.1)
_DEPTH_MAX = 32


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


def is_machine(address: ipaddress.IPv4Address, networks: Collection[ipaddress.IPv4Network]) -> bool:
    """Say whether one other machine can have this address: no special one, and no end of a network that we know."""
    ends = {end for one in networks if one.num_addresses > 2 for end in (one.network_address, one.broadcast_address)}
    special = address.is_multicast or address.is_loopback or address.is_reserved or address in _THIS_NETWORK
    return address not in ends and not special


def machine_of(place: str, text: Json, networks: Collection[ipaddress.IPv4Network]) -> ipaddress.IPv4Address:
    """Return the address of one other machine.

    Raises:
        ConfigError: it is none.
    """
    address = address_of(place, text)
    if not is_machine(address, networks):
        raise ConfigError(f"{place} {address} is no address that one other machine can have")
    return address


def is_host(address: ipaddress.IPv4Address, network: ipaddress.IPv4Network) -> bool:
    """Say whether a machine can have this address there: not the network's own, nor broadcast, nor a special one."""
    return address in network and is_machine(address, [network])


def is_host_name(text: str) -> bool:
    """Say whether this can be the name of a host; digits and dots alone are none."""
    labels = text.split(".")
    return len(text) <= _HOST_MAX and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()


def is_certificate(text: str) -> bool:
    """Say whether the text holds certificates and nothing that is broken; what they vouch for the TLS library judges.

    Each has the outer form of one, and every part of it is as long as it says (RFC 7468, section 5; ITU-T X.690).
    """
    bodies = _PEM.findall(text)
    if not bodies or text.count("-----BEGIN") != len(bodies):
        return False
    try:
        return all(_is_certificate(base64.b64decode("".join(body.split()), validate=True)) for body in bodies)
    except ValueError:
        return False


def _is_certificate(der: bytes) -> bool:
    whole = _elements(der)
    return [tag for tag, _ in whole] == [_SEQUENCE] and [tag for tag, _ in _elements(whole[0][1])] == _PARTS


def _elements(der: bytes, depth: int = 0) -> list[tuple[int, bytes]]:
    """Return the elements side by side, as tags and contents; what they are made of is looked at, too.

    Raises:
        ValueError: one is longer than what is there.
    """
    found, at = [], 0
    while at < len(der):
        head = der[at : at + 2]
        if len(head) < 2 or depth > _DEPTH_MAX:
            raise ValueError("this is no DER")
        at += 2
        more = head[1] - _LONG if head[1] > _LONG else 0
        length = int.from_bytes(der[at : at + more]) if more else head[1]
        at += more
        if at + length > len(der):
            raise ValueError("an element is cut off")
        content = der[at : at + length]
        if head[0] & _CONSTRUCTED:
            _elements(content, depth + 1)
        found.append((head[0], content))
        at += length
    return found

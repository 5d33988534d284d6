"""Keys and addresses of a configuration; each sentence with its place is a row of test_refusals.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from avance.checked import NAME, address_of, is_host, keys
from avance.errors import ConfigError


def test_keys_are_exact() -> None:
    """Nothing is missing, and nothing is there that nobody knows."""
    keys("it", {"a": 1, "b": 2}, needed={"a"}, optional={"b"})
    for value, why in (([], "must be an object"), ({}, "it lacks a"), ({"a": 1, "c": 2}, "unknown keys c")):
        with pytest.raises(ConfigError, match=why):
            keys("it", value, needed={"a"}, optional={"b"})


def test_address_is_that_of_a_host() -> None:
    """A network and its broadcast address are none; in a network of two addresses both are."""
    assert is_host(address_of("x", "10.0.0.1"), IPv4Network("10.0.0.0/24"))
    assert not is_host(IPv4Address("10.0.0.0"), IPv4Network("10.0.0.0/24"))
    assert is_host(IPv4Address("10.0.0.0"), IPv4Network("10.0.0.0/31"))
    with pytest.raises(ConfigError, match="x is 7; it must be an IPv4 address"):
        address_of("x", 7)


def test_name_fits_every_tool() -> None:
    """It begins with a letter, and has no sign that a tool reads as something else."""
    assert NAME.fullmatch("web-1")
    assert not any(NAME.fullmatch(name) for name in ("", "1web", "Web", "web.part", "-web", "web\n"))

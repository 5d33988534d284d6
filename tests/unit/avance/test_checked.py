"""Keys and addresses of a configuration; each sentence with its place is a row of test_refusals.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from avance.checked import NAME, address_of, is_certificate, is_host, is_host_name, is_machine, keys, machine_of
from avance.errors import ConfigError
from testbed.world.tls import ensure_credentials
from tests.unit.avance.site import CERTIFICATE, pem


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


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.9", "240.0.0.1", "255.255.255.255", "10.0.0.0", "10.0.0.255"]
)
def test_address_that_no_other_machine_has(text: str) -> None:
    """Nobody else is asked there: this machine itself answers, or everybody, or nobody."""
    with pytest.raises(ConfigError, match=r"x .* is no address that one other machine can have"):
        machine_of("x", text, [IPv4Network("10.0.0.0/24")])


def test_address_of_another_machine() -> None:
    """Any other one may be far away, and what ends a network that we do not know is an address as any other."""
    assert machine_of("x", "10.0.0.1", [IPv4Network("10.0.0.0/24")]) == IPv4Address("10.0.0.1")
    assert is_machine(IPv4Address("10.0.0.255"), [IPv4Network("10.0.0.0/16"), IPv4Network("10.1.0.0/31")])


def test_name_of_a_host() -> None:
    """Labels of letters, digits and hyphens inside; a number is no name."""
    for name in ("x", "centre.example", "a-b.C9", "1.example", "a" * 63 + ".x"):
        assert is_host_name(name), name
    for name in ("", "x.", ".x", "x..y", "-x", "x-", "a" * 64, "10.77.0.256", "7", ".".join(["a" * 50] * 5)):
        assert not is_host_name(name), name


def test_certificates(tmp_path: Path) -> None:
    """A real one is one, and two are; what lacks a part, or has one that is cut, is none."""
    real = ensure_credentials(tmp_path, address="127.0.0.1", say=lambda _: None).authority.read_text()
    assert is_certificate(real)
    assert is_certificate(real + CERTIFICATE)
    for text in (
        "",
        real[:-30],
        real + real[:40],
        pem(""),
        pem("30"),
        pem("3080"),
        pem("3082"),
        pem("3000"),
        pem("0500"),
    ):
        assert not is_certificate(text), text
    assert not is_certificate(pem("300a 3003020105 3000 030100")[:-1] + "x-----BEGIN")
    assert not is_certificate(pem("300a 3003020201 3000 030100")), "an inner part that is longer than what is there"
    deep = b"".join(b"\x30" + bytes([2 * left]) for left in range(60, -1, -1))
    assert not is_certificate(pem(deep.hex()))

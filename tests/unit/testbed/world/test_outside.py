"""Tests of testbed.world.outside: its command line, and what it says when it cannot begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import UsageError
from testbed.world.outside import outside_argv


def test_the_command_line_is_closed_to_the_world() -> None:
    """Nothing but the service centre's address is forwarded, and the stack may not reach the host."""
    argv = outside_argv(local=Path("/r/q"), remote=Path("/r/s"), centre=Path("/r/c"))
    user = next(word for word in argv if word.startswith("user,"))
    assert "restrict=on" in user
    assert "ipv6=off" in user
    assert user.count("guestfwd=") == 1
    assert "hostfwd" not in user
    assert "guestfwd=tcp:10.77.0.4:443-cmd:" in user
    assert user.endswith("outside_relay.py /r/c")
    assert "dgram,id=port,local.type=unix,local.path=/r/q,remote.type=unix,remote.path=/r/s" in argv
    assert argv[argv.index("-machine") + 1] == "none"


def test_odd_paths_are_quoted_twice() -> None:
    """A blank is quoted for slirp's shell-like splitting, a comma is doubled for QEMU."""
    argv = outside_argv(local=Path("/r,1/q"), remote=Path("/r/s"), centre=Path("/a b,c"))
    assert any(word.endswith("outside_relay.py '/a b,,c'") for word in argv)
    assert any("local.path=/r,,1/q," in word for word in argv)


def test_a_long_socket_path_is_refused() -> None:
    """The limit of the kernel is met before QEMU is started, with the way out."""
    with pytest.raises(UsageError, match="shorter run directory"):
        outside_argv(local=Path("/" + "x" * 107), remote=Path("/s"), centre=Path("/c"))

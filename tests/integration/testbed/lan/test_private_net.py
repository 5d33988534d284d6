"""Tests of testbed.lan.private_net: in a process of its own, because who enters does not come back."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from testbed import process

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import select, socket, sys
from testbed.lan import private_net
try:
    frames = private_net.enter(sys.argv[1], "10.77.0.101", 24)
except private_net.NotPossibleError as error:
    sys.exit(f"refused: {error}")
print(*sorted(name for _, name in socket.if_nameindex()))
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
client.connect_ex(("10.77.0.20", 7000))
select.select([frames], [], [], 20)
print(frames.recv(2000).hex())
"""


def enter(mac: str) -> process.Completed:
    """Run the program that enters and tries to connect to somebody."""
    argv = [sys.executable, "-c", PROGRAM, mac]
    return asyncio.run(process.run(argv, timeout_s=100, check=False, cwd=ROOT))


def test_the_kernel_of_a_private_network_speaks_through_the_socket() -> None:
    """No interface of the machine is left, and the first frame asks for the neighbour under the given addresses."""
    done = enter("02:77:00:00:01:01")
    if done.returncode != 0 and "namespace" in done.stderr:
        pytest.skip(done.stderr)
    names, frame = done.stdout.split("\n")[:2]
    assert names == "eth0 far0 lo"
    assert frame.startswith("ffffffffffff 027700000101 0806 0001080006040001".replace(" ", ""))
    assert frame[44:].startswith("027700000101 0a4d0065 000000000000 0a4d0014".replace(" ", ""))


def test_what_the_host_refuses_is_named_with_its_step() -> None:
    """An impossible address of the interface, which is a multicast address, is refused by the kernel."""
    done = enter("03:77:00:00:01:01")
    assert done.returncode != 0
    assert "refused: this host does not give a" in done.stderr


def test_the_doctor_is_told_whether_the_host_gives_one() -> None:
    """The module as a program tries it, and ends with 0 or with a sentence."""
    argv = [sys.executable, "-m", "testbed.lan.private_net"]
    done = asyncio.run(process.run(argv, timeout_s=100, check=False, cwd=ROOT))
    assert (done.returncode == 0) == (done.stderr == "")

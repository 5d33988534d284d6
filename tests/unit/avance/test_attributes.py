"""Attributes of sysfs: only what is told as urgent wakes, and a file that can merely be read does not."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from pathlib import Path

from avance.attributes import Attributes


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection: only TCP has urgent data."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        return here, server.accept()[0]


def test_an_urgent_condition_wakes_at_once() -> None:
    """White box: urgent data of a socket, put into its set, stands for an attribute; both are POLLPRI."""

    async def story() -> float:
        here, there = socket_pair()
        with here, there, Attributes() as attributes:
            attributes._set.register(there.fileno(), select.EPOLLPRI | select.EPOLLET)
            begun_s = time.monotonic()
            asyncio.get_running_loop().call_later(0.05, here.send, b"!", socket.MSG_OOB)
            await attributes.wait(30.0)
            return time.monotonic() - begun_s

    assert 0.04 < asyncio.run(story()) < 15.0


def test_without_a_change_it_returns_after_a_while(tmp_path: Path) -> None:
    """Some changes are told by nobody, so the caller looks from time to time; what does not exist is left out."""
    state = tmp_path / "state"
    state.write_text("in_sync\n")

    async def story() -> float:
        with Attributes() as attributes:
            attributes.watch((state, tmp_path / "absent"))
            attributes.watch((tmp_path / "absent",))
            begun_s = time.monotonic()
            await attributes.wait(0.05)
            return time.monotonic() - begun_s

    assert asyncio.run(story()) >= 0.05


def test_watching_another_set_keeps_no_descriptor(tmp_path: Path) -> None:
    """The directories of members come and go for years."""
    paths = [tmp_path / f"{number}" for number in range(3)]
    for path in paths:
        path.write_text("in_sync\n")

    async def story() -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with Attributes() as attributes:
            for _ in range(50):
                attributes.watch(paths[:2])
                attributes.watch(paths[1:])
            attributes.watch(())
        assert len(list(Path("/proc/self/fd").iterdir())) <= before

    asyncio.run(story())

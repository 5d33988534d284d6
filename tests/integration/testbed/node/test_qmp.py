"""Proves the QMP layer against a real QEMU without a guest: answers, events, refusals, silence and the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.node.qmp import Qmp, QmpLost, QmpRefused
from testbed.process import Child
from testbed.wait import wait_for_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QEMU = shutil.which("qemu-system-x86_64")


@asynccontextmanager
async def connected(tmp_path: Path, history: History) -> AsyncIterator[tuple[Qmp, Child]]:
    """A QEMU without hardware and a connection to it."""
    assert QEMU is not None
    socket = tmp_path / "qmp"
    argv = [QEMU, "-machine", "none", "-nodefaults", "-display", "none", "-qmp", f"unix:{socket},server=on,wait=off"]
    async with (
        Child(argv, name="QEMU", log=tmp_path / "log") as child,
        Qmp(socket, history, node="a", process_alive=lambda: child.alive) as qmp,
    ):
        yield qmp, child


async def ended(history: History) -> object:
    """Wait for the record of the connection's end and say whether it was expected."""
    record = await wait_for_record(
        history, lambda entry: entry.kind == "disconnected", what="the end of the connection", timeout_s=100
    )
    return record.fields["expected"]


def test_commands_are_answered_and_events_recorded(tmp_path: Path) -> None:
    """An answer has the content QEMU gave, and STOP arrives in the history without being asked for."""

    async def scenario() -> object:
        history = History()
        async with connected(tmp_path, history) as (qmp, _):
            await qmp.execute("stop")
            await wait_for_record(
                history, lambda entry: entry.fields.get("event") == "STOP", what="the event STOP", timeout_s=100
            )
            return (await qmp.execute_dict("query-status"))["running"]

    assert asyncio.run(scenario()) is False


def test_a_refused_command_did_not_run(tmp_path: Path) -> None:
    """A refusal carries QEMU's reason."""

    async def scenario() -> None:
        async with connected(tmp_path, History()) as (qmp, _):
            await qmp.execute("device_del", {"id": "nothing"})

    with pytest.raises(QmpRefused, match="refused `device_del`: Device 'nothing' not found"):
        asyncio.run(scenario())


def test_silence_means_that_the_outcome_is_unknown(tmp_path: Path) -> None:
    """A frozen QEMU does not answer; the connection is usable again after the thaw."""

    async def scenario() -> object:
        async with connected(tmp_path, History()) as (qmp, child):
            os.kill(child.pid, signal.SIGSTOP)
            with pytest.raises(QmpLost, match=r"did not answer `query-status` in 0\.2 s; whether it ran is unknown"):
                await qmp.execute("query-status", timeout_s=0.2)
            os.kill(child.pid, signal.SIGCONT)
            return (await qmp.execute_dict("query-version"))["package"]

    assert isinstance(asyncio.run(scenario()), str)


def test_the_death_of_qemu_is_an_unexpected_end(tmp_path: Path) -> None:
    """The record says so, and the next command says that whether it ran is unknown."""

    async def scenario() -> object:
        history = History()
        async with connected(tmp_path, history) as (qmp, child):
            await child.kill()
            expected = await ended(history)
            with pytest.raises(QmpLost, match="whether it ran is unknown"):
                await qmp.execute("query-status")
            return expected

    assert asyncio.run(scenario()) is False


def test_the_end_after_quit_is_expected(tmp_path: Path) -> None:
    """The end of the stream after an announced quit raises nothing."""

    async def scenario() -> tuple[object, int]:
        history = History()
        async with connected(tmp_path, history) as (qmp, child):
            qmp.expect_disconnect()
            await qmp.execute("quit")
            return await ended(history), await child.wait()

    assert asyncio.run(scenario()) == (True, 0)


def test_a_socket_that_never_comes_is_a_time_out(tmp_path: Path) -> None:
    """The text names the socket's owner."""

    async def scenario() -> None:
        async with Qmp(tmp_path / "nothing", History(), node="b", connect_timeout_s=0.1):
            pass

    with pytest.raises(WaitTimeout, match="the QMP socket of node b"):
        asyncio.run(scenario())


def test_a_process_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    """When QEMU refused its command line the connection attempt ends at once."""

    async def scenario() -> None:
        async with Qmp(tmp_path / "nothing", History(), node="b", connect_timeout_s=60, process_alive=lambda: False):
            pass

    with pytest.raises(QmpLost, match="ended before it opened its QMP socket"):
        asyncio.run(scenario())

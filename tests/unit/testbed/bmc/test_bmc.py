"""Proves what the BMC does with the power of a node, without its simulator."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from testbed.bmc.bmc import Bmc, ManagedNode, NodePower, loopback_ports
from testbed.errors import MachineError
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.socket_line import LINE_BYTES_MAX
from tests.unit.testbed.bmc.bmc_bench import LampPower


def test_each_power_command_is_done_and_a_failed_one_is_an_error(tmp_path: Path) -> None:
    """Off, on, reset and button reach the node; a lie reaches nobody; a node that does not start is not "on"."""

    lamp, history = LampPower(), History()
    endpoint = cast("Endpoint", SimpleNamespace(ip="10.77.0.31"))
    bmc = Bmc("a", lamp, endpoint=endpoint, sockets=tmp_path, artefacts=tmp_path, history=history)

    async def scenario() -> None:
        for question in ("set power 0", "set power 1", "set reset 1", "set shutdown 1"):
            assert await bmc.chassis(question.split()) == "ok"
        assert lamp.done == ["cut", "on", "reset", "button"]
        assert (await bmc.chassis(["get", "power"]), await bmc.chassis(["get", "boot"])) == (
            "ok power:1",
            "error not supported: get boot",
        )
        bmc.lies = True
        assert [await bmc.chassis(["get", "power"]), await bmc.chassis(["set", "power", "0"])] == ["ok power:0", "ok"]
        assert (lamp.on, len(lamp.done)) == (True, 4)
        bmc.lies = False
        assert "cannot set boot; nothing was done" in await bmc.chassis(["set", "boot", "pxe"])

        async def fails() -> None:
            raise MachineError("no memory\nis left")

        vars(lamp)["switch_on"] = fails
        assert await bmc.chassis(["set", "power", "1"]) == "error no memory is left"
        kinds = [entry.kind for entry in history if entry.source == "bmc.a" and entry.kind.startswith("power")]
        assert kinds == [*["power_asked"] * 5, *["power_failed"] * 2]

    asyncio.run(scenario())
    history.close()


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ([bytes([byte]) for byte in b"get power\n"], b"ok power:1\n"),
        ([b"get power\nset power 0\n"], b"ok power:1\n"),
        ([b"\xff\xfe\n"], b"error not supported: \xef\xbf\xbd\xef\xbf\xbd\n"),
        ([b"\n"], b"error not supported: \n"),
        ([b"set power 0"], b""),
        ([], b""),
        ([b"x" * 10_000_000], b""),
    ],
    ids=["byte by byte", "two at once", "junk", "empty", "cut", "nothing", "endless"],
)
def test_only_a_whole_question_is_answered(tmp_path: Path, parts: list[bytes], answer: bytes) -> None:
    """White-box: half a question does nothing to the node, and who writes no line end is not heard out."""
    lamp, history = LampPower(), History()
    endpoint = cast("Endpoint", SimpleNamespace(ip="10.77.0.31"))
    bmc = Bmc("a", lamp, endpoint=endpoint, sockets=tmp_path, artefacts=tmp_path, history=history)

    async def scenario() -> bytes:
        async with await asyncio.start_unix_server(bmc._asked, tmp_path / "s", limit=LINE_BYTES_MAX):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            got = b""
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                writer.write_eof()
                got = await reader.read()
            writer.close()
            return got

    assert (asyncio.run(scenario()), lamp.done) == (answer, [])
    history.close()


def test_the_power_of_a_node_acts_only_where_there_is_something_to_do() -> None:
    """A node that is off is not cut, reset or asked to shut down, and one that is on is not started again."""
    done: list[str] = []

    async def note(what: str) -> None:
        done.append(what)

    machine = SimpleNamespace(kill=lambda: note("kill"), reset=lambda: note("reset"), execute=note)
    node = SimpleNamespace(name="a", storage={}, is_on=False, machine=machine, power_on=lambda: note("on"))
    power = NodePower(cast("ManagedNode", node))

    async def all_four() -> None:
        for act in (power.cut, power.reset, power.press_button, power.switch_on):
            await act()

    asyncio.run(all_four())
    assert (done, power.is_on()) == (["on"], False)
    node.is_on = True
    asyncio.run(all_four())
    assert (done, power.is_on()) == (["on", "kill", "reset", "system_powerdown"], True)


def test_a_process_without_ports_has_none() -> None:
    """Neither this process, which listens nowhere, nor one that does not exist."""
    assert loopback_ports(os.getpid()) is None
    assert loopback_ports(2**22 + 1) is None

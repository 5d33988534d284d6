"""Tests of testbed.switch.client with the real switch process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.errors import SwitchError
from testbed.history import History
from testbed.socket_line import LINE_BYTES_MAX, LineSocket
from testbed.switch.client import Direction, Switch
from testbed.wait import OwnedTask, wait_for_record
from tests.unit.testbed.wire import EVERYBODY, MAC_A, MAC_VM, SEGMENTS, Device, ether

Scenario = Callable[[Switch, History, Path], Awaitable[None]]


def with_switch(scenario: Scenario) -> None:
    """Run the scenario with a real switch process in a short directory."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            directory = Path(name)
            async with Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch:
                await scenario(switch, history, directory)

    asyncio.run(run())


async def pass_one(switch: Switch, source: Device, target: Device, frame: bytes) -> bytes:
    """Send a frame through the process and wait until the target has it."""
    loop = asyncio.get_running_loop()
    source.send(frame)
    async with asyncio.timeout(100):
        return await loop.sock_recv(target.socket, 20_000)


def test_rules_counters_capture_and_state_through_the_process() -> None:
    """One life of a switch: forward, count, capture, cut, heal, hold, release, save and load."""

    async def scenario(switch: Switch, history: History, directory: Path) -> None:
        left, right = Device(directory, "a.priv0"), Device(directory, "b.priv0")
        await switch.capture_start(directory / "wire.pcapng")
        assert await pass_one(switch, left, right, ether(EVERYBODY, MAC_A)) == ether(EVERYBODY, MAC_A)
        ports = await switch.ports()
        assert (ports["a.priv0"].inward.frames, ports["b.priv0"].outward.frames) == (1, 1)
        await switch.cut("b.priv0", Direction.OUT)
        assert not (await switch.ports())["b.priv0"].outward.passes
        await switch.heal("b.priv0", Direction.OUT)
        await switch.hold()
        await switch.save(directory / "state")
        await switch.load(directory / "state")
        assert await switch.release() == 0
        assert (await switch.capture_stop()).frames == 1
        left.socket.close()
        right.socket.close()
        assert [record.fields["text"] for record in history if record.kind == "rule"] == [
            "cut out at b.priv0",
            "pass out at b.priv0",
        ]

    with_switch(scenario)


def test_rules_taps_and_injections_through_the_process() -> None:
    """A made frame is doubled by a rule, seen by a tap, and the history tells of each step."""

    async def scenario(switch: Switch, history: History, directory: Path) -> None:
        right = Device(directory, "b.priv0")
        double, _ = await switch.rule_add("b.priv0", Direction.OUT, "duplicate", settings={"probability": 1}, seed=3)
        tap, _ = await switch.rule_add("b.priv0", Direction.OUT, "tap", settings={"behind": True})
        number, _ = await switch.inject("a.priv0", Direction.IN, [ether(EVERYBODY, MAC_A)], interval_s=3600, count=2)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(100):
            assert [await loop.sock_recv(right.socket, 100) for _ in range(2)] == [ether(EVERYBODY, MAC_A)] * 2
        assert (await switch.observe([tap]))["taps"][str(tap)]["matched"] == 2
        assert len((await switch.rules())["rules"]) == 2
        assert await switch.inject_stop(number) == 1
        assert (await switch.rule_remove(double))["changed"] == 1
        right.socket.close()
        texts = [record.fields["text"] for record in history if record.kind in {"rule", "inject"}]
        assert texts == [
            "duplicate out at b.priv0",
            "tap out at b.priv0",
            "2 frames in at a.priv0",
            f"rule {double} (duplicate) removed",
        ]

    with_switch(scenario)


def test_events_reach_the_history_with_the_time_of_the_switch() -> None:
    """A watched address is recorded as claim, as moved when it moves, and as seen while it is used."""

    async def scenario(switch: Switch, history: History, directory: Path) -> None:
        devices = [Device(directory, port) for port in ("a.biz0", "b.biz0")]
        await switch.watch(macs=[MAC_VM])
        for device in devices:
            device.send(ether(EVERYBODY, MAC_VM))
        await wait_for_record(history, lambda record: record.kind == "moved", what="the move", timeout_s=100)
        claims = [record for record in history if record.kind == "claim"]
        assert {str(claim.fields["port"]) for claim in claims} == {"a.biz0", "b.biz0"}
        assert claims[0].t_s <= claims[1].t_s
        await wait_for_record(history, lambda record: record.kind == "seen", what="the aggregate", timeout_s=100)
        for device in devices:
            device.socket.close()

    with_switch(scenario)


def test_a_refused_request_is_an_error_with_the_reason() -> None:
    """The sentence of the switch reaches the caller, and the switch lives on."""

    async def scenario(switch: Switch, history: History, directory: Path) -> None:
        with pytest.raises(SwitchError, match=r"possible are a\.priv0.*Nothing was changed"):
            await switch.cut("nowhere", Direction.IN)
        with pytest.raises(SwitchError, match="has no port"):
            switch.device_sockets("nowhere")
        assert switch.alive
        assert switch.device_sockets("a.priv0") == (directory / "q-a.priv0", directory / "s-a.priv0")

    with_switch(scenario)


def test_a_request_that_the_switch_would_not_take_is_not_sent() -> None:
    """It would end the connection, and with it the switch; so it is refused here, and the switch lives on."""

    async def scenario(switch: Switch, history: History, directory: Path) -> None:
        with pytest.raises(SwitchError, match=r"was not asked for 'inject': a line of \d+ bytes is too long.*Nothing"):
            await switch.inject("a.priv0", Direction.IN, [bytes(1000)] * 600)
        assert await switch.ports()

    with_switch(scenario)


@pytest.mark.parametrize("words", [b"junk\n", b"[1]\n", b"half", b"x" * 2_000_000])
def test_a_switch_that_does_not_speak_as_it_should_is_said_to_be_so(words: bytes) -> None:
    """White-box: whoever waits gets an error with what came, and nothing is asked any more."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            switch = Switch(Path(name), SEGMENTS, history=history, log=Path(name) / "log")
            here, there = socket.socketpair()
            line = LineSocket(*await asyncio.open_unix_connection(sock=there, limit=LINE_BYTES_MAX))
            switch._line = line
            switch._waiting[1] = waiting = asyncio.get_running_loop().create_future()
            async with OwnedTask(switch._read(), name="events") as reading:
                with here, contextlib.suppress(ConnectionError):
                    here.setblocking(False)
                    await asyncio.get_running_loop().sock_sendall(here, words)
                assert await reading.finish(100)
            with pytest.raises(SwitchError, match=r"speaks no longer as it should .*done is unknown"):
                await waiting
            await line.close()

    asyncio.run(run())


def test_the_death_of_the_process_is_an_error_with_its_last_words() -> None:
    """Nobody goes on with a dead wire: the call fails and the history shows the end."""

    async def scenario(switch: Switch, history: History, directory: Path) -> None:
        with (directory / "log").open("a") as log:
            log.write("its last words\n")
        os.kill(switch.pid, signal.SIGKILL)
        await wait_for_record(history, lambda record: record.kind == "ended", what="the end", timeout_s=100)
        assert not switch.alive
        with pytest.raises(SwitchError, match="its last words"):
            await switch.ports()

    with_switch(scenario)


def test_leaving_ends_the_process_and_removes_its_sockets() -> None:
    """After the context nothing runs and no socket is left."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            async with Switch(Path(name), SEGMENTS, history=history, log=Path(name) / "log") as switch:
                pid = switch.pid
            assert not Path(f"/proc/{pid}").exists()
            assert [path.name for path in Path(name).iterdir()] == ["log"]

    asyncio.run(run())


def test_a_switch_that_cannot_start_says_why() -> None:
    """The words of the process are in the error."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name:
            switch = Switch(Path(name), {"x": ["a", "a"]}, history=History(), log=Path(name) / "log")
            with pytest.raises(SwitchError, match="named twice"):
                async with switch:
                    pass

    asyncio.run(run())

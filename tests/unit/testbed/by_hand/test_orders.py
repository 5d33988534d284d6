"""Proves the socket for orders: answered, refused, lost; and that it takes no order after the bed is down."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.by_hand import orders
from testbed.by_hand.orders import Orders, Talk, ask, control_socket, talking
from testbed.errors import MachineError, TestbedError, UsageError
from testbed.host.places import host_lock, socket_dir
from tests.unit.peers import Talk as PeerTalk
from tests.unit.peers import peer, says
from tests.unit.testbed.small_image import own_host

GUARD_S = 100  # only ends what hangs


async def _add(order: orders.Order) -> dict[str, Any]:
    return {"sum": order["one"] + order["other"]}


async def _fail(_order: orders.Order) -> dict[str, Any]:
    raise MachineError("node a is off")


async def _never(_order: orders.Order) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def _echo(order: orders.Order) -> Talk:
    if order["greeting"] == "rude":
        raise UsageError("not to me")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(order["greeting"].encode())
        while data := await reader.read(100):
            writer.write(data.upper())

    return talk


def served(directory: Path, act: Callable[[Path], Awaitable[None]]) -> None:
    """Take the orders above and let the test give some."""

    async def whole() -> None:
        async with asyncio.timeout(GUARD_S):
            async with Orders(directory) as taken:
                with taken.taking({"add": _add, "fail": _fail, "never": _never}, {"echo": _echo}):
                    assert taken.takes("echo")
                    await act(taken.path)
                assert not taken.takes("echo")
            assert not taken.path.exists()

    asyncio.run(whole())


def test_an_order_is_answered(tmp_path: Path) -> None:
    """What was asked reaches the one who does it, and what that returns comes back."""

    async def act(socket: Path) -> None:
        assert (await ask(socket, {"order": "add", "one": 3, "other": 4}))["sum"] == 7

    served(tmp_path, act)


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        ({"order": "fly"}, UsageError, "There is no order 'fly' now; there are add, echo, fail, never"),
        ({"order": "add", "one": 3}, UsageError, "This is no order: KeyError"),
        ({}, UsageError, "This is no order"),
        ({"order": "echo", "greeting": "rude"}, UsageError, "not to me"),
        ({"order": "fail"}, TestbedError, "node a is off"),
    ],
)
def test_a_refusal_is_no_failure_and_both_say_why(
    tmp_path: Path, order: dict[str, object], error: type[TestbedError], words: str
) -> None:
    """The kind of error, by which the exit code is chosen, crosses the socket with its words."""

    async def act(socket: Path) -> None:
        with pytest.raises(TestbedError, match=words) as raised:
            await ask(socket, order)
        assert type(raised.value) is error

    served(tmp_path, act)


async def _written(path: Path, *parts: bytes, hangs_up: bool = True) -> bytes:
    """Write parts to the socket, and return all that is answered."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
        if hangs_up:
            writer.write_eof()
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"junk\n", "no JSON"),
        (b"[]\n", "JSON and no object"),
        (b"\xff\xfe\n", "no UTF-8"),
        (b'{"order": "add"', "in the middle of a line, after 15 bytes"),
        (b"", "without a line"),
        (b'{"a":' * 100_000 + b"\n", "no JSON"),
    ],
    ids=["junk", "list", "no text", "cut", "nothing", "deep"],
)
def test_what_is_no_order_is_refused(tmp_path: Path, written: bytes, words: str) -> None:
    """The answer says what came instead, and the next one is served."""

    async def act(socket: Path) -> None:
        answer = json.loads(await _written(socket, written))
        assert (answer["ok"], answer["refused"]) == (False, True)
        assert words in answer["error"]
        assert (await ask(socket, {"order": "add", "one": 1, "other": 1}))["sum"] == 2

    served(tmp_path, act)


def test_an_order_may_come_byte_by_byte_and_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line end ends it, whatever follows; who writes none, or nothing, is not listened to for ever."""
    order = b'{"order": "add", "one": 3, "other": 4}\n'

    async def act(socket: Path) -> None:
        assert json.loads(await _written(socket, *(bytes([byte]) for byte in order)))["sum"] == 7
        assert json.loads(await _written(socket, order + order))["sum"] == 7
        await _written(socket, b"x" * 10_000_000, hangs_up=False)
        monkeypatch.setattr(orders, "ORDER_TIMEOUT_S", 0.05)
        assert "no whole line came within 0.05 s" in (await _written(socket, order[:9], hangs_up=False)).decode()

    served(tmp_path, act)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (says(), "without a line"),
        (says(b'{"ok": tr'), "in the middle of a line, after 9 bytes"),
        (says(b"\xff\xfe\n"), "no UTF-8"),
        (says(b"[]\n"), "JSON and no object"),
    ],
)
def test_an_answer_that_cannot_be_read_is_unknown(tmp_path: Path, talk: PeerTalk, words: str) -> None:
    """It is told what came, and never that nothing was done."""
    with peer(tmp_path / "s", talk) as path, pytest.raises(TestbedError, match=rf"{words}.*; .* is unknown"):
        asyncio.run(ask(Path(path), {"order": "add"}))


def test_an_order_that_is_too_long_is_not_given(tmp_path: Path) -> None:
    """It is refused before anybody is asked."""
    with pytest.raises(UsageError, match=r"'add' was not given: .* too long"):
        asyncio.run(ask(tmp_path / "none", {"order": "add", "one": "x" * 2_000_000}))


def test_an_answer_that_is_too_long_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done cannot be told; it is not called refused."""
    monkeypatch.setattr(orders, "ANSWER_BYTES_MAX", 200)

    async def act(socket: Path) -> None:
        with pytest.raises(TestbedError, match="It was done, and nobody can be told") as raised:
            await ask(socket, {"order": "add", "one": "x" * 300, "other": ""})
        assert not isinstance(raised.value, UsageError)

    served(tmp_path, act)


def test_a_talk_goes_both_ways_after_its_answer(tmp_path: Path) -> None:
    """Bytes that follow the answer at once are not lost, and each side hears the other."""

    async def act(socket: Path) -> None:
        async with talking(socket, {"order": "echo", "greeting": "hello"}) as (_answer, reader, writer):
            assert await reader.readexactly(5) == b"hello"
            writer.write(b"again")
            assert await reader.readexactly(5) == b"AGAIN"

    served(tmp_path, act)


def test_an_answer_that_does_not_come_in_time_is_unknown(tmp_path: Path) -> None:
    """The sentence neither says that it was done nor that it was not."""

    async def act(socket: Path) -> None:
        with pytest.raises(TestbedError, match=r"did not answer the order 'never' in 0.05 s; .*unknown"):
            await ask(socket, {"order": "never"}, timeout_s=0.05)

    served(tmp_path, act)


def test_a_bed_that_goes_down_ends_what_is_under_way(tmp_path: Path) -> None:
    """Who waits is told so, and the bed's end does not wait for the order."""

    async def whole() -> None:
        async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
            began = asyncio.Event()

            async def never(_order: orders.Order) -> dict[str, Any]:
                began.set()
                return await _never(_order)

            async with Orders(tmp_path) as taken:
                with taken.taking({"never": never}):
                    asked = tasks.create_task(_words(ask(taken.path, {"order": "never"})))
                    await began.wait()
            assert "The bed went down during the order 'never'" in await asked

    asyncio.run(whole())


async def _words(asked: Awaitable[object]) -> str:
    with pytest.raises(TestbedError) as raised:
        await asked
    return str(raised.value)


def test_an_order_has_one_master(tmp_path: Path) -> None:
    """A second one would take the orders of the first without a word."""
    taken = Orders(tmp_path)
    with taken.taking({"add": _add}), pytest.raises(AssertionError, match="one master"):
        taken.taking({}, {"add": _echo}).__enter__()
    assert not taken.takes("add")


def test_somebody_who_is_no_bed_takes_no_orders(tmp_path: Path) -> None:
    """Nothing listens there, which is a refusal."""
    with pytest.raises(UsageError, match="takes no orders"):
        asyncio.run(ask(tmp_path / "none", {"order": "add"}))


def test_the_socket_is_that_of_the_bed_that_is_up(tmp_path: Path) -> None:
    """Without a bed, and with one that takes no orders, the sentence says what to start, and who holds the host."""
    with own_host(tmp_path) as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        with pytest.raises(UsageError, match="No bed is up for this user; start one with `testbed up`"):
            control_socket()
        with host_lock("testbed run", tmp_path / orders_lock()), socket_dir() as directory:
            with pytest.raises(UsageError, match=r"takes no orders, only one of `testbed up` does. It is testbed run,"):
                control_socket()
            (directory / orders.SOCKET).touch()
            assert control_socket() == directory / orders.SOCKET


def orders_lock() -> str:
    """The name of this user's lock file."""
    from testbed.host.places import lock_path  # noqa: PLC0415 - asked when the test has its own host

    return lock_path().name

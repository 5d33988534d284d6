"""The control socket answers every request with one line, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from avance.adapters import control
from avance.adapters.control import serve
from avance.socket_line import ask
from tests.unit.avance.adapters.tools import beside, until


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    """Answer with the request itself."""
    return {"asked": request}


def talk(path: Path, raw: bytes, *, hangs_up: bool = True) -> bytes:
    """Send raw bytes to the served socket and return the answer."""
    answers: list[bytes] = []

    async def story() -> None:
        await until(path.is_socket)
        reader, writer = await asyncio.open_unix_connection(path)
        with contextlib.suppress(ConnectionError):  # the server may close before it has read everything
            writer.write(raw)
            await writer.drain()
            if hangs_up:
                writer.write_eof()
            answers.append(await reader.read())
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    beside(serve(path, echo), story)
    return answers[0] if answers else b""


def test_request_is_answered(tmp_path: Path) -> None:
    """The command line's own client gets the handler's answer."""
    path, answers = tmp_path / "run" / "sock", []

    async def story() -> None:
        await until(path.is_socket)
        answers.append(await asyncio.to_thread(ask, {"op": "status"}, str(path)))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    beside(serve(path, echo), story)
    assert answers == [{"asked": {"op": "status"}}]


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"nonsense\n", b"it is no JSON"),
        (b"[]\n", b"no object"),
        (b'{"op": 1}\n', b"needs an `op`"),
        (b"\n", b"it is no JSON"),
        (b"", b"ended before it"),
        (b'{"op": "status"}', b"ended in the middle, after 16 bytes"),
        (b"\xff\n", b"no UTF-8"),
        (b"[" * 100_000 + b"\n", b"it is no JSON"),
    ],
)
def test_bad_request_gets_an_error(tmp_path: Path, raw: bytes, word: bytes) -> None:
    """What is no request is told so, in one line, and nobody acts on it."""
    answer = talk(tmp_path / "sock", raw)
    assert list(json.loads(answer)) == ["error"]
    assert word in answer


def test_endless_line_is_cut_off(tmp_path: Path) -> None:
    """A line without end takes no memory and gets no answer."""
    assert talk(tmp_path / "sock", b"x" * 10_000_000) == b""


def test_who_says_nothing_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request does not stay for ever."""
    monkeypatch.setattr(control, "_REQUEST_S", 0.05)
    assert b"did not come within 0.05 s" in talk(tmp_path / "sock", b'{"op"', hangs_up=False)


def test_who_does_not_read_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes is thrown away, and the connection ends."""
    monkeypatch.setattr(control, "_TAKE_S", 0.05)
    path, got = tmp_path / "sock", []

    async def much(_: dict[str, Any]) -> dict[str, Any]:
        return {"ok": "x" * 10_000_000}

    async def story() -> None:
        await until(path.is_socket)
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(path))
            asker.sendall(b'{"op": "x"}\n')
            gone = select.poll()
            gone.register(asker, select.POLLHUP)
            await until(lambda: bool(gone.poll(0)))  # before a byte is read
            with contextlib.suppress(ConnectionError):
                while part := asker.recv(1 << 20):
                    got.append(part)

    beside(serve(path, much), story)
    assert 0 < sum(map(len, got)) < 5_000_000


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A daemon that died leaves a socket file behind; the next one starts all the same."""
    path = tmp_path / "sock"
    path.write_text("stale")
    assert b"asked" in talk(path, b'{"op": "status"}\n')

"""A line over a socket is whole, bounded and in time in each way to read it; else what came is said in words."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import pace
from testbed.process import run
from testbed.site import ROOT
from testbed.socket_line import (
    LINE_BYTES_MAX,
    LineError,
    LineSocket,
    Splitter,
    connect,
    exchange,
    packed,
    parsed,
    received,
)
from tests.unit.peers import Talk, peer, says, waits_after, ways

MAX = 1000  # bytes of a line
QUIET_S = 0.3
GUARD_S = 100.0  # only ends what hangs

Ask = Callable[[str, float], bytes]


def waiting(path: str, timeout_s: float) -> bytes:
    """Ask and wait."""
    return exchange(path, b"question", timeout_s=timeout_s, bytes_max=MAX)


def in_asyncio(path: str, timeout_s: float) -> bytes:
    """Ask in asyncio."""

    async def story() -> bytes:
        line = await connect(path, bytes_max=MAX)
        try:
            await line.send(b"question")
            return await line.read(timeout_s=timeout_s)
        finally:
            await line.close()

    return asyncio.run(story())


both = pytest.mark.parametrize("ask", [waiting, in_asyncio])


@both
@pytest.mark.parametrize("way", ways(b""))
def test_a_line_comes_whole(tmp_path: Path, way: str, ask: Ask) -> None:
    """Parts are put together, and the line end ends it."""
    with peer(tmp_path / "s", ways(b"answer")[way]) as path:
        assert ask(path, GUARD_S) == b"answer"


@both
@pytest.mark.parametrize("more", [b"another\n", b"half"])
def test_the_first_line_is_the_answer(tmp_path: Path, more: bytes, ask: Ask) -> None:
    """Whatever follows."""
    with peer(tmp_path / "s", says(b"answer\n" + more)) as path:
        assert ask(path, GUARD_S) == b"answer"


@both
def test_the_longest_line_is_taken(tmp_path: Path, ask: Ask) -> None:
    """The limit is what a line may have, and not one byte less."""
    with peer(tmp_path / "s", says(b"x" * MAX + b"\n")) as path:
        assert ask(path, GUARD_S) == b"x" * MAX


@both
@pytest.mark.parametrize(
    ("talk", "timeout_s", "words"),
    [
        (says(), GUARD_S, "closed the connection without a line"),
        (says(b"half"), GUARD_S, "closed the connection in the middle of a line, after 4 bytes"),
        (says(b"x" * (MAX + 1) + b"\n"), GUARD_S, f"has more than {MAX} bytes"),
        (waits_after(b"x" * 10_000_000), GUARD_S, f"has more than {MAX} bytes"),
        (waits_after(), QUIET_S, f"no whole line came within {QUIET_S:g} s"),
        (waits_after(b"half"), QUIET_S, f"no whole line came within {QUIET_S:g} s"),
        (waits_after(b"x", forever=True), QUIET_S, f"no whole line came within {QUIET_S:g} s"),
    ],
    ids=["nothing", "cut", "too long", "endless", "silent", "half", "always one more byte"],
)
def test_what_is_no_line_is_said_in_words(tmp_path: Path, talk: Talk, ask: Ask, timeout_s: float, words: str) -> None:
    """Each has its own words, and is over at the deadline."""
    with peer(tmp_path / "s", talk) as path:
        began = time.monotonic()
        with pytest.raises(LineError, match=words):
            ask(path, timeout_s)
        assert time.monotonic() - began < GUARD_S


@both
def test_nobody_on_the_socket_is_an_error_of_the_system(tmp_path: Path, ask: Ask) -> None:
    """It is told apart from somebody who does not answer: nothing was asked."""
    with pytest.raises(FileNotFoundError):
        ask(str(tmp_path / "none"), 1.0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense", "no JSON .*nonsense"),
        (b"", "no JSON"),
        (b"[1]", "JSON and no object"),
        (b"7", "JSON and no object"),
        (b"\xff\xfe\x00junk", "no UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "no UTF-8"),
        (b"\0" * 10, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b'{"a": 1}{"b": 2}', "no JSON"),
    ],
    ids=["nonsense", "empty", "list", "number", "junk", "another code", "zeros", "deep", "two objects"],
)
def test_a_line_that_is_no_object_is_said_in_words(line: bytes, words: str) -> None:
    """The error shows the line, or its beginning, and nothing else is raised."""
    with pytest.raises(LineError, match=words) as raised:
        parsed(line)
    assert len(str(raised.value)) < 1500


def test_an_object_goes_there_and_back() -> None:
    """What is packed is one line; what is not JSON becomes it by the function that is given, or is a mistake."""
    message = {"text": "two\nlines, \u00f6", "list": [1, None, 2.5]}
    assert b"\n" not in packed(message)
    assert parsed(packed(message)) == message
    assert parsed(packed({"path": Path("x")}, default=str)) == {"path": "x"}
    with pytest.raises(TypeError):
        packed({"path": Path("x")})


def test_what_the_other_side_would_not_take_is_not_packed() -> None:
    """The sender is told, instead of losing the connection."""
    assert len(packed({"a": "x" * (LINE_BYTES_MAX - 9)})) == LINE_BYTES_MAX
    with pytest.raises(LineError, match=f"{LINE_BYTES_MAX + 1} bytes is too long .* takes {LINE_BYTES_MAX}"):
        packed({"a": "x" * (LINE_BYTES_MAX - 8)})


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_splitter_gives_each_line_once(size: int) -> None:
    """However the bytes come, the lines are the same."""
    data = b"one\n\ntwo\r\n" + b"x" * 50 + b"\nrest"
    splitter, lines = Splitter(), []
    for start in range(0, len(data), size):
        lines += splitter.feed(data[start : start + size])
    assert lines == [b"one", b"", b"two\r", b"x" * 50]
    assert (splitter.waiting, splitter.cut(), splitter.waiting) == (4, b"rest", 0)
    assert splitter.feed(b"new\n") == [b"new"]


def test_a_splitter_tells_when_a_line_does_not_end() -> None:
    """One byte more than a line may have is too much; the line end makes good only what was not."""
    splitter = Splitter(10)
    told = [(splitter.feed(data), splitter.endless) for data in (b"whole\n" + b"x" * 10, b"x")]
    assert told == [([b"whole"], False), ([], True)]
    assert (splitter.cut(), splitter.endless) == (b"x" * 11, False)


def test_ten_megabytes_byte_by_byte_take_no_time() -> None:
    """A line is not looked through anew for each byte that comes."""
    splitter, began = Splitter(10_000_000), time.process_time()
    for _ in range(10_000):
        splitter.feed(b"x" * 999)
        splitter.feed(b"x")
    assert splitter.waiting == 10_000_000
    assert time.process_time() - began < 5.0


def heard(*parts: bytes) -> tuple[list[bytes], str]:
    """The lines that somebody hears who waits for all of them, and the error that ends it."""
    here, there = socket.socketpair()
    lines: list[bytes] = []
    words = ""
    here.sendall(b"".join(parts))
    here.close()
    with there:
        try:
            lines.extend(received(there, bytes_max=MAX))
        except LineError as error:
            words = str(error)
    return lines, words


def heard_in_asyncio(*parts: bytes) -> tuple[list[bytes], str]:
    """The same in asyncio."""

    async def story() -> tuple[list[bytes], str]:
        here, there = socket.socketpair()
        here.sendall(b"".join(parts))
        here.close()
        reader, writer = await asyncio.open_unix_connection(sock=there, limit=MAX)
        line, lines, words = LineSocket(reader, writer, bytes_max=MAX), [], ""
        try:
            async for one in line.lines():
                lines.append(one)  # noqa: PERF401 - what came before an error counts
        except LineError as error:
            words = str(error)
        await line.close()
        return lines, words

    return asyncio.run(story())


@pytest.mark.parametrize("hear", [heard, heard_in_asyncio])
@pytest.mark.parametrize(
    ("parts", "lines", "words"),
    [
        ([], [], ""),
        ([b"one\n", b"two\n"], [b"one", b"two"], ""),
        ([b"one\n", b"tw"], [b"one"], "in the middle of a line, after 2 bytes"),
        ([b"one\n", b"x" * (MAX + 1)], [b"one"], f"more than {MAX} bytes"),
        ([b"one\n", b"x" * (MAX + 1), b"\ntwo\n"], [b"one"], f"more than {MAX} bytes"),
    ],
    ids=["nothing", "two lines", "cut", "endless", "too long"],
)
def test_lines_come_until_the_other_side_ends(
    hear: Callable[..., tuple[list[bytes], str]], parts: list[bytes], lines: list[bytes], words: str
) -> None:
    """An end between lines is an end; what is no line ends it with an error, after the lines before it."""
    got, said = hear(*parts)
    assert got == lines
    assert (said == "") if words == "" else (words in said)


def test_a_limit_is_that_of_a_host_of_speed_1() -> None:
    """A slow host gets more time, as with every wait of the bed."""

    async def story() -> None:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=there)
        line = LineSocket(reader, writer)
        with here, pace.use(4.0), pytest.raises(LineError, match=r"within 0\.04 s"):
            await line.read(timeout_s=0.01)
        await line.close()
        assert line.closing

    asyncio.run(story())


def test_a_lost_connection_does_not_look_like_an_end(tmp_path: Path) -> None:
    """A peer that is reset over a question is told apart from one that hung up."""

    with peer(tmp_path / "s", says()) as path, pytest.raises(ConnectionResetError):
        exchange(path, b"question" * 100, timeout_s=GUARD_S)  # more than the peer reads


def test_those_who_wait_import_no_asyncio() -> None:
    """The helper of ipmi_sim starts for each question, and a plugin for each disk."""
    argv = [sys.executable, "-P", "-S", "-c", "import testbed.socket_line, sys; print(*sys.modules)"]
    done = asyncio.run(run(argv, timeout_s=60.0, env={"PYTHONPATH": str(ROOT)}))
    assert "testbed.socket_line" in done.stdout.split()
    assert "asyncio" not in done.stdout.split()

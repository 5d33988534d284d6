"""One line there and one back, whole and in time, whatever is on the other side; else what came is said in words."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from avance.socket_line import REQUEST_BYTES_MAX, ControlLineError, EndlessLine, ask, document, exchange, hear
from tests.unit.peers import Talk, peer, says, waits_after, ways

MAX = 1000  # bytes of an answer
QUIET_S = 0.3
GUARD_S = 100.0  # only ends what hangs


@pytest.mark.parametrize("way", ways(b""))
def test_a_line_comes_whole(tmp_path: Path, way: str) -> None:
    """Parts of an answer are put together, and its line end ends it."""
    with peer(tmp_path / "s", ways(b'{"ok": "yes"}')[way]) as path:
        assert ask({"op": "x"}, path, answer_s=GUARD_S) == {"ok": "yes"}


def test_the_longest_line_is_taken(tmp_path: Path) -> None:
    """The limit is what a line may have, and not one byte less."""
    with peer(tmp_path / "s", says(b"x" * MAX + b"\n")) as path:
        assert exchange(path, b"question", answer_s=GUARD_S, bytes_max=MAX) == "x" * MAX


@pytest.mark.parametrize(
    ("talk", "answer_s", "words"),
    [
        (says(), GUARD_S, "the connection ended before it; whether it acted is unknown"),
        (says(b"half"), GUARD_S, "in the middle, after 4 bytes; whether it acted is unknown"),
        (says(b"x" * (MAX + 1) + b"\n"), GUARD_S, f"more than {MAX} bytes"),
        (waits_after(b"x" * 10_000_000), GUARD_S, f"more than {MAX} bytes"),
        (says(b"one\ntwo\n"), GUARD_S, "4 bytes came behind its end"),
        (says(b"\xff\xfe\x00junk\n"), GUARD_S, "no UTF-8"),
        (waits_after(), QUIET_S, f"did not answer within {QUIET_S:g} s; whether it acted is unknown"),
        (waits_after(b"half"), QUIET_S, f"did not answer within {QUIET_S:g} s"),
        (waits_after(b"x", forever=True), QUIET_S, f"did not answer within {QUIET_S:g} s"),
    ],
    ids=["nothing", "cut", "too long", "endless", "two lines", "junk", "silent", "half", "always one more byte"],
)
def test_what_is_no_answer_is_said_in_words(tmp_path: Path, talk: Talk, answer_s: float, words: str) -> None:
    """Each has its own words, says that the outcome is unknown, and is over at the deadline."""
    with peer(tmp_path / "s", talk) as path:
        began = time.monotonic()
        with pytest.raises(ControlLineError, match=words) as raised:
            exchange(path, b"question", answer_s=answer_s, bytes_max=MAX)
        assert time.monotonic() - began < GUARD_S
    assert "whether it acted is unknown" in str(raised.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense", "no JSON"),
        (b"", "no JSON"),
        (b'[{"ok": 1}]', "no object"),
        (b"[" * 900, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b"\0\0", "no JSON"),
    ],
    ids=["nonsense", "empty", "list", "half a list", "deep", "zeros"],
)
def test_an_answer_that_is_no_document_is_an_error(tmp_path: Path, line: bytes, words: str) -> None:
    """A line of something else is never taken for an answer."""
    with peer(tmp_path / "s", says(line + b"\n")) as path, pytest.raises(ControlLineError, match=words) as raised:
        ask({"op": "x"}, path, answer_s=GUARD_S)
    assert "the daemon's answer cannot be understood" in str(raised.value)


def test_a_connection_that_is_reset_is_an_error(tmp_path: Path) -> None:
    """A daemon that ends with a request unread has not answered."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            asker, _ = listener.accept()
            asker.recv(1)
            asker.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ControlLineError, match=r"closed the connection without an answer .*unknown"):
            exchange(str(path), b"question", answer_s=GUARD_S)
        thread.join()


def test_nobody_on_the_socket_is_told_apart(tmp_path: Path) -> None:
    """Without a daemon the message names the service that should be running."""
    with pytest.raises(ControlLineError, match="is the service `avance` running"):
        ask({"op": "status"}, str(tmp_path / "no.sock"))


@pytest.mark.parametrize(
    ("request_", "words"),
    [(b"two\nlines", "one line"), (b"x" * (REQUEST_BYTES_MAX + 1), f"takes {REQUEST_BYTES_MAX} at most")],
)
def test_what_the_daemon_would_not_take_is_not_asked(tmp_path: Path, request_: bytes, words: str) -> None:
    """It is refused before somebody is looked for."""
    with pytest.raises(ControlLineError, match=f"{words}.*nothing was asked"):
        exchange(str(tmp_path / "no.sock"), request_, answer_s=1.0)


def heard(*parts: bytes, ends: bool, within_s: float = GUARD_S) -> str:
    """What the daemon hears when these parts come."""

    async def story() -> str:
        reader = asyncio.StreamReader(limit=REQUEST_BYTES_MAX)

        async def feed() -> None:
            for part in parts:
                reader.feed_data(part)
                await asyncio.sleep(0)
            if ends:
                reader.feed_eof()

        text, _ = await asyncio.gather(hear(reader, within_s=within_s), feed())
        return text

    return asyncio.run(story())


@pytest.mark.parametrize(
    "parts",
    [[b"request\n"], [b"req", b"uest\n"], [bytes([byte]) for byte in b"request\n"], [b"request\nanother\n"]],
    ids=["at once", "in two parts", "byte by byte", "two at once"],
)
def test_the_daemon_hears_one_line(parts: list[bytes]) -> None:
    """It hears the first line, whole, whatever follows."""
    assert heard(*parts, ends=False) == "request"


@pytest.mark.parametrize(
    ("parts", "ends", "words"),
    [
        ([], True, "ended before it"),
        ([b"half"], True, "in the middle, after 4 bytes"),
        ([b'{"op": "status"}'], True, "in the middle, after 16 bytes"),
        ([b"\xff\xfe\x00junk\n"], True, "no UTF-8"),
        ([], False, "did not come within 0.05 s"),
        ([b"half"], False, "did not come within 0.05 s"),
    ],
    ids=["nothing", "cut", "no line end", "junk", "silent", "half"],
)
def test_what_is_no_request_is_said_in_words(parts: list[bytes], ends: bool, words: str) -> None:
    """The daemon waits for nobody longer than it says, and takes no part for the whole."""
    with pytest.raises(ControlLineError, match=words) as raised:
        heard(*parts, ends=ends, within_s=GUARD_S if ends else 0.05)
    assert not isinstance(raised.value, EndlessLine)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_endless_request_is_not_heard_out(end: bytes) -> None:
    """Ten megabytes are too many, with or without a line end."""
    with pytest.raises(EndlessLine, match=f"more than {REQUEST_BYTES_MAX} bytes"):
        heard(b"x" * 10_000_000 + end, ends=False)


def test_a_document_is_an_object() -> None:
    """Nothing else is."""
    assert document('{"a": [1]}') == {"a": [1]}
    with pytest.raises(ControlLineError, match="no object"):
        document("1")

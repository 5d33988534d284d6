"""Proves that console and journal lines arrive whole, stamped and unfiltered, however the socket cuts them."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from testbed.history import History, HistoryRecord
from testbed.node.console import LINE_BYTES_MAX, ConsoleReader, JournalReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Reader = ConsoleReader | JournalReader


def _feed(tmp_path: Path, parts: list[bytes], make: Callable[[Path, History], Reader]) -> list[HistoryRecord]:
    """Serve the parts to a reader one after another, end the stream, and return what came into the history."""
    history = History()
    path = tmp_path / "socket"

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    async def scenario() -> None:
        async with await asyncio.start_unix_server(serve, path), make(path, history) as reader:
            await reader.finish()

    asyncio.run(scenario())
    return list(history)


def test_lines_cut_by_the_socket_are_joined(tmp_path: Path) -> None:
    """A line in three pieces is one record; a last line without an end is kept too."""
    parts = [b"(XEN) Xen ver", b"sion 4.17", b".5\r\nlogin:", b" root"]
    found = _feed(tmp_path, parts, lambda path, history: ConsoleReader(path, history, tmp_path, node="a"))
    assert [(entry.source, entry.fields["text"]) for entry in found] == [
        ("console.a", "(XEN) Xen version 4.17.5"),
        ("console.a", "login: root"),
    ]


def test_the_console_log_has_a_stamp_on_each_line_and_no_escapes(tmp_path: Path) -> None:
    """Colours are removed and bytes that are no text do no harm."""
    parts = [b"\x1b[0;32mOK\x1b[0m started\n", b"bad \xff byte\n"]
    _feed(tmp_path, parts, lambda path, history: ConsoleReader(path, history, tmp_path, node="a", zero_at_s=0.0))
    lines = (tmp_path / "console-a.log").read_text(encoding="utf-8").splitlines()
    assert [re.sub(r"^\[ *\d+\.\d{3}\] ", "", line) for line in lines] == ["OK started", "bad � byte"]
    assert all(re.match(r"^\[ *\d+\.\d{3}\] ", line) for line in lines)


def test_a_line_without_end_is_cut_and_nothing_is_lost(tmp_path: Path) -> None:
    """A console that writes no line end does not fill the memory; the pieces are those of what it wrote."""
    parts = [b"x" * 1_000_000] * 3 + [b"end\nnext\n"]
    found = _feed(tmp_path, parts, lambda path, history: ConsoleReader(path, history, tmp_path, node="a"))
    pieces = [str(entry.fields["text"]) for entry in found]
    assert max(map(len, pieces)) < 2 * LINE_BYTES_MAX
    assert ("".join(pieces[:-1]), pieces[-1]) == ("x" * 3_000_000 + "end", "next")


def test_a_listener_hears_every_byte_and_the_end(tmp_path: Path) -> None:
    """What has no line end yet is heard at once, with its escapes; the history is as without a listener."""
    heard: list[bytes] = []
    history = History()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)  # begins when somebody listens
        writer.write(b"\x1b[1mlogin: ")
        writer.close()

    async def scenario() -> None:
        path = tmp_path / "socket"
        reader = ConsoleReader(path, history, tmp_path, node="a")
        async with await asyncio.start_unix_server(serve, path), reader as one:
            with one.listening(heard.append):
                await one.send(b"\r")
                await one.finish()
            with one.listening(heard.append):
                pass

    asyncio.run(scenario())
    assert heard == [b"\x1b[1mlogin: ", b""]
    assert [entry.fields["text"] for entry in history] == ["login: "]


def test_a_journal_line_becomes_one_parsed_record(tmp_path: Path) -> None:
    """The object of each line is in the history, the raw line in the file."""
    parts = [b'{"seq":1,"milestone":"paired"}\n{"seq"', b':2,"milestone":null}\n']
    found = _feed(tmp_path, parts, lambda path, history: JournalReader(path, history, tmp_path, node="b"))
    assert [(entry.source, entry.kind, entry.fields["entry"]) for entry in found] == [
        ("journal.b", "entry", {"seq": 1, "milestone": "paired"}),
        ("journal.b", "entry", {"seq": 2, "milestone": None}),
    ]
    assert (tmp_path / "journal-b.jsonl").read_bytes() == b"".join(parts)


def test_a_malformed_journal_line_is_recorded_as_such(tmp_path: Path) -> None:
    """Half a line after a restore is evidence, not an error, and the next line is whole."""
    parts = [b'tone":"paired"}\n{"seq":3}\n7\n\xff\xfe\n']
    found = _feed(tmp_path, parts, lambda path, history: JournalReader(path, history, tmp_path, node="b"))
    assert [entry.kind for entry in found] == ["malformed", "entry", "malformed", "malformed"]
    assert found[0].fields["text"] == 'tone":"paired"}'

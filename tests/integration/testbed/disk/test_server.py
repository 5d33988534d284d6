"""Proves one disk server: its start, its end whatever the disk does, its errors, and the client that asks it."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testbed.disk.server import DiskIoError, NbdClient, NbdDisk
from testbed.errors import DiskServerError
from tests.unit.peers import Talk, peer, says, waits_after

SIZE = 1 << 20


@asynccontextmanager
async def disk(tmp_path: Path) -> AsyncIterator[NbdDisk]:
    """A small disk with its sockets in a short directory."""
    with tempfile.TemporaryDirectory(prefix="tb-") as sockets:
        one = NbdDisk("vdb", tmp_path / "image", SIZE, sockets=Path(sockets), log=tmp_path / "log")
        async with one:
            yield one


def test_what_was_written_is_read_and_stays_after_an_orderly_end(tmp_path: Path) -> None:
    """The server writes its cache back when it is ended in an orderly way."""

    async def scenario() -> bytes:
        async with disk(tmp_path) as one, NbdClient(one.socket) as client:
            assert client.size == SIZE
            await client.write(4096, b"x" * 512)
            assert (tmp_path / "image").read_bytes()[4096:4097] == b"\0"
            return await client.read(4096, 512)

    assert asyncio.run(scenario()) == b"x" * 512
    assert (tmp_path / "image").read_bytes()[4096:4608] == b"x" * 512


def test_a_killed_server_loses_what_was_not_flushed(tmp_path: Path) -> None:
    """The volatile cache is in the memory of the server and nowhere else."""

    async def scenario() -> DiskServerError:
        async with disk(tmp_path) as one, NbdClient(one.socket) as client:
            await client.write(0, b"f" * 512, fua=True)
            await client.write(512, b"u" * 512)
            await one.kill()
            with pytest.raises(DiskServerError, match=r"did not reach disk vdb.*has ended with code -9") as caught:
                await one.state()
            return caught.value

    asyncio.run(scenario())
    assert (tmp_path / "image").read_bytes()[:1024] == b"f" * 512 + bytes(512)


def test_a_hanging_disk_does_not_hold_up_its_end(tmp_path: Path) -> None:
    """The control socket answers while every request waits, and leaving kills the server."""

    async def scenario() -> int:
        async with disk(tmp_path) as one, NbdClient(one.socket, timeout_s=0.3) as client:
            await one.command("hold")
            with pytest.raises(TimeoutError):
                await client.read(0, 512)
            assert (await one.state())["waiting"] == 1
            return one.pid

    pid = asyncio.run(scenario())
    assert not Path(f"/proc/{pid}").exists()


def test_refusals_of_disk_and_control_socket_are_typed(tmp_path: Path) -> None:
    """A refused request carries its error number; a refused command says what there is."""

    async def scenario() -> int | None:
        async with disk(tmp_path) as one, NbdClient(one.socket) as client:
            with pytest.raises(DiskServerError, match=r"refused `explode`: .*there are: back, clear_rules, cut"):
                await one.command("explode")
            await one.command("rule", operation="read", effect="error", number=errno.ENOSPC)
            with pytest.raises(DiskIoError) as caught:
                await client.read(0, 512)
            return caught.value.errno

    assert asyncio.run(scenario()) == errno.ENOSPC


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (says(), "closed the connection without a line"),
        (says(b'{"ok": tr'), "in the middle of a line, after 9 bytes"),
        (says(b"\xff\xfe\n"), "no UTF-8"),
        (says(b"7\n"), "JSON and no object"),
        (waits_after(b"x" * 10_000_000), "more than 1048576 bytes"),
    ],
    ids=["nothing", "cut", "junk", "number", "endless"],
)
def test_an_answer_that_cannot_be_read_is_an_unknown_outcome(tmp_path: Path, talk: Talk, words: str) -> None:
    """White-box: somebody else is at the control socket; nobody is told that the command did not run."""

    async def scenario() -> None:
        async with disk(tmp_path) as one:
            control, one._control = one._control, tmp_path / "s"
            with pytest.raises(DiskServerError, match=rf"did not answer `hold`: .*{words}.*; whether it ran is"):
                await one.command("hold")
            one._control = control
            assert (await one.state())["is_held"] is False

    with peer(tmp_path / "s", talk):
        asyncio.run(scenario())


def test_a_server_that_cannot_start_gives_its_last_words(tmp_path: Path) -> None:
    """An impossible image is named at once and not after a time-out."""
    (tmp_path / "image").mkdir()

    async def scenario() -> None:
        async with disk(tmp_path):
            pass

    with pytest.raises(DiskServerError, match=r"(?s)ended at once.*image"):
        asyncio.run(scenario())


def test_image_and_cache_are_saved_and_loaded(tmp_path: Path) -> None:
    """A snapshot keeps what was flushed, and what was not as not flushed."""

    async def scenario() -> tuple[bytes, bytes]:
        async with disk(tmp_path) as one, NbdClient(one.socket) as client:
            await client.write(0, b"f" * 512, fua=True)
            await client.write(512, b"u" * 512)
            await one.save(tmp_path / "saved")
            await client.write(0, b"n" * 1024, fua=True)
            await one.load(tmp_path / "saved")
            before = await client.read(0, 1024)
            await one.command("cut", seed=1, keep=0.0, ends_clients=False)
            return before, await client.read(0, 1024)

    before, after = asyncio.run(scenario())
    assert before == b"f" * 512 + b"u" * 512
    assert after == b"f" * 512 + bytes(512)


def test_a_socket_that_is_no_disk_is_refused(tmp_path: Path) -> None:
    """The client does not take a stranger's bytes for a disk."""

    async def scenario() -> None:
        async def stranger(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP")
            writer.close()

        with tempfile.TemporaryDirectory(prefix="tb-") as name:
            server = await asyncio.start_unix_server(stranger, Path(name) / "s")
            async with server:
                with pytest.raises(ConnectionError, match="is no NBD server"):
                    async with NbdClient(Path(name) / "s"):
                        pass

    asyncio.run(scenario())

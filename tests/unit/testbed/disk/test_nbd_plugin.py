"""Proves the plugin's own part without nbdkit: the control socket, and what nbdkit's calls do to the disk."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.disk import nbd_plugin
from testbed.disk.core import DiskCore, DiskFailure

SIZE = 1 << 16


class FakeNbdkit:
    """What the plugin uses of the module that exists inside nbdkit only."""

    FLAG_FUA = 2
    FUA_NATIVE = 2
    THREAD_MODEL_PARALLEL = 3

    def __init__(self) -> None:
        self.errors: list[int] = []

    def set_error(self, number: int) -> None:
        """Note it."""
        self.errors.append(number)


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> FakeNbdkit:
    """A plugin as nbdkit loads it, without a disk yet."""
    fake = FakeNbdkit()
    monkeypatch.setattr(nbd_plugin, "_nbdkit", fake)
    monkeypatch.setattr(nbd_plugin, "_settings", {})
    monkeypatch.setattr(nbd_plugin, "_disks", [])
    return fake


@pytest.fixture
def control() -> Iterator[Path]:
    """A short path for a socket."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        yield Path(name) / "control"


def ask(path: Path, *lines: bytes) -> list[dict[str, object]]:
    """Send lines to a control socket and return its answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        with client.makefile("rwb") as stream:
            answers = []
            for line in lines:
                stream.write(line + b"\n")
                stream.flush()
                answers.append(json.loads(stream.readline()))
            return answers


def written(path: Path, *parts: bytes) -> bytes:
    """Write parts to a control socket, hang up, and return all that was answered."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionError):
        client.settimeout(10)
        client.connect(str(path))
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))
    return b""


def test_the_calls_of_nbdkit_reach_the_disk(tmp_path: Path, control: Path, kit: FakeNbdkit) -> None:
    """Writes, FUA, reads and flushes do what their names say, and the control socket is open."""
    for key, value in {"image": tmp_path / "image", "size": SIZE, "control": control, "cache": 4096}.items():
        nbd_plugin.config(key, str(value))
    nbd_plugin.after_fork()
    handle = nbd_plugin.open(False)
    assert nbd_plugin.get_size(handle) == SIZE
    assert (nbd_plugin.can_flush(handle), nbd_plugin.can_multi_conn(handle)) == (True, True)
    assert (nbd_plugin.can_fua(handle), nbd_plugin.thread_model()) == (2, 3)
    nbd_plugin.pwrite(handle, bytearray(b"p" * 512), 0, 0)
    nbd_plugin.pwrite(handle, bytearray(b"f" * 512), 512, kit.FLAG_FUA)
    assert (tmp_path / "image").read_bytes()[:1024] == bytes(512) + b"f" * 512
    nbd_plugin.flush(handle, 0)
    buffer = bytearray(1024)
    nbd_plugin.pread(handle, buffer, 0, 0)
    assert buffer == b"p" * 512 + b"f" * 512
    (answer,) = ask(control, b'{"command": "state"}')
    state = answer["result"]
    assert isinstance(state, dict)
    assert (state["writes"], state["fua"], state["flushes"], state["reads"]) == (2, 1, 1, 1)


def test_a_refused_request_gives_nbdkit_its_error_number(tmp_path: Path, control: Path, kit: FakeNbdkit) -> None:
    """Without it the client would always see EIO."""
    for key, value in {"image": tmp_path / "image", "size": SIZE, "control": control}.items():
        nbd_plugin.config(key, str(value))
    nbd_plugin.after_fork()
    ask(control, b'{"command": "rule", "arguments": {"operation": "flush", "effect": "error", "number": 28}}')
    with pytest.raises(DiskFailure):
        nbd_plugin.flush(nbd_plugin.open(False), 0)
    assert kit.errors == [errno.ENOSPC]


def test_the_control_socket_survives_nonsense(tmp_path: Path, control: Path) -> None:
    """Each bad line gets an answer with the reason, and the next line is served."""
    nbd_plugin.DiskControl(control, DiskCore(tmp_path / "image", SIZE)).start()
    junk = (b"no json", b"[]", b"{}", b"", b"\xff\xfe", b'{"a":' * 100_000, b'{"command": "melt"}')
    answers = ask(control, *junk, b'{"command": "hold"}', b'{"command": "state"}')
    assert [answer["ok"] for answer in answers] == [False] * 7 + [True] * 2
    assert "there is no command 'melt'" in str(answers[6]["error"])


def test_the_control_socket_takes_each_line_that_is_whole(tmp_path: Path, control: Path) -> None:
    """Byte by byte or two at once, each is answered; one without an end is not, and the next client is served."""
    nbd_plugin.DiskControl(control, DiskCore(tmp_path / "image", SIZE)).start()
    state = b'{"command": "state"}\n'
    for parts, answers in (([bytes([byte]) for byte in state], 1), ([state + state], 2), ([state[:-1]], 0)):
        assert len(written(control, *parts).splitlines()) == answers
    assert written(control, b"x" * 10_000_000) == b""
    assert ask(control, b'{"command": "state"}')[0]["ok"]

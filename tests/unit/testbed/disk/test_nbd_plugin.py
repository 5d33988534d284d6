"""Proves the plugin's own part without nbdkit: the control socket, and what nbdkit's calls do to the disk."""

from __future__ import annotations

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
    lines = (b"no json", b"[]", b"{}", b'{"command": "melt"}', b'{"command": "hold"}', b'{"command": "state"}')
    answers = ask(control, *lines)
    assert [answer["ok"] for answer in answers] == [False, False, False, False, True, True]
    assert "there is no command 'melt'" in str(answers[3]["error"])

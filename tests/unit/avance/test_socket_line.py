"""One line there and one back: whole, bounded and with a deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from avance.socket_line import exchange


def answered(path: Path, talk: Callable[[socket.socket], None]) -> bytes:
    """Return what is exchanged with somebody who talks so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as asker:
                talk(asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return exchange(str(path), b"question", answer_s=5.0, bytes_max=100)
        finally:
            thread.join()


def test_line_comes_whole(tmp_path: Path) -> None:
    """The request ends with a line end, and parts of the answer are put together."""
    came = []

    def talk(asker: socket.socket) -> None:
        came.append(asker.recv(100))
        asker.sendall(b"ans")
        asker.sendall(b"wer\n")

    assert answered(tmp_path / "s", talk) == b"answer\n"
    assert came == [b"question\n"]


@pytest.mark.parametrize(("said", "heard"), [(b"", b""), (b"half", b"half"), (b"x" * 500, b"x" * 100)])
def test_end_and_limit_end_it(tmp_path: Path, said: bytes, heard: bytes) -> None:
    """A connection that ends early, or never ends its line, is not waited for."""

    def talk(asker: socket.socket) -> None:
        asker.recv(100)
        asker.sendall(said)

    assert answered(tmp_path / "s", talk) == heard


def test_silence_is_an_error(tmp_path: Path) -> None:
    """Whoever listens and says nothing is given up at the deadline."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(TimeoutError):
            exchange(str(tmp_path / "s"), b"question", answer_s=0.1, bytes_max=100)

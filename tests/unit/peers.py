"""Somebody on a unix socket who hears one line and then answers as a test says: well, badly, slowly or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def peer(path: Path, talk: Talk) -> Iterator[str]:
    """Listen for one who asks, hear one line, and talk so; hands out the path."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as asker, contextlib.suppress(ConnectionError):
                asker.recv(100)
                talk(asker)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(path)
        finally:
            thread.join()


def says(*parts: bytes) -> Talk:
    """Write these parts, one after the other, and hang up."""

    def talk(asker: socket.socket) -> None:
        for part in parts:
            asker.sendall(part)

    return talk


def waits_after(*parts: bytes, forever: bool = False) -> Talk:
    """Write these parts and then nothing, until the asker leaves; or the last part for ever, slowly."""

    def talk(asker: socket.socket) -> None:
        says(*parts)(asker)
        asker.settimeout(0.02)
        while True:
            with contextlib.suppress(TimeoutError):
                if not asker.recv(1):
                    return
            if forever:
                asker.sendall(parts[-1])

    return talk


def ways(line: bytes) -> dict[str, Talk]:
    """Each way in which a whole line may come, by its name."""
    half = len(line) // 2
    return {
        "at once": says(line + b"\n"),
        "in two parts": says(line[:half], line[half:] + b"\n"),
        "its end alone": says(line, b"\n"),
        "byte by byte": says(*(bytes([byte]) for byte in line + b"\n")),
        "the connection stays open": waits_after(line + b"\n"),
    }

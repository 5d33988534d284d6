"""A question to a daemon that is not there, or that hangs up, says what is known and what to look at."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from avance.client import ask


def test_silent_daemon_is_told_apart(tmp_path: Path) -> None:
    """Without a daemon the message names the service that should be running."""
    with pytest.raises(OSError, match="is the service `avance` running"):
        ask({"op": "status"}, str(tmp_path / "no.sock"))


def test_a_daemon_that_hangs_up_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """An answer that never came is an error that sends a person to the log, never an empty answer."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OSError, match="without an answer"):
            ask({"op": "status"}, str(path))
        thread.join()

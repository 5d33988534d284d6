"""One question to the daemon's control socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from avance import CONTROL_SOCKET

_ANSWER_S = 60.0


def ask(request: dict[str, Any], path: str = CONTROL_SOCKET, *, timeout_s: float = _ANSWER_S) -> dict[str, Any]:
    """Put one request to the daemon and return its answer.

    Raises:
        OSError: the daemon does not answer; whether it acted on the request is unknown.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(path)
        except OSError as error:
            text = f"the daemon does not listen on {path} ({error}); is the service `avance` running?"
            raise OSError(text) from error
        sock.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            part = sock.recv(1 << 16)
            if not part:
                raise OSError("the daemon closed the connection without an answer; look at its log and at the status")
            data += part
    answer: dict[str, Any] = json.loads(data)
    return answer

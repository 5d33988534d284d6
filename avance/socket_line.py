"""One line to the daemon's control socket, and one back: what a line is, and what is said when none comes.

A line is UTF-8 with one line end, and no longer than the other side takes. Those who ask are served here, and so is the
daemon, which hears them (adapters/control.py). DRBD waits with frozen I/O while one of those who ask starts, so this
imports next to nothing: `_socket` is the part of `socket` that is compiled, and what one side alone needs comes late.

It must never take a part of a line for the line, wait without an end, or keep all that somebody writes.
"""

from _socket import AF_UNIX, SOCK_STREAM, socket
from time import monotonic

from avance import CONTROL_SOCKET

TYPE_CHECKING = False  # type checkers take it for true; `typing` takes long to import
if TYPE_CHECKING:
    from asyncio import StreamReader
    from typing import Any

REQUEST_BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = 1 << 24
ANSWER_S = 60.0  # long enough for everything that a person asks
_PART_BYTES = 1 << 16
_UNKNOWN = "whether it acted is unknown: look at the status and at its log"


class ControlLineError(OSError):
    """No line came that is whole and as agreed; the text says what came instead, and to who asks what is known now."""


class EndlessLine(ControlLineError):
    """More came than a line may have: whoever writes so gets no answer."""


def ask(request: "dict[str, Any]", path: str = CONTROL_SOCKET, *, answer_s: float = ANSWER_S) -> "dict[str, Any]":
    """Put one request to the daemon and return its answer; raises ControlLineError as `exchange` does."""
    from json import dumps  # noqa: PLC0415 - who only exchanges pays for no JSON

    answer = exchange(path, dumps(request).encode(), answer_s=answer_s)
    try:
        return document(answer)
    except ControlLineError as error:
        raise ControlLineError(f"the daemon's answer cannot be understood: {error}; {_UNKNOWN}") from error


def exchange(path: str, request: bytes, *, answer_s: float, bytes_max: int = ANSWER_BYTES_MAX) -> str:
    """Write one line to a socket and return the line that is answered, without its line end.

    Raises:
        ControlLineError: the daemon does not take such a request, nobody listens, or no whole line came in `answer_s`.
    """
    if b"\n" in request:
        raise ControlLineError("a request is one line; nothing was asked")
    if len(request) > REQUEST_BYTES_MAX:
        told = f"the request has {len(request)} bytes, and the daemon takes {REQUEST_BYTES_MAX} at most"
        raise ControlLineError(f"{told}; nothing was asked")
    end = monotonic() + answer_s
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        sock.settimeout(answer_s)
        try:
            sock.connect(path)
        except OSError as error:
            text = f"the daemon does not listen on {path} ({error}); is the service `avance` running?"
            raise ControlLineError(text) from error
        try:
            sock.sendall(request + b"\n")
            return _text(_answer(sock, end, bytes_max))
        except TimeoutError as error:
            raise ControlLineError(f"the daemon did not answer within {answer_s:g} s; {_UNKNOWN}") from error
        except ControlLineError as error:
            raise ControlLineError(f"the daemon did not answer with one line: {error}; {_UNKNOWN}") from error
        except OSError as error:
            raise ControlLineError(
                f"the daemon closed the connection without an answer ({error}); {_UNKNOWN}"
            ) from error
    finally:
        sock.close()


def _answer(sock: socket, end: float, bytes_max: int) -> bytes:
    """Read to a line end, at most until `end`; raises ControlLineError with what came instead, or another OSError."""
    data, part = bytearray(), b""
    while b"\n" not in part:
        left = end - monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        part = sock.recv(_PART_BYTES)
        data += part
        if not part:
            raise ControlLineError(_cut(len(data)))
        if len(data) > bytes_max + 1:
            raise EndlessLine(_endless(bytes_max))
    line, _, more = bytes(data).partition(b"\n")
    if more:
        raise ControlLineError(f"{len(more)} bytes came behind its end")
    return line


async def hear(reader: "StreamReader", *, within_s: float) -> str:
    """Return the line that comes on a connection whose limit is REQUEST_BYTES_MAX, without its line end.

    Raises:
        ControlLineError: no whole line came within `within_s`, or something else did.
        ConnectionError: the connection was lost.
    """
    from asyncio import timeout  # noqa: PLC0415 - the daemon has it; those who ask pay for no asyncio

    try:
        async with timeout(within_s):
            data = await reader.readline()
    except TimeoutError as error:
        raise ControlLineError(f"it did not come within {within_s:g} s") from error
    except ValueError as error:  # longer than the limit of the reader, with or without an end
        raise EndlessLine(_endless(REQUEST_BYTES_MAX)) from error
    if not data.endswith(b"\n"):
        raise ControlLineError(_cut(len(data)))
    return _text(data[:-1])


def document(text: str) -> "dict[str, Any]":
    """Return the JSON object that a line holds; raises ControlLineError."""
    from json import loads  # noqa: PLC0415 - who only exchanges pays for no JSON

    try:
        value = loads(text)
    except (ValueError, RecursionError) as error:
        raise ControlLineError(f"it is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise ControlLineError("it is JSON and no object")
    return value


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ControlLineError(f"it is no UTF-8 ({error})") from error


def _cut(count: int) -> str:
    return f"the connection ended in the middle, after {count} bytes" if count else "the connection ended before it"


def _endless(bytes_max: int) -> str:
    return f"it has more than {bytes_max} bytes"

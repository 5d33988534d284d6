"""A line with its checksum in front: what is torn or rotten is recognised."""

from __future__ import annotations

import hashlib
import json

from avance.parsed import Json


class UnknownFormat(ValueError):
    """A whole copy in a format that this release does not know; `seq` is its number."""

    def __init__(self, text: str, seq: int) -> None:
        super().__init__(text)
        self.seq = seq


def seal(line: str) -> bytes:
    """Return the bytes of a file that holds one line."""
    return f"{hashlib.sha256(line.encode()).hexdigest()} {line}\n".encode()


def unseal(raw: bytes) -> str:
    """Return the line.

    Raises:
        ValueError: it is not as it was written.
    """
    checksum, _, line = raw.decode(errors="replace").rstrip("\n").partition(" ")
    if hashlib.sha256(line.encode()).hexdigest() != checksum:
        raise ValueError("its checksum is wrong: it was torn, or has rotten")
    return line


def json_object(line: str) -> dict[str, Json]:
    """Return the JSON object of a line whose checksum is right.

    Raises:
        ValueError: it holds something else.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its checksum is right, and it is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("its checksum is right, and it is no JSON object")  # noqa: TRY004 - the file is wrong
    return value

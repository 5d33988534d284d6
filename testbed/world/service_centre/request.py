"""Just enough HTTP/1.1 for the service centre: one request per connection, body with a Content-Length.

It must never read more than the limits below, and never guess what a broken request may have meant.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 1024 * 1024


class HttpError(Exception):
    """A request is answered with an error status and one sentence; not an error of the bed."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True)
class Request:
    """One request: method, path, headers with lower-case names, and the body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None when the client closed without sending a whole one; HttpError when it is unusable."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError as error:
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The head exceeds {HEAD_LIMIT} bytes.") from error
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise HttpError(HTTPStatus.BAD_REQUEST, "The request line is not HTTP/1.1.")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or name.lower() in headers:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"The header line {line[:60]!r} is malformed or repeated.")
        headers[name.lower()] = value.strip()
    try:
        body = await reader.readexactly(_length(headers))
    except asyncio.IncompleteReadError:
        return None
    return Request(words[0], words[1], headers, body)


def _length(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "Transfer-Encoding is not supported: send Content-Length.")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise HttpError(HTTPStatus.BAD_REQUEST, "Content-Length is not a number.")
    if int(text) > BODY_LIMIT:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body exceeds {BODY_LIMIT} bytes.")
    return int(text)


def reply(status: HTTPStatus, document: dict[str, object]) -> bytes:
    """The whole answer as bytes; the connection is closed after it."""
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body

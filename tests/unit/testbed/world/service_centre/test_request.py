"""Unit tests of testbed.world.service_centre.request: what is accepted as a request. They open no socket."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest

from testbed.world.service_centre.request import BODY_LIMIT, HEAD_LIMIT, HttpError, Request, read_request, reply


def read(data: bytes) -> Request | None:
    """Parse these bytes as everything that the client ever sent."""

    async def main() -> Request | None:
        reader = asyncio.StreamReader(limit=HEAD_LIMIT)
        reader.feed_data(data)
        reader.feed_eof()
        return await read_request(reader)

    return asyncio.run(main())


def test_a_request_is_read_whole() -> None:
    """Method, path, header names in lower case, and exactly the announced body."""
    request = read(b"POST /v1/alerts HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 3\r\n\r\nabcdef")
    assert request == Request("POST", "/v1/alerts", {"authorization": "Bearer x", "content-length": "3"}, b"abc")


@pytest.mark.parametrize("data", [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_client_that_goes_away_is_no_request(data: bytes) -> None:
    """Nothing, half a head or half a body gives None."""
    assert read(data) is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HELLO\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nbroken\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", HTTPStatus.NOT_IMPLEMENTED),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"POST / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
    ids=["line", "header", "twice", "negative", "chunked", "body-limit", "head-limit"],
)
def test_an_unusable_request_is_refused(data: bytes, status: HTTPStatus) -> None:
    """Each kind of nonsense has its status."""
    with pytest.raises(HttpError) as refusal:
        read(data)
    assert refusal.value.status is status


def test_the_reply_announces_its_length_and_the_end() -> None:
    """A client needs no chunking and no keep-alive to read it."""
    head, _, text = reply(HTTPStatus.OK, {"ack": "1"}).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: %d\r\n" % len(text) in head
    assert b"Connection: close" in head

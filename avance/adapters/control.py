"""The local control socket: one JSON request a line, one JSON answer; used by the `avance` command and fence-peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from avance.socket_line import REQUEST_BYTES_MAX, ControlLineError, EndlessLine, document, hear

_REQUEST_S = 60.0  # whoever connects writes at once; a busy node may take long between the two
_TAKE_S = 60.0  # for the answer to be taken

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve(path: Path, handler: Handler) -> None:
    """Answer requests for ever; a bad one gets an `error` and changes nothing."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await _answer(reader, handler)
            writer.write(json.dumps(answer).encode() + b"\n")
            await _taken(writer)
        except (ConnectionError, EndlessLine):
            pass  # the asker is gone, or sent an over-long line: nobody is left to tell
        finally:
            writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connection, path, limit=REQUEST_BYTES_MAX)
    path.chmod(0o600)
    async with server:
        await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, handler: Handler) -> dict[str, Any]:
    """Return the answer to the request that comes; raises EndlessLine, and ConnectionError when the asker is gone."""
    try:
        request = document(await hear(reader, within_s=_REQUEST_S))
    except EndlessLine:
        raise
    except ControlLineError as error:
        return {"error": f"the request is not one line with a JSON object: {error}; nothing was changed"}
    if not isinstance(request.get("op"), str):
        return {"error": "the request needs an `op`"}
    return await handler(request)


async def _taken(writer: asyncio.StreamWriter) -> None:
    """Wait until the asker has taken the answer; one who does not read is given up."""
    try:
        async with asyncio.timeout(_TAKE_S):
            await writer.drain()
    except TimeoutError:
        writer.transport.abort()

"""The local control socket: one JSON request a line, one JSON answer; used by the `avance` command and fence-peer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_REQUEST_BYTES_MAX = 1 << 20

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve(path: Path, handler: Handler) -> None:
    """Answer requests for ever; a bad one gets an `error` and changes nothing."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            answer = await _answer(line, handler)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the asker is gone, or sent an over-long line: nobody is left to tell
        finally:
            writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connection, path, limit=_REQUEST_BYTES_MAX)
    path.chmod(0o600)
    async with server:
        await server.serve_forever()


async def _answer(line: bytes, handler: Handler) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        return {"error": "the request is not one line of JSON"}
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        return {"error": "the request needs an `op`"}
    return await handler(request)

"""The service centre's HTTPS server on a unix socket: takes alerts, stores, acknowledges; can be told to misbehave.

It must never acknowledge an alert that is not on disk, and never fail the run because a client misbehaved.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import pace
from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.vocabulary import AlertCode
from testbed.world.service_centre.request import HEAD_LIMIT, HttpError, Request, read_request, reply
from testbed.world.service_centre.store import AlertStore, BadAlert, ReceivedAlert, parse_alert

PATH = "/v1/alerts"
HANDSHAKE_S = 60.0  # the client's side of the handshake runs under emulation
REQUEST_S = 60.0


class Mode(StrEnum):
    """How the service centre behaves now."""

    UP = "up"
    REFUSE = "refuse"  # every alert is answered 503 and not stored
    DOWN = "down"  # nothing listens; open connections are cut
    SLOW = "slow"  # stored at once, acknowledged late: the sender may try again


@dataclass(frozen=True)
class Received:
    """The first arrival of an alert; `t_s` is the host's monotonic clock when it was on disk."""

    alert: ReceivedAlert
    t_s: float


class ServiceCentre:
    """The running service centre, between `async with` and its end."""

    def __init__(
        self, *, socket: Path, tls: ssl.SSLContext, store: Path, token: str, history: History, mode: Mode = Mode.UP
    ) -> None:
        self._socket = socket
        self._tls = tls
        self._store = AlertStore(store)
        self._token = token.encode()
        self._history = history
        self._mode = mode
        self._delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._news = asyncio.Condition()
        self.received: list[Received] = []
        self.repeats = 0

    async def __aenter__(self) -> Self:
        self._store.__enter__()
        try:
            await self.set_mode(self._mode)
        except BaseException:
            self._store.__exit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stop_listening()
        finally:
            self._store.__exit__(None, None, None)

    @property
    def mode(self) -> Mode:
        """How the service centre behaves now."""
        return self._mode

    async def set_mode(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        """Change the behaviour from now on; `delay_s` is the lateness of each acknowledgement in mode SLOW."""
        self._mode, self._delay_s = mode, delay_s
        if mode is Mode.DOWN:
            await self._stop_listening()
        elif self._server is None:
            self._socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(
                self._connection,
                self._socket,
                ssl=self._tls,
                limit=HEAD_LIMIT,
                ssl_handshake_timeout=pace.scaled(HANDSHAKE_S),
            )
            self._socket.chmod(0o600)
        self._history.record("service_centre", "mode", mode=str(mode), delay_s=delay_s)

    async def wait_for(
        self, code: AlertCode, timeout_s: float, *, node: str | None = None, since_s: float = 0.0
    ) -> Received:
        """The first alert with this code (from this node, not older than `since_s`), waiting for it if needed."""

        def found() -> Received | None:
            for item in self.received:
                if item.alert.code == code and item.t_s >= since_s and node in (None, item.alert.node):
                    return item
            return None

        try:
            async with pace.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: found() is not None)
        except TimeoutError as error:
            alerts = [f"{item.alert.code!r} of node {item.alert.node}" for item in self.received]
            raise WaitTimeout(
                f"No alert {code!r} from {node or 'any node'} arrived at the service centre "
                f"in {pace.scaled(timeout_s):g} s; it has {len(alerts)} alerts, "
                f"the last is {alerts[-1] if alerts else 'none'}; its mode is {self._mode}. "
                f"Look at the sending node's journal and at the switch counters of port 'outside'."
            ) from error
        item = found()
        assert item is not None
        return item

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()  # not wait_closed(): since Python 3.12 it waits for the clients that are cut below
            self._server = None
            self._socket.unlink(missing_ok=True)
        for task, writer in self._open.items():
            writer.transport.abort()
            task.cancel()
        if self._open:
            await asyncio.wait(set(self._open))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # the handshake ended after the listener did
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            with suppress(OSError, asyncio.CancelledError):  # the client is gone, or this end is being shut down
                answer = await self._answer(reader)
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
                writer.close()
                async with pace.timeout(REQUEST_S):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()
            del self._open[task]

    async def _answer(self, reader: asyncio.StreamReader) -> bytes | None:
        try:
            async with pace.timeout(REQUEST_S):
                request = await read_request(reader)
            return None if request is None else await self._alert(request)
        except HttpError as refusal:
            self._history.record("service_centre", "refused", status=refusal.status.value, text=refusal.sentence)
            return reply(refusal.status, {"error": refusal.sentence})

    async def _alert(self, request: Request) -> bytes:
        self._check(request)
        try:
            alert = parse_alert(request.body)
        except BadAlert as error:
            raise HttpError(HTTPStatus.BAD_REQUEST, str(error)) from error
        if self._mode is Mode.REFUSE:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "The service centre refuses alerts now; try again later.")
        try:
            new = await asyncio.to_thread(self._store.add, alert)
        except OSError as error:
            raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, f"The alert was not stored: {error}.") from error
        await self._tell(alert, new=new)
        if self._mode is Mode.SLOW:
            await asyncio.sleep(self._delay_s)
        return reply(HTTPStatus.OK, {"ack": alert.id})

    def _check(self, request: Request) -> None:
        if request.path != PATH:
            raise HttpError(HTTPStatus.NOT_FOUND, f"There is only {PATH}.")
        if request.method != "POST":
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "Alerts are sent with POST.")
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            raise HttpError(HTTPStatus.UNAUTHORIZED, "The bearer token is missing or wrong.")

    async def _tell(self, alert: ReceivedAlert, *, new: bool) -> None:
        async with self._news:
            if new:
                self.received.append(Received(alert, time.monotonic()))
            else:
                self.repeats += 1
            self._news.notify_all()
        self._history.record(
            "call_home", "received", code=alert.code, node=alert.node, id=alert.id, severity=alert.severity,
            repeat=not new,
        )  # fmt: skip

"""Call Home: a durable queue of alerts on disk, filled by the daemon and emptied by a process of its own.

The two meet only in the directory: one file per alert, complete or not there, removed only after the service centre
has acknowledged it. So a slow or dead service centre can never touch failover.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import uuid
from pathlib import Path

from avance.clock import wall_text
from avance.config import CallHome
from avance.core.model import Alert, NodeId
from avance.files import read_small, write_durably
from avance.late import in_time
from avance.wire.callhome import Envelope, body

QUEUE_DIR = Path("/var/lib/avance/callhome")
QUEUE_MAX = 1000  # alerts kept while the service centre is away; beyond that new ones are counted, not kept
_REQUEST_S = 20.0  # for the service centre to take or to say anything
_WHOLE_S = 60.0  # for all of it
_ANSWER_BYTES_MAX = 1 << 16
_QUOTED_MAX = 200  # letters of an answer
_COUNT_S = 2.0
_UNTOLD = "the service centre hears nothing of it. Make room, or look at the disk"


class AlertQueue:
    """The daemon's side: `put` returns at once, one writer task makes the alerts durable in order.

    The disk below may hang, be full or refuse. It is touched in threads only, and costs alerts, which are counted.
    """

    def __init__(self, directory: Path, node: NodeId) -> None:
        self._directory = directory
        self._node = node
        self._waiting: asyncio.Queue[tuple[int, Alert, int, str]] = asyncio.Queue(QUEUE_MAX)
        self._number = 0  # of the last alert of this run
        self._before: int | None = None  # the highest number of earlier runs that is still on the disk
        self._on_disk = 0  # as the last count found
        self._counting = False
        self.dropped = 0
        self.problem = ""  # why the last alert was not kept, for a person

    @property
    def queued(self) -> int:
        """How many alerts have not been acknowledged yet, as of the last `count`."""
        return self._waiting.qsize() + self._on_disk

    def put(self, alert: Alert, epoch: int) -> None:
        """Queue an alert; when the queue is full it is counted and dropped."""
        self._number += 1
        if self._waiting.full():
            self.dropped += 1
            return
        self._waiting.put_nowait((self._number, alert, epoch, wall_text()))

    async def count(self) -> None:
        """Look how many are on the disk; one that does not answer leaves the last count as it is."""
        if self._counting:
            return  # an earlier look still hangs
        self._counting = True
        with contextlib.suppress(OSError, TimeoutError):
            self._on_disk = await in_time(self._count, _COUNT_S)

    def _count(self) -> int:
        try:
            return len(_names(self._directory))
        finally:
            self._counting = False

    async def write(self) -> None:
        """Make queued alerts durable, for ever, in order."""
        while True:
            number, alert, epoch, wall = await self._waiting.get()
            try:
                self.problem = await asyncio.to_thread(self._keep, number, alert, epoch, wall)
            except OSError as error:
                self.problem = f"An alert could not be kept ({error.strerror or error}): {_UNTOLD}"
            self.dropped += 1 if self.problem else 0

    def _keep(self, number: int, alert: Alert, epoch: int, wall: str) -> str:
        """Make one alert durable; returns why it was dropped, or nothing."""
        self._directory.mkdir(parents=True, exist_ok=True)
        names = _names(self._directory)
        if self._before is None:
            self._before = max((int(name[:-5]) for name in names if name[:-5].isdecimal()), default=0)
        if len(names) >= QUEUE_MAX:
            return (
                f"{QUEUE_MAX} alerts wait for the service centre, and new ones are dropped: look why it does not answer"
            )
        seq = self._before + number
        raw = body(alert, Envelope(uuid.uuid4().hex, self._node, seq, epoch, wall))
        write_durably(self._directory / f"{seq:012}.json", raw)
        return ""


def _names(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.endswith(".json")]  # noqa: PTH208 - a fifth of the time


def oldest(directory: Path) -> Path | None:
    """Return the alert that must be delivered next, or None when there is none, or nobody can look.

    It is asked twice a second for ever, so it costs one look at the directory and nothing else.
    """
    try:
        names = _names(directory)
    except OSError:
        return None
    return directory / min(names) if names else None


def deliver(target: CallHome, path: Path) -> str | None:
    """Deliver one alert and remove it once it is acknowledged; returns why it was not delivered, or None.

    It never raises for what service centre, network, site or disk do, and it ends within a bounded time.
    """
    import http.client  # noqa: PLC0415 - a fifth of the daemon's start, and only the deliverer needs it

    try:
        return _deliver(target, path)
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        return f"{type(error).__name__}: {error}".replace(f"Bearer {target.token.strip()}", "Bearer (token)")


def _deliver(target: CallHome, path: Path) -> str | None:
    import http.client  # noqa: PLC0415 - as above
    import ssl  # noqa: PLC0415 - as above
    import urllib.parse  # noqa: PLC0415 - as above

    raw = read_small(path)
    alert = json.loads(raw)
    wanted = alert.get("id") if isinstance(alert, dict) else None
    if wanted is None:
        return f"{path.name} holds no alert"
    url = urllib.parse.urlsplit(target.url)
    context = ssl.create_default_context(cadata=target.ca_pem)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port or 443, timeout=_REQUEST_S, context=context)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.token}", "Connection": "close"}
    # An answer that comes letter by letter would never be too late for any single one of them.
    end = threading.Timer(_WHOLE_S, lambda: connection.sock and connection.sock.shutdown(socket.SHUT_RDWR))
    end.daemon = True
    end.start()
    try:
        connection.request("POST", url.path or "/", raw, headers)
        response = connection.getresponse()
        text = response.read(_ANSWER_BYTES_MAX)
    finally:
        end.cancel()
        connection.close()
    answer = json.loads(text or b"{}")
    ack = answer.get("ack") if isinstance(answer, dict) else None
    if response.status != http.client.OK or ack != wanted:
        return f"status {response.status}, answer {str(answer)[:_QUOTED_MAX]}"
    path.unlink(missing_ok=True)
    return None

"""Call Home: a durable queue of alerts on disk, filled by the daemon and emptied by a process of its own.

The two meet only in the directory: one file per alert, complete or not there, removed only after the service centre
has acknowledged it. So a slow or dead service centre can never touch failover.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from pathlib import Path

from avance.clock import wall_text
from avance.config import CallHome
from avance.core.model import Alert, NodeId
from avance.files import write_durably
from avance.wire.callhome import Envelope, body

QUEUE_DIR = Path("/var/lib/avance/callhome")
QUEUE_MAX = 1000  # alerts kept while the service centre is away; beyond that new ones are counted, not kept
_REQUEST_S = 20.0


class AlertQueue:
    """The daemon's side: `put` returns at once, one writer task makes the alerts durable in order."""

    def __init__(self, directory: Path, node: NodeId) -> None:
        self._directory = directory
        self._node = node
        self._waiting: asyncio.Queue[tuple[int, Alert, int, str]] = asyncio.Queue(QUEUE_MAX)
        self.dropped = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._seq = max((int(path.stem) for path in directory.glob("*.json") if path.stem.isdigit()), default=0)

    @property
    def queued(self) -> int:
        """How many alerts have not been acknowledged yet."""
        return self._waiting.qsize() + sum(1 for _ in self._directory.glob("*.json"))

    def put(self, alert: Alert, epoch: int) -> None:
        """Queue an alert; when the queue is full it is counted and dropped."""
        self._seq += 1
        if self._waiting.full():
            self.dropped += 1
            return
        self._waiting.put_nowait((self._seq, alert, epoch, wall_text()))

    async def write(self) -> None:
        """Make queued alerts durable, for ever, in order."""
        while True:
            seq, alert, epoch, wall = await self._waiting.get()
            if sum(1 for _ in self._directory.glob("*.json")) >= QUEUE_MAX:
                self.dropped += 1
                continue
            raw = body(alert, Envelope(uuid.uuid4().hex, self._node, seq, epoch, wall))
            try:
                await asyncio.to_thread(write_durably, self._directory / f"{seq:012}.json", raw)
            except OSError:
                self.dropped += 1  # a full or dying disk: counted in the status, and no reason to stop the daemon


def oldest(directory: Path) -> Path | None:
    """Return the alert that must be delivered next, or None when all are delivered.

    It is asked twice a second for ever, so it costs one look at the directory and nothing else.
    """
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".json")]  # noqa: PTH208 - a fifth of the time
    except FileNotFoundError:
        return None
    return directory / min(names) if names else None


def deliver(target: CallHome, path: Path) -> str | None:
    """Deliver one alert and remove it once it is acknowledged; returns why it was not delivered, or None."""
    import http.client  # noqa: PLC0415 - a fifth of the daemon's start, and only the deliverer needs it
    import ssl  # noqa: PLC0415 - same
    import urllib.parse  # noqa: PLC0415 - same

    url = urllib.parse.urlsplit(target.url)
    raw = path.read_bytes()
    context = ssl.create_default_context(cadata=target.ca_pem)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port or 443, timeout=_REQUEST_S, context=context)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.token}", "Connection": "close"}
    try:
        connection.request("POST", url.path or "/", raw, headers)
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    ack = answer.get("ack") if isinstance(answer, dict) else None
    if response.status != http.client.OK or ack != json.loads(raw)["id"]:
        return f"status {response.status}, answer {answer}"
    path.unlink()
    return None

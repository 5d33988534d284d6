"""Call Home: a durable queue of alerts on disk, filled by the daemon and emptied by a process of its own.

The two meet only in the directory: one file per alert, complete or not there, removed only after the service centre
has acknowledged it. So a slow or dead service centre can never touch failover. The queue is bounded, and so is what one
story can put into it: see decisions 0010 and 0026.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from avance.clock import now_s, wall_text
from avance.config import CallHome
from avance.core.grouping import AlertGroups, key_of
from avance.core.model import Alert, NodeId
from avance.files import read_small, write_durably
from avance.late import in_time
from avance.line_file import LineFile
from avance.wire.callhome import Envelope, body, told
from avance.wire.masked import Mask

if TYPE_CHECKING:
    import http.client

QUEUE_DIR = Path("/var/lib/avance/callhome")
QUEUE_MAX = 1000  # alerts kept while the service centre is away; beyond that new ones are counted, not kept
RESERVED = 200  # of these, for critical ones only
DEAD_LETTERS = "refused.jsonl"  # what the service centre refuses for good, and what is damaged
DEAD_BYTES_MAX = 1 << 20  # twice this is on disk
_DEAD_TEXT_MAX = 8000  # characters of one alert that are kept
_REQUEST_S = 20.0  # for the service centre to take or to say anything
_WHOLE_S = 60.0  # for all of it
_ANSWER_BYTES_MAX = 1 << 16
_QUOTED_MAX = 200  # letters of an answer
_COUNT_S = 2.0
_UNTOLD = "the service centre hears nothing of it. Make room, or look at the disk"
_REFUSES_THIS = (400, 413, 415, 422)  # the request itself is wrong; no other alert would be refused for that

_KEPT = (".json", ".later")  # the second ending: it is held, and nobody delivers it yet
_Waiting = tuple[Alert, int, str]


class AlertQueue:
    """The daemon's side: `put` returns at once, one writer task makes the alerts durable in order.

    The disk below may hang, be full or refuse. It is touched in threads only, and costs alerts, which are counted.
    """

    def __init__(self, directory: Path, node: NodeId) -> None:
        self._directory = directory
        self._node = node
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(QUEUE_MAX)
        self._groups = AlertGroups()
        self._writing = asyncio.Lock()
        self._seq: int | None = None  # of the last alert on the disk; None before the first look there
        self._on_disk = 0  # as the last count found
        self._counting = False
        self.dropped = 0
        self.problem = ""  # why the last alert was not kept, for a person
        self.refused = False  # the last count found that the service centre has refused alerts for good

    @property
    def queued(self) -> int:
        """How many alerts have not been acknowledged yet, as of the last `count`; a story that repeats is one."""
        return self._waiting.qsize() + self._on_disk

    def put(self, alert: Alert, epoch: int) -> None:
        """Queue an alert; when there is no room for one of its severity it is counted and dropped."""
        if _has_room(self._waiting.qsize(), alert):
            self._waiting.put_nowait((alert, epoch, wall_text()))
        else:
            self.dropped += 1

    async def count(self) -> None:
        """Look how many are on the disk; one that does not answer leaves the last count as it is."""
        if self._counting:
            return  # an earlier look still hangs
        self._counting = True
        with contextlib.suppress(OSError, TimeoutError):
            self._on_disk, self.refused = await in_time(self._count, _COUNT_S)

    def _count(self) -> tuple[int, bool]:
        try:
            names = os.listdir(self._directory)  # noqa: PTH208 - a fifth of the time
            return sum(name.endswith(_KEPT) for name in names), DEAD_LETTERS in names
        finally:
            self._counting = False

    async def keep(self, alert: Alert, epoch: int) -> bool:
        """Make one alert durable now, whatever else waits; says whether it is."""
        return await self._keep((alert, epoch, wall_text()))

    async def write(self) -> None:
        """Make queued alerts durable, for ever, in order; tell stories that were held when their time has come."""
        async with self._writing:
            await asyncio.to_thread(self._begin)
        while True:
            due_at = self._groups.next_due()
            waiting: _Waiting | None = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else max(0.0, due_at - now_s())):
                    waiting = await self._waiting.get()
            if waiting is not None:
                await self._keep(waiting)
            if due_at is not None and now_s() >= due_at:
                async with self._writing:
                    await asyncio.to_thread(self._tell_held)

    async def _keep(self, waiting: _Waiting) -> bool:
        try:
            async with self._writing:
                self.problem = await asyncio.to_thread(self._write, *waiting)
        except OSError as error:  # a full or dying disk: counted in the status, and no reason to stop the daemon
            self.problem = f"An alert could not be kept ({error.strerror or error}): {_UNTOLD}"
        self.dropped += 1 if self.problem else 0
        return not self.problem

    def _write(self, alert: Alert, epoch: int, wall: str) -> str:
        """Write one alert, or count its story up: then the newer one takes the place of the one that waits.

        Returns why it was dropped, or nothing.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._seq is None:
            self._adopt()
        assert self._seq is not None
        key = key_of(alert)
        before = self._groups.stories.get(key)
        old = None if before is None else self._directory / before.name
        waits = old is not None and old.exists()
        if not waits and not _has_room(len(_names(self._directory)), alert):
            return "Alerts wait for the service centre, and new ones are dropped: look why it does not answer"
        self._seq += 1
        story = self._groups.take(key, self._seq, wall, now_s(), waits=waits)
        envelope = Envelope(uuid.uuid4().hex, self._node, story.seq, epoch, wall, story.count, story.since)
        write_durably(self._directory / story.name, body(alert, envelope))
        if waits and old is not None:
            old.unlink(missing_ok=True)  # it may be on its way just now: then the centre hears of both
        return ""

    def _tell_held(self) -> None:
        for held, free in self._groups.due(now_s()):
            with contextlib.suppress(OSError):  # it waits for the next start then
                (self._directory / held.name).rename(self._directory / free.name)

    def _begin(self) -> None:
        with contextlib.suppress(OSError):  # the first alert looks again
            self._adopt()

    def _adopt(self) -> None:
        """Go on with the stories of an earlier run; what it held is told now, for nobody knows what it told when.

        Raises:
            OSError: nobody can say which alerts are there.
        """
        names = sorted(_names(self._directory))
        self._seq = max((int(name[:12]) for name in names if name[:12].isdecimal()), default=0)
        for name in names:
            path = self._directory / name
            try:
                if path.suffix == ".later":
                    path = path.rename(path.with_suffix(".json"))
                key, count, since = told(read_small(path))
            except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
                continue  # whoever delivers it finds out what is wrong with it
            if name[:12].isdecimal():
                self._groups.found(key, int(name[:12]), count, since)


def _names(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.endswith(_KEPT)]  # noqa: PTH208 - a fifth of the time


def _has_room(used: int, alert: Alert) -> bool:
    return used < (QUEUE_MAX if alert.severity == "critical" else QUEUE_MAX - RESERVED)


def waiting(directory: Path) -> list[str]:
    """Return the names of the alerts that may be delivered, the oldest first.

    It is asked twice a second for ever, so it costs one look at the directory and nothing else.
    """
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".json"))  # noqa: PTH208 - a fifth of the time
    except OSError:
        return []  # there is none, or nobody can look


class Reception(StrEnum):
    """What became of one alert."""

    TAKEN = "TAKEN"  # acknowledged and removed; or it has gone meanwhile, because a newer one has its place
    AWAY = "AWAY"  # nobody has answered, or nothing could be sent: the next one would fare no better
    UNCLEAR = "UNCLEAR"  # there was an answer, and no acknowledgement: the fault may be this alert's or the centre's
    REFUSED = "REFUSED"  # this alert will never be taken


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one alert, and why; `why` holds no secret."""

    said: Reception
    why: str = ""


def deliver(target: CallHome, path: Path) -> Delivery:
    """Deliver one alert, and remove it once it is acknowledged; never raises, and ends within a bounded time."""
    try:
        raw = read_small(path)
    except FileNotFoundError:
        return Delivery(Reception.TAKEN)
    except OSError as error:
        return Delivery(Reception.UNCLEAR, f"it cannot be read: {error}")
    wanted = _id_of(raw)
    if wanted is None:
        return Delivery(Reception.REFUSED, "the file is damaged: it is no alert")
    delivery = _post(target, raw, wanted)
    if delivery.said is Reception.TAKEN:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            return Delivery(Reception.AWAY, f"it was taken, and cannot be removed: {error}")
    return replace(delivery, why=Mask([target.token]).text(delivery.why))  # an answer may repeat what was sent


def _id_of(raw: bytes) -> str | None:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    found = fields.get("id") if isinstance(fields, dict) else None
    return found if isinstance(found, str) else None


def _post(target: CallHome, raw: bytes, wanted: str) -> Delivery:
    import http.client  # noqa: PLC0415 - a fifth of the daemon's start, and only the deliverer needs it
    import ssl  # noqa: PLC0415 - same
    import urllib.parse  # noqa: PLC0415 - same

    connection = end = None
    try:
        url = urllib.parse.urlsplit(target.url)
        context = ssl.create_default_context(cadata=target.ca_pem)
        connection = http.client.HTTPSConnection(
            url.hostname or "", url.port or 443, timeout=_REQUEST_S, context=context
        )
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.token}", "Connection": "close"}
        # An answer that comes letter by letter would never be too late for any single one of them.
        end = threading.Timer(_WHOLE_S, _cut, (connection,))
        end.daemon = True
        end.start()
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), raw, headers)
        response = connection.getresponse()
        answer = response.read(_ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        return Delivery(Reception.AWAY, f"{type(error).__name__}: {error}")
    except (ValueError, RecursionError) as error:  # its text may quote the token in another spelling
        why = "the URL, the authority or the token of the site is no good"
        return Delivery(Reception.AWAY, f"{type(error).__name__}: {why}")
    finally:
        if end is not None:
            end.cancel()
        if connection is not None:
            connection.close()
    if response.status == http.client.OK and _is_ack(answer, wanted):
        return Delivery(Reception.TAKEN)
    why = f"status {response.status}, answer {answer[:_QUOTED_MAX]!r}"
    return Delivery(Reception.REFUSED if response.status in _REFUSES_THIS else Reception.UNCLEAR, why)


def _cut(connection: http.client.HTTPSConnection) -> None:
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _is_ack(answer: bytes, wanted: str) -> bool:
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("ack") == wanted


def bury(directory: Path, name: str, why: str) -> None:
    """Move an alert that nobody takes into the file of dead letters, which is bounded.

    Raises:
        OSError: the disk refuses; the alert may still be in the queue.
    """
    path, letters = directory / name, LineFile(directory / DEAD_LETTERS)
    try:
        content = read_small(path)[:_DEAD_TEXT_MAX].decode(errors="replace")
    except OSError as error:
        content = f"(not readable: {error})"
    if letters.size_bytes() >= DEAD_BYTES_MAX:
        letters.rotate()
    letters.append(json.dumps({"wall": wall_text(), "name": name, "why": why, "alert": content}))
    letters.close()
    path.unlink(missing_ok=True)

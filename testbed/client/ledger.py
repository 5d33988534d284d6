"""The client's book of writes: asked, acknowledged, refused or unknown, and whether the service still has them.

Each write is invoked, then ok, fail or info (unknown); the book is on disk as it goes. Judging it is for
`testbed.judge.oracles.writes`. It must never call a read back complete that was not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from testbed import pace
from testbed.client.outage import AttemptOutcome

PAGE_IDS_MAX = 24  # the service gives at most so many ids in one reply
PAGE_TIMEOUT_S = 0.5  # then the page is asked for again


class Datagram(Protocol):
    """What the ledger needs of a received datagram."""

    @property
    def payload(self) -> bytes:
        """The bytes of the reply."""


class UdpClient(Protocol):
    """What the ledger needs of an endpoint."""

    def free_port(self) -> int:
        """A UDP port that nobody listens on."""

    def listen(self, port: int, handler: Callable[[Datagram, float], None], /) -> None:
        """Call the handler with each datagram and its time of arrival."""

    def stop_listening(self, port: int, /) -> None:
        """Free the port."""

    def udp_send(self, dst_ip: str, dst_port: int, src_port: int, payload: bytes, /) -> None:
        """Send one datagram."""


@dataclass(frozen=True)
class Entry:
    """One write; `outcome` is None while no answer has come and its time has not run out."""

    id: str
    invoked_at_s: float
    outcome: AttemptOutcome | None = None
    index: int | None = None
    is_late: bool = False
    acknowledged_at_s: float | None = None


@dataclass(frozen=True)
class ReadBack:
    """What the service said it has: all ids in their order, and each total that it named on the way."""

    complete: bool
    ids: tuple[str, ...]
    totals: tuple[int, ...]
    reason: str


class Ledger:
    """The book of one run, in memory and (when a path is given) as JSON lines on disk."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", buffering=1, encoding="utf-8")  # line-buffered: a crash loses no line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later entries stay in memory only."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def entries(self) -> tuple[Entry, ...]:
        """All writes in the order in which they were asked."""
        return tuple(self._entries.values())

    def invoked(self, write_id: str, t_s: float) -> None:
        """The write is about to be sent."""
        assert write_id not in self._entries, f"{write_id} was invoked twice: the judge could not tell them apart"
        self._entries[write_id] = Entry(write_id, t_s)
        self._line(t_s, "invoked", write_id)

    def ok(self, write_id: str, index: int, t_s: float) -> None:
        """The write was acknowledged; one that comes after its time ran out binds the service all the same."""
        entry = self._entries[write_id]
        late = entry.outcome is AttemptOutcome.INFO
        self._entries[write_id] = replace(
            entry, outcome=AttemptOutcome.OK, index=index, is_late=late, acknowledged_at_s=round(t_s, 6)
        )
        self._line(t_s, "ok", write_id, index=index)

    def fail(self, write_id: str, text: str, t_s: float) -> None:
        """The service refused the write."""
        self._settle(write_id, AttemptOutcome.FAIL)
        self._line(t_s, "fail", write_id, text=text)

    def info(self, write_id: str, t_s: float) -> None:
        """No answer came in time: whether it was written is unknown."""
        self._settle(write_id, AttemptOutcome.INFO)
        self._line(t_s, "info", write_id)

    def _settle(self, write_id: str, outcome: AttemptOutcome) -> None:
        self._entries[write_id] = replace(self._entries[write_id], outcome=outcome)

    def _line(self, t_s: float, kind: str, write_id: str, **fields: object) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"t_s": round(t_s, 6), "kind": kind, "id": write_id, **fields}) + "\n")


def load(path: Path) -> Ledger:
    """The book of an earlier run; a last line that was cut off by a crash is left out."""
    ledger = Ledger()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            item = json.loads(line)
        except json.JSONDecodeError:
            continue
        match item["kind"]:
            case "invoked":
                ledger.invoked(item["id"], item["t_s"])
            case "ok":
                ledger.ok(item["id"], item["index"], item["t_s"])
            case "fail":
                ledger.fail(item["id"], item["text"], item["t_s"])
            case "info":
                ledger.info(item["id"], item["t_s"])
    return ledger


async def read_back(
    client: UdpClient, ip: str, port: int, *, timeout_s: float, page_timeout_s: float = PAGE_TIMEOUT_S
) -> ReadBack:
    """Ask the service for all that it has, page by page with retries, until its total is reached or time is up."""
    own_port = client.free_port()
    replies: asyncio.Queue[bytes] = asyncio.Queue()
    client.listen(own_port, lambda datagram, _t_s: replies.put_nowait(datagram.payload))
    ids: list[str] = []
    totals: list[int] = []
    page_timeout_s = pace.scaled(page_timeout_s)
    deadline = time.monotonic() + pace.scaled(timeout_s)
    try:
        while time.monotonic() < deadline:
            client.udp_send(ip, port, own_port, f"GET {len(ids)} {PAGE_IDS_MAX}".encode())
            page = await _page(replies, len(ids), min(page_timeout_s, deadline - time.monotonic()))
            if page is None:
                continue
            total, found = page
            totals.append(total)
            ids.extend(found)
            if len(ids) >= total:
                is_exact = len(ids) == total
                reason = "" if is_exact else f"the total fell to {total} after {len(ids)} ids had been read"
                return ReadBack(is_exact, tuple(ids), tuple(totals), reason)
            if not found:  # the service names more than it gives: ask again, but not at once
                await asyncio.sleep(min(page_timeout_s, max(0.0, deadline - time.monotonic())))
    finally:
        client.stop_listening(own_port)
    said = f"{len(ids)} of {totals[-1]} ids were read" if totals else "no reply came"
    return ReadBack(False, tuple(ids), tuple(totals), f"{said} within {timeout_s:g} s")


def parse_ids(payload: bytes) -> tuple[int, int, list[str]] | None:
    """(total, first, ids) of an IDS reply, or None for anything else."""
    words = payload.decode("ascii", errors="replace").split()
    if len(words) < 3 or words[0] != "IDS" or not (words[1].isdigit() and words[2].isdigit()):
        return None
    return int(words[1]), int(words[2]), words[3:]


async def _page(replies: asyncio.Queue[bytes], first: int, timeout_s: float) -> tuple[int, list[str]] | None:
    """The reply to the page that begins at `first`; late replies to earlier pages are passed over."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                reply = parse_ids(await replies.get())
                if reply is not None and reply[1] == first:
                    return reply[0], reply[2]
    except TimeoutError:
        return None

"""The client's book of writes: asked, acknowledged, refused or unknown, and whether the service still has them.

Each write is invoked, then ok, fail or info (unknown); the book is on disk as it goes. The judge is pure: it compares
the book with what was read back at the end. It must never count an unknown outcome either way, and never call a read
back that was not completed clean.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from testbed import pace
from testbed.client.outage import Outcome

PAGE_IDS_MAX = 24  # the service gives at most so many ids in one reply
PAGE_TIMEOUT_S = 0.5  # then the page is asked for again
_SHOWN_IDS_MAX = 10


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
    outcome: Outcome | None = None
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


class Verdict(StrEnum):
    """What the judge can say."""

    CLEAN = "clean"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class LedgerVerdict:
    """The judgement: `lost` is None when the read back was not completed, because then nobody can say 0."""

    verdict: Verdict
    reason: str
    acknowledged: int
    lost: int | None
    stale: int
    unknown: int
    duplicated: int
    resurrected: int
    foreign: int
    lost_ids: tuple[str, ...] = ()
    stale_ids: tuple[str, ...] = ()


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
        late = entry.outcome is Outcome.INFO
        self._entries[write_id] = replace(
            entry, outcome=Outcome.OK, index=index, is_late=late, acknowledged_at_s=round(t_s, 6)
        )
        self._line(t_s, "ok", write_id, index=index)

    def fail(self, write_id: str, text: str, t_s: float) -> None:
        """The service refused the write."""
        self._settle(write_id, Outcome.FAIL)
        self._line(t_s, "fail", write_id, text=text)

    def info(self, write_id: str, t_s: float) -> None:
        """No answer came in time: whether it was written is unknown."""
        self._settle(write_id, Outcome.INFO)
        self._line(t_s, "info", write_id)

    def _settle(self, write_id: str, outcome: Outcome) -> None:
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


def judge(
    entries: Iterable[Entry], read_back: ReadBack, *, pong_totals: Sequence[tuple[int, int]] = ()
) -> LedgerVerdict:
    """Compare the book with the read back; `pong_totals` are (request number, total) of a PING probe, if any."""
    book = tuple(entries)
    places: dict[str, list[int]] = {}
    for index, write_id in enumerate(read_back.ids):
        places.setdefault(write_id, []).append(index)
    acknowledged = [entry for entry in book if entry.outcome is Outcome.OK]
    lost = [entry.id for entry in acknowledged if entry.id not in places]
    stale = [entry.id for entry in acknowledged if entry.id in places and entry.index not in places[entry.id]]
    backwards = _steps_back(read_back.totals) + _steps_back([total for _, total in sorted(pong_totals)])
    stale_count = len(stale) + backwards
    outcomes = Counter(entry.outcome for entry in book)
    known = {entry.id for entry in book}
    verdict, reason = _verdict(read_back, lost, stale_count)
    return LedgerVerdict(
        verdict=verdict,
        reason=reason,
        acknowledged=len(acknowledged),
        lost=len(lost) if read_back.complete else None,
        stale=stale_count,
        unknown=outcomes[Outcome.INFO] + outcomes[None],
        duplicated=sum(len(found) > 1 for write_id, found in places.items() if write_id in known),
        resurrected=sum(entry.outcome is Outcome.FAIL and entry.id in places for entry in book),
        foreign=sum(write_id not in known for write_id in places),
        lost_ids=tuple(lost[:_SHOWN_IDS_MAX]) if read_back.complete else (),
        stale_ids=tuple(stale[:_SHOWN_IDS_MAX]),
    )


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


def _steps_back(totals: Sequence[int]) -> int:
    return sum(after < before for before, after in pairwise(totals))


def _verdict(read_back_: ReadBack, lost: Sequence[str], stale: int) -> tuple[Verdict, str]:
    if stale:
        return Verdict.VIOLATED, f"{stale} acknowledged writes are not at their place, or totals went back"
    if not read_back_.complete:
        return Verdict.INCONCLUSIVE, f"the read back was not completed: {read_back_.reason}"
    if lost:
        return Verdict.VIOLATED, f"{len(lost)} acknowledged writes are gone"
    return Verdict.CLEAN, "every acknowledged write is at its place"


def as_fields(verdict: LedgerVerdict) -> Mapping[str, object]:
    """The numbers that go into result.json."""
    return {
        "acknowledged": verdict.acknowledged,
        "lost": verdict.lost,
        "stale": verdict.stale,
        "unknown": verdict.unknown,
        "duplicated": verdict.duplicated,
        "resurrected": verdict.resurrected,
        "verdict": verdict.verdict.value,
        "reason": verdict.reason,
    }

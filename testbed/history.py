"""The append-only record of a run: everything that was seen or done, on one monotonic timeline.

Recorders write here first and checkers judge afterwards, also on yesterday's file. A record is on disk before anybody
is woken by it. It must never be reordered, filtered or interpreted here, and it is written from the loop's thread
only.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType


@dataclass(frozen=True)
class HistoryRecord:
    """One thing that was seen or done; `index` is its place in the history and `t_s` the host's monotonic clock."""

    index: int
    t_s: float
    source: str
    kind: str
    fields: Mapping[str, object]

    def text(self, zero_at_s: float = 0.0) -> str:
        """Return one readable line with the time relative to `zero_at_s`."""
        shown = " ".join(f"{key}={value}" for key, value in self.fields.items())
        return f"[{self.t_s - zero_at_s:9.3f}] {self.source} {self.kind} {shown}".rstrip()


class History:
    """All records of one run, in memory and (when a path is given) in a JSONL file."""

    def __init__(self, path: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._records: list[HistoryRecord] = []
        self._changed = asyncio.Event()
        self._zero_at_s = 0.0
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", buffering=1, encoding="utf-8")  # line-buffered: a crash loses no record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later records stay in memory only."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[HistoryRecord]:
        return iter(tuple(self._records))

    @property
    def zero_at_s(self) -> float:
        """The monotonic time that is shown as 0."""
        return self._zero_at_s

    @zero_at_s.setter
    def zero_at_s(self, at_s: float) -> None:
        self._zero_at_s = at_s
        self.record("history", "zero", zero_at_s=at_s)

    @property
    def last(self) -> HistoryRecord | None:
        """The newest record, or None."""
        return self._records[-1] if self._records else None

    def mark(self) -> int:
        """Return the index that the next record will get: give it as `after` to see only what follows."""
        return len(self._records)

    def since(self, index: int) -> tuple[HistoryRecord, ...]:
        """Return the records from this index on."""
        return tuple(self._records[index:])

    def record(self, source: str, kind: str, /, **fields: object) -> HistoryRecord:
        """Append one record stamped now, write it to the file and wake everybody who waits."""
        return self.record_at(self._clock(), source, kind, **fields)

    def record_at(self, t_s: float, source: str, kind: str, /, **fields: object) -> HistoryRecord:
        """Append a record with a time taken elsewhere on the same clock, for example by the switch process."""
        assert not {"t_s", "source", "kind"} & fields.keys(), "a field would hide a column of the record"
        entry = HistoryRecord(len(self._records), t_s, source, kind, fields)
        if self._file is not None:
            self._file.write(as_json(entry) + "\n")
        self._records.append(entry)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return entry

    async def wait_beyond(self, index: int) -> None:
        """Return as soon as a record with this index exists; without a limit, which `testbed.wait` sets."""
        while len(self._records) <= index:
            await self._changed.wait()

    def text(self) -> str:
        """Return the whole history as readable lines with relative times."""
        return "\n".join(entry.text(self._zero_at_s) for entry in self._records)


def as_json(entry: HistoryRecord) -> str:
    """Return the JSONL line of a record; values that JSON does not know are shown as text."""
    line = {"t_s": round(entry.t_s, 6), "source": entry.source, "kind": entry.kind, **entry.fields}
    return json.dumps(line, default=str, ensure_ascii=False)


def load(path: Path) -> tuple[HistoryRecord, ...]:
    """Read the records of an earlier run; a last line that was cut off by a crash is left out."""
    records: list[HistoryRecord] = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            item = json.loads(line)
        except json.JSONDecodeError:
            continue
        records.append(HistoryRecord(len(records), item.pop("t_s"), item.pop("source"), item.pop("kind"), item))
    return tuple(records)

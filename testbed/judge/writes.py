"""What became of each write, over all readings of a run: stable, lost, stale, duplicated or never read; pure.

A reading is all ids that one reader had: the survivor's service, or the log on a node's replica. A write is *known*
once it was acknowledged or once any reading showed it, and every complete reading that began later must have it, at the
place that was named. An unknown outcome counts neither way until a reading has shown it. It must never call a write
fine that no reading could have shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from testbed.client.ledger import Entry, Verdict
from testbed.client.outage import Outcome
from testbed.replica.reading import Reading

SHOWN_IDS_MAX = 10


class Fate(StrEnum):
    """What became of one write."""

    STABLE = "stable"
    LOST = "lost"
    STALE = "stale"
    DUPLICATED = "duplicated"
    NEVER_READ = "never read"


@dataclass(frozen=True)
class SetFull:
    """The classes over all writes that may be judged, and by reader; `unread` are acknowledged ones nobody could see.

    A refused write that is nowhere is in no class; one that is there is `resurrected`. `foreign` ids were never asked.
    """

    verdict: Verdict
    reason: str
    counts: Mapping[Fate, int]
    by_reader: Mapping[str, Mapping[str, int]]
    unread: int
    resurrected: int
    foreign: int
    ids: Mapping[Fate, tuple[str, ...]]


@dataclass(frozen=True)
class _Seen:
    """One reading, indexed."""

    reading: Reading
    places: Mapping[str, list[int]]

    def fate(self, entry: Entry) -> Fate:
        """What this reading says of a write that it must have."""
        places = self.places.get(entry.id)
        if places is None:
            return Fate.LOST
        if entry.index is not None and entry.index not in places:
            return Fate.STALE
        return Fate.DUPLICATED if len(places) > 1 else Fate.STABLE


def classify(entries: Iterable[Entry], readings: Sequence[Reading], *, duplicates_allowed: bool) -> SetFull:
    """Give every write its class; duplicates are allowed only where the network was told to duplicate requests."""
    book = tuple(entries)
    seen = [_index(reading) for reading in sorted(readings, key=lambda reading: reading.at_s)]
    fates: dict[str, Fate] = {}
    by_reader: dict[str, Counter[str]] = {one.reading.reader: Counter() for one in seen}
    unread: list[str] = []
    for entry in book:
        known_at_s = _known_at(entry, seen)
        found = [
            (one.reading.reader, one.fate(entry))
            for one in seen
            if one.reading.complete and known_at_s is not None and one.reading.at_s >= known_at_s
        ]
        for reader, fate in found:
            by_reader[reader][fate.value] += 1
        if found:
            fates[entry.id] = _overall(found)
        elif entry.outcome is not Outcome.FAIL:
            fates[entry.id] = Fate.NEVER_READ
            if entry.outcome is Outcome.OK:
                unread.append(entry.id)
    known_ids = {entry.id for entry in book}
    all_read = {write_id for one in seen for write_id in one.places}
    counts = Counter(fates.values())
    verdict, reason = _verdict(counts, by_reader, readings, len(unread), duplicates_allowed=duplicates_allowed)
    return SetFull(
        verdict=verdict,
        reason=reason,
        counts={fate: counts[fate] for fate in Fate},
        by_reader={reader: dict(count) for reader, count in by_reader.items()},
        unread=len(unread),
        resurrected=sum(entry.outcome is Outcome.FAIL and entry.id in all_read for entry in book),
        foreign=len(all_read - known_ids),
        ids={
            fate: tuple(write_id for write_id, its in fates.items() if its is fate)[:SHOWN_IDS_MAX]
            for fate in (Fate.LOST, Fate.STALE, Fate.DUPLICATED)
        },
    )


def _index(reading: Reading) -> _Seen:
    places: dict[str, list[int]] = {}
    for index, write_id in enumerate(reading.ids):
        places.setdefault(write_id, []).append(index)
    return _Seen(reading, places)


def _known_at(entry: Entry, seen: Sequence[_Seen]) -> float | None:
    """Since when the write must be there: its acknowledgement, or the first reading that shows it."""
    if entry.outcome is Outcome.FAIL:
        return None
    shown = [one.reading.at_s for one in seen if entry.id in one.places]
    if entry.acknowledged_at_s is not None:
        shown.append(entry.acknowledged_at_s)
    return min(shown, default=None)


def _overall(found: Sequence[tuple[str, Fate]]) -> Fate:
    """A write that any reader's newest reading lacks is lost; one that only an earlier reading lacked is stale."""
    newest = dict(found)  # the readings are in the order of time
    fates = [fate for _, fate in found]
    if Fate.LOST in newest.values():
        return Fate.LOST
    if Fate.LOST in fates or Fate.STALE in fates:
        return Fate.STALE
    return Fate.DUPLICATED if Fate.DUPLICATED in fates else Fate.STABLE


def _verdict(
    counts: Mapping[Fate, int], by_reader: Mapping[str, Mapping[str, int]], readings: Sequence[Reading], unread: int,
    *, duplicates_allowed: bool,
) -> tuple[Verdict, str]:  # fmt: skip
    bad = [Fate.LOST, Fate.STALE] + ([] if duplicates_allowed else [Fate.DUPLICATED])
    broken = [
        f"{reader}: {', '.join(f'{count[fate]} {fate}' for fate in bad if count.get(fate))}"
        for reader, count in by_reader.items()
        if any(count.get(fate) for fate in bad)
    ]
    if any(counts.get(fate) for fate in bad):
        return Verdict.VIOLATED, f"writes that must be there are not as they were acknowledged; {'; '.join(broken)}"
    blind = [f"{reading.reader} could not be read: {reading.reason}" for reading in readings if not reading.complete]
    if not readings:
        blind.append("nobody read anything back")
    if unread:
        blind.append(f"{unread} acknowledged writes were in reach of no complete reading")
    if not sum(counts.get(fate, 0) for fate in Fate if fate is not Fate.NEVER_READ) and not blind:
        blind.append("no write was acknowledged, so nothing could have been lost")
    if blind:
        return Verdict.INCONCLUSIVE, "; ".join(blind)
    return Verdict.CLEAN, f"every write that must be there is at its place in {', '.join(by_reader)}"


def as_fields(found: SetFull) -> dict[str, object]:
    """What goes into result.json."""
    return {
        "verdict": found.verdict.value,
        "reason": found.reason,
        **{fate.value.replace(" ", "_"): found.counts[fate] for fate in Fate},
        "unread": found.unread,
        "resurrected": found.resurrected,
        "foreign": found.foreign,
        "by_reader": found.by_reader,
        "ids": {fate.value: list(ids) for fate, ids in found.ids.items()},
    }

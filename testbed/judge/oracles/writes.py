"""What became of each write, over all readings of a run: stable, lost, stale, duplicated, given up or never read? Pure.

A reading is all ids that one reader had: the survivor's service, or the log on a node's replica. A write is *owed* once
it was acknowledged or once any reading showed it: every complete reading that began later must have it, at the place
that was named. An unknown outcome counts neither way until a reading has shown it. It must never call a write fine that
no reading could have shown.

After a choice between two versions, a write that the node whose version was given up may have acknowledged alone is not
in the other version. It is *given up* if it is at its place in the copy of that version, and lost if it is in neither.
The copy makes no write owed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from testbed.client.ledger import Entry
from testbed.client.outage import AttemptOutcome
from testbed.judge.finding import Finding, blind, together
from testbed.judge.oracle import Oracle
from testbed.judge.orders import Choice, choice_of
from testbed.judge.recorded import Recorded
from testbed.judge.verdict import Verdict
from testbed.replica.reading import Reading

SHOWN_IDS_MAX = 10


class Fate(StrEnum):
    """What became of one write."""

    STABLE = "stable"
    LOST = "lost"
    STALE = "stale"
    DUPLICATED = "duplicated"
    GIVEN_UP = "given up"
    NEVER_READ = "never read"


class Writes:
    """Every write that is owed is there, once, at its place, for each reader."""

    name = "writes"
    is_needed = True

    def judge(self, recorded: Recorded) -> Finding:
        """Judge the client's book of each VM against everything that was read back of it; counts are of all VMs."""
        said = {vm: self._of_one(recorded, vm) for vm in recorded.scene.vms}
        found = together(self.name, said)
        return found if len(said) == 1 else replace(found, evidence={**_added(said.values()), "vms": found.evidence})

    def _of_one(self, recorded: Recorded, vm: str) -> Finding:
        book, readings = recorded.books.get(vm, ()), recorded.readings_of(vm)
        if isinstance(readings, str):
            acknowledged = sum(entry.outcome is AttemptOutcome.OK for entry in book)
            return blind(self.name, readings, acknowledged=acknowledged)
        choice = choice_of(recorded)  # one that was to be made and was not excuses nothing
        made = choice if isinstance(choice, Choice) else None
        found = classify(book, readings, duplicates_allowed=recorded.duplicates_allowed, choice=made)
        return Finding(self.name, found.verdict, found.reason, as_fields(found))


ORACLES: tuple[Oracle, ...] = (Writes(),)


@dataclass(frozen=True)
class SetFull:
    """The fates of all writes that may be judged, and by reader; `unread` are acknowledged ones nobody could see.

    `lost` is None when no reader could read everything, because then nobody can say 0. A total that went back, which
    one reader named, is in `stale` as well. A refused write that is nowhere has no fate; one that is there is
    `resurrected`. `foreign` ids were never asked.
    """

    verdict: Verdict
    reason: str
    counts: Mapping[Fate, int]
    by_reader: Mapping[str, Mapping[str, int]]
    acknowledged: int
    unknown: int
    lost: int | None
    stale: int
    unread: int
    resurrected: int
    foreign: int
    ids: Mapping[Fate, tuple[str, ...]]


@dataclass(frozen=True)
class _IndexedReading:
    """One reading, indexed."""

    reading: Reading
    places: Mapping[str, list[int]]

    def fate(self, entry: Entry, owed_at_s: float | None) -> Fate | None:
        """What this reading says of a write, or None when it cannot say; an incomplete one can say only "stale"."""
        if owed_at_s is None or self.reading.at_s < owed_at_s:
            return None
        places = self.places.get(entry.id)
        if places is not None and entry.index is not None and entry.index not in places:
            return Fate.STALE
        if not self.reading.complete:
            return None
        if places is None:
            return Fate.LOST
        return Fate.DUPLICATED if len(places) > 1 else Fate.STABLE


def classify(
    entries: Iterable[Entry],
    readings: Sequence[Reading],
    *,
    duplicates_allowed: bool,
    pong_totals: Iterable[tuple[int, int]] = (),
    choice: Choice | None = None,
) -> SetFull:
    """Give every write its fate; duplicates are allowed only where the network was told to duplicate requests.

    `pong_totals` are (request number, total) of a probe that pinged beside it, if any. `choice`: which of two versions
    a person gave up.
    """
    book = tuple(entries)
    copies = [_index(one) for one in readings if choice is not None and one.given_up_by == choice.given_up]
    readings = [one for one in readings if not one.given_up_by]
    seen = [_index(reading) for reading in sorted(readings, key=lambda reading: reading.at_s)]
    fates: dict[str, Fate] = {}
    by_reader: dict[str, Counter[str]] = {one.reading.reader: Counter() for one in seen}
    unread = 0
    for entry in book:
        owed_at_s = _owed_at(entry, seen)
        said = [(one.reading.reader, one.fate(entry, owed_at_s)) for one in seen]
        found = [(reader, fate) for reader, fate in said if fate is not None]
        if choice is not None and choice.may_have_written(entry.acknowledged_at_s):
            found = _in_the_copy(entry, found, copies)
        for reader, fate in found:
            by_reader.setdefault(reader, Counter())[fate.value] += 1
        if found:
            fates[entry.id] = _overall(found)
        elif entry.outcome is not AttemptOutcome.FAIL:
            fates[entry.id] = Fate.NEVER_READ
            unread += entry.outcome is AttemptOutcome.OK
    known_ids = {entry.id for entry in book}
    all_read = {write_id for one in seen for write_id in one.places}
    counts, outcomes = Counter(fates.values()), Counter(entry.outcome for entry in book)
    named = [reading.totals for reading in readings] + [[total for _, total in sorted(pong_totals)]]
    back = sum(after < before for totals in named for before, after in pairwise(totals))
    why_not = _why_not([*readings, *(one.reading for one in copies)], outcomes[AttemptOutcome.OK], unread)
    verdict, reason = _verdict(by_reader, back, why_not, duplicates_allowed=duplicates_allowed)
    return SetFull(
        verdict=verdict,
        reason=reason,
        counts={fate: counts[fate] for fate in Fate},
        by_reader={reader: dict(count) for reader, count in by_reader.items()},
        acknowledged=outcomes[AttemptOutcome.OK],
        unknown=outcomes[AttemptOutcome.INFO] + outcomes[None],
        lost=counts[Fate.LOST] if any(reading.complete for reading in readings) else None,
        stale=counts[Fate.STALE] + back,
        unread=unread,
        resurrected=sum(entry.outcome is AttemptOutcome.FAIL and entry.id in all_read for entry in book),
        foreign=len(all_read - known_ids),
        ids={
            fate: tuple(write_id for write_id, its in fates.items() if its is fate)[:SHOWN_IDS_MAX]
            for fate in (Fate.LOST, Fate.STALE, Fate.DUPLICATED)
        },
    )


def _index(reading: Reading) -> _IndexedReading:
    places: dict[str, list[int]] = {}
    for index, write_id in enumerate(reading.ids):
        places.setdefault(write_id, []).append(index)
    return _IndexedReading(reading, places)


def _owed_at(entry: Entry, seen: Sequence[_IndexedReading]) -> float | None:
    """Since when the write must be there: its acknowledgement, or the first reading that shows it."""
    if entry.outcome is AttemptOutcome.FAIL:
        return None
    shown = [one.reading.at_s for one in seen if entry.id in one.places]
    if entry.acknowledged_at_s is not None:
        shown.append(entry.acknowledged_at_s)
    return min(shown, default=None)


def _in_the_copy(
    entry: Entry, found: list[tuple[str, Fate]], copies: Sequence[_IndexedReading]
) -> list[tuple[str, Fate]]:
    """What the copy of the given-up version says of a write that every reader of the other version lacks."""
    if not found or any(fate is not Fate.LOST for _, fate in found):
        return found
    said = [(one.reading.reader, one.fate(entry, one.reading.at_s)) for one in copies]
    there = [(reader, Fate.GIVEN_UP) for reader, fate in said if fate is Fate.STABLE]
    unknown = any(fate is None for _, fate in said)
    return there or ([] if unknown else found)


def _overall(found: Sequence[tuple[str, Fate]]) -> Fate:
    """A write that any reader's newest reading lacks is lost; one that only an earlier reading lacked is stale."""
    newest = dict(found)  # the readings are in the order of time
    fates = [fate for _, fate in found]
    if Fate.LOST in newest.values():
        return Fate.LOST
    if Fate.GIVEN_UP in fates:
        return Fate.GIVEN_UP
    if Fate.LOST in fates or Fate.STALE in fates:
        return Fate.STALE
    return Fate.DUPLICATED if Fate.DUPLICATED in fates else Fate.STABLE


def _verdict(
    by_reader: Mapping[str, Mapping[str, int]], back: int, why_not: Sequence[str], *, duplicates_allowed: bool
) -> tuple[Verdict, str]:
    bad = [Fate.LOST, Fate.STALE] + ([] if duplicates_allowed else [Fate.DUPLICATED])
    broken = [
        f"{reader}: {', '.join(f'{count[fate]} {fate}' for fate in bad if count.get(fate))}"
        for reader, count in by_reader.items()
        if any(count.get(fate) for fate in bad)
    ]
    broken += [f"the number of writes that the service named went back {back} times"] if back else []
    if broken:
        return Verdict.FAIL, f"writes that must be there are not as they were acknowledged; {'; '.join(broken)}"
    if why_not:
        return Verdict.INCONCLUSIVE, "; ".join(why_not)
    text = f"every write that must be there is at its place in {', '.join(by_reader)}"
    given_up = sum(count.get(Fate.GIVEN_UP, 0) for count in by_reader.values())
    return Verdict.PASS, f"{text}; {given_up} of them in the version that was given up only" if given_up else text


def _why_not(readings: Sequence[Reading], acknowledged: int, unread: int) -> list[str]:
    """Why nobody can say that all is well."""
    found = [f"{reading.reader} could not be read: {reading.reason}" for reading in readings if not reading.complete]
    if not readings:
        found.append("nobody read anything back")
    if unread:
        found.append(f"{unread} acknowledged writes were in reach of no complete reading")
    if not acknowledged and not found:
        found.append("no write was acknowledged, so nothing could have been lost")
    return found


def _added(findings: Iterable[Finding]) -> dict[str, int | None]:
    """The counts of several VMs as one; what is not known of one VM is not known of all."""
    counts: dict[str, list[object]] = {}
    for finding in findings:
        for key, value in finding.evidence.items():
            counts.setdefault(key, []).append(value)
    return {
        key: None if None in values else sum(value for value in values if isinstance(value, int))
        for key, values in counts.items()
        if all(value is None or isinstance(value, int) for value in values)
    }


def as_fields(found: SetFull) -> dict[str, object]:
    """The evidence of the finding."""
    return {
        "acknowledged": found.acknowledged,
        "unknown": found.unknown,
        **{fate.value.replace(" ", "_"): found.counts[fate] for fate in Fate},
        "lost": found.lost,
        "stale": found.stale,
        "unread": found.unread,
        "resurrected": found.resurrected,
        "foreign": found.foreign,
        "by_reader": found.by_reader,
        "ids": {fate.value: list(ids) for fate, ids in found.ids.items()},
    }

"""The two halves of a node's mirror: which of them may be taken for the current one (decision 0019).

md cannot tell: a half that dropped out looks whole as long as the newer half is absent, and DRBD's metadata lies on the
same half. So what is known of the newest half is kept in a `Note` elsewhere: on the system disk, and at the peer.
Pure rules; `adapters/mirror.py` looks at the disks and does what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from avance.core.model import MirrorState

HALVES = 2
_FORMER_MAX = 4  # arrays that were given up here; their halves may be used again as blank ones
_CLEAN_STEP = 1  # md takes one event back when an array becomes clean (md.c, can_decrease_events)


class Found(StrEnum):
    """What is in the place of a data disk, when it is no half of a mirror."""

    ABSENT = "absent"  # no disk, or one that does not answer
    BLANK = "blank"
    FOREIGN = "foreign"  # it holds something that this product did not make


@dataclass(frozen=True, slots=True)
class Half:
    """What the superblock of one half says: `array` and `device` name both, `events` counts the changes of the array.

    `complete`: it holds all data, unlike a spare or a half that is being rebuilt. `alone`: it has outlived the other
    half, or was used without it.
    """

    array: str
    device: str
    events: int
    complete: bool = True
    alone: bool = False


Slots = Mapping[str, Half | Found]


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept of the newest half, for the case that it is absent when the node starts.

    `seq` rises with each note, so the newer of two is known. `current` are the halves with all data; none while the
    array is being made. `events` is the least count that a current half can have. `doubt`: the half in use may lack
    the last writes. `former` are arrays that were given up here.
    """

    seq: int
    array: str
    current: tuple[str, ...] = ()
    events: int = 0
    doubt: bool = False
    former: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssemblyPlan:
    """What to do with the disks at the start: assemble the array from these, or create it on these, or neither."""

    state: MirrorState
    detail: str
    assemble: tuple[str, ...] = ()
    create: tuple[str, ...] = ()


def choose(slots: Slots, note: Note | None) -> AssemblyPlan:
    """Say what may be assembled; a half that the note does not call current is never taken for the current one."""
    halves = {disk: half for disk, half in slots.items() if isinstance(half, Half)}
    blank = tuple(sorted(disk for disk, found in slots.items() if found is Found.BLANK))
    if note is None:
        return _without_note(slots, halves, blank)
    unfinished = not note.current and not note.former
    made = tuple(sorted(disk for disk, half in halves.items() if half.array == note.array))
    if unfinished and len(made) + len(blank) == len(slots) == HALVES:
        return AssemblyPlan(MirrorState.CURRENT, "the first making of the mirror is done again", create=(*made, *blank))
    current = {disk: half for disk, half in halves.items() if is_current(half, note)}
    if current:
        return _current(current, note)
    if not halves and not blank and Found.FOREIGN not in slots.values():
        return AssemblyPlan(MirrorState.NONE, "no data disk answers")
    if len(blank) == len(slots) == HALVES:
        return AssemblyPlan(MirrorState.OLD, "both data disks are blank, but this node had a mirror")
    return AssemblyPlan(MirrorState.OLD, f"the current half of the mirror is absent: {_words(slots, note)}")


def is_current(half: Half, note: Note) -> bool:
    """Say whether a half is one that the note calls current, and not an older copy of it."""
    return half.array == note.array and half.complete and half.device in note.current and half.events >= note.events


def _current(current: Mapping[str, Half], note: Note) -> AssemblyPlan:
    last = tuple(sorted(disk for disk, half in current.items() if half.alone))
    if len(last) == HALVES:
        return AssemblyPlan(MirrorState.DOUBT, "each half was used without the other")
    disks = last or tuple(sorted(current))
    if note.doubt:
        return AssemblyPlan(MirrorState.UNPROVEN, "the half in use may lack the last writes", assemble=disks)
    if len(disks) == HALVES or last or len(note.current) == 1:
        return AssemblyPlan(MirrorState.CURRENT, "", assemble=disks)
    # Both halves were current, and this one knows of no loss: the other may have lived some moments longer.
    return AssemblyPlan(
        MirrorState.UNPROVEN, f"only the half on {disks[0]} is there, and nothing says that it is the newest", disks
    )


def _without_note(slots: Slots, halves: Mapping[str, Half], blank: tuple[str, ...]) -> AssemblyPlan:
    if not halves:
        if len(blank) == len(slots) == HALVES:
            return AssemblyPlan(MirrorState.CURRENT, "", create=blank)
        if set(slots.values()) <= {Found.ABSENT}:
            return AssemblyPlan(MirrorState.NONE, "no data disk answers")
        return AssemblyPlan(
            MirrorState.NONE, f"the data disks are neither both blank nor a mirror: {_words(slots, None)}"
        )
    complete = {disk: half for disk, half in halves.items() if half.complete}
    one_array = len({half.array for half in halves.values()}) == 1
    if not one_array or len(halves) < HALVES or not complete:
        return AssemblyPlan(MirrorState.DOUBT, f"nothing is known of the newest half: {_words(slots, None)}")
    last = tuple(sorted(disk for disk, half in complete.items() if half.alone))
    if len(last) == HALVES:
        return AssemblyPlan(MirrorState.DOUBT, "each half was used without the other")
    return AssemblyPlan(MirrorState.CURRENT, "", assemble=last or tuple(sorted(complete)))


def _words(slots: Slots, note: Note | None) -> str:
    return ", ".join(f"{disk} {_word(slot, note)}" for disk, slot in sorted(slots.items()))


def _word(slot: Half | Found, note: Note | None) -> str:
    if isinstance(slot, Found):
        return str(slot)
    if note is not None and slot.array != note.array:
        return "given up" if slot.array in note.former else Found.FOREIGN
    return f"a half with event count {slot.events}"


class Return(StrEnum):
    """What may be done with a disk that is not in use while the mirror runs."""

    NOTHING = "nothing"
    REFUSE = "refuse"
    READD = "re-add"  # it left this mirror: only what changed since is copied
    ADD = "add"  # it is wiped and copied in full


def returned(slot: Half | Found, note: Note) -> Return:
    """Say how a disk may come back into the running mirror: blank or ours only, and never as a source.

    A half that was used without the others has writes that the mirror's bitmap knows nothing of, so it is copied in
    full. While the half in use is in doubt, the returned one may be the better one, so it stays as it is.
    """
    if slot is Found.ABSENT:
        return Return.NOTHING
    if slot is Found.BLANK:
        return Return.ADD
    if not isinstance(slot, Half) or slot.array not in (note.array, *note.former):
        return Return.REFUSE
    if slot.array == note.array and slot.complete and not slot.alone:
        return Return.READD
    return Return.REFUSE if note.doubt and slot.array == note.array else Return.ADD


def reusable(slots: Slots, note: Note | None) -> tuple[str, ...]:
    """Return the disks on which a new, empty mirror may be made when the peer has the only good copy."""
    arrays = {half.array for half in slots.values() if isinstance(half, Half)}
    ours = arrays if note is None and len(arrays) == 1 else () if note is None else (note.array, *note.former)
    usable = (
        disk for disk, slot in slots.items() if slot is Found.BLANK or (isinstance(slot, Half) and slot.array in ours)
    )
    return tuple(sorted(usable))


def begun(note: Note | None, array: str, given_up: tuple[str, ...] = ()) -> Note:
    """Return the note that comes before a new array is made: until it is complete, none of its halves is current."""
    former = (*(note.former if note else ()), *((note.array,) if note else ()), *given_up)
    kept = tuple(dict.fromkeys(name for name in former if name != array))[-_FORMER_MAX:]
    return Note(1 + (note.seq if note else 0), array, former=kept)


def noted(note: Note | None, array: str, current: tuple[str, ...], events: int, *, doubt: bool) -> Note:
    """Return the note for the mirror as it is; the same note when it says this already.

    `events` is the count of the current halves, 0 when it is not known: what was known stays the least.
    """
    before = note or Note(0, array)
    floor = max(before.events, events - _CLEAN_STEP)
    after = Note(before.seq, array, tuple(sorted(current)), floor, doubt, before.former)
    return after if after == note else Note(before.seq + 1, array, after.current, floor, doubt, before.former)

"""Which half may be taken for the current one, in every situation that a node can wake up in."""

from __future__ import annotations

import pytest

from avance.core.halves import AssemblyPlan, Found, Half, Note, Return, Slots, begun, choose, noted, returned, reusable
from avance.core.model import MirrorState

B, C = "/dev/vdb", "/dev/vdc"
ARRAY, OTHER = "a" * 32, "f" * 32
X, Y = "b" * 32, "c" * 32


def half(device: str, events: int, *, alone: bool = False, complete: bool = True, array: str = ARRAY) -> Half:
    """Return one half."""
    return Half(array, device, events, complete=complete, alone=alone)


WHOLE = Note(3, ARRAY, (X, Y), 8)
ONLY_Y = Note(4, ARRAY, (Y,), 9)


def test_a_whole_mirror_is_assembled_from_both_halves() -> None:
    """The ordinary start."""
    assert choose({B: half(X, 9), C: half(Y, 8)}, WHOLE) == AssemblyPlan(MirrorState.CURRENT, "", assemble=(B, C))


@pytest.mark.parametrize("events", [9, 10, 64, 10_000])
def test_a_half_that_the_note_does_not_call_current_is_never_assembled(events: int) -> None:
    """It looks whole, and its count may even be the greater one: what counts is the note."""
    plan = choose({B: half(X, events), C: Found.ABSENT}, ONLY_Y)
    assert (plan.state, plan.assemble, plan.create) == (MirrorState.OLD, (), ())
    assert f"{B} a half with event count {events}" in plan.detail


def test_an_older_copy_of_a_current_half_is_never_assembled() -> None:
    """A clone from before carries the right names, and a count that is too low."""
    assert choose({B: Found.ABSENT, C: half(Y, 8, alone=True)}, ONLY_Y).assemble == ()
    assert choose({B: Found.ABSENT, C: half(Y, 9, alone=True)}, ONLY_Y).assemble == (C,)


def test_the_current_half_is_assembled_without_the_old_one_beside_it() -> None:
    """The old one comes back afterwards, as a target."""
    assert choose({B: half(X, 5), C: half(Y, 9, alone=True)}, ONLY_Y).assemble == (C,)


def test_a_half_that_is_being_rebuilt_is_not_current() -> None:
    """It holds the data up to a place only, whatever its count and the note say."""
    slots: Slots = {B: half(X, 30, complete=False), C: Found.ABSENT}
    assert choose(slots, WHOLE).state is MirrorState.OLD
    assert choose(slots, None).state is MirrorState.DOUBT


def test_of_two_noted_halves_the_one_that_outlived_the_other_is_taken() -> None:
    """The node died before the loss was noted; the survivor's superblock tells of it."""
    assert choose({B: half(X, 9), C: half(Y, 12, alone=True)}, WHOLE) == AssemblyPlan(
        MirrorState.CURRENT, "", assemble=(C,)
    )
    assert choose({B: Found.ABSENT, C: half(Y, 12, alone=True)}, WHOLE).state is MirrorState.CURRENT


def test_one_of_two_noted_halves_that_knows_of_no_loss_is_unproven() -> None:
    """The absent one may have lived some moments longer, and have acknowledged writes in them."""
    plan = choose({B: half(X, 9), C: Found.ABSENT}, WHOLE)
    assert (plan.state, plan.assemble) == (MirrorState.UNPROVEN, (B,))


def test_a_doubt_stays_over_a_restart() -> None:
    """Once a half ran alone its superblock looks as if it had outlived the other."""
    doubt = noted(WHOLE, ARRAY, (X,), 0, doubt=True)
    assert choose({B: half(X, 12, alone=True), C: Found.ABSENT}, doubt).state is MirrorState.UNPROVEN
    proven = noted(doubt, ARRAY, (X,), 0, doubt=False)
    assert choose({B: half(X, 12, alone=True), C: Found.ABSENT}, proven).state is MirrorState.CURRENT


@pytest.mark.parametrize("note", [None, WHOLE])
def test_two_halves_that_each_lived_alone_are_not_chosen_between(note: Note | None) -> None:
    """Both have writes that the other lacks."""
    assert choose({B: half(X, 9, alone=True), C: half(Y, 9, alone=True)}, note).state is MirrorState.DOUBT


def test_without_a_note_only_a_whole_mirror_is_believed() -> None:
    """An older installation is taken over as it is; one half alone proves nothing."""
    assert choose({B: half(X, 1), C: half(Y, 2)}, None).assemble == (B, C)
    assert choose({B: half(X, 8), C: half(Y, 9, alone=True)}, None).assemble == (C,)
    for other in (Found.ABSENT, Found.BLANK, Found.FOREIGN, half(Y, 9, array=OTHER)):
        plan = choose({B: half(X, 9), C: other}, None)
        assert (plan.state, plan.assemble, plan.create) == (MirrorState.DOUBT, (), ())


def test_a_mirror_is_made_on_two_blank_disks_that_never_were_one() -> None:
    """The first start; a node that had a mirror never begins anew by itself."""
    blank = {B: Found.BLANK, C: Found.BLANK}
    assert choose(blank, None).create == (B, C)
    for slots in ({**blank, C: Found.ABSENT}, {**blank, C: Found.FOREIGN}, {B: Found.ABSENT, C: Found.FOREIGN}):
        assert choose(slots, None).state is MirrorState.NONE
        assert choose(slots, None).create == ()
    plan = choose(blank, WHOLE)
    assert (plan.state, plan.create) == (MirrorState.OLD, ())
    assert choose({B: Found.ABSENT, C: Found.ABSENT}, WHOLE).state is MirrorState.NONE


def test_a_first_making_that_was_cut_off_is_done_again() -> None:
    """Power was lost between the note and the complete array; nobody can have written to it."""
    unfinished = begun(None, ARRAY)
    assert choose({B: half(X, 1), C: half(Y, 1)}, unfinished).create == (B, C)
    assert choose({B: half(X, 1), C: Found.BLANK}, unfinished).create == (B, C)
    assert choose({B: half(X, 1), C: Found.ABSENT}, unfinished).create == ()
    assert choose({B: half(X, 1), C: half(Y, 1, array=OTHER)}, unfinished).create == ()


def test_an_emptied_mirror_is_not_current_before_it_is_complete() -> None:
    """The node died while it made a new array of old halves: only the core may begin that again."""
    emptied = begun(ONLY_Y, OTHER)
    plan = choose({B: half(X, 1, array=OTHER), C: Found.ABSENT}, emptied)
    assert (plan.state, plan.assemble, plan.create) == (MirrorState.OLD, (), ())
    assert reusable({B: half(X, 1, array=OTHER), C: half(Y, 9)}, emptied) == (B, C)


@pytest.mark.parametrize(
    ("slot", "how"),
    [
        (half(X, 9, array=OTHER), Return.REFUSE),
        (half(X, 9, alone=True), Return.ADD),
        (half(X, 9), Return.READD),
        (Found.ABSENT, Return.NOTHING),
        (Found.BLANK, Return.ADD),
        (Found.FOREIGN, Return.REFUSE),
        (half(X, 9, complete=False), Return.ADD),
        (half(X, 9, array="e" * 32), Return.ADD),
    ],
)
def test_only_ours_or_blank_disks_come_back(slot: Half | Found, how: Return) -> None:
    """A foreign disk is never overwritten; one that lived alone is copied in full, not by the bitmap."""
    assert returned(slot, Note(4, ARRAY, (Y,), 9, former=("e" * 32,))) is how


def test_a_half_that_outlived_the_one_in_doubt_is_not_overwritten() -> None:
    """It may be the better one."""
    doubt = Note(5, ARRAY, (X,), 9, doubt=True)
    assert returned(half(Y, 12, alone=True), doubt) is Return.REFUSE
    assert returned(half(Y, 12), doubt) is Return.READD


def test_what_may_be_emptied_is_ours() -> None:
    """Old halves, halves of arrays that were given up, blank disks; without a note the one array that is there."""
    assert reusable({B: half(X, 5), C: Found.FOREIGN}, ONLY_Y) == (B,)
    assert reusable({B: half(X, 5, array=OTHER), C: Found.BLANK}, ONLY_Y) == (C,)
    assert reusable({B: half(X, 5), C: Found.ABSENT}, None) == (B,)
    assert reusable({B: half(X, 5), C: half(Y, 5, array=OTHER)}, None) == ()


def test_a_note_grows_and_never_forgets() -> None:
    """Its number rises with each change, and the least count never falls; md may take one event back."""
    first = noted(None, ARRAY, (Y, X), 2, doubt=False)
    assert first == Note(1, ARRAY, (X, Y), 1)
    assert noted(first, ARRAY, (X, Y), 2, doubt=False) == first
    lost = noted(first, ARRAY, (Y,), 0, doubt=False)
    assert lost == Note(2, ARRAY, (Y,), 1)
    assert noted(lost, ARRAY, (Y,), 9, doubt=False) == Note(3, ARRAY, (Y,), 8)


def test_arrays_that_were_given_up_are_remembered() -> None:
    """Their halves may be used again later, and no more than a few are kept."""
    note = begun(begun(WHOLE, OTHER), "1" * 32, given_up=("2" * 32,))
    assert note == Note(5, "1" * 32, former=(ARRAY, OTHER, "2" * 32))
    for number in range(20):
        note = begun(note, f"{number:032x}")
    assert len(note.former) == 4
    assert note.array not in note.former

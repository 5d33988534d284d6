"""Which copy is good: states, generations, and what the peer says; what is not known is never called good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import copies
from avance.core.model import Copy, DiskRole, DiskState, DiskView, PairState, PeerView, Record
from tests.playbook import WEB, A, B, in_sync, peer_gone

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
GOOD = (DiskState.UP_TO_DATE, DiskState.CONSISTENT)


def peer(copy: Copy | None, **changes: object) -> PeerView:
    """Return a peer that says this of its copy."""
    said = {} if copy is None else {WEB: copy}
    record = replace(Record(3, A), **changes)  # type: ignore[arg-type]  # single fields
    return PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.PAIRED, record, copies=said)


def test_words_compare_without_zeroes_and_without_the_role_bit() -> None:
    """The lowest bit says only that the node was primary; what was never set is left out."""
    assert copies.known(("106568C98765B301", "0", "0", "0")) == ("106568c98765b300",)
    assert copies.known(("A1", "B0", "C1", "0")) == ("a0", "b0", "c0")
    assert copies.known(("4", "0", "0", "0")) == (copies.JUST_CREATED,)


@pytest.mark.parametrize("state", list(DiskState))
def test_disk_is_lost_only_when_drbd_works_without_it(state: DiskState) -> None:
    """A resource without a disk that serves or mirrors has lost it; one that is merely not attached yet has not."""
    gone = state in (DiskState.DISKLESS, DiskState.FAILED)
    assert copies.is_lost(replace(in_sync(P), disk=state)) is gone
    assert copies.is_lost(replace(in_sync(S), disk=state)) is gone
    assert copies.is_lost(peer_gone(P, disk=state)) is gone
    assert not copies.is_lost(DiskView(S, state))
    assert not copies.is_lost(None)


@pytest.mark.parametrize("state", list(DiskState))
def test_good_is_whole_and_not_behind(state: DiskState) -> None:
    """Only an UpToDate or Consistent copy that is not behind may be served."""
    assert copies.is_good(Record(3, A), WEB, Copy(state)) is (state in GOOD)
    assert not copies.is_good(Record(3, A, behind=(WEB,)), WEB, Copy(state))
    assert copies.peer_is_good(Record(3, A), peer(Copy(state)), WEB) is (state in GOOD)
    assert not copies.peer_is_good(Record(3, A), peer(Copy(state), behind=(WEB,)), WEB)


def test_another_disk_is_behind_while_it_is_there() -> None:
    """Whether a disk is ours is seen anew at each look: the right one that comes back is good again."""
    known = Record(3, A, generations=((WEB, "b0"),))
    assert not copies.is_good(known, WEB, Copy(DiskState.UP_TO_DATE, ("a0",)))
    assert copies.is_good(known, WEB, Copy(DiskState.UP_TO_DATE, ("b0", "a0")))


def test_older_copy_of_the_peer_is_not_good() -> None:
    """What this node knows to be newer is missing on the peer, whatever the peer says of it."""
    known = Record(3, A, peer_outdated=True, generations=((WEB, "b0"),))
    assert not copies.peer_is_good(known, peer(Copy(DiskState.CONSISTENT, ("a0",))), WEB)
    assert copies.peer_is_good(known, peer(Copy(DiskState.CONSISTENT, ("c0", "b0"))), WEB)


def test_what_the_peer_does_not_say_is_not_good() -> None:
    """A peer that was never heard, or that does not speak of the volume, has no good copy."""
    assert not copies.peer_is_good(Record(3, A), None, WEB)
    assert not copies.peer_is_good(Record(3, A), peer(None), WEB)


def test_disk_is_ours_by_its_ancestors() -> None:
    """The newest known generation has to be the disk's own, or one that it was made from; a newer one is missing."""
    assert copies.is_ours("", ("b0", "a0")), "nothing is known yet"
    assert copies.is_ours("b0", ("b0", "a0"))
    assert copies.is_ours("a0", ("b0", "a0"))
    assert not copies.is_ours("c0", ("b0", "a0")), "an old disk, or a clone"
    assert not copies.is_ours("a0", ("4",)), "a blank one"


def test_only_newer_data_made_from_ours_makes_us_the_target() -> None:
    """Equal, unrelated and older data, and what is not known, do not."""
    assert copies.descends(("a0",), ("b0", "a0"))
    assert not copies.descends(("a0",), ("a0", "90"))
    assert not copies.descends(("b0", "a0"), ("a0",))
    assert not copies.descends(("a0",), ("b0", "c0"))
    assert not copies.descends((), ("b0", "a0"))
    assert not copies.descends(("a0",), ())


def test_one_generation_is_known_for_each_volume() -> None:
    """A newer one replaces the one before."""
    record = Record(3, A, generations=copies.with_newest(Record(), WEB, "a0"))
    assert copies.newest(record, WEB) == "a0"
    assert copies.with_newest(record, WEB, "b0") == ((WEB, "b0"),)
    assert copies.newest(Record(), WEB) == ""


@pytest.mark.parametrize(
    ("mine", "theirs", "meets"),
    [
        (("1a",), ("2c", "1a"), True),
        (("1a", "e"), ("2c", "1a", "e"), True),
        (("1a",), ("2c", "1b", "1a"), False),  # another disk was begun to be filled since
        (("2c",), ("2c",), False),
        ((), ("2c", "1a"), False),
    ],
)
def test_a_bitmap_counts_only_from_the_generation_of_this_copy(
    mine: tuple[str, ...], theirs: tuple[str, ...], *, meets: bool
) -> None:
    """Whatever else the peer has filled since is missing in its bitmap, so all blocks have to be taken."""
    assert copies.meets_by_bitmap(mine, theirs) is meets


def test_the_word_of_a_peer_counts_without_its_generations() -> None:
    """One that has forgotten the generation known here is not good by what is known, and good by its own word."""
    record = Record(3, B, peer_outdated=True, generations=((WEB, "1a"),))
    theirs = Record(3, B, peer_outdated=True, generations=((WEB, "4e"),))
    peer = PeerView(B, "b-boot-1", "c0ffee", 1.0, PairState.PAIRED, record=theirs)
    peer = replace(peer, copies={WEB: Copy(DiskState.UP_TO_DATE, ("4e", "3c", "2b"))})
    assert not copies.peer_is_good(record, peer, WEB)
    assert copies.peer_says_good(peer, WEB)
    assert not copies.peer_says_good(replace(peer, record=replace(theirs, behind=(WEB,))), WEB)
    assert not copies.peer_says_good(None, WEB)
    assert copies.peer_is_vouched(record, peer, WEB)
    assert not copies.peer_is_vouched(replace(record, peer_outdated=False), peer, WEB), "it did not go on alone"
    assert not copies.peer_is_vouched(replace(record, owner=A), peer, WEB), "this node went on, and not the peer"
    assert not copies.peer_is_vouched(record, None, WEB)


def test_a_disk_is_there_when_drbd_names_its_state() -> None:
    """Good or bad; one that is lost, on its way or unknown is not there."""
    there = {state for state in DiskState if copies.is_there(Copy(state))}
    assert there == {*GOOD, DiskState.OUTDATED, DiskState.INCONSISTENT}


def test_their_copy_has_all_that_was_written_here_while_our_generation_is_one_of_theirs() -> None:
    """A writer that goes on alone begins a generation first; a blank disk never was a writer's."""
    assert copies.holds(("2b", "1a"), ("2b", "1a"))
    assert copies.holds(("3c", "2b"), ("2b",))
    assert not copies.holds(("2b",), ("3c", "2b"))
    assert not copies.holds(("2b",), ())
    assert not copies.holds(("2b", copies.JUST_CREATED), (copies.JUST_CREATED,))
    assert not copies.holds(("2b", "0"), ("0",))


def test_doubt_ends_when_this_copy_went_on_after_theirs() -> None:
    """Both disks are there, theirs is an ancestor of ours, and nobody has heard of anything newer."""
    held = Copy(DiskState.CONSISTENT, ("3c", "2b", "1a"))
    older = peer(Copy(DiskState.CONSISTENT, ("2b", "1a")), generations=((WEB, "2b"),))
    known = Record(3, A, behind=(WEB,), generations=((WEB, "3c"),))
    assert copies.went_on_alone(known, older, WEB, held)
    assert copies.went_on_alone(replace(known, generations=()), older, WEB, held)
    assert not copies.went_on_alone(known, None, WEB, held)
    assert not copies.went_on_alone(known, peer(None), WEB, held)
    assert not copies.went_on_alone(known, older, WEB, Copy(DiskState.DISKLESS, held.generations))
    gone = peer(Copy(DiskState.DISKLESS, ("2b", "1a")))
    assert not copies.went_on_alone(known, gone, WEB, held)
    equal = peer(Copy(DiskState.CONSISTENT, held.generations))
    assert not copies.went_on_alone(known, equal, WEB, held), "a hung disk leaves two equal ones that differ"
    newer = replace(known, generations=((WEB, "5e"),))
    assert not copies.went_on_alone(newer, older, WEB, held), "this node has heard of a newer one"
    told = peer(Copy(DiskState.CONSISTENT, ("2b", "1a")), generations=((WEB, "5e"),))
    assert not copies.went_on_alone(known, told, WEB, held), "the peer has: its own disk was replaced by an old one"

"""The durable record: one save at a time, what a failed one leaves in doubt, and what follows from both disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core.decision import Draft
from avance.core.durable import Durable, Held, Saved, Wish
from avance.core.model import Outcome, PairState, Record, Timers, VmId
from avance.core.results import Done
from tests.playbook import WEB, A, B

MINE = Record(3, A, boot="m1")


def durable(record: Record = MINE) -> Durable:
    """Return what node a keeps, in the machine m1."""
    return Durable(A, "m1", Timers(), record)


def draft() -> Draft:
    """Return the draft of one turn."""
    return Draft(3, PairState.PAIRED, set())


def held(**changes: object) -> Held:
    """Return what a whole, paired pair holds; `changes` replace single fields."""
    whole = Held(
        in_service=True, together=True, synced={WEB}, whole=True, zeroed=set(), works=False, tripped=False,
        elected=None, behind=(), generations=(), vms=frozenset({WEB, VmId("db")}),
    )  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes


def test_one_record_is_saved_at_a_time() -> None:
    """A second wish is dropped without a word: it comes again after the outcome of the first."""
    one, said = durable(), draft()
    one.wish(Wish(replace(MINE, epoch=4), "first"), said)
    one.wish(Wish(replace(MINE, epoch=5), "second"), said)
    assert said.commands == [c.SaveRecord(replace(MINE, epoch=4))]
    assert not one.free(100.0)
    assert one.done(Done(Outcome.OK), said, 100.0) == Saved(MINE, replace(MINE, epoch=4))
    assert one.free(100.0)
    assert said.epoch == 4


def test_a_record_that_failed_is_written_again_now_and_then() -> None:
    """Nobody needs it, and the disk may be well again: what is told of it must come to its end."""
    one, said = durable(), draft()
    one.try_again(said, 100.0)
    one.wish(Wish(MINE, "first"), said)
    one.done(Done(Outcome.FAILED, "read-only"), said, 100.0)
    said.commands.clear()
    one.try_again(said, 121.0)
    assert said.commands == []
    one.try_again(said, 122.5)
    assert said.commands == [c.SaveRecord(MINE)]
    one.done(Done(Outcome.OK), said, 123.0)
    assert not one.fails(200.0, 10.0)
    one.try_again(said, 200.0)
    assert len([command for command in said.commands if isinstance(command, c.SaveRecord)]) == 1


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_a_save_without_success_leaves_either_record(outcome: Outcome) -> None:
    """After an unknown end the right is used only while both records give it; after a refusal nothing has changed."""
    one, said = durable(replace(MINE, peer_outdated=True)), draft()
    one.wish(Wish(MINE, "equal again"), said)
    assert one.done(Done(outcome, "no space"), said, 100.0) is None
    assert one.record.peer_outdated
    assert one.solo is (outcome is Outcome.FAILED)
    assert one.rests(200.0) is (outcome is Outcome.FAILED)
    assert (one.free(101.9), one.free(102.0)) == (False, True)


def test_a_right_in_doubt_is_counted_from_its_first_save() -> None:
    """Only a right that the record does not give is a doubt, and a save that ends well ends it."""
    one, right = durable(), replace(MINE, epoch=4, peer_outdated=True)
    for outcome, at, since in (
        (Outcome.FAILED, 100.0, None),
        (Outcome.UNKNOWN, 110.0, 110.0),
        (Outcome.UNKNOWN, 120.0, 110.0),
        (Outcome.OK, 130.0, None),
    ):
        one.wish(Wish(right, "taken"), draft())
        one.done(Done(outcome, "EIO"), draft(), at)
        assert one.doubt_from_s == since
    one.wish(Wish(replace(right, behind=(WEB,)), "tidied"), draft())
    one.done(Done(Outcome.UNKNOWN, "EIO"), draft(), 140.0)
    assert one.doubt_from_s is None


def test_a_disk_that_takes_nothing_is_counted_from_its_first_no() -> None:
    """Whoever needs the record knows for how long it could not be written."""
    one = durable()
    for outcome, at in ((Outcome.OK, 90.0), (Outcome.FAILED, 100.0), (Outcome.UNKNOWN, 105.0)):
        one.wish(Wish(MINE, "again"), draft())
        one.done(Done(outcome, "EIO"), draft(), at)
    assert (one.fails(109.0, 10.0), one.fails(110.0, 10.0)) == (False, True)
    assert one.saved_at == 90.0


def test_a_right_on_its_way_is_not_a_right() -> None:
    """Until the record is on the disk the node takes the right, and does not have it."""
    one = durable()
    one.wish(Wish(replace(MINE, epoch=4, peer_outdated=True), "taken"), draft())
    assert (one.taking, one.solo) == (True, False)
    one.done(Done(Outcome.OK), draft(), 100.0)
    assert (one.taking, one.solo) == (False, True)


def test_the_record_follows_both_disks() -> None:
    """With equal copies the owner clears its lone right and the cure, and what was fresh is no longer."""
    one = durable(replace(MINE, peer_outdated=True, fresh=(WEB,), cure=3))
    assert one.tidied(held()) == replace(MINE, fresh=())
    assert one.tidied(held(works=True)) == replace(MINE, peer_outdated=True, cure=3)
    assert one.tidied(held(tripped=True)) == replace(MINE, peer_outdated=True, quarantined=True, cure=3)


def test_a_record_that_says_it_all_stays() -> None:
    """Nothing is written where nothing has changed."""
    assert durable().tidied(held()) is None


def test_the_backup_never_clears_the_owners_word() -> None:
    """Only the owner of the epoch says what the other copy is worth."""
    assert durable(replace(MINE, owner=B, peer_outdated=True)).tidied(held()) is None


def test_volumes_made_here_are_fresh_until_the_copies_are_equal() -> None:
    """What was zeroed is noted, unless it is known to be equal already."""
    made = durable().tidied(held(zeroed={WEB}, synced=set(), whole=False))
    assert made is not None
    assert made.fresh == (WEB,)
    assert durable().tidied(held(zeroed={WEB})) is None


def test_what_was_given_up_is_forgotten_with_equal_copies_only() -> None:
    """A discard stays while the nodes are apart."""
    one = durable(replace(MINE, discard=(WEB,)))
    assert one.tidied(held(together=False)) is None
    assert one.tidied(held()) == MINE


def test_a_node_in_service_notes_its_machine_and_its_arbiters() -> None:
    """The boot of the machine in which it was in service last, and who is in office."""
    one = durable(replace(MINE, boot="m0"))
    assert not one.served
    assert one.tidied(held(elected=("witness:w1",))) == replace(MINE, arbiters=("witness:w1",))

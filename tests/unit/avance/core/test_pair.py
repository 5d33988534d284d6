"""The rules of the pair, judged by facts alone: every state against every kind of peer."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from avance.core.model import NodeId, PairState, PeerView, Record
from avance.core.pair import (
    IGNORED,
    ROWS,
    Happens,
    Judgement,
    PairFacts,
    PairTrigger,
    Save,
    Stay,
    diagram,
    judge,
    mismatch,
    step,
)
from tests.playbook import WEB, A, B

MACHINE = "a-machine-1"
PICTURE = Path(__file__).resolve().parents[4] / "docs" / "pair-states.md"
THEIRS = PeerView(B, "boot", "c0ffee", 1.0, PairState.STARTING, Record(3, A))
FACTS = PairFacts(
    me=A, peer_id=B, machine=MACHINE, record=Record(3, A, boot=MACHINE), peer=THEIRS, peer_alive=True, peer_lost=False,
    boot_wait_over=False, may_write=False, known=True, config_hash="c0ffee", dilation=1.0,
)  # fmt: skip
SILENT = replace(FACTS, peer_alive=False, peer_lost=True)
LIVE = (PairState.STARTING, PairState.PAIRED, PairState.WAITING, PairState.ALONE)


def facts(*, theirs: Record | None = None, says: PairState = PairState.STARTING, **changes: object) -> PairFacts:
    """Return facts that differ in single fields; `theirs` is the record of the peer."""
    base = FACTS if theirs is None else replace(FACTS, peer=replace(THEIRS, record=theirs, pair=says))
    return replace(base, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes


def after(state: PairState, judgement: Judgement) -> PairState | None:
    """Return the state that a judgement leads to, or None."""
    return step(state, judgement.trigger) if isinstance(judgement, Happens) else None


def became(state: PairState, given: PairFacts) -> PairState | None:
    """Return the state that follows from the facts, or None."""
    return after(state, judge(state, given))


def saved(judgement: Judgement) -> Record | None:
    """Return the record that a judgement makes durable, or None."""
    return judgement.record if isinstance(judgement, Save) else None


# ---------------------------------------------------------------- every state and every kind of fact


@cache
def every_case() -> list[tuple[PairState, PairFacts, Judgement]]:
    """Return every state with every combination of records, liveness and writers, and how it is judged."""
    mine = [
        Record(), Record(3, A), Record(3, A, peer_outdated=True), Record(3, B), Record(3, B, peer_outdated=True),
        Record(3, A, peer_outdated=True, split=True),
    ]  # fmt: skip
    theirs = [
        Record(), Record(2, A), Record(2, B, peer_outdated=True), Record(3, A), Record(3, B), Record(4, A),
        Record(4, A, peer_outdated=True), Record(4, B), Record(4, B, peer_outdated=True), Record(4, B, split=True),
    ]  # fmt: skip
    records = [replace(record, boot=boot) for record in mine for boot in (MACHINE, "")]
    says = (PairState.STARTING, PairState.WAITING, PairState.PAIRED)
    peers = [None, *(replace(THEIRS, record=their, pair=pair) for their in theirs for pair in says)]
    cases = []
    for record, peer, (alive, lost), writes, known, over in itertools.product(
        records, peers, ((True, False), (False, False), (False, True)), (False, True), (False, True), (False, True)
    ):
        given = replace(
            FACTS, record=record, peer=peer, peer_alive=alive and peer is not None, peer_lost=lost,
            boot_wait_over=over and lost, may_write=writes, known=known,
        )  # fmt: skip
        cases += [(state, given, judge(state, given)) for state in PairState]
    return cases


def test_epoch_of_a_record_never_falls() -> None:
    """No judgement makes a smaller epoch durable than the one that is known."""
    for state, given, judgement in every_case():
        record = saved(judgement)
        assert record is None or record.epoch >= given.record.epoch, (state, given)


def test_pair_needs_agreement() -> None:
    """A node enters PAIRED only while it hears its peer and both hold the same epoch and owner."""
    for state, given, judgement in every_case():
        if after(state, judgement) is PairState.PAIRED:
            assert given.peer is not None
            assert given.peer_alive
            assert (given.record.epoch, given.record.owner) == (given.peer.record.epoch, given.peer.record.owner)
            assert given.record.owner is not None


def test_alone_needs_the_durable_lone_right() -> None:
    """A node enters ALONE only by a record that gives it the lone right, saved in this boot of its machine."""
    seen = 0
    for state, given, judgement in every_case():
        if after(state, judgement) is PairState.ALONE:
            seen += 1
            assert given.record.solo(A)
            assert given.record.boot == MACHINE or state is PairState.PAIRED
    assert seen


def test_silence_alone_never_changes_the_record() -> None:
    """Without a newer or equal word of the peer nothing is saved, but that both nodes wrote alone."""
    for _, given, judgement in every_case():
        record = saved(judgement)
        if record is not None and given.peer is None:
            assert record == replace(given.record, split=True)


def test_newer_owner_stops_a_writer_at_once() -> None:
    """A node that may be writing, or does not know, never adopts another's epoch: it stops, or looks first."""
    for state, given, judgement in every_case():
        theirs = None if given.peer is None else given.peer.record
        if theirs is None or theirs.epoch <= given.record.epoch or theirs.owner != B:
            continue
        record = saved(judgement)
        if (given.may_write or not given.known) and record is not None:
            assert record.owner == given.record.owner, (state, given)
        if given.may_write and given.known and state in LIVE and not given.record.split:
            assert after(state, judgement) in (PairState.FENCED, PairState.SPLIT), (state, given)


def test_two_lone_rights_are_a_split() -> None:
    """Whoever alone had the right to an epoch and hears of another owner's later or equal one calls it SPLIT."""
    for state, given, judgement in every_case():
        theirs = None if given.peer is None else given.peer.record
        if theirs is not None and given.record.solo(A) and theirs.owner == B and theirs.epoch >= 3 and state in LIVE:
            assert after(state, judgement) is PairState.SPLIT, (state, given)


def test_judging_ends() -> None:
    """Judging again and again, with every record made durable at once, comes to rest in a few rounds."""
    for state, given, judgement in every_case():
        now, so_far, what = state, given, judgement
        for _ in range(5):
            if isinstance(what, Stay):
                break
            if isinstance(what, Happens):
                follows = after(now, what)
                assert follows is not None, f"{what} is ignored in {now}"
                now = follows
            else:
                so_far = replace(so_far, record=what.record)
            what = judge(now, so_far)
        else:
            raise AssertionError((state, given))


@pytest.mark.parametrize("state", list(PairState))
def test_fenced_is_final(state: PairState) -> None:
    """Nothing leads out of FENCED but a restart."""
    assert judge(PairState.FENCED, facts(theirs=Record(9, B), says=state)) == Stay()
    assert judge(PairState.FENCED, SILENT) == Stay()


# ---------------------------------------------------------------- election, adoption, fencing


def test_first_election_is_the_lower_name() -> None:
    """Of two empty nodes only the lower name proposes the first epoch."""
    empty = facts(theirs=Record(), record=Record())
    assert saved(judge(PairState.STARTING, empty)) == Record(1, A)
    assert judge(PairState.STARTING, replace(empty, me=B, peer_id=A)) == Stay()


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("alive", [True, False])
def test_newer_epoch_is_adopted_or_fences(state: PairState, alive: bool) -> None:
    """A newer record of the peer is adopted by a node that writes nothing, and stops one that may write."""
    newer = facts(theirs=Record(4, B, peer_outdated=True), peer_alive=alive, peer_lost=not alive)
    assert saved(judge(state, newer)) == Record(4, B, peer_outdated=True, boot=MACHINE)
    assert became(state, replace(newer, may_write=True)) is PairState.FENCED
    assert judge(state, replace(newer, known=False)) == Stay(), "it looks first what runs here"


def test_adopting_keeps_what_is_this_nodes_own() -> None:
    """Zeroed volumes, the boot and the cure are this node's own; arbiters and quarantine come with the epoch."""
    mine = Record(3, A, fresh=(WEB,), boot=MACHINE, cure=3)
    theirs = Record(4, B, arbiters=("survivor:b",), quarantined=True, boot="other", cure=9)
    assert saved(judge(PairState.STARTING, facts(theirs=theirs, record=mine))) == Record(
        4, B, fresh=(WEB,), boot=MACHINE, cure=3, arbiters=("survivor:b",), quarantined=True
    )


def test_consent_is_the_peers_record() -> None:
    """A peer whose record names this node as the owner of the next epoch has consented, also while VMs run here."""
    consenting = facts(theirs=Record(4, A, peer_outdated=True), may_write=True)
    for state in (PairState.PAIRED, PairState.WAITING):
        record = saved(judge(state, consenting))
        assert record == Record(4, A, peer_outdated=True, boot=MACHINE)
        assert record.solo(A)


def test_older_epoch_changes_nothing() -> None:
    """A peer with an older record has to adopt ours; until then there is no pair."""
    assert judge(PairState.ALONE, facts(theirs=Record(2, B))) == Stay()
    assert judge(PairState.STARTING, facts(theirs=Record(2, B))) == Stay()


@pytest.mark.parametrize("state", LIVE)
def test_blank_machine_in_the_owners_place_stays_blank(state: PairState) -> None:
    """A bare machine that its peer knows as the owner adopts nothing and is never paired: its data would be blank."""
    blank = facts(theirs=Record(4, A), record=Record())
    assert judge(state, blank) == Stay()
    assert "blank" in str(mismatch(blank))


def test_blank_backup_adopts() -> None:
    """A bare machine in the backup's place takes the owner's epoch: good is then synchronised to blank."""
    blank = facts(theirs=Record(4, B, peer_outdated=True), record=Record())
    assert saved(judge(PairState.STARTING, blank)) == Record(4, B, peer_outdated=True)


def test_blank_machine_follows_when_somebody_else_owns_the_epoch() -> None:
    """Once the peer, or an operator, has taken the next epoch, the blank machine follows."""
    blank = facts(theirs=Record(5, B, peer_outdated=True), record=Record())
    assert mismatch(blank) is None
    assert saved(judge(PairState.STARTING, blank)) == Record(5, B, peer_outdated=True)


# ---------------------------------------------------------------- split


@pytest.mark.parametrize("state", LIVE)
def test_equal_epoch_of_two_owners_is_a_split(state: PairState) -> None:
    """Two owners of one epoch stop both nodes, even one that writes nothing."""
    assert became(state, facts(theirs=Record(3, B))) is PairState.SPLIT


def test_later_epoch_beyond_an_exclusive_right_is_a_split() -> None:
    """A node that had the lone right to its epoch cannot have lost a later one without a lie: nothing is adopted."""
    solo = facts(theirs=Record(5, B, peer_outdated=True), record=Record(3, A, peer_outdated=True))
    assert became(PairState.STARTING, solo) is PairState.SPLIT
    assert became(PairState.ALONE, replace(solo, may_write=True)) is PairState.SPLIT


def test_winner_of_a_split_knows_it_too() -> None:
    """The node with the later epoch also stops when its peer had the lone right to an earlier one."""
    given = facts(theirs=Record(3, B, peer_outdated=True), record=Record(4, A, peer_outdated=True))
    assert became(PairState.ALONE, given) is PairState.SPLIT
    chosen = replace(given, record=replace(given.record, chosen=4))
    assert became(PairState.ALONE, chosen) is None, "but not after an operator has chosen"


def test_split_is_made_durable_and_survives_a_restart() -> None:
    """SPLIT is saved first; a node that starts with it is in SPLIT, whatever its peer says."""
    record = Record(3, A, peer_outdated=True, boot=MACHINE)
    assert saved(judge(PairState.SPLIT, facts(theirs=Record(3, B), record=record))) == replace(record, split=True)
    again = facts(theirs=Record(9, B), record=replace(record, split=True))
    assert became(PairState.STARTING, again) is PairState.SPLIT
    assert judge(PairState.SPLIT, again) == Stay()


def test_losing_side_takes_the_chosen_version_only_when_its_own_is_kept() -> None:
    """After the operator's choice the other node's epoch is adopted, and this node's volumes are given up."""
    chosen = facts(theirs=Record(5, B, peer_outdated=True, chosen=5), record=Record(3, A, split=True), vms=(WEB,))
    assert judge(PairState.SPLIT, chosen) == Stay()
    record = saved(judge(PairState.SPLIT, replace(chosen, yielded=True)))
    assert record is not None
    assert (record.epoch, record.owner, record.split, record.discard) == (5, B, False, (WEB,))
    undecided = replace(chosen, yielded=True, peer=replace(THEIRS, record=Record(5, B, split=True)))
    assert judge(PairState.SPLIT, undecided) == Stay(), "the other side has not been chosen yet"


def test_nobody_pairs_with_a_split_peer() -> None:
    """A peer that knows of a split is no partner."""
    assert judge(PairState.STARTING, facts(theirs=Record(3, A, split=True))) == Stay()


# ---------------------------------------------------------------- pairing and its end


def test_mismatch_comes_after_the_epoch() -> None:
    """Different configurations prevent a pair, but never hide a newer epoch."""
    other = facts(theirs=Record(4, B), config_hash="other", may_write=True)
    assert became(PairState.PAIRED, other) is PairState.FENCED
    assert judge(PairState.STARTING, facts(config_hash="other")) == Stay()
    assert "configurations" in str(mismatch(facts(config_hash="other")))
    assert mismatch(facts(config_hash="other", agreed=True)) is None, "both hold the same, and one does not use it yet"
    assert "dilations" in str(mismatch(facts(dilation=2.0, agreed=True)))
    assert mismatch(facts(peer=None, dilation=2.0)) is None
    assert mismatch(FACTS) is None


def test_a_start_beside_a_peer_that_cannot_be_paired_with() -> None:
    """It is decided as a lone start: a right that is kept, or a question to the arbiters once the wait is over."""
    lone = Record(3, A, peer_outdated=True, boot=MACHINE)
    given = facts(theirs=Record(2, A), record=lone, config_hash="other")
    assert became(PairState.STARTING, given) is PairState.ALONE
    for record in (replace(lone, boot="another"), Record(3, A), Record(3, B)):
        booted = replace(given, record=record)
        assert became(PairState.STARTING, booted) is None, "the peer may be given the same site in a moment"
        assert became(PairState.STARTING, replace(booted, waited=True)) is PairState.WAITING
    assert became(PairState.STARTING, replace(given, record=Record(3, A, boot=MACHINE), waited=True)) is None
    assert became(PairState.STARTING, replace(given, config_hash="c0ffee", waited=True)) is None, "this one follows"
    blank = facts(theirs=Record(3, A), record=Record(), waited=True)
    assert became(PairState.STARTING, blank) is None
    newer = facts(theirs=Record(4, B, peer_outdated=True), record=lone, config_hash="other")
    assert became(PairState.STARTING, newer) is PairState.SPLIT
    split = facts(theirs=Record(3, A, split=True), record=lone, config_hash="other")
    assert became(PairState.STARTING, split) is None


def test_starting_node_does_not_pair_with_one_that_may_be_taking_over() -> None:
    """A peer in WAITING may be saving the next epoch just now, so a restarted node waits for its word."""
    assert judge(PairState.STARTING, facts(theirs=Record(3, A), says=PairState.WAITING)) == Stay()
    assert became(PairState.WAITING, facts(theirs=Record(3, A), says=PairState.WAITING)) is PairState.PAIRED


def test_backup_follows_the_owner_about_its_copy() -> None:
    """Only the owner's word on the worth of the backup's copy, and on its quarantine, counts."""
    outdated = Record(3, A, peer_outdated=True, quarantined=True)
    assert saved(judge(PairState.PAIRED, facts(me=B, peer_id=A, record=Record(3, A), theirs=outdated))) == outdated
    assert judge(PairState.PAIRED, facts(theirs=Record(3, A, peer_outdated=True))) == Stay()


@pytest.mark.parametrize(
    ("state", "record", "changes", "after"),
    [
        (PairState.PAIRED, Record(3, A, boot=MACHINE), {}, PairState.WAITING),
        (PairState.PAIRED, Record(3, B, boot=MACHINE), {}, PairState.WAITING),
        (PairState.PAIRED, Record(3, A, peer_outdated=True, boot=MACHINE), {}, PairState.ALONE),
        (PairState.PAIRED, Record(3, A, boot=MACHINE), {"peer_lost": False}, None),
        (PairState.WAITING, Record(3, A, boot=MACHINE), {}, None),
        (PairState.ALONE, Record(3, A, peer_outdated=True, boot=MACHINE), {}, None),
        # The daemon was started again, the machine was not.
        (PairState.STARTING, Record(3, A, peer_outdated=True, boot=MACHINE), {}, PairState.ALONE),
        (PairState.STARTING, Record(3, A, peer_outdated=True, boot=MACHINE), {"peer_lost": False}, PairState.ALONE),
        (PairState.STARTING, Record(3, A, boot=MACHINE), {}, PairState.WAITING),
        (PairState.STARTING, Record(3, A, boot=MACHINE), {"peer_lost": False}, None),
        # The machine was started.
        (PairState.STARTING, Record(3, A, peer_outdated=True), {}, None),
        (PairState.STARTING, Record(3, A, peer_outdated=True), {"boot_wait_over": True}, PairState.WAITING),
        (PairState.STARTING, Record(3, B), {"boot_wait_over": True}, PairState.WAITING),
        (PairState.STARTING, Record(), {"boot_wait_over": True}, None),
    ],
)
@pytest.mark.parametrize("heard", [True, False])
def test_what_silence_leads_to(
    state: PairState, record: Record, changes: dict[str, object], after: PairState | None, heard: bool
) -> None:
    """Silence makes a pair wait, keeps a lone right, and tells a start of the machine from one of the daemon."""
    silent = replace(SILENT, record=record, peer=THEIRS if heard and record.owner == A else None)
    assert became(state, replace(silent, **changes)) is after  # type: ignore[arg-type]  # single fields


def test_nobody_pairs_without_an_owner() -> None:
    """Two equal but empty records are no agreement."""
    empty = facts(theirs=Record(), record=Record(), me=B, peer_id=NodeId("a"))
    assert judge(PairState.STARTING, empty) == Stay()


# ---------------------------------------------------------------- the table


def page() -> str:
    """Return the text of docs/pair-states.md as it must be."""
    reasons = "".join(f"| {state} | {trigger} | {reason} |\n" for (state, trigger), reason in IGNORED.items())
    return (
        "# The states of the pair, as one node sees it\n\n"
        "Generated from the table in `avance/core/pair.py`; `tests/unit/avance/core/test_pair.py` keeps it up to date\n"
        "(run that test with `AVANCE_REGENERATE=1` after a change). An arrow is labelled with its trigger.\n\n"
        f"```mermaid\n{diagram()}```\n\n"
        "What changes nothing:\n\n"
        f"| In state | Trigger | Because |\n|---|---|---|\n{reasons}"
    )


def test_the_table_is_total() -> None:
    """Each trigger in each state is a row or ignored with a reason, never both."""
    for state, trigger in itertools.product(PairState, PairTrigger):
        assert ((state, trigger) in ROWS) is not ((state, trigger) in IGNORED), f"{state} + {trigger}"
        assert step(state, trigger) == ROWS.get((state, trigger))


def test_the_judge_never_says_what_is_ignored() -> None:
    """What it says has a row: otherwise the turn would ask again and again."""
    said = {(state, what.trigger) for state, _, what in every_case() if isinstance(what, Happens)}
    assert said <= ROWS.keys()
    assert {trigger for _, trigger in said} == {*PairTrigger} - {PairTrigger.RIGHT_SAVED, PairTrigger.CHOSEN}


def test_nothing_leads_out_of_fenced_and_only_a_person_out_of_split() -> None:
    """The two states in which a node has lost its right for good."""
    assert all(before is not PairState.FENCED for before, _ in ROWS)
    assert [trigger for before, trigger in ROWS if before is PairState.SPLIT] == [PairTrigger.CHOSEN]


def test_the_picture_is_up_to_date() -> None:
    """The page in docs/ is generated from the table."""
    if os.environ.get("AVANCE_REGENERATE"):
        PICTURE.write_text(page(), encoding="utf-8")
    assert PICTURE.read_text(encoding="utf-8") == page()

"""The rules of the pair, judged by facts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core.model import NodeId, PairState, PeerView, Record, VmId
from avance.core.pair import Become, PairFacts, Save, Stay, judge, mismatch
from tests.playbook import A, B

THEIRS = PeerView(B, "boot", "c0ffee", 1.0, PairState.STARTING, Record(3, A))
FACTS = PairFacts(
    me=A, peer_id=B, record=Record(3, A), peer=THEIRS, peer_alive=True, peer_lost=False, may_write=False,
    config_hash="c0ffee", dilation=1.0,
)  # fmt: skip


def facts(*, theirs: Record | None = None, says: PairState = PairState.STARTING, **changes: object) -> PairFacts:
    """Return facts that differ in single fields; `theirs` is the record of the peer."""
    base = FACTS if theirs is None else replace(FACTS, peer=replace(THEIRS, record=theirs, pair=says))
    return replace(base, **changes)  # type: ignore[arg-type]  # a test names the fields that it changes


def test_first_election_is_the_lower_name() -> None:
    """Of two empty nodes only the lower name proposes the first epoch."""
    empty = facts(theirs=Record(), record=Record())
    assert judge(PairState.STARTING, empty) == Save(Record(1, A), "first election: the lower node name owns epoch 1")
    assert judge(PairState.STARTING, replace(empty, me=B, peer_id=A)) == Stay()


@pytest.mark.parametrize("state", [PairState.STARTING, PairState.WAITING, PairState.ALONE, PairState.PAIRED])
@pytest.mark.parametrize("alive", [True, False])
def test_newer_epoch_is_adopted_or_fences(state: PairState, alive: bool) -> None:
    """A newer record of the peer is adopted by a node that writes nothing, and stops one that may write."""
    newer = facts(theirs=Record(4, B, peer_outdated=True), peer_alive=alive, peer_lost=not alive)
    judgement = judge(state, newer)
    assert isinstance(judgement, Save)
    assert judgement.record == Record(4, B, peer_outdated=True)
    fenced = judge(state, replace(newer, may_write=True))
    assert isinstance(fenced, Become)
    assert fenced.state is PairState.FENCED


def test_adopting_keeps_what_is_known_of_own_volumes() -> None:
    """Which volumes this node zeroed is its own knowledge and is not overwritten by the peer's."""
    web = VmId("web")
    judgement = judge(PairState.STARTING, facts(theirs=Record(4, B), record=Record(3, A, fresh=(web,))))
    assert judgement == Save(Record(4, B, fresh=(web,)), "the peer knows epoch 4 of owner b")


def test_older_epoch_changes_nothing() -> None:
    """A peer with an older record has to adopt ours; until then there is no pair."""
    assert judge(PairState.ALONE, facts(theirs=Record(2, B))) == Stay()
    assert judge(PairState.STARTING, facts(theirs=Record(2, B))) == Stay()


def test_mismatch_comes_after_the_epoch() -> None:
    """Different configurations prevent a pair, but never hide a newer epoch."""
    other = facts(theirs=Record(4, B), config_hash="other", may_write=True)
    judgement = judge(PairState.PAIRED, other)
    assert isinstance(judgement, Become)
    assert judgement.state is PairState.FENCED
    assert judge(PairState.STARTING, facts(config_hash="other")) == Stay()
    assert mismatch(facts(dilation=2.0)) is not None
    assert mismatch(facts(peer=None, dilation=2.0)) is None
    assert mismatch(FACTS) is None


@pytest.mark.parametrize("state", list(PairState))
def test_fenced_is_final(state: PairState) -> None:
    """Nothing leads out of FENCED but a restart."""
    assert judge(PairState.FENCED, facts(theirs=Record(9, B), says=state)) == Stay()
    assert judge(PairState.FENCED, facts()) == Stay()


def test_silence_leads_only_from_paired_to_waiting() -> None:
    """A silent peer makes a paired node wait, and no other node do anything."""
    silent = facts(peer_alive=False, peer_lost=True)
    for state in PairState:
        judgement = judge(state, silent)
        if state is PairState.PAIRED:
            assert isinstance(judgement, Become)
            assert judgement.state is PairState.WAITING
        else:
            assert judgement == Stay()
    assert judge(PairState.PAIRED, replace(silent, peer_lost=False)) == Stay()


def test_equal_epoch_of_two_owners_fences() -> None:
    """Two owners of one epoch stop both nodes, even one that writes nothing."""
    judgement = judge(PairState.PAIRED, facts(theirs=Record(3, B)))
    assert isinstance(judgement, Become)
    assert judgement.state is PairState.FENCED


def test_backup_follows_the_owner_about_its_copy() -> None:
    """Only the owner's word on the worth of the backup's copy counts."""
    outdated = facts(me=B, peer_id=A, theirs=Record(3, A, peer_outdated=True))
    judgement = judge(PairState.PAIRED, outdated)
    assert isinstance(judgement, Save)
    assert judgement.record.peer_outdated
    assert judge(PairState.PAIRED, facts(theirs=Record(3, A, peer_outdated=True))) == Stay()


def test_nobody_pairs_without_an_owner() -> None:
    """Two equal but empty records are no agreement."""
    empty = facts(theirs=Record(), record=Record(), me=B, peer_id=NodeId("a"))
    assert judge(PairState.STARTING, empty) == Stay()

"""What only a person may decide is done when it can be, and refused with a reason when not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Engine
from avance.core.model import DiskRole, DiskState, DiskView, NodeId, Outcome, PairState, Record
from tests.playbook import (
    GENERATIONS,
    WEB,
    A,
    B,
    Playbook,
    acts,
    alerts,
    ended,
    paired,
    peer_gone,
    served,
    setup,
)


def asks(book: Playbook, request: str, node: NodeId) -> c.AnswerOperator:
    """Let a person ask for something; returns the answer."""
    answers = [one for one in book.hears(e.OperatorAsked(request, node, 7)) if isinstance(one, c.AnswerOperator)]
    assert len(answers) == 1, "every question is answered once"
    assert answers[0].ask == 7
    return answers[0]


def split() -> Playbook:
    """Return a node that knows durably that both nodes wrote alone in epoch 3."""
    book = Playbook(Engine(setup(A), served(A, Record(3, A, peer_outdated=True, split=True))))
    book.hears(e.Tick())
    assert book.engine.pair is PairState.SPLIT
    return book


def test_override_needs_the_right_name_and_a_waiting_node() -> None:
    """The name of the dead peer has to be typed, and only a node that waits for it can be overridden."""
    book = paired(B)
    assert not asks(book, "override", A).done
    book.hears(e.DiskChanged(WEB, peer_gone(DiskRole.SECONDARY)))
    book.pass_time(6.0)
    assert book.engine.pair is PairState.WAITING
    wrong = asks(book, "override", B)
    assert not wrong.done
    assert "off for certain: a" in wrong.text
    commands = book.hears(e.OperatorAsked("override", A, 7))
    assert c.AnswerOperator(7, done=True, text="override a: done") in commands
    assert book.engine.sight.durable.saving == served(B, Record(4, B, peer_outdated=True, chosen=4))
    assert "operator_override" in alerts(commands)


def test_override_vouches_for_a_copy_that_is_behind() -> None:
    """The record of the right has no such mark any more, else the copy would not be served (docs/safety.md, S20)."""
    book = paired(B)
    book.engine.sight.durable.record = replace(book.engine.record, behind=(WEB,))
    book.hears(e.DiskChanged(WEB, peer_gone(DiskRole.SECONDARY)))
    book.pass_time(6.0)
    book.hears(e.OperatorAsked("override", A, 7))
    saving = book.engine.sight.durable.saving
    assert saving is not None
    assert (saving.owner, saving.chosen, saving.behind) == (B, 4, ())


def test_override_ends_with_the_peers_return() -> None:
    """What a person vouched for holds for this loss of the peer only."""
    book = paired(B)
    book.pass_time(6.0)
    asks(book, "override", A)
    book.hears(ended(c.SaveRecord(Record()), Outcome.UNKNOWN))
    book.pass_time(4.5, peer_alive=True)
    book.hears(ended(c.SaveRecord(Record())))
    assert book.engine.pair is PairState.PAIRED
    assert not book.engine.right.override


def test_quarantine_is_reset_by_the_owner_only() -> None:
    """The owner forgets its peer's failures when a person says so; the backup refuses."""
    book = paired(A)
    book.engine.sight.partner.crashes.trip()
    assert asks(book, "reset-device", B).done
    assert not book.engine.sight.partner.crashes.tripped
    assert not asks(paired(B), "reset-device", A).done
    assert asks(book, "reset-device", A).done, "what was left on this node itself may be tried again"


def test_kept_side_owns_the_next_epoch() -> None:
    """`keep` on the node whose data is kept gives it a later epoch, marked as a person's choice, and ends the split."""
    book = split()
    assert asks(book, "keep", A).done
    kept = replace(served(A, Record(4, A, peer_outdated=True, chosen=4)), generations=())
    assert book.engine.sight.durable.saving == kept, "what was known of better data counts no more"
    book.hears(ended(c.SaveRecord(kept)))
    assert book.engine.pair is PairState.ALONE


def test_losing_side_keeps_a_copy_before_it_yields() -> None:
    """`keep` of the other node makes this one keep a copy of every volume, and only then give its version up."""
    book = split()
    book.hears(e.DomainChanged(WEB, running=False))
    book.done(c.ReadDomain(WEB), c.PrepareVolume(WEB))
    book.done(c.PrepareVolume(WEB), detail=" ".join(GENERATIONS))
    book.hears(e.DiskChanged(WEB, DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)))
    commands = acts(book.hears(e.OperatorAsked("keep", B, 7)))
    assert c.KeepCopy(WEB, 3) in commands
    newer = Record(5, B, peer_outdated=True, chosen=5)
    assert not any(isinstance(one, c.SaveRecord) for one in book.peer_says(record=newer, pair=PairState.ALONE))
    book.hears(ended(c.KeepCopy(WEB, 3)))
    saving = book.engine.sight.durable.saving
    assert saving is not None
    assert (saving.epoch, saving.owner, saving.discard) == (5, B, (WEB,))


@pytest.mark.parametrize("request_", ["keep", "explode"])
def test_senseless_request_is_refused_with_a_reason(request_: str) -> None:
    """A request that does not fit is answered with the reason, and nothing is done."""
    book = paired(A)
    answer = asks(book, request_, A)
    assert not answer.done
    assert len(answer.text) > 10
    assert book.engine.sight.durable.saving is None


def test_kept_epoch_beats_that_of_the_other_side() -> None:
    """The epoch of the kept side is greater than both, or the nodes would meet as two owners of one epoch again."""
    book = split()
    book.peer_says(record=Record(7, B, peer_outdated=True, split=True), pair=PairState.SPLIT)
    book.hears(e.OperatorAsked("keep", A, 7))
    assert book.engine.sight.durable.saving is not None
    assert book.engine.sight.durable.saving.epoch > 7

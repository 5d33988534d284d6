"""DRBD's question is answered with yes only under the durable lone right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskRole, DiskState, DiskView, Outcome, PairState, Record
from tests.playbook import WEB, A, B, Playbook, acts, ended, in_sync, paired, peer_gone, served

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY


def solo() -> Playbook:
    """Return an owner that is paired, whose VM runs, and whose peer's copy is outdated by its record."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, peer_outdated=True)
    book.peer = replace(book.peer, record=replace(book.peer.record, peer_outdated=True))
    book.hears(e.DiskChanged(WEB, DiskView(P, DiskState.UP_TO_DATE, "Connecting", peer_disk=DiskState.OUTDATED)))
    assert book.engine.sight.durable.saving is None
    assert book.engine.sight.solo
    return book


def test_paired_node_without_the_lone_right_gives_no_answer() -> None:
    """While nothing is decided, DRBD's question stays open: its handler denies by its own deadline."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    assert acts(book.hears(e.FencePeerAsked(WEB, 1))) == []
    said = book.pass_time(60.0, peer_alive=True)
    assert not any(isinstance(one, c.AnswerFencePeer) for one in said)


def test_lone_right_by_consent_answers_outdated() -> None:
    """With the durable lone right every open question is answered with 4, in order."""
    book = solo()
    assert c.AnswerFencePeer(5, 4) in book.hears(e.FencePeerAsked(WEB, 5))
    assert book.engine.fence.asks == {}


@pytest.mark.parametrize("theirs", [Record(4, B, peer_outdated=True), Record(3, B)])
def test_stopped_node_denies(theirs: Record) -> None:
    """A node that is fenced or split answers with a code that leaves I/O frozen."""
    book = paired(A)
    book.peer_says(record=theirs, pair=PairState.ALONE)
    assert book.engine.pair in (PairState.FENCED, PairState.SPLIT)
    assert c.AnswerFencePeer(3, 1) in book.hears(e.FencePeerAsked(WEB, 3))


@pytest.mark.parametrize("outcome", [None, Outcome.UNKNOWN])
def test_lone_right_that_is_being_given_up_answers_nothing(outcome: Outcome | None) -> None:
    """From the moment in which `peer outdated` may be gone from the disk, DRBD gets no yes by it any more."""
    book = solo()
    assert acts(book.hears(e.DiskChanged(WEB, in_sync(P)))) == [c.SaveRecord(served(A, Record(3, A)))]
    if outcome is not None:
        book.hears(ended(c.SaveRecord(Record()), outcome))
    commands = book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    commands += book.hears(e.FencePeerAsked(WEB, 5))
    assert not any(isinstance(one, c.AnswerFencePeer | c.ResumeDisk) for one in commands)

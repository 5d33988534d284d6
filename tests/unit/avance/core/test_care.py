"""Witnesses are taught while all is well, and who is in office follows from what both nodes reach."""

from __future__ import annotations

import pytest

from avance.core import arbiters
from avance.core import commands as c
from avance.core.care import Care
from avance.core.decision import Draft
from avance.core.model import Outcome, PairState, Record, Timers
from avance.core.results import WitnessTaught
from tests.playbook import A, B

W1, W2, SA = arbiters.witness("w1"), arbiters.witness("w2"), arbiters.survivor(A)
RECORD = Record(3, A)


def care() -> Care:
    """Return the care for two witnesses."""
    return Care(Timers(), ("w1", "w2"))


def teach(one: Care, now: float, *, answering: tuple[str, ...] = (), word: str = "taught 3") -> list[c.Command]:
    """Let the witnesses be taught; the named ones take it, the others are silent."""
    commands = one.teach(RECORD, paired=True, now=now)
    for command in commands:
        assert isinstance(command, c.TeachWitness)
        ok = command.witness in answering
        outcome, said = (Outcome.OK, word) if ok else (Outcome.FAILED, "no answer")
        one.done(command.witness, WitnessTaught(outcome, said, taught=ok and word.startswith("taught")), now)
    return commands


def taught(one: Care, start: float, seconds: float, answering: tuple[str, ...]) -> None:
    """Let time pass in which some witnesses answer."""
    for step in range(round(seconds * 2) + 1):
        teach(one, start + step / 2, answering=answering)


def test_every_witness_is_told_who_owns_the_epoch() -> None:
    """Each witness is taught the epoch, its owner and whether the peer agrees."""
    assert care().teach(RECORD, paired=True, now=5.0) == [
        c.TeachWitness("w1", 3, A, paired=True),
        c.TeachWitness("w2", 3, A, paired=True),
    ]


def test_lone_right_is_told() -> None:
    """Who alone may write says so: its word is enough for a witness that has lost what it knew."""
    told = care().teach(RECORD, paired=False, alone=True, now=5.0)
    assert told == [c.TeachWitness(name, 3, A, paired=False, alone=True) for name in ("w1", "w2")]


def test_witness_is_taught_again_every_two_seconds() -> None:
    """Teaching goes on at a slow pace, so that a restarted witness is of use again soon."""
    one = care()
    assert len(teach(one, 5.0, answering=("w1", "w2"))) == 2
    assert teach(one, 6.9, answering=("w1", "w2")) == []
    assert len(teach(one, 7.0, answering=("w1", "w2"))) == 2


def test_one_question_at_a_time() -> None:
    """A witness that has not answered yet is not asked again, and does not hold up the other one."""
    one = care()
    one.teach(RECORD, paired=True, now=5.0)
    one.done("w2", WitnessTaught(Outcome.OK, "taught 3", taught=True), 5.1)
    assert one.teach(RECORD, paired=True, now=50.0) == [c.TeachWitness("w2", 3, A, paired=True)]


def test_nothing_is_taught_before_the_first_election() -> None:
    """Without an owner there is nothing to teach."""
    assert care().teach(Record(), paired=True, now=5.0) == []


def test_witness_counts_as_reached_for_six_seconds() -> None:
    """A witness that took its lesson is reached, until it has been silent for 6 s."""
    one = care()
    assert one.up(5.0) == ()
    teach(one, 5.0, answering=("w2",))
    assert one.up(10.9) == ("w2",)
    assert one.up(11.0) == ()


@pytest.mark.parametrize("word", ["untaught", "refused 4 b", ""])
def test_witness_that_could_not_grant_does_not_count(word: str) -> None:
    """A witness that answers but was not taught is not reached: it would grant nothing."""
    one = care()
    teach(one, 5.0, answering=("w1", "w2"), word=word)
    assert one.up(5.1) == ()


def test_witness_is_lost_after_thirty_seconds() -> None:
    """Others take a witness's office 30 s after its last answer, or after the first question to one never heard."""
    one = care()
    taught(one, 5.0, 2.0, ("w1",))
    assert one.lost(34.9) == ()
    assert one.lost(35.0) == ("w2",)
    assert one.lost(37.0) == ("w1", "w2")


def test_owner_elects_whom_both_nodes_reach() -> None:
    """A witness that only one node reaches takes no office."""
    one = care()
    teach(one, 5.0, answering=("w1", "w2"))
    assert one.elect(RECORD, RECORD, A, peer_up=("w2",), now=5.1) == (W2,)
    assert one.elect(RECORD, RECORD, A, peer_up=(), now=5.1) is None


def test_backup_follows_the_owner() -> None:
    """The backup takes over the owner's arbiters, whatever it thinks of the witnesses."""
    theirs = Record(3, B, arbiters=(W1, W2))
    assert care().elect(Record(3, B, arbiters=(W1,)), theirs, A, peer_up=(), now=5.0) == (W1, W2)
    assert care().elect(theirs, theirs, A, peer_up=(), now=500.0) is None


def test_owner_waits_until_the_backup_has_followed() -> None:
    """The next step of a change comes only when the peer's record holds the last one."""
    one = care()
    taught(one, 0.0, 40.0, ("w2",))
    old, middle = Record(3, A, arbiters=(W1,)), Record(3, A, arbiters=(W1, W2))
    assert one.elect(old, old, A, peer_up=("w2",), now=40.0) == (W1, W2)
    assert one.elect(middle, old, A, peer_up=("w2",), now=40.0) is None
    assert one.elect(middle, middle, A, peer_up=("w2",), now=40.0) == (W2,)


def test_owner_survives_when_every_witness_is_lost() -> None:
    """Without any witness for long, the owner is elected to survive, beside the old arbiter first."""
    one = care()
    taught(one, 0.0, 31.0, ())
    old = Record(3, A, arbiters=(W1,))
    assert one.elect(old, old, A, peer_up=(), now=31.0) == (W1, SA)


def test_nothing_changes_while_the_office_is_well_held() -> None:
    """A witness in office that answers stays, also when the other one is reached too."""
    one = care()
    teach(one, 5.0, answering=("w1", "w2"))
    held = Record(3, A, arbiters=(W2,))
    assert one.elect(held, held, A, peer_up=("w1", "w2"), now=5.1) is None


def told(one: Care, now: float, memory: set[str]) -> list[str]:
    """Return what is said of the witnesses now."""
    draft = Draft(3, PairState.PAIRED, memory)
    one.tell(draft, now)
    return [
        f"{command.alert.code} {command.alert.text}" for command in draft.commands if isinstance(command, c.SendAlert)
    ]


def test_witness_that_is_silent_for_long_is_told_once() -> None:
    """After 30 s without an answer that counts, and again when it answers; a shorter silence is nobody's business."""
    one, memory = care(), set[str]()
    taught(one, 100.0, 10.0, ("w1", "w2"))
    taught(one, 110.5, 28.0, ("w1",))
    assert told(one, 138.5, memory) == []
    taught(one, 139.0, 3.0, ("w1",))
    (said,) = told(one, 142.0, memory)
    assert said.startswith("witness_failed Witness w2 has not answered this node for 30 s")
    assert told(one, 143.0, memory) == []
    taught(one, 144.0, 2.0, ("w1", "w2"))
    assert told(one, 146.0, memory) == ["witness_restored In order again on this node: witness w2."]


def test_witness_that_stays_untaught_is_told() -> None:
    """It answers, and could not grant."""
    one = care()
    for step in range(80):
        teach(one, 100.0 + step / 2, answering=("w1", "w2"), word="untaught")
    assert len(told(one, 140.0, set())) == 2


def test_silence_counts_only_while_it_is_asked() -> None:
    """A node that was out of service for long has asked nobody."""
    one = care()
    teach(one, 100.0)
    one.rest()
    teach(one, 200.0)
    assert told(one, 229.0, set()) == []
    assert len(told(one, 230.0, set())) == 2


def test_calm_ends_when_a_silence_is_long_enough() -> None:
    """The moment in which it has to be told is one of those that time alone brings."""
    one = care()
    teach(one, 100.0, answering=("w1", "w2"))
    teach(one, 102.0)
    assert one.unchanged_until(130.5) == 132.0

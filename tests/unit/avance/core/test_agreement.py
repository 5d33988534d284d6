"""Agreement on definitions, one node at a time: when something counts, and what a person is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.agreement import ANSWER_S, HISTORY_MAX, Agreement, AgreementFacts
from avance.core.decision import Draft
from avance.core.model import AgreementWord, NodeId, Outcome, PairState, Proposal, Stand, Timers, Version
from avance.core.results import Done
from tests.playbook import A, B

V1, V2, V3 = Version(1, "one"), Version(2, "two"), Version(3, "three")
OTHER = Version(2, "other")
MINE = Proposal("id-a", V2, A)
THEIRS = Proposal("id-b", OTHER, B)
ASK = e.ChangeAsked("vm add web", V1, "two", "id-a", alone=False, ask=7)
ALONE = replace(ASK, alone=True)


class Talk:
    """One node of the two, told things in order."""

    def __init__(self, stand: Stand | None = None, me: NodeId = A) -> None:
        stand = stand or Stand(V1)
        self.owner = Agreement(me, B if me == A else A, Timers(), stand)
        self.now = 100.0
        self.said: AgreementWord | None = AgreementWord(stand.version)
        self.facts = AgreementFacts(None, heard=True, silent=False, in_use=True, both_use=True)
        self.told: set[str] = set()

    def hears(
        self, event: e.ChangeAsked | e.TakeAsked | e.DocumentHeard | e.CommandDone | None = None
    ) -> list[c.Command]:
        """Tell it something; returns what it commands."""
        draft = Draft(1, PairState.PAIRED, self.told)
        facts = replace(self.facts, said=self.said)
        if isinstance(event, e.CommandDone):
            assert isinstance(event.command, c.SaveDefinitions)
            self.owner.done(event.command, event.result, draft, self.now)
        elif event is not None:
            self.owner.take_in(event, facts, draft, self.now)
        self.owner.judge(facts, draft, self.now)
        return draft.commands

    def peer_says(self, version: Version = V1, proposal: Proposal | None = None, **more: object) -> list[c.Command]:
        """Let it hear a word of its peer."""
        self.said = AgreementWord(version, proposal, **more)  # type: ignore[arg-type]  # the fields of a word
        return self.hears()

    def saves(self, stand: Stand, outcome: Outcome = Outcome.OK, detail: str = "") -> list[c.Command]:
        """Let the save that is under way end."""
        assert self.owner.saving == stand
        return self.hears(e.CommandDone(c.SaveDefinitions(stand), Done(outcome, detail)))


def answer(commands: Iterable[c.Command]) -> c.AnswerOperator:
    """Return the only answer among them."""
    (found,) = [command for command in commands if isinstance(command, c.AnswerOperator)]
    return found


PROPOSED = Stand(V1, (), MINE)
COUNTS = Stand(V2, (V1,))


def proposed() -> Talk:
    """Return a node whose proposal is durable."""
    talk = Talk()
    assert talk.hears(ASK) == [c.SaveDefinitions(PROPOSED)]
    assert talk.owner.word == AgreementWord(V1), "nothing is said that is not durable"
    assert talk.saves(PROPOSED) == []
    return talk


def test_coordinator_goes_from_word_to_word() -> None:
    """Its proposal is durable, then it is sent when it is asked for, then the peer holds it, then it counts."""
    talk = proposed()
    assert talk.owner.word == AgreementWord(V1, MINE)
    assert talk.peer_says(asks="id-a") == [c.SendDocument("id-a")]
    assert talk.peer_says(asks="id-a") == [], "not again within a second"
    talk.now += 1.0
    assert talk.hears() == [c.SendDocument("id-a")]
    assert talk.peer_says(proposal=MINE) == [c.SaveDefinitions(COUNTS)]
    done = talk.saves(COUNTS)
    assert done[0] == c.UseDefinitions(V2, later=True)
    assert answer(done) == c.AnswerOperator(7, done=True, text="vm add web: done, both nodes hold it")
    assert talk.peer_says(V2) == []
    assert talk.owner.rests


def test_what_is_decided_is_written_until_it_is_durable() -> None:
    """The peer holds it, and may hear of it from this disk after a start: it is not withdrawn any more."""
    talk = proposed()
    talk.peer_says(proposal=MINE)
    assert talk.saves(COUNTS, Outcome.UNKNOWN, "it hangs") == []
    assert talk.owner.word == AgreementWord(V1, MINE)
    talk.now += 10 * ANSWER_S
    assert talk.hears() == [c.SaveDefinitions(COUNTS)]
    talk.now += 10 * ANSWER_S
    assert answer(talk.saves(COUNTS)).done


def test_participant_goes_from_word_to_word() -> None:
    """It asks for the document, holds it durably, and lets it count when the coordinator says that it does."""
    talk = Talk(me=B)
    assert talk.peer_says(proposal=MINE) == []
    assert talk.owner.word.asks == "id-a"
    assert talk.hears(e.DocumentHeard("id-a", V2, (), "")) == [c.SaveDefinitions(PROPOSED)]
    assert talk.owner.word.proposal is None
    assert talk.saves(PROPOSED) == []
    assert talk.owner.word == AgreementWord(V1, MINE)
    assert talk.peer_says(V2) == [c.SaveDefinitions(COUNTS)]
    assert talk.saves(COUNTS) == [c.UseDefinitions(V2)]
    assert talk.owner.rests


def test_participant_that_refuses_says_why_and_the_person_hears_it() -> None:
    """Nothing was durable there; here it is withdrawn durably before the answer."""
    talk = Talk(me=B)
    talk.peer_says(proposal=MINE)
    talk.hears(e.DocumentHeard("id-a", V2, (), "no such device"))
    assert talk.owner.word == AgreementWord(V1, None, "", ("id-a", "no such device"))
    one = proposed()
    assert one.peer_says(refused=("id-a", "no such device")) == [c.SaveDefinitions(Stand(V1))]
    told = answer(one.saves(Stand(V1)))
    assert told == c.AnswerOperator(
        7, done=False, text="vm add web: node b refuses it: no such device; nothing was changed"
    )
    assert one.owner.rests


def test_what_is_held_stays_held_while_the_coordinator_is_silent() -> None:
    """It goes on with what counted before, however long that lasts, and over a start of the daemon."""
    talk = Talk(PROPOSED, me=B)
    talk.said, talk.facts = None, replace(talk.facts, heard=False, silent=True)
    talk.now += 1e6
    assert talk.hears() == []
    assert talk.owner.stand == PROPOSED
    assert talk.peer_says(proposal=MINE) == []
    assert talk.peer_says() == [c.SaveDefinitions(Stand(V1))], "the coordinator has withdrawn it"


def test_no_word_in_time_withdraws_it() -> None:
    """And the person hears that nothing was changed; the peer that holds it by now drops it later."""
    talk = proposed()
    talk.now += ANSWER_S
    assert talk.hears() == [c.SaveDefinitions(Stand(V1))]
    assert talk.peer_says(proposal=MINE) == [], "too late: it is being withdrawn"
    assert "node b did not say within 20 s that it holds it; nothing was changed" in answer(talk.saves(Stand(V1))).text


def test_start_in_the_middle_goes_on() -> None:
    """A coordinator that finds its proposal, and the peer holding it, lets it count; alone it withdraws it in time."""
    talk = Talk(PROPOSED)
    assert talk.peer_says(proposal=MINE) == [c.SaveDefinitions(COUNTS)]
    alone = Talk(PROPOSED)
    alone.said = None
    assert alone.hears() == []
    alone.now += ANSWER_S
    assert alone.hears() == [c.SaveDefinitions(Stand(V1))]


@pytest.mark.parametrize("me", [A, B])
def test_two_proposals_at_once(me: NodeId) -> None:
    """The node whose name is first goes on, the other one withdraws and takes in what the first one proposes."""
    own = Proposal("own", V2, me)
    other = Proposal("id-x", OTHER, B if me == A else A)
    talk = Talk(Stand(V1, (), own), me=me)
    commands = talk.peer_says(proposal=other)
    assert commands == ([] if me == A else [c.SaveDefinitions(Stand(V1))])
    if me == B:
        talk.saves(Stand(V1))
        assert talk.owner.word.asks == "id-x"


# What is asked for, what is true around the node, what the peer said last, and a word of the answer.
REFUSED: list[tuple[e.ChangeAsked, dict[str, bool], AgreementWord | None, str]] = [
    (ASK, {"heard": False, "silent": True}, AgreementWord(V1), "node b is not heard, and cannot agree"),
    (ASK, {}, None, "node b is not heard, and cannot agree"),
    (ASK, {}, AgreementWord(V2), "node b holds other definitions"),
    (ASK, {}, AgreementWord(V1, THEIRS), "node b proposes another change just now"),
    (ASK, {"both_use": False}, AgreementWord(V1), "the last change is just being taken into use"),
    (ASK, {"in_use": False}, AgreementWord(V1), "the definitions have just changed"),
    (replace(ASK, base=V3), {}, AgreementWord(V1), "the definitions have just changed"),
    (replace(ASK, hash="one"), {}, AgreementWord(V1), "that is what counts already"),
    (ALONE, {}, AgreementWord(V1), "node b is not silent; ask without --one-node"),
    (ALONE, {"heard": False}, AgreementWord(V1), "node b is not silent"),
]


def refusal(change: e.ChangeAsked, facts: dict[str, bool], said: AgreementWord | None) -> str:
    """Return what a person is told."""
    talk = Talk()
    talk.facts, talk.said = replace(talk.facts, **facts), said  # type: ignore[arg-type]  # a case names its fields
    told = answer(talk.hears(change))
    assert not told.done
    assert talk.owner.saving is None
    return told.text


@pytest.mark.parametrize(("change", "facts", "said", "why"), REFUSED)
def test_change_that_cannot_be_agreed_is_refused(
    change: e.ChangeAsked, facts: dict[str, bool], said: AgreementWord | None, why: str
) -> None:
    """Before anything changes, with what is true now."""
    text = refusal(change, facts, said)
    assert why in text
    assert text.endswith("; nothing was changed")


@pytest.mark.parametrize("heard", [True, False])
def test_one_node_needs_a_silent_peer(*, heard: bool) -> None:
    """One that is heard could agree; one that cannot hear this node goes on with what it has."""
    talk = Talk()
    talk.facts = replace(talk.facts, heard=heard)
    assert "node b is not silent" in answer(talk.hears(ALONE)).text
    assert talk.owner.saving is None


def test_one_change_after_the_other() -> None:
    """While one is under way, or the peer's is held, there is no other one."""
    talk = proposed()
    assert "not agreed yet" in answer(talk.hears(replace(ASK, ask=8))).text
    held = Talk(Stand(V1, (), THEIRS))
    held.said = AgreementWord(V1, THEIRS)
    assert "node b proposes another change" in answer(held.hears(ASK)).text
    assert "not agreed yet" in answer(held.hears(e.TakeAsked(9))).text


def test_one_node_counts_at_once_and_above_what_is_in_doubt() -> None:
    """It does not come from the proposal that the peer may have let count meanwhile."""
    talk = Talk(Stand(V1, (Version(0, "nought"),), THEIRS))
    talk.facts = replace(talk.facts, heard=False, silent=True)
    counts = Stand(Version(3, "two"), (Version(0, "nought"), V1))
    assert talk.hears(ALONE) == [c.SaveDefinitions(counts)]
    assert talk.saves(counts, Outcome.UNKNOWN, "it hangs") == []
    talk.now += 100.0
    assert talk.hears() == [c.SaveDefinitions(counts)], "once begun it is written until it is durable"
    told = talk.saves(counts)
    assert told[0] == c.UseDefinitions(Version(3, "two"))
    assert "done on this node alone; node b takes it when it is back" in answer(told).text


@pytest.mark.parametrize("event", [ASK, ALONE])
def test_disk_that_refuses_is_told(event: e.ChangeAsked) -> None:
    """Nothing was written, so nothing was changed."""
    talk = Talk()
    talk.facts = replace(talk.facts, heard=not event.alone, silent=event.alone)
    (save,) = talk.hears(event)
    assert isinstance(save, c.SaveDefinitions)
    told = answer(talk.saves(save.stand, Outcome.FAILED, "read-only"))
    assert told.text == "vm add web: it cannot be made durable here (read-only); nothing was changed"
    assert talk.owner.rests


def test_write_in_doubt_is_undone_before_the_answer() -> None:
    """The disk may hold the proposal: what counts is written again, and only then the person hears it."""
    talk = Talk()
    talk.hears(ASK)
    assert talk.saves(PROPOSED, Outcome.UNKNOWN, "it hangs") == []
    talk.now += 2.0
    assert talk.hears() == [c.SaveDefinitions(Stand(V1))]
    assert "nothing was changed" in answer(talk.saves(Stand(V1))).text


NEWER = Stand(V3, (V1, V2))


def test_newer_definitions_are_taken_when_they_come_from_ours() -> None:
    """A node that was away has them soon after it is back, however many changes it missed."""
    talk = Talk(me=B)
    talk.peer_says(V3)
    assert talk.owner.word.asks == "3 three"
    assert talk.hears(e.DocumentHeard("3 three", V3, (V1, V2), "")) == [c.SaveDefinitions(NEWER)]
    assert talk.saves(NEWER) == [c.UseDefinitions(V3)]
    blank = Talk(Stand(Version(0, "blank")), me=B)
    blank.peer_says(V3)
    assert blank.hears(e.DocumentHeard("3 three", V3, (V1, V2), "")) == [c.SaveDefinitions(NEWER)]


def test_newer_definitions_that_do_not_come_from_ours_are_told() -> None:
    """Nothing is overwritten; both nodes know it, the one with the lower number and the one with the higher."""
    lower = Talk(Stand(OTHER, (V1,)), me=B)
    lower.peer_says(V3)
    lower.hears(e.DocumentHeard("3 three", V3, (V1, V2), ""))
    assert lower.owner.saving is None
    assert lower.told == {"definitions_differ"}
    higher = Talk(NEWER)
    higher.peer_says(OTHER)
    assert higher.told == {"definitions_differ"}
    same = Talk(Stand(V2, (V1,)))
    same.peer_says(OTHER)
    assert same.told == {"definitions_differ"}
    same.peer_says(V2)
    assert not same.told
    blank = Talk(NEWER)
    blank.peer_says(Version(0, "blank"))
    assert not blank.told, "it takes ours"


def test_earlier_proposal_of_the_same_contents_is_another_one() -> None:
    """It was withdrawn, and the peer has not heard that yet: what it still holds is no yes to the new one."""
    talk = proposed()
    assert talk.peer_says(proposal=replace(MINE, id="id-0")) == []
    assert talk.peer_says(proposal=MINE) == [c.SaveDefinitions(COUNTS)]


def test_same_contents_under_another_number_are_another_version() -> None:
    """The peer has given up what it proposed, and let the same contents count alone, later."""
    talk = Talk(PROPOSED, me=B)
    assert talk.peer_says(Version(3, "two")) == [c.SaveDefinitions(Stand(V1))]
    talk.saves(Stand(V1))
    assert talk.owner.word.asks == "3 two"


def test_change_that_was_taken_back_is_no_older_version() -> None:
    """This node came back to contents that the peer had once, too: the peer's definitions do not come from that."""
    talk = Talk(Stand(Version(3, "one"), (V1, OTHER)), me=B)
    newest = Version(4, "four")
    talk.peer_says(newest)
    talk.hears(e.DocumentHeard("4 four", newest, (V1, V2, V3), ""))
    assert talk.owner.saving is None
    assert talk.told == {"definitions_differ"}


def test_newer_definitions_that_do_not_fit_are_told_and_looked_at_again() -> None:
    """The node says why not; a minute later it may have what it lacked."""
    talk = Talk(me=B)
    talk.peer_says(V3)
    talk.hears(e.DocumentHeard("3 three", V3, (V1, V2), "no such device"))
    assert talk.told == {"definitions_refused"}
    assert talk.owner.word == AgreementWord(V1, None, "", ("3 three", "no such device"))
    talk.now += 60.0
    talk.hears()
    assert talk.owner.word.asks == "3 three"
    assert talk.hears(e.DocumentHeard("3 three", V3, (V1, V2), "")) == [c.SaveDefinitions(NEWER)]


def test_document_that_nobody_asked_for_means_nothing() -> None:
    """Nor does one whose contents are not those that the peer names."""
    talk = Talk(me=B)
    for key, version in (("3 three", V3), ("id-a", V2)):
        assert talk.hears(e.DocumentHeard(key, version, (V1,), "")) == []
    talk.peer_says(proposal=MINE)
    assert talk.hears(e.DocumentHeard("id-a", OTHER, (), "")) == []
    assert talk.owner.word.asks == "id-a"


def test_person_chooses_between_two_versions() -> None:
    """The node gives its own up; a second question, or one without need, is refused."""
    talk = Talk(Stand(OTHER, (V1,)), me=A)
    talk.peer_says(V2)
    assert talk.hears(e.TakeAsked(9)) == []
    assert talk.owner.word.asks == "2 two"
    assert "not agreed yet" in answer(talk.hears(e.TakeAsked(10))).text
    taken = Stand(V2, (V1,))
    assert talk.hears(e.DocumentHeard("2 two", V2, (V1,), "")) == [c.SaveDefinitions(taken)]
    told = talk.saves(taken)
    assert answer(told).text == "definitions take: this node has the definitions of node b, number 2"
    assert "the same definitions" in answer(talk.hears(e.TakeAsked(11))).text


def test_choice_is_refused_where_there_is_none() -> None:
    """The peer must be heard, must not be doing the same, and neither version must come from the other."""
    talk = Talk(NEWER)
    talk.peer_says(V1)
    assert "comes from the other" in answer(talk.hears(e.TakeAsked(9))).text
    talk.peer_says(OTHER, asks="3 three")
    assert "takes the definitions of this node just now" in answer(talk.hears(e.TakeAsked(9))).text
    talk.facts = replace(talk.facts, heard=False)
    assert "not heard" in answer(talk.hears(e.TakeAsked(9))).text


def test_choice_waits_no_longer_than_anything_else() -> None:
    """The peer changes again, its document does not fit, or it never comes: nothing was changed."""
    for ends in ("changed", "unfit", "late"):
        talk = Talk(Stand(OTHER, (V1,)))
        talk.peer_says(V2)
        talk.hears(e.TakeAsked(9))
        if ends == "changed":
            told = talk.peer_says(Version(3, "more"))
        elif ends == "unfit":
            told = talk.hears(e.DocumentHeard("2 two", V2, (V1,), "no such device"))
        else:
            talk.now += ANSWER_S
            told = talk.hears()
        assert answer(told).text.endswith("; nothing was changed")
        assert talk.owner.asked is None


def test_history_is_bounded() -> None:
    """It holds the last versions."""
    long = tuple(Version(number, "x") for number in range(HISTORY_MAX + 5))
    talk = Talk(Stand(V1, long))
    talk.facts = replace(talk.facts, heard=False, silent=True)
    (save,) = talk.hears(ALONE)
    assert isinstance(save, c.SaveDefinitions)
    assert save.stand.history == (*long, V1)[-HISTORY_MAX:]

"""A run in plain words: what was heard, what changed, and the one question that everybody asks."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision, Engine
from avance.core.model import Alert, DiskRole, Outcome, PairState, Proposal, Record, Stand, Version
from avance.core.takeover import Allowed
from avance.explain import RunSummary, command_words, event_words, summary
from avance.wire.decision_lines import Before
from tests.playbook import PRIV, WEB, A, B, ended, in_sync, paired, setup


def engine(
    pair: PairState = PairState.STARTING, *, granted: Allowed | None = None, record: Record | None = None
) -> Engine:
    """Return an engine of node a in epoch 3."""
    made = Engine(setup(A), record or Record(3, A))
    made.sight.pairing.pair = pair
    made.right.granted = granted
    return made


def leased(from_s: float) -> Engine:
    """Return an engine of the owner whose lease counts from this time."""
    made = engine()
    made.liveness.lease_from_s = from_s
    return made


def run(*decisions: Decision, one: Engine) -> str:
    """Return the summary of a run of one decision a second."""
    told = RunSummary()
    for number, decision in enumerate(decisions):
        told.note(e.Tick(), Before.of(one), one, decision, 100.0 + number)
    return "\n".join(summary(told, one))


def said(*milestones: str, reason: str = "because", alert: str = "") -> Decision:
    """Return a decision with a reason, milestones and an alert."""
    commands = (c.SendAlert(Alert("fault", alert, "critical", "It must not."), 3, PairState.WAITING),) if alert else ()
    return Decision(commands, (reason,), milestones)


LOST = said("peer_lost", reason="no word")
LONE = Record(4, A, peer_outdated=True)
GRANTED = Allowed("policy availability", 5, "the peer is silent")


@pytest.mark.parametrize(
    ("decisions", "one", "words"),
    [
        ((said("protected"),), engine(PairState.PAIRED), "no: the peer was never lost"),
        ((LOST, said()), engine(PairState.WAITING), "lost at +0.000 s, and 1.0 s later the run ended undecided"),
        ((LOST, said("peer_returned")), engine(PairState.PAIRED), "came back before there was a right"),
        ((LOST, said(alert="takeover_refused")), engine(PairState.WAITING), "no: refused at +1.000 s: It must not."),
        ((LOST, said("takeover_decided")), engine(granted=GRANTED), "at +1.000 s by policy availability: the peer is"),
        ((said("epoch_saved"),), engine(PairState.PAIRED), "at +0.000 s by consent of the peer"),
    ],
)
def test_the_question_is_answered(decisions: tuple[Decision, ...], one: Engine, words: str) -> None:
    """Whether it failed over, when, by which means, or why not."""
    assert words in run(*decisions, one=one)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (engine(PairState.FENCED), "no: the pair is FENCED"),
        (engine(record=Record(4, B)), "no: epoch 4 belongs to b"),
        (engine(PairState.ALONE, record=LONE), "alone, durably"),
        (leased(98.0), "its lease is valid"),
        (leased(90.0), "its lease has ended"),
    ],
)
def test_the_right_at_the_end_is_named(one: Engine, words: str) -> None:
    """Whether this node may write when the run ends, and by what."""
    assert words in run(said(), one=one)


def test_an_empty_run_has_a_summary() -> None:
    """A run without a single input is no error."""
    assert "0.0 s; at the end: pair STARTING" in run(one=engine())


def test_flapping_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary of a very long run is bounded."""
    monkeypatch.setattr("avance.explain._TURNS_MAX", 5)
    assert run(*[LOST] * 20, one=engine(pair=PairState.WAITING)).count("no word") == 5


def test_decisions_are_shown_once_and_in_time() -> None:
    """Each decision is shown by the first call that asks for its time."""
    one, told = engine(), RunSummary()
    for number in range(4):
        told.note(e.Tick(), Before.of(one), one, said(reason=f"reason {number}"), 100.0 + number)
    first = "\n".join(told.decisions(1.0, 2.0))
    assert ("reason 0" in first, "reason 1" in first, "reason 2" in first, "reason 3" in first) == (
        False,
        True,
        True,
        False,
    )
    assert list(told.decisions(0.0, 9.0)) == []


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (e.Tick(), "Tick"),
        (e.HeartbeatSeen(PRIV, paired(A).peer, 1.0), "HeartbeatSeen on priv0: peer PAIRED, epoch 3 of a"),
        (ended(c.AskWitness("w1", 4, "n"), Outcome.OK, "granted 4 a"), "AskWitness w1 OK (granted 4 a)"),
        (ended(c.PromoteDisk(WEB), Outcome.FAILED), "PromoteDisk web FAILED"),
        (e.DiskChanged(WEB, in_sync(DiskRole.PRIMARY)), "web Primary UpToDate/UpToDate Connected"),
        (e.DiskChanged(WEB, None), "web gone"),
        (e.DomainChanged(WEB, running=False), "web does not run"),
        (e.DomainChanged(WEB, running=True, paused=True), "web stands still"),
        (e.OperatorAsked("override", B, 1), "override b"),
        (e.ChangeAsked("vm add web", Version(), "c0ffee", "4711", alone=False, ask=1), "ChangeAsked: vm add web"),
        (e.DocumentHeard("4711", Version(3, "c0ffee"), (), ""), "definitions number 3"),
        (e.DocumentHeard("4711", Version(3, "c0ffee"), (), "no such device"), "number 3 (no such device)"),
    ],
)
def test_events_are_told_in_words(event: e.Event, words: str) -> None:
    """A person reads what was heard without looking at fields."""
    assert words in event_words(event)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (c.SaveRecord(Record(4, B)), "SaveRecord(epoch 4, owner b)"),
        (c.SaveDefinitions(Stand(Version(3, "c0ffee"))), "SaveDefinitions(number 3)"),
        (
            c.SaveDefinitions(Stand(Version(3, "c0ffee"), (), Proposal("4711", Version(4, "decaf"), B))),
            "SaveDefinitions(number 3, proposed 4)",
        ),
        (c.StartDomain(WEB), "StartDomain(web)"),
        (c.AskWitness("w1", 4, "n"), "AskWitness(w1)"),
        (c.HoldAddress(), "HoldAddress"),
    ],
)
def test_commands_are_told_in_words(command: c.Command, words: str) -> None:
    """A person reads what was done without looking at fields."""
    assert command_words(command) == words

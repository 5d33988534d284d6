"""Every order of words, documents, writes, crashes, cuts and changes: both nodes agree in the end, or are told.

The sizes are stated as they are, so that a world that has become smaller is noticed.
"""

from __future__ import annotations

import pytest

from avance.core.agreement import Agreement, AgreementFacts
from avance.core.model import AgreementWord, Stand
from tests.sim.agreed_worlds import Reached, Rules, explore

pytestmark = pytest.mark.timeout(900)
CHANGES = ("both", "alone")


def holds(rules: Rules, worlds: int) -> Reached:
    """Demand that nothing broke a promise, and that no less was tried than stated."""
    found = explore(rules)
    print(found.text())
    assert not found.broken, found.broken[0]
    assert found.worlds >= worlds, found.text()
    return found


def test_two_changes_on_either_node() -> None:
    """Also both at once: 1,537 worlds."""
    assert not holds(Rules(changes=2), 1537).differ


def test_a_crash_at_any_point() -> None:
    """Of either node, before and after each write, in the middle of two changes: 12,921 worlds."""
    assert not holds(Rules(changes=2, crashes=1), 12_921).differ


def test_a_write_that_ends_unknown() -> None:
    """Or is refused, with a crash and a cut beside it: 8,216 worlds."""
    assert not holds(Rules(crashes=1, failures=1, cuts=1), 8216).differ


def test_cuts_in_one_direction_and_in_both() -> None:
    """With changes that both agree on, and changes on one node alone: 16,430 worlds; in some the nodes differ."""
    assert holds(Rules(changes=2, verbs=CHANGES, cuts=2), 16_430).differ


def test_a_node_that_refuses() -> None:
    """In the middle of two changes: 3,643 worlds."""
    holds(Rules(changes=2, refusals=1), 3643)


# ---------------------------------------------------------------- planted defects


def broken(rules: Rules) -> str:
    """Return what broke."""
    found = explore(rules).broken
    assert found, "a defect was not noticed"
    return found[0]


def test_commit_without_the_peers_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator takes any word of the peer for a yes."""
    real = Agreement._judge_proposal

    def judge(owner: Agreement, said: AgreementWord) -> None:
        own = owner._own
        real(owner, said if own is None or said.refused[0] else AgreementWord(said.version, own))

    monkeypatch.setattr(Agreement, "_judge_proposal", judge)
    assert "counts on both" in broken(Rules())


def test_held_proposal_that_is_dropped_in_silence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A participant that starts anew forgets what it holds."""
    real = Agreement._wished

    def wished(owner: Agreement, said: AgreementWord | None, now: float) -> Stand | None:
        held = owner.stand.proposal
        if said is None and held is not None and held.by != owner.me:
            return Stand(owner.stand.version, owner.stand.history)
        return real(owner, said, now)

    monkeypatch.setattr(Agreement, "_wished", wished)
    assert broken(Rules(crashes=1, cuts=1))


def test_document_that_does_not_descend_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer number is enough, and what a person was told is lost."""
    monkeypatch.setattr(Agreement, "_descends", lambda _owner, _event: True)
    assert "is lost" in broken(Rules(changes=3, verbs=("alone",), cuts=2))


def test_one_node_while_the_peer_is_heard_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes that hear each other come apart."""
    real = Agreement._why_no_change

    def why(owner: Agreement, event: object, facts: AgreementFacts) -> str:
        said = real(owner, event, facts)  # type: ignore[arg-type]  # it is a ChangeAsked
        return "" if "not silent" in said else said

    monkeypatch.setattr(Agreement, "_why_no_change", why)
    assert explore(Rules(changes=2, verbs=("alone",))).differ

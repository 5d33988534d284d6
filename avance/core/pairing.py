"""This node's state of the pair, and an operator's word that its own version of diverged data is given up.

The rules are `core/pair.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.decision import Draft
from avance.core.model import PairState
from avance.core.pair import Become, Judgement, PairFacts, judge


@dataclass(slots=True)
class Pairing:
    """The state of the pair; `yields`: an operator gave up this node's version of diverged data."""

    pair: PairState = PairState.STARTING
    yields: bool = False

    def judge(self, facts: PairFacts, draft: Draft) -> Judgement:
        """Ask the rules of the pair once; a change of its state is done here."""
        judgement = judge(self.pair, facts)
        if isinstance(judgement, Become):
            self.become(judgement.state, judgement.reason, draft)
        return judgement

    def become(self, state: PairState, reason: str, draft: Draft) -> None:
        """Enter another state of the pair."""
        draft.enter(state, reason)
        self.pair = state

    def give_up(self) -> None:
        """An operator gave up this node's version."""
        self.yields = True

    def chosen(self, draft: Draft) -> None:
        """An operator has chosen a version, and that is durable: the pair begins anew."""
        self.yields = False
        self.become(PairState.STARTING, "an operator has chosen whose data is kept", draft)

    @property
    def in_service(self) -> bool:
        """This node is paired, or goes on alone."""
        return self.pair in (PairState.PAIRED, PairState.ALONE)

    @property
    def stopped(self) -> bool:
        """No VM may run here, whatever else is true."""
        return self.pair in (PairState.FENCED, PairState.SPLIT)


__all__ = ["Pairing"]

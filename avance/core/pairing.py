"""This node's state of the pair, and an operator's word that its own version of diverged data is given up.

The rules, and the table of all changes, are `core/pair.py`; every change is done here.
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.decision import Draft
from avance.core.model import PairState
from avance.core.pair import PairTrigger, step


@dataclass(slots=True)
class Pairing:
    """The state of the pair; `yields`: an operator gave up this node's version of diverged data."""

    pair: PairState = PairState.STARTING
    yields: bool = False

    def happens(self, trigger: PairTrigger, reason: str, draft: Draft) -> PairState | None:
        """Return the state that the pair enters, None where nothing follows."""
        state = step(self.pair, trigger)
        if state is not None:
            draft.enter(state, reason)
            self.pair = state
        return state

    def give_up(self) -> None:
        """An operator gave up this node's version."""
        self.yields = True

    def chosen(self, draft: Draft) -> None:
        """An operator has chosen a version, and that is durable: the pair begins anew."""
        self.yields = False
        self.happens(PairTrigger.CHOSEN, "an operator has chosen whose data is kept", draft)

    @property
    def in_service(self) -> bool:
        """This node is paired, or goes on alone."""
        return self.pair in (PairState.PAIRED, PairState.ALONE)

    @property
    def stopped(self) -> bool:
        """No VM may run here, whatever else is true."""
        return self.pair in (PairState.FENCED, PairState.SPLIT)


__all__ = ["Pairing"]

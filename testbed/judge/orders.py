"""What persons ordered on the nodes in a run, and which version of diverged data they chose. Pure.

It is read from the proven steps `person.orders` of the history, never from the product's own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from testbed.history import HistoryRecord
from testbed.judge.recorded import Recorded
from testbed.topology import NODES

STEP = "person.orders"
FORCE, KEEP = "override", "keep"


@dataclass(frozen=True)
class Ordered:
    """A person gave an order on a node, and typed a node's name for it; the product took it."""

    node: str
    order: str
    typed: str
    at_s: float


@dataclass(frozen=True)
class Choice:
    """Both nodes were forced to run, and of the two versions one was kept.

    The node whose version was given up wrote alone from `forced_s` on. Both ran from `both_s` on. From `chosen_s` on
    neither does until there is one version again.
    """

    kept: str
    given_up: str
    forced_s: float
    both_s: float
    chosen_s: float

    def may_have_written(self, at_s: float | None) -> bool:
        """Say whether the node whose version was given up may have acknowledged at this time, and alone."""
        return at_s is not None and self.forced_s <= at_s <= self.chosen_s


def orders_of(records: Iterable[HistoryRecord]) -> list[Ordered]:
    """The orders that were proven, in the order in which they were given."""
    found = []
    for record in records:
        told, node = record.fields.get("evidence"), record.fields.get("target")
        if record.source != "fault" or record.kind != "confirmed" or record.fields.get("name") != STEP:
            continue
        if isinstance(told, Mapping) and isinstance(node, str):
            at_s = told.get("given_at_s")
            given_s = at_s if isinstance(at_s, float) else record.t_s
            found.append(Ordered(node, str(told.get("order")), str(told.get("typed")), given_s))
    return sorted(found, key=lambda one: one.at_s)


def choice_of(recorded: Recorded) -> Choice | str | None:
    """The choice of a run, a sentence that says why there was none, or None when none was to be made."""
    if not recorded.choice_expected:
        return None
    given = orders_of(recorded.records)
    forced = {one.node: one.at_s for one in reversed(given) if one.order == FORCE}  # the first of each node counts
    kept = {one.node: one for one in given if one.order == KEEP}  # and of the choices the last
    for order, nodes in ((FORCE, forced), (KEEP, kept)):
        missing = [node for node in NODES if node not in nodes]
        if missing:
            return f"no choice was made: nobody gave the order `{order}` on node {' and '.join(missing)}"
    named = {one.typed for one in kept.values()}
    if len(named) != 1 or not named <= set(NODES):
        told = ", ".join(f"{one.typed} on node {one.node}" for one in kept.values())
        return f"no choice was made: the nodes were told to keep different versions ({told})"
    chosen = named.pop()
    given_up = next(node for node in NODES if node != chosen)
    chosen_s = min(one.at_s for one in kept.values())
    return Choice(chosen, given_up, forced[given_up], max(forced.values()), chosen_s)

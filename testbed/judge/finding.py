"""What an oracle says: a promise holds, is violated, or could not be seen; with the evidence in plain words.

An oracle that saw nothing never says "holds": it is blind, and says why. A run with a blind oracle is not green.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """What an oracle can say."""

    HOLDS = "holds"
    VIOLATED = "violated"
    BLIND = "blind"


@dataclass(frozen=True)
class Finding:
    """The word of one oracle; `text` is a sentence, the evidence is what it was made from."""

    oracle: str
    state: State
    text: str
    evidence: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.oracle}: {self.state}: {self.text}"


def holds(oracle: str, text: str, **evidence: object) -> Finding:
    """The promise was kept, and the oracle could see all of it."""
    return Finding(oracle, State.HOLDS, text, evidence)


def violated(oracle: str, text: str, **evidence: object) -> Finding:
    """The promise was broken."""
    return Finding(oracle, State.VIOLATED, text, evidence)


def blind(oracle: str, text: str, **evidence: object) -> Finding:
    """The oracle could not see whether the promise was kept; the text says why."""
    return Finding(oracle, State.BLIND, text, evidence)


def as_fields(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """What goes into result.json."""
    return [
        {"oracle": one.oracle, "state": one.state.value, "text": one.text, "evidence": dict(one.evidence)}
        for one in findings
    ]


def worst(findings: Iterable[Finding]) -> State:
    """The state of all together: one violation is a violation, else one blind oracle makes all blind."""
    states = {one.state for one in findings}
    return next((state for state in (State.VIOLATED, State.BLIND) if state in states), State.HOLDS)

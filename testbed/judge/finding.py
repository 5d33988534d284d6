"""What an oracle says: a promise was kept, was broken, or could not be seen; with the evidence in plain words.

An oracle that saw nothing never says that all is well: it is blind, which is inconclusive, and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from testbed.judge.verdict import Verdict


@dataclass(frozen=True)
class Finding:
    """The word of one oracle; `text` is a sentence, the evidence is what it was made from.

    With `is_needed` a run in which the oracle was blind proves nothing.
    """

    oracle: str
    verdict: Verdict
    text: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    is_needed: bool = True

    def __str__(self) -> str:
        return f"{self.oracle}: {self.verdict}: {self.text}"


def passed(oracle: str, text: str, **evidence: object) -> Finding:
    """The promise was kept, and the oracle could see all of it."""
    return Finding(oracle, Verdict.PASS, text, evidence)


def failed(oracle: str, text: str, **evidence: object) -> Finding:
    """The promise was broken."""
    return Finding(oracle, Verdict.FAIL, text, evidence)


def blind(oracle: str, text: str, **evidence: object) -> Finding:
    """The oracle could not see whether the promise was kept; the text says why."""
    return Finding(oracle, Verdict.INCONCLUSIVE, text, evidence)


def as_fields(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """What goes into result.json."""
    return [
        {
            "oracle": one.oracle,
            "verdict": one.verdict.value,
            "text": one.text,
            "needed": one.is_needed,
            "evidence": dict(one.evidence),
        }
        for one in findings
    ]

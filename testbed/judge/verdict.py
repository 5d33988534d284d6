"""The one scale of every judgement, of an oracle's as of a whole run's."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What can be said, from best to worst; of several, the worst counts.

    Whether a fault was really there is another question with words of its own: `faults.fault.FaultVerdict`.
    """

    PASS = "pass"  # noqa: S105 - not a password
    INVALID_HOST = "invalid-host"  # nobody can say, because the host was too slow or too noisy
    INCONCLUSIVE = "inconclusive"  # nobody can say: it could not be seen, or nobody looked
    FAIL = "fail"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what several verdicts say together; PASS when there is none."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.PASS)

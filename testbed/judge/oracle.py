"""What an oracle is: it judges one promise from what was recorded. Pure; it asks neither the product nor the bed."""

from __future__ import annotations

from typing import Protocol

from testbed.judge.finding import Finding
from testbed.judge.recorded import Recorded


class Oracle(Protocol):
    """A judge of one promise. It is on the list when its module in `testbed/judge/oracles` names it in `ORACLES`."""

    @property
    def name(self) -> str:
        """The promise in one or two words, for example `dual_active`; no other oracle has it."""

    @property
    def is_needed(self) -> bool:
        """Whether a run in which this oracle could not see proves nothing."""

    def judge(self, recorded: Recorded) -> Finding:
        """Judge a run; without its source the oracle is blind and says why. What it raises makes it blind, too."""

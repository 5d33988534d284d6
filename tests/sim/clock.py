"""The simulated clock: what is due when. It holds no chance and no rule of the world.

What is due is kept as a bound method and its arguments, so a whole world can be pickled and copied.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

START_S = 1000.0


class Clock:
    """True time and everything that is due."""

    def __init__(self) -> None:
        self.now = START_S
        self._count = 0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def after(self, delay_s: float, act: Callable[..., None], *given: Any) -> None:  # noqa: ANN401 - any arguments
        """Let something happen later."""
        self._count += 1
        heapq.heappush(self._due, (self.now + delay_s, self._count, act, given))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        due, pop = self._due, heapq.heappop
        end = self.now + seconds
        while due and due[0][0] <= end:
            self.now, _, act, given = pop(due)
            act(*given)
        self.now = end

"""The durable record of a node, as `adapters/store.py` keeps it: one save after the other, with a deadline.

A late write ends before the next one begins; an error or a time-out is UNKNOWN, with or without effect. A disk that is
read-only refuses, and nothing is changed: FAILED. A power cut in the middle leaves the old record or the new one, never
a mixture: there are two copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avance.core.model import Outcome, Record

if TYPE_CHECKING:
    from tests.sim.machine import Machine

DEADLINE_S = 4.0
Finish = Callable[..., None]


@dataclass
class Store:
    """The system disk of one node, as far as the record is concerned."""

    machine: Machine
    record: Record = field(default_factory=Record)
    hanging: int = 0
    slow_s: float = 0.0
    failing: float = 0.0
    refusing: int = 0  # read-only
    damaged: bool = False
    _writing: Record | None = None
    _finish: Finish | None = None
    late: bool = False  # nobody waits for what is being written any more
    _turn: int = 0

    def save(self, record: Record, finish: Finish) -> None:
        """Begin to write; `finish(outcome, detail)` comes at the latest after the deadline."""
        machine = self.machine
        if self.refusing:
            machine.after(0.01, finish, Outcome.FAILED, "Read-only file system")
            return
        if self._writing is not None:
            machine.after(DEADLINE_S, finish, Outcome.UNKNOWN, "an earlier write still hangs, this one was not begun")
            return
        self._turn += 1
        self._writing, self._finish, self.late = record, finish, False
        machine.after(DEADLINE_S, self._give_up, self._turn)
        self._try(self._turn)

    def _try(self, turn: int) -> None:
        """Write when the disk answers; a hanging disk is asked again until it does."""
        if turn != self._turn or self._writing is None:
            return
        if self.hanging:
            self.machine.after(0.5, self._try, turn)
            return
        dice = self.machine.world.random
        self.machine.after(dice.uniform(0.02, 0.1) + self.slow_s * dice.random(), self._write, turn)

    def _write(self, turn: int) -> None:
        if turn != self._turn or self._writing is None:
            return
        if self.hanging:
            self._try(turn)
            return
        dice, finish = self.machine.world.random, self._finish
        fails = bool(self.failing) and dice.random() < self.failing
        if not fails or dice.random() < 0.5:
            self.record = self._writing
            self.machine.world.judges.saved(self.machine, self.record)
        late, self._writing, self._finish = self.late, None, None
        if not late and finish is not None:
            finish(*((Outcome.UNKNOWN, "an error of the disk") if fails else (Outcome.OK, "")))

    def _give_up(self, turn: int) -> None:
        if turn == self._turn and self._writing is not None and not self.late:
            self.late = True
            assert self._finish is not None
            self._finish(Outcome.UNKNOWN, f"the disk did not answer within {DEADLINE_S:g} s")

    def crash(self) -> None:
        """The machine dies: what was being written is there or not."""
        if self._writing is not None and not self.hanging and self.machine.world.random.random() < 0.5:
            self.record = self._writing
        self._writing, self._finish = None, None
        self._turn += 1

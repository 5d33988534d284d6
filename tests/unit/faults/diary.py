"""A fault that only keeps a diary and fails where it is told to: what the tests of its life and of its users share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from faults.fault import FaultVerdict, Proof
from testbed.bed import Bed

Diary = list[str]


class DiaryFault:
    """A fault that writes down what is done to it."""

    def __init__(self, target: str, diary: Diary, *, verdict: FaultVerdict = FaultVerdict.CONFIRMED) -> None:
        self.name, self.target = "link.cut", target
        self.diary = diary
        self.verdict = verdict
        self.errors: dict[str, Exception] = {}
        self.does: dict[str, Callable[[Bed], Awaitable[None]]] = {}

    async def _note(self, what: str, bed: Bed) -> None:
        self.diary.append(f"{what} {self.target}")
        if what in self.does:
            await self.does[what](bed)
        if what in self.errors:
            raise self.errors[what]

    async def prepare(self, bed: Bed) -> None:
        """Note it."""
        await self._note("prepare", bed)

    async def inject(self, bed: Bed) -> None:
        """Note it."""
        await self._note("inject", bed)

    async def confirm(self, bed: Bed) -> Proof:
        """Note it."""
        await self._note("confirm", bed)
        return Proof(self.verdict, time.monotonic() if self.verdict is FaultVerdict.CONFIRMED else None)

    async def heal(self, bed: Bed) -> None:
        """Note it."""
        await self._note("heal", bed)


class InstrumentedDiary(DiaryFault):
    """One that leaves something in the bed when it is prepared."""

    async def remove_instruments(self, bed: Bed) -> None:
        """Note it."""
        await self._note("remove", bed)

"""The life of one fault: prepare, inject, confirm, heal. The one place that knows their order and cleans up.

Director, `testbed inject` and tests all go through it. A part that is called out of order raises, with what happened so
far. A part that fails is cleaned up once, at once, and the error says what came of that. A cancelled part is left to
the owner, who ends each life (`end`, or `async with`). It must never call a fault confirmed that did not prove itself.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

from faults.fault import Fault, FaultVerdict, Instrumented, Proof
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError, first_error

T = TypeVar("T")


class LifeStage(StrEnum):
    """How far a life has come."""

    NEW = "new"
    PREPARED = "prepared"
    INJECTED = "injected"
    PROVED = "looked at"
    BROKEN_OFF = "broken off"  # in the middle of a part; what that part did may still be there
    OVER = "over"


class FaultFailed(TestbedError):
    """A part of a fault failed; the text says which, why, and whether the fault may still be there."""


class OutOfOrder(AssertionError):
    """A part was called when it could not be, which is a mistake of the caller; the text says what happened so far."""


class Life:
    """One fault on one bed, from the healthy state to the healthy state; each part can be called once.

    `labels` stand in every record that the history gets of this fault.
    """

    def __init__(self, fault: Fault, bed: Bed, **labels: object) -> None:
        self.fault = fault
        self.stage = LifeStage.NEW
        self.proof: Proof | None = None
        self._bed = bed
        self._labels = labels
        self._ordered = False  # the injection was begun
        self._under_way = ""
        self._diary: list[tuple[float, str]] = []

    def __str__(self) -> str:
        return f"{self.fault.name} on {self.fault.target}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.end()
        except FaultFailed as second:
            if error is None:
                raise
            error.add_note(str(second))

    @property
    def was_ordered(self) -> bool:
        """True once the injection was begun."""
        return self._ordered

    @property
    def may_be_there(self) -> bool:
        """True from the beginning of the injection until a heal was verified."""
        return self._ordered and self.stage is not LifeStage.OVER

    async def prove(self) -> Proof:
        """Prepare, inject and confirm; returns the proof and raises as these do."""
        await self.prepare()
        await self.inject()
        return await self.confirm()

    async def prepare(self) -> None:
        """Take the evidence of the healthy state. Raises UsageError when it is impossible there, and FaultFailed."""
        self._expect("prepare", LifeStage.NEW)
        await self._part("prepare", self.fault.prepare)
        self.stage = LifeStage.PREPARED

    async def abandon(self, reason: str) -> None:
        """End it before the injection: nothing but the instruments has to be taken away. Raises FaultFailed."""
        self._expect("abandon", *([] if self._ordered else [LifeStage.NEW, LifeStage.PREPARED, LifeStage.BROKEN_OFF]))
        self._tell("not_armed", reason=reason)
        problem = await self._take_back()
        if problem:
            raise FaultFailed(f"{self} was not injected, but its instruments could not be taken away: {problem}.")

    async def inject(self, **told: object) -> None:
        """Do it; `told` goes into the record. Raises FaultFailed, and then it was taken back if that was possible."""
        self._expect("inject", LifeStage.PREPARED)
        self._ordered = True
        self._tell("injecting")
        await self._part("inject", self.fault.inject)
        self.stage = LifeStage.INJECTED
        self._tell("injected", **told)

    async def confirm(self) -> Proof:
        """Prove it, and keep the proof. Raises FaultFailed, and then it was taken back if that was possible."""
        self._expect("confirm", LifeStage.INJECTED)
        self.proof = await self._part("confirm", self.fault.confirm)
        self.stage = LifeStage.PROVED
        self._tell(self.proof.verdict.value, evidence=self.proof.evidence)
        return self.proof

    async def heal(self) -> None:
        """Take it back, and verify that. Raises FaultFailed; then it may still be there, and can be healed again."""
        self._expect("heal", *([LifeStage.INJECTED, LifeStage.PROVED, LifeStage.BROKEN_OFF] if self._ordered else []))
        problem = await self._take_back()
        if problem:
            raise FaultFailed(f"{self} was not healed: {problem}.")

    async def end(self) -> None:
        """Bring it to its end, wherever it stands: heal, abandon, or nothing when it is over. Raises FaultFailed."""
        if self.stage is LifeStage.NEW:
            self.stage = LifeStage.OVER
        elif self.stage is not LifeStage.OVER:
            await (self.heal() if self._ordered else self.abandon("it ended before it was due"))

    # ---------------------------------------------------------------- one part

    def _expect(self, part: str, *stages: LifeStage) -> None:
        if self._under_way or self.stage not in stages:
            state = f"{self._under_way} is under way" if self._under_way else f"it is {self.stage.value}"
            began_s = self._diary[0][0] if self._diary else 0.0
            told = "; ".join(f"{what} at {at_s - began_s:.1f} s" for at_s, what in self._diary) or "nothing"
            raise OutOfOrder(f"{self}: {part} is out of order, because {state}. What happened so far: {told}.")

    async def _part(self, part: str, act: Callable[[Bed], Awaitable[T]]) -> T:
        """Do one part; what fails is taken back, and told with what came of that."""
        self.stage, self._under_way = LifeStage.BROKEN_OFF, part
        self._note(part)
        try:
            return await act(self._bed)
        except Exception as error:
            self._tell_failed(part, error)
            problem = await self._take_back()
            if isinstance(error, UsageError) and not (self._ordered or problem):
                raise  # refused, and nothing was done
            after = "It was taken back." if self._ordered else "Nothing was injected."
            after = f"It could not be taken back, and may still be there: {problem}." if problem else after
            if is_expected(error):
                raise FaultFailed(f"{self} failed in {part}: {text_of(error)}. {after}") from error
            error.add_note(after)
            raise
        finally:
            self._under_way = ""

    def _tell_failed(self, part: str, error: Exception) -> None:
        self._note(f"{part} failed")
        if not self._ordered:
            self._tell("not_armed", reason=text_of(error))
            return
        self.proof = Proof(FaultVerdict.INCONCLUSIVE, None, {"error": text_of(error)})
        self._tell(self.proof.verdict.value, evidence=self.proof.evidence)

    async def _take_back(self) -> str:
        """Heal it if it was ordered, and take its instruments away; returns why that failed, or the empty text."""
        self.stage, self._under_way = LifeStage.BROKEN_OFF, "heal"
        try:
            if self._ordered:
                await self.fault.heal(self._bed)
            if isinstance(self.fault, Instrumented) and self._diary:
                await self.fault.remove_instruments(self._bed)
        except (TestbedError, OSError, ExceptionGroup) as error:
            if not is_expected(error):
                raise
            self._note("heal failed")
            if self._ordered:
                self._tell("not_healed", reason=text_of(error))
            return text_of(error)
        finally:
            self._under_way = ""
        self.stage = LifeStage.OVER
        self._note("healed" if self._ordered else "abandoned")
        if self._ordered:
            self._tell("healed")
        return ""

    def _note(self, what: str) -> None:
        self._diary.append((time.monotonic(), what))

    def _tell(self, kind: str, **more: object) -> None:
        fault = self.fault
        self._bed.history.record("fault", kind, name=fault.name, target=fault.target, **self._labels, **more)


def is_expected(error: BaseException) -> bool:
    """Say whether the world is to blame, and not the code: errors of the testbed, of the host, and groups of these."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_expected(one) for one in error.exceptions)
    return isinstance(error, TestbedError | OSError)


def text_of(error: BaseException) -> str:
    """Return an error as a sentence without its full stop; of a group, its first."""
    first = first_error(error) if isinstance(error, BaseExceptionGroup) else error
    return (str(first) or type(first).__name__).removesuffix(".")

"""Faults of a witness: it stands still, dies, or loses its storage. To cut its cable is a fault of its link.

The evidence is a datagram of the bed's own, asked from another port of the switch, and the process table. The question
changes nothing at the witness. A fault must never ask a witness for a right.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from faults.fault import Aim, Proof
from testbed.bed import Bed
from testbed.errors import MachineError, UsageError
from testbed.wait import wait_until
from testbed.world.witness import WitnessProcess
from testbed.world.witness_client import WitnessView

LOOK_S = 2.0  # a healthy witness answers in some milliseconds
HEAL_TIMEOUT_S = 10.0
STOPPED = "T"


def witness_of(bed: Bed, name: str) -> WitnessProcess:
    """Return a witness of the bed; raises UsageError when there is none."""
    witnesses = bed.witnesses
    if name not in witnesses:
        there = ", ".join(sorted(witnesses)) or "none"
        raise UsageError(f"there is no witness {name!r} in this run; there are: {there} (site option witnesses)")
    return witnesses[name]


def process_state(pid: int) -> str:
    """The state of a process as proc(5) tells it, such as S or T; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def _told(view: WitnessView | None) -> dict[str, object] | None:
    if view is None:
        return None
    return {"taught": view.taught, "epoch": view.epoch, "owner": view.owner, "life": view.life[:8]}


class WitnessFault:
    """What the faults of a witness share: what it says before, during and after."""

    name: ClassVar[str]
    aim: ClassVar[Aim] = Aim.WITNESS
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, target: str) -> None:
        self.target = target
        self._injected_at_s: float | None = None
        self._before: WitnessView | None = None
        self._pid = 0

    async def prepare(self, bed: Bed) -> None:
        """Ask what it knows; the first question also finds its address."""
        witness = witness_of(bed, self.target)
        if witness.pid is None:
            raise UsageError(f"witness {self.target} does not run; start it first")
        self._pid = witness.pid
        self._before = await witness.look(bed.client, timeout_s=LOOK_S)

    async def await_answer(self, bed: Bed) -> WitnessView:
        """Wait until it answers; raises WaitTimeout."""
        witness = witness_of(bed, self.target)

        async def answers() -> list[WitnessView]:
            view = await witness.look(bed.client, timeout_s=LOOK_S)
            return [] if view is None else [view]

        what = f"an answer of witness {self.target}"
        return (await wait_until(answers, what=what, timeout_s=HEAL_TIMEOUT_S))[0]

    def judge(self, evidence: Mapping[str, object], *, there: bool) -> Proof:
        """Confirmed when the fault is there; a witness that did not answer before proves nothing."""
        evidence = {**evidence, "said_before": _told(self._before)}
        return Proof.of(None if self._before is None else there, self._injected_at_s, evidence)


class WitnessStop(WitnessFault):
    """The process of a witness stands still: it answers nobody, forgets nothing, and answers late when it goes on."""

    name = "witness.stop"

    async def inject(self, bed: Bed) -> None:
        """Stop the process."""
        witness_of(bed, self.target).pause()
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when it answered before and does not answer now, and its process is there and stopped."""
        now = await witness_of(bed, self.target).look(bed.client, timeout_s=LOOK_S)
        state = process_state(self._pid)
        return self.judge({"says_now": _told(now), "process_state": state}, there=now is None and state == STOPPED)

    async def heal(self, bed: Bed) -> None:
        """Let it go on; verified by an answer of the same life."""
        witness = witness_of(bed, self.target)
        if witness.alive:
            witness.resume()
        else:
            await witness.start()
        await self.await_answer(bed)


class WitnessKill(WitnessFault):
    """The process of a witness ends and stays away; what it has stored is kept, and it knows it when it comes back."""

    name = "witness.kill"

    async def inject(self, bed: Bed) -> None:
        """Kill it."""
        await witness_of(bed, self.target).kill()
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when it answered before and does not answer now, and its process is gone."""
        now = await witness_of(bed, self.target).look(bed.client, timeout_s=LOOK_S)
        state = process_state(self._pid)
        return self.judge({"says_now": _told(now), "process_state": state}, there=now is None and state == "")

    async def heal(self, bed: Bed) -> None:
        """Start it; verified by an answer that knows at least the epoch of before."""
        witness = witness_of(bed, self.target)
        if not witness.alive:
            await witness.start()
        view = await self.await_answer(bed)
        if self._before is not None and view.epoch < self._before.epoch:
            raise MachineError(f"Witness {self.target} knew epoch {self._before.epoch}, and now only {view.epoch}.")


class WitnessLostStorage(WitnessFault):
    """A witness dies, what it has stored is lost, and it is started again at once: it must not grant what it forgot."""

    name = "witness.lost_storage"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._first: WitnessView | None = None

    async def inject(self, bed: Bed) -> None:
        """Kill it, remove its state, start it again, and ask it before the pair teaches it anew, seconds later."""
        witness = witness_of(bed, self.target)
        await witness.kill()
        witness.lose_storage()
        await witness.start()
        self._injected_at_s = time.monotonic()
        self._first = await witness.look(bed.client, timeout_s=LOOK_S)

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the old process is gone and a new life that knew nothing answered; before, it knew an epoch.

        A witness that knew nothing has nothing to lose: then the verdict is inconclusive.
        """
        first, before = self._first, self._before
        gone = process_state(self._pid) == ""
        now = await witness_of(bed, self.target).look(bed.client, timeout_s=LOOK_S)
        evidence: dict[str, object] = {"said_first": _told(first), "says_now": _told(now), "old_process_gone": gone}
        if before is not None and before.epoch == 0:
            return Proof.of(None, None, evidence | {"said_before": _told(before)})
        fresh = first is not None and before is not None and first.life != before.life
        forgot = first is not None and first.epoch == 0 and not first.taught
        return self.judge(evidence, there=gone and fresh and forgot)

    async def heal(self, bed: Bed) -> None:
        """Nothing can be given back: the pair has to teach it; verified is that it answers."""
        witness = witness_of(bed, self.target)
        if not witness.alive:  # the injection was broken off after the kill
            await witness.start()
        await self.await_answer(bed)


FAULTS = (WitnessStop, WitnessKill, WitnessLostStorage)

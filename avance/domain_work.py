"""The commands about one domain; those of a live move are made of steps of two ports.

When a step fails, those before it are undone in reverse order. It decides nothing about the pair. It says what is
certain: a step whose end is not known makes the whole UNKNOWN.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator

from avance.core import commands as c
from avance.core.model import Outcome, VmId
from avance.core.results import Done
from avance.ports import Disks, Hypervisor

_LifeCommand = c.StartDomain | c.DestroyDomain | c.ShutdownDomain | c.ReadDomain
DomainCommand = _LifeCommand | c.SendDomain | c.ReceiveDomain | c.ResumeDomain

_PROMOTE_S = 10.0  # for the owner to allow two writers as well; multiplied by the dilation, as the next one
_ONE_WRITER_S = 5.0  # for the other node to stop writing
_AGAIN_S = 0.3


class DomainWork:
    """What is done with the domains of this node."""

    def __init__(self, disks: Disks, hypervisor: Hypervisor, dilation: float) -> None:
        self._disks, self._hypervisor = disks, hypervisor
        self._slow = dilation
        self._ends: set[asyncio.Event] = set()

    def work(self, command: DomainCommand) -> Awaitable[Done]:
        """Return the work of a command; it is done when it is awaited."""
        match command:
            case c.StartDomain(vm):
                return self._hypervisor.start(vm)
            case c.DestroyDomain(vm):
                return self._hypervisor.destroy(vm)
            case c.ShutdownDomain(vm):
                return self._hypervisor.shutdown(vm)
            case c.ReadDomain(vm):
                return self._hypervisor.read(vm)
            case c.SendDomain(vm, move):
                return self._send(vm, move)
            case c.ReceiveDomain(vm, move):
                return self._receive(vm, move)
            case c.ResumeDomain(vm):
                return self._resume(vm)

    async def end_moves(self) -> None:
        """Break off the moves that are in flight; each command still ends with its own outcome."""
        for ended in self._ends:
            ended.set()
        self._hypervisor.end_move()

    @contextlib.contextmanager
    def _in_flight(self) -> Iterator[asyncio.Event]:
        ended = asyncio.Event()
        self._ends.add(ended)
        try:
            yield ended
        finally:
            self._ends.discard(ended)

    async def _send(self, vm: VmId, move: str) -> Done:
        with self._in_flight() as ended:
            allowed = await self._disks.two_writers(vm, allowed=True)
            if not allowed.ok or ended.is_set():
                await self._disks.two_writers(vm, allowed=False)
                return Done(Outcome.FAILED, f"{vm} was not sent: {allowed.detail or 'the move was broken off'}")
            sent = await self._hypervisor.send(vm, move)
        # One that has left is followed by the end of writing here. One of which nothing is known may be waited for.
        if sent.outcome is not Outcome.OK:
            await self._one_writer(vm, within_s=_ONE_WRITER_S if sent.outcome is Outcome.FAILED else 0.0)
        return sent

    async def _receive(self, vm: VmId, move: str) -> Done:
        with self._in_flight() as ended:
            allowed = await self._disks.two_writers(vm, allowed=True)
            if not allowed.ok:
                return await self._undone(vm, Done(Outcome.FAILED, allowed.detail), promoted=False)
            promoted = await self._promote(vm, ended)
            if not promoted.ok or ended.is_set():
                why = promoted.detail or "the move was broken off"
                return await self._undone(vm, Done(Outcome.FAILED, f"{vm} was not taken in: {why}"), promoted=True)
            received = await self._hypervisor.receive(vm, move)
        return received if received.ok else await self._undone(vm, received, promoted=True)

    async def _promote(self, vm: VmId, ended: asyncio.Event) -> Done:
        """Become the second writer, as soon as the owner allows it."""
        deadline = asyncio.get_running_loop().time() + _PROMOTE_S * self._slow
        while True:
            promoted = await self._disks.promote(vm)
            late = asyncio.get_running_loop().time() >= deadline
            if promoted.outcome is not Outcome.FAILED or ended.is_set() or late:
                return promoted
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await ended.wait()

    async def _undone(self, vm: VmId, why: Done, *, promoted: bool) -> Done:
        """Be no writer any more; FAILED only when that is certain, and nothing of the domain is here."""
        demoted = await self._disks.demote(vm) if promoted else Done(Outcome.OK)
        one = await self._disks.two_writers(vm, allowed=False)
        wrong = [done.detail for done in (demoted, one) if not done.ok]
        if not wrong:
            return why
        return Done(Outcome.UNKNOWN, f"{why.detail}; not all was taken back: {'; '.join(wrong)}")

    async def _resume(self, vm: VmId) -> Done:
        resumed = await self._hypervisor.resume(vm)
        if resumed.ok:  # the old owner writes no more
            await self._one_writer(vm, within_s=_ONE_WRITER_S)
        return resumed

    async def _one_writer(self, vm: VmId, *, within_s: float) -> None:
        """Let DRBD have one writer again; refused as long as the other node is one, too.

        Where that does not come in time, the end of writing here does it.
        """
        deadline = asyncio.get_running_loop().time() + within_s * self._slow
        while not (await self._disks.two_writers(vm, allowed=False)).ok:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(_AGAIN_S)

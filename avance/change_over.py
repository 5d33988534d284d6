"""Takes definitions that count into use: at once where that can be, and otherwise with a new start of the daemon.

Both daemons must not start anew at the same time: the pair would be without either. So the node where the change was
given waits until the other one works with it, and both are paired again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from avance.apply import apply
from avance.clock import now_s
from avance.core import commands as c
from avance.documents import Documents
from avance.leftovers import Leftovers
from avance.ports import Sink, VmKeeper

_PEER_BEGINS_S = 30.0  # in which the peer's daemon has started anew; times the dilation
_LOOK_S = 1.0


class StartAnew(Exception):
    """Definitions count that only a new start of the daemon takes into use."""


class ChangeOver:
    """From the definitions in use to those that count.

    `is_ready`: the peer works with those of a hash, and is paired.
    """

    def __init__(
        self,
        documents: Documents,
        put: Sink,
        keepers: Sequence[VmKeeper],
        leftovers: Leftovers,
        is_ready: Callable[[str], bool],
    ) -> None:
        self._documents, self._put, self._keepers = documents, put, keepers
        self._leftovers, self._is_ready = leftovers, is_ready
        self._anew: asyncio.Queue[c.UseDefinitions] = asyncio.Queue()

    def use(self, command: c.UseDefinitions) -> None:
        """Take what counts into use, or let the daemon start anew soon."""
        before, after = self._documents.in_use, self._documents.parsed(command.version.hash)
        if apply(before, after, self._put, self._keepers, self._leftovers):
            self._anew.put_nowait(command)
        else:
            self._documents.in_use = after

    async def run(self) -> None:
        """Wait until the daemon has to start anew.

        Raises:
            StartAnew: now.
        """
        command = await self._anew.get()
        await asyncio.sleep(_LOOK_S)  # whoever asked for it gets the answer
        until_s = now_s() + (_PEER_BEGINS_S * self._documents.in_use.dilation if command.later else 0.0)
        while True:
            if now_s() >= until_s or self._is_ready(command.version.hash):
                raise StartAnew
            await asyncio.sleep(_LOOK_S)


__all__ = ["ChangeOver", "StartAnew"]

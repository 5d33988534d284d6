"""DRBD's question to this node, whether the peer is out of the way (docs/safety.md, S7).

Each question is answered once. While nothing is decided no answer is given: the handler's own deadline denies, and I/O
stays frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core import commands as c
from avance.core.decision import Draft
from avance.core.model import VmId

DENIED_CODE = 1  # any code that fence-peer does not know: "denied", I/O stays frozen
CONSENTED_CODE = 4  # "peer was outdated" (kernel source, conn_try_outdate_peer): the right to write alone is durable


@dataclass(slots=True)
class Fence:
    """The questions that are open, by number."""

    asks: dict[int, VmId] = field(default_factory=dict)

    def asked(self, vm: VmId, ask: int, draft: Draft, *, known: bool = True) -> None:
        """Note a question; one about a VM that was removed is denied at once."""
        self.asks[ask] = vm
        draft.say(f"DRBD asks whether the peer of {vm} is out of the way")
        if not known:
            self.deny(vm, draft)

    def deny(self, vm: VmId, draft: Draft) -> None:
        """Deny what was asked about a VM so far."""
        for ask in sorted(ask for ask, asked in self.asks.items() if asked == vm):
            del self.asks[ask]
            draft.command(c.AnswerFencePeer(ask, DENIED_CODE))

    def answer(self, code: int | None, draft: Draft) -> None:
        """Answer every question with this code; None: nothing is decided yet."""
        if code is None:
            return
        for ask in sorted(self.asks):
            del self.asks[ask]
            draft.command(c.AnswerFencePeer(ask, code))


__all__ = ["CONSENTED_CODE", "DENIED_CODE", "Fence"]

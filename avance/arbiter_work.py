"""The commands about who else decides: witnesses and the peer's power, each handed to its method of the port."""

from __future__ import annotations

from collections.abc import Awaitable

from avance.core import commands as c
from avance.core.model import Outcome
from avance.core.results import Done
from avance.ports import PeerPower, Witness


def witness_work(witnesses: Witness, command: c.AskWitness | c.TeachWitness) -> Awaitable[Done]:
    """Return the work of a command; it is done when it is awaited."""
    match command:
        case c.AskWitness(witness, epoch, nonce):
            return witnesses.ask(witness, epoch, nonce)
        case c.TeachWitness(witness, epoch, owner, paired, alone):
            return witnesses.teach(witness, epoch, owner, paired=paired, alone=alone)


async def power_work(power: PeerPower | None, command: c.ReadPeerPower | c.CutPeerPower | c.RestorePeerPower) -> Done:
    """Do a command about the peer's power; `power`: None where the site names no BMC."""
    if power is None:
        return Done(Outcome.FAILED, "the site names no BMC for the peer")
    match command:
        case c.ReadPeerPower():
            return await power.read()
        case c.CutPeerPower():
            return await power.cut()
        case c.RestorePeerPower():
            return await power.restore()

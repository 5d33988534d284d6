"""What the journal says of a decision: one object for each line, without number, node and wall time.

The daemon writes them, and a replay makes them again from the inputs: both must be equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.commands import Command, FeedWatchdog, OpenGate, SendHeartbeat, TeachWitness
from avance.core.engine import Decision, Engine
from avance.core.events import Event
from avance.core.model import PairState, VmState
from avance.parsed import Json
from avance.wire.plain import to_plain

_BY_THE_CLOCK = (SendHeartbeat, OpenGate, FeedWatchdog)  # never worth a word
_ROUTINE = (TeachWitness,)  # not worth a line of their own


@dataclass(frozen=True, slots=True)
class Before:
    """What the states were before an event, for the `before -> after` of the line."""

    pair: PairState
    vms: dict[str, VmState]

    @classmethod
    def of(cls, engine: Engine) -> Before:
        """Take the states of the engine now."""
        return cls(engine.pair, {name: unit.state for name, unit in engine.units.items()})


def told(decision: Decision) -> list[Command]:
    """Return the commands that a line names: all but those that the clock alone gives."""
    return [command for command in decision.commands if not isinstance(command, _BY_THE_CLOCK)]


def is_routine(decision: Decision) -> bool:
    """Nothing came of the event that is worth a line."""
    return (
        not decision.reasons
        and not decision.milestones
        and all(isinstance(command, _ROUTINE) for command in told(decision))
    )


def decision_lines(event: Event, before: Before, engine: Engine, decision: Decision, now: float) -> list[Json]:
    """Return no line when nothing but routine came of it; each further milestone gets a line of its own."""
    if is_routine(decision):
        return []
    commands = told(decision)
    after, epoch = Before.of(engine), engine.record.epoch
    first = {
        "mono_s": now,
        "milestone": decision.milestones[0] if decision.milestones else None,
        "event": to_plain(event),
        "pair": [str(before.pair), str(after.pair)],
        "vms": {name: [to_plain(before.vms.get(name)), str(state)] for name, state in after.vms.items()},
        "epoch": epoch,
        "commands": [to_plain(command) for command in commands],
        "reason": "; ".join(decision.reasons),
    }
    more = [
        {"mono_s": now, "milestone": name, "epoch": epoch, "reason": "see the line before"}
        for name in decision.milestones[1:]
    ]
    return [first, *more]


__all__ = ["Before", "decision_lines", "is_routine", "told"]

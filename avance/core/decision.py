"""What one turn decides: commands, the reasons for them, milestones and alerts.

A `Draft` is made anew for each turn and handed to every owner, who says on it what it decides. At the end it is the
`Decision`. It must never be kept for a later turn: only the memory of alerts outlives it, and that is the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from avance.core import alerts
from avance.core import commands as c
from avance.core.model import Alert, NodePart, PairState


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, why, and which published milestones were passed."""

    commands: tuple[c.Command, ...]
    reasons: tuple[str, ...]
    milestones: tuple[str, ...]


@dataclass(slots=True)
class Draft:
    """A decision on its way.

    `epoch` and `pair` are those of this moment; an alert carries them. `told` is the memory of alerts: the matters that
    the service centre was told of, and that are not in order again. `urgent`: a heartbeat is sent in this turn.
    """

    epoch: int
    pair: PairState
    told: set[str]
    commands: list[c.Command] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    milestones: list[str] = field(default_factory=list)
    urgent: bool = False
    last: c.ResetNode | None = None  # nothing follows it

    def command(self, command: c.Command) -> None:
        """Give one command; a reset comes after everything else, and the peer hears of it before."""
        if isinstance(command, c.ResetNode):
            self.last, self.urgent = command, True
            return
        if isinstance(command, c.StartDomain):
            self.milestones.append("vm_start_commanded")
        self.commands.append(command)

    def give(self, commands: Iterable[c.Command]) -> None:
        """Give several commands."""
        self.commands.extend(commands)

    def say(self, reason: str, *, milestone: str | None = None, alert: Alert | None = None) -> None:
        """Note a reason, and what else belongs to it."""
        self.reasons.append(reason)
        if milestone is not None:
            self.milestones.append(milestone)
        if alert is not None:
            self.alert(alert)

    def milestone(self, name: str) -> None:
        """Note that a published milestone was passed."""
        self.milestones.append(name)

    def alert(self, alert: Alert) -> None:
        """Tell the service centre."""
        self.commands.append(c.SendAlert(alert, self.epoch, self.pair))

    def once(self, key: str, alert: Alert) -> None:
        """Tell the service centre unless it was told since the matter was last in order."""
        if key not in self.told:
            self.told.add(key)
            self.say(alert.text, alert=alert)

    def part(self, part: NodePart, problem: str, name: str = "") -> None:
        """Tell the service centre once that a part of this node does not do its work, and once that it does again."""
        key = f"{part}_failed {name}"
        if problem and key in self.told:
            self.say(problem)
        elif problem:
            self.once(key, alerts.part_failed(part, problem))
        elif key in self.told:
            self.in_order(key)
            alert = alerts.part_restored(part, name)
            self.say(alert.text, alert=alert)

    def tell_peer(self) -> None:
        """Send a heartbeat in this turn: the peer has to know of this before anything more happens here."""
        self.urgent = True

    def in_order(self, *keys: str) -> None:
        """Note that these matters are in order: the next time the service centre is told again."""
        self.told.difference_update(keys)

    def reset(self, reason: str) -> None:
        """Reset this machine, and say why."""
        self.say(reason, alert=alerts.resets_itself(reason))
        self.command(c.ResetNode(reason))

    def enter(self, state: PairState, reason: str) -> None:
        """Say that the pair is in another state; alerts carry it from now on."""
        self.say(f"{self.pair} -> {state}: {reason}")
        self.pair = state

    def saved(self, epoch: int) -> None:
        """Note that this epoch is durable now; alerts carry it from now on."""
        self.epoch = epoch

    @property
    def ends(self) -> str:
        """Why this node resets itself in this turn, or the empty text."""
        return "" if self.last is None else self.last.reason

    @property
    def quiet(self) -> bool:
        """Nothing was worth a word so far."""
        return not self.reasons and not self.milestones

    def decision(self) -> Decision:
        """Return what was decided."""
        ending = () if self.last is None else (self.last,)
        return Decision((*self.commands, *ending), tuple(self.reasons), tuple(self.milestones))


__all__ = ["Decision", "Draft"]

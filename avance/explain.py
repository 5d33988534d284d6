"""A replayed run in plain words: each decision with its reasons, and at the end why it did, or did not, fail over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from avance.core.commands import Command, SaveDefinitions, SaveRecord, SendAlert
from avance.core.engine import Decision, Engine
from avance.core.events import (
    ChangeAsked,
    CommandDone,
    DiskChanged,
    DocumentHeard,
    DomainChanged,
    Event,
    HeartbeatSeen,
    OperatorAsked,
)
from avance.core.model import PairState
from avance.wire.decision_lines import Before, is_routine, told

# What decides about going on without the peer; everything else is detail.
_TURNS = frozenset({"peer_lost", "takeover_decided", "epoch_saved", "peer_returned", "paired"})
_ALERTS = frozenset(
    {"takeover", "alone", "takeover_refused", "waits_for_peer", "fenced", "split", "resets_itself", "machine_paused",
     "backup_down", "cures_used_up", "vm_left", "quarantined", "pair_mismatch", "datagrams_refused", "store_failed",
     "fence_failed"}
)  # fmt: skip
_TURNS_MAX = 1000  # remembered for the summary; a flapping link must not fill the memory


@dataclass(slots=True)
class RunSummary:
    """What a run has shown so far; `pieces` counts the files that it was spread over."""

    inputs: int = 0
    lines: int = 0
    pieces: int = 1
    from_s: float | None = None
    until_s: float = 0.0
    lost_at: float | None = None
    taken: str | None = None
    refused: str | None = None
    turns: list[str] = field(default_factory=list)
    _pending: list[tuple[float, str]] = field(default_factory=list)

    def note(self, event: Event, before: Before, engine: Engine, decision: Decision, now: float) -> None:
        """Take one replayed decision in."""
        self.from_s = now if self.from_s is None else self.from_s
        self.inputs, self.until_s = self.inputs + 1, now
        if is_routine(decision):
            return
        commands = told(decision)
        self.lines += 1
        at_s = now - self.from_s
        text = f"{at_s:+10.3f} s  {event_words(event)}{_changes(before, engine)}"
        text += "".join(f"\n{'':14}because {reason}" for reason in decision.reasons)
        asked = ", ".join(command_words(command) for command in commands)
        self._pending.append((at_s, text + (f"\n{'':14}so {asked}" if asked else "")))
        self._turn(engine, decision, commands, at_s)

    def _turn(self, engine: Engine, decision: Decision, commands: list[Command], at_s: float) -> None:
        codes = {command.alert.code: command.alert.text for command in commands if isinstance(command, SendAlert)}
        if "peer_lost" in decision.milestones:
            self.lost_at, self.taken, self.refused = at_s, None, None
        if "takeover_decided" in decision.milestones and engine.right.granted is not None:
            self.taken = f"at {at_s:+.3f} s by {engine.right.granted.means}: {engine.right.granted.reason}"
        if "epoch_saved" in decision.milestones and engine.right.granted is None:
            self.taken = f"at {at_s:+.3f} s by consent of the peer"
        for code in ("takeover_refused", "waits_for_peer"):
            self.refused = f"at {at_s:+.3f} s: {codes[code]}" if code in codes else self.refused
        marks = _TURNS.intersection(decision.milestones)
        if (marks or _ALERTS & codes.keys() or "operator" in " ".join(codes)) and len(self.turns) < _TURNS_MAX:
            self.turns.append(f"{at_s:+10.3f} s  {'; '.join(decision.reasons)}")

    def decisions(self, from_s: float, until_s: float) -> Iterator[str]:
        """Yield the decisions since the last call that lie in the time asked for."""
        pending, self._pending = self._pending, []
        yield from (text for at_s, text in pending if from_s <= at_s <= until_s)


def summary(run: RunSummary, engine: Engine) -> Iterator[str]:
    """Yield what a run comes to."""
    length_s = run.until_s - (run.from_s or 0.0) if run.from_s is not None else 0.0
    record = engine.record
    yield f"  {length_s:.1f} s; at the end: pair {engine.pair}, epoch {record.epoch} of owner {record.owner}"
    yield from (f"  {turn}" for turn in run.turns)
    yield f"  did it fail over? {_verdict(run, engine)}"
    yield f"  may it write at the end? {_right(engine, run.until_s)}"


def _verdict(run: RunSummary, engine: Engine) -> str:
    if run.taken is not None:
        return f"this node took the right to go on alone, {run.taken}"
    if run.refused is not None:
        return f"no: refused {run.refused}"
    if run.lost_at is not None and engine.pair is PairState.WAITING:
        left_s = run.until_s - (run.from_s or 0.0) - run.lost_at
        return f"no: the peer was lost at {run.lost_at:+.3f} s, and {left_s:.1f} s later the run ended undecided"
    if run.lost_at is not None:
        return f"no: the peer was lost at {run.lost_at:+.3f} s and came back before there was a right"
    return "no: the peer was never lost"


def _right(engine: Engine, now: float) -> str:
    if engine.pair in (PairState.FENCED, PairState.SPLIT):
        return f"no: the pair is {engine.pair}"
    if engine.record.owner != engine.setup.me:
        return f"no: epoch {engine.record.epoch} belongs to {engine.record.owner}"
    if engine.sight.solo:
        return f"yes: epoch {engine.record.epoch} is this node's alone, durably"
    if engine.liveness.lease_valid(now):
        return "yes: it owns the epoch, and its lease is valid"
    return "no: it owns the epoch, but its lease has ended or was never begun"


def _changes(before: Before, engine: Engine) -> str:
    after = Before.of(engine)
    changes = [f"pair {before.pair} -> {after.pair}"] if before.pair is not after.pair else []
    changes += [
        f"{name} {before.vms.get(name, 'new')} -> {state}"
        for name, state in after.vms.items()
        if before.vms.get(name) is not state
    ]
    return f" [{', '.join(changes)}]" if changes else ""


def event_words(event: Event) -> str:
    """Return an event in a few words."""
    name = type(event).__name__
    match event:
        case HeartbeatSeen(link, view):
            return f"{name} on {link}: peer {view.pair}, epoch {view.record.epoch} of {view.record.owner}"
        case CommandDone(command, result):
            about = getattr(command, "vm", None) or getattr(command, "witness", None)
            words = [type(command).__name__, *([about] if about else []), str(result.outcome)]
            return f"{name}: {' '.join(words)}{f' ({result.detail})' if result.detail else ''}"
        case DiskChanged(vm, view):
            state = "gone" if view is None else f"{view.role} {view.disk}/{view.peer_disk} {view.connection}"
            return f"{name}: {vm} {state}"
        case DomainChanged(vm, running, paused, never_ran):
            still = "never ran and stands still" if never_ran else "stands still"
            return f"{name}: {vm} {still if paused else 'runs' if running else 'does not run'}"
        case OperatorAsked(request, node):
            return f"{name}: {request} {node}"
        case ChangeAsked(text):
            return f"{name}: {text}"
        case DocumentHeard(_, version, _, problem):
            return f"{name}: definitions number {version.number}{f' ({problem})' if problem else ''}"
    return name


def command_words(command: Command) -> str:
    """Return a command in a few words."""
    name = type(command).__name__
    if isinstance(command, SaveRecord):
        return f"{name}(epoch {command.record.epoch}, owner {command.record.owner})"
    if isinstance(command, SaveDefinitions):
        stand = command.stand
        proposed = "" if stand.proposal is None else f", proposed {stand.proposal.version.number}"
        return f"{name}(number {stand.version.number}{proposed})"
    if isinstance(command, SendAlert):
        return f"{name}({command.alert.code})"
    about = getattr(command, "vm", None) or getattr(command, "witness", None)
    return f"{name}({about})" if about else name


__all__ = ["RunSummary", "command_words", "event_words", "summary"]

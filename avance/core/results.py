"""How commands end: each comes back as `events.CommandDone` with the command itself and one of these.

`detail` is evidence for people; nothing decides by it. A command whose answer decides something has a class of its own
here, which names it; all others end with `Done`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from avance.core import commands as c
from avance.core.model import Outcome
from avance.core.register import Word


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, with evidence for people in `detail`."""

    outcome: Outcome
    detail: str = ""

    @property
    def ok(self) -> bool:
        """It was done; after anything else: look before you act again."""
        return self.outcome is Outcome.OK


_ANSWERS: dict[type, type[Done]] = {}
_Kind = TypeVar("_Kind", bound=Done)


def answers(command: type[c.Work]) -> Callable[[type[_Kind]], type[_Kind]]:
    """Declare the class that answers a command.

    Raises:
        AssertionError: there is one already, when the second one is made.
    """

    def declare(kind: type[_Kind]) -> type[_Kind]:
        assert command not in _ANSWERS, f"{command.__name__} is answered by {_ANSWERS[command].__name__} already"
        _ANSWERS[command] = kind
        return kind

    return declare


@answers(c.PrepareVolume)
@dataclass(frozen=True, slots=True)
class VolumePrepared(Done):
    """`fresh`: it was made and zeroed just now, also where the outcome is not known for certain.

    `generations`: those of a volume that was there, in DRBD's words (core/copies.py); empty while its resource is up.
    """

    fresh: bool = False
    generations: tuple[str, ...] = ()


@answers(c.ReadGeneration)
@dataclass(frozen=True, slots=True)
class GenerationsRead(Done):
    """DRBD's generation identifiers of the local copy, in its words (core/copies.py)."""

    generations: tuple[str, ...] = ()


@answers(c.ReadInFlight)
@dataclass(frozen=True, slots=True)
class InFlightCounted(Done):
    """The VM's open requests: `every` one, those `local` at the disk, those at the `peer`."""

    every: int = 0
    local: int = 0
    peer: int = 0


@answers(c.ReadPeerPower)
@dataclass(frozen=True, slots=True)
class PowerRead(Done):
    """`off`: the peer's power was read as off in this very moment."""

    off: bool = False


@answers(c.AskWitness)
@dataclass(frozen=True, slots=True)
class WitnessAsked(Done):
    """What the witness said; None: it did not answer."""

    word: Word | None = None


@answers(c.TeachWitness)
@dataclass(frozen=True, slots=True)
class WitnessTaught(Done):
    """`taught`: the witness could grant from now on."""

    taught: bool = False


Result = Done | VolumePrepared | GenerationsRead | InFlightCounted | PowerRead | WitnessAsked | WitnessTaught


def answer_of(command: c.Work) -> type[Done]:
    """Return the class that answers a command."""
    return _ANSWERS.get(type(command), Done)


def answered(command: c.Work, done: Done) -> Done:
    """Return the answer to a command that did not come as far as to have one of its own.

    Raises:
        AssertionError: it was done, and so its own answer is missing.
    """
    kind = answer_of(command)
    if type(done) is kind:
        return done
    assert not done.ok, f"{type(command).__name__} was done and has no {kind.__name__}"
    return kind(done.outcome, done.detail)


__all__ = [
    "Done", "GenerationsRead", "InFlightCounted", "PowerRead", "Result", "VolumePrepared", "WitnessAsked",
    "WitnessTaught", "answer_of", "answered", "answers",
]  # fmt: skip

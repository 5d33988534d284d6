"""Fetches the evidence that core/takeover.py asks for, and keeps it: witnesses, the peer's power, the neighbours.

It only remembers what was asked, what was answered and when. Evidence belongs to one epoch and one loss of the peer:
`begin` forgets it all. It must never judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from avance.core import commands as c
from avance.core import events as e
from avance.core.damper import doubled
from avance.core.model import Timers
from avance.core.register import Word
from avance.core.results import Done, PowerRead, WitnessAsked
from avance.core.takeover import Answer, Need, Power

_RESTORE_S = 30.0  # between two orders to switch the peer on; its BMC may be starting itself
_OLD_S = 5.0  # a no is asked again after this time
_FENCE_AGAIN_S = 5.0  # ... and so is a power fence that failed; twice as long after each further failure
_WORDS = {Word.GRANTED: Answer.GRANTED, Word.REFUSED: Answer.REFUSED, Word.UNTAUGHT: Answer.UNTAUGHT}
_TRIES_MAX = 3  # one second each (docs/safety.md, S10)


@dataclass(slots=True)
class Arbitration:
    """The evidence for one node's next epoch."""

    timers: Timers
    boot: str
    has_bmc: bool
    epoch: int = 0
    round: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    power: Power = Power.NO_BMC
    gateway: bool | None = None
    claimed: tuple[str, ...] = ()
    looked_at: float | None = None  # when the neighbours were seen last
    _tries: dict[str, int] = field(default_factory=dict)
    _asking: set[str] = field(default_factory=set)
    _reading: bool = False
    _read_at: float | None = None
    _proof_until: float | None = None
    _off_at: float | None = None
    _probing: bool = False
    _answered_at: dict[str, float] = field(default_factory=dict)
    _switched_off: bool = False
    _restoring: bool = False
    _restored_at: float | None = None
    _failures: int = 0  # of power fences in a row
    _failed_at: float | None = None

    def __post_init__(self) -> None:
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Forget all evidence: from now on it is about this epoch; 0 means that nothing is asked for.

        What was seen of the neighbours stays: it has its own time, `looked_at`.
        """
        self.epoch = epoch
        self.round += 1  # part of the nonce: a late answer to an earlier question is never taken for this one's
        self.answers, self._tries = {}, {}
        self.power = Power.NOT_CUT if self.has_bmc else Power.NO_BMC
        self._proof_until = None
        self._failures, self._failed_at = 0, None

    def still_off_early(self) -> None:
        """Keep that the power read as off while the peer was only suspect: that was early enough."""
        self.power = Power.OFF_EARLY

    @property
    def at_rest(self) -> bool:
        """Nothing is asked for, and no answer is awaited."""
        asking = bool(self._asking) or self._reading or self._probing
        return self.epoch == 0 and not asking and not self._switched_off and not self._restoring

    def heard(self, at: float) -> None:
        """The peer was heard at this moment: power that was read as off before proves nothing any more."""
        if self.power in (Power.OFF, Power.OFF_EARLY) and self._off_at is not None and at > self._off_at:
            self.power, self._off_at = Power.NOT_CUT, None

    # ------------------------------------------------------------ what to fetch

    def watch_power(self, proof_until: float, now: float) -> list[c.Command]:
        """Read the peer's power while it is silent; `off` before `proof_until` shows that it never went on alone."""
        if not self.has_bmc or self._reading or self.power in (Power.CUTTING, Power.OFF, Power.OFF_EARLY):
            return []
        if self._read_at is not None and now < self._read_at + self.timers.heartbeat_s:
            return []
        if now >= proof_until:
            return []
        self._reading, self._proof_until = True, proof_until
        return [c.ReadPeerPower()]

    def look(self, now: float) -> list[c.Command]:
        """Read the power of a peer that was never heard: it may only be switched off."""
        soon_s = _RESTORE_S * self.timers.second_s
        if not self.has_bmc or self._reading or (self._read_at is not None and now < self._read_at + soon_s):
            return []
        self._reading = True
        return [c.ReadPeerPower()]

    def give_back(self, now: float, *, found_off: bool) -> list[c.Command]:
        """Switch the peer on again when nothing depends on its being off: nobody else may be there to do it."""
        if not (self._switched_off or found_off) or self._restoring or not self.has_bmc:
            return []
        if self._restored_at is not None and now < self._restored_at + _RESTORE_S * self.timers.second_s:
            return []
        self._restoring, self._restored_at = True, now
        return [c.RestorePeerPower()]

    def fetch(self, needs: tuple[Need, ...], witnesses: tuple[str, ...]) -> list[c.Command]:
        """Return the commands that fetch what is needed and not on its way yet."""
        commands: list[c.Command] = []
        if Need.WITNESSES in needs:
            for name in witnesses:
                if name not in self._asking and self.answers.get(name) in (None, Answer.ASKED):
                    self._asking.add(name)
                    self.answers[name] = Answer.ASKED
                    commands.append(c.AskWitness(name, self.epoch, f"{self.boot}-{self.round}"))
        if Need.CUT_POWER in needs and self.power is Power.NOT_CUT:
            self.power = Power.CUTTING
            commands.append(c.CutPeerPower())
        if Need.NEIGHBOURS in needs and not self._probing:
            self._probing = True
            commands.append(c.ProbeNeighbours())
        return commands

    # ------------------------------------------------------------ what came of it

    def done(self, command: c.EvidenceCommand, result: Done, now: float) -> str | None:
        """Note how a command ended; returns what is worth saying about it."""
        match command:
            case c.AskWitness(witness):
                assert isinstance(result, WitnessAsked)
                return self._answered(witness, result, now)
            case c.ReadPeerPower():
                assert isinstance(result, PowerRead)
                self._reading, self._read_at = False, now
                return self._power_read(result, now)
            case c.RestorePeerPower():
                self._restoring = False
                self._switched_off = self._switched_off and not result.ok
                return f"the peer is switched on: {result.outcome} {result.detail}".rstrip()
            case c.CutPeerPower():
                self._switched_off = True
                if self.power is Power.CUTTING:
                    self.power = Power.OFF if result.ok else Power.FAILED
                    self._off_at = now
                    self._failures, self._failed_at = 0 if result.ok else self._failures + 1, now
                return f"power of the peer: {self.power}: {result.detail}"
            case c.ProbeNeighbours():
                self._probing = False
                if result.ok:
                    return None
                self.gateway, self.claimed, self.looked_at = False, (), now
                return f"the neighbours could not be looked at: {result.detail}"
            case _:
                assert_never(command)

    def expire(self, now: float) -> None:
        """Forget the no of a witness, and the failure of a power fence, when it is old: they may be there again.

        A yes stays; so does the no of the neighbours: a node that was cut off waits for its peer (catalogue, D14).
        """
        old_s = _OLD_S * self.timers.second_s
        for name, answer in tuple(self.answers.items()):
            limit_s = self.timers.witness_try_s if answer is Answer.UNTAUGHT else old_s  # it may be taught any moment
            no = answer in (Answer.SILENT, Answer.REFUSED, Answer.UNTAUGHT)
            if no and now >= self._answered_at.get(name, now) + limit_s:
                del self.answers[name]
                self._tries.pop(name, None)
        if self.power is Power.FAILED and self._failed_at is not None and now >= self._failed_at + self._again_s:
            self.power = Power.NOT_CUT

    @property
    def _again_s(self) -> float:
        """How long a power fence that failed is left alone: its BMC may be starting, or be out of reach for good."""
        return doubled(_FENCE_AGAIN_S * self.timers.second_s, self._failures - 1, self.timers.link_hold_max_s)

    def neighbours_seen(self, event: e.NeighboursSeen, now: float) -> None:
        """Note which neighbours answer."""
        self.gateway, self.claimed, self.looked_at = event.gateway, event.claimed, now

    def _power_read(self, result: PowerRead, now: float) -> str | None:
        if not result.off or self.power not in (Power.NOT_CUT, Power.FAILED):
            return None
        early = self._proof_until is not None and now < self._proof_until
        self.power, self._off_at = Power.OFF_EARLY if early else Power.OFF, now
        return "the peer's power reads off" + (", before it could have gone on alone" if early else "")

    def _answered(self, name: str, result: WitnessAsked, now: float) -> str | None:
        self._asking.discard(name)
        if name not in self.answers:
            return None  # an answer to a question that is no longer put
        self._answered_at[name] = now
        if result.word in _WORDS:
            self.answers[name] = _WORDS[result.word]
            return f"witness {name}: {result.detail}"
        self._tries[name] = self._tries.get(name, 0) + 1
        if self._tries[name] < _TRIES_MAX:
            return None
        self.answers[name] = Answer.SILENT
        return f"witness {name} is silent: {result.detail}"

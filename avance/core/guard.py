"""What stops this node when its right ends: paused VMs, the watchdog that is no longer fed, the reset.

The guard looks at the right that the engine has established and at nothing else. It errs on the side of stopping: a
node that may be writing and cannot show a right is paused at the end of the lease, reset at the grant deadline, and, if
even that hangs, reset by the watchdog (docs/safety.md, S24 and S25).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from avance.core import commands as c
from avance.core.model import PairState, Timers

_FEED_S = 1.0  # between two feeds of the watchdog
_STUCK_LOOKS = 5  # so many looks in a row, a retry time apart, saw a request on which nobody works
_UNSET_S = -1.0  # the gate was never moved: no time of a clock


@dataclass(slots=True)  # not frozen, as PairFacts
class Standing:
    """What the guard may look at. `tick`: this turn is one of those at a steady pace, which show how late the loop is.
    `lease_until_s`: when the lease ends, or has ended; None before the first echo in this run of the daemon.
    `owner`: the durable record names this node. `deciding`: a right to go on is being made durable just now.
    `stuck_looks`: so many looks in a row showed a request of a VM that nobody works on.
    `superseded`: the peer owns a newer epoch, which this node has not taken in yet. `leaving`: the VMs are being handed
    over to the peer. `doubt_s`: so long the disk may have held a right that this node does not know of, and the peer
    speaks."""

    tick: bool
    pair: PairState
    may_write: bool
    known: bool
    solo: bool
    lease_valid: bool
    lease_over: bool
    lease_age_s: float
    lease_until_s: float | None
    owner: bool
    deciding: bool
    watchdog: bool
    superseded: bool
    leaving: bool
    stuck_looks: int = 0
    doubt_s: float = 0.0

    @property
    def must_not_run(self) -> bool:
        """No VM may run here, whatever the lease says."""
        backup = self.pair is PairState.PAIRED and not self.owner
        return backup or self.superseded or self.leaving or self.pair in (PairState.FENCED, PairState.SPLIT)

    @property
    def may_run(self) -> bool:
        """A VM may be running here all the same; what is not known counts as running."""
        return self.may_write or not self.known


@dataclass(slots=True)
class Guard:
    """Remembers what it has commanded already."""

    timers: Timers
    paused: bool | None = None
    feeds: int = 0
    _gate_until_s: float | None = field(init=False, default=_UNSET_S)
    _busy: bool = field(init=False, default=False)
    _fed_at: float | None = field(init=False, default=None)
    _reset_at: float | None = field(init=False, default=None)
    _ticked_at: float | None = field(init=False, default=None)
    _late: bool = field(init=False, default=False)
    _forbidden_from: float | None = field(init=False, default=None)  # since when something may run that must not
    _tried_at: float | None = field(init=False, default=None)  # of an UnpauseVms that has not succeeded yet

    def judge(self, standing: Standing, now: float) -> list[tuple[c.Command, str]]:
        """Return the commands of this moment, each with its reason; an empty reason is not worth a line."""
        forbidden = standing.must_not_run and standing.may_run
        if not forbidden:
            self._forbidden_from = None
        elif self._forbidden_from is None:
            self._forbidden_from = now
        resetting, pausing = self._reset(standing, now), self._pause(standing, now)
        return resetting + self._open(standing) + pausing + self._feed(standing, now)

    @property
    def at_rest(self) -> bool:
        """Nothing is paused, stopped, on its way, or late."""
        quiet = self._reset_at is None and self._forbidden_from is None
        return self.paused is False and not self._busy and not self._late and quiet

    def renewed(self, standing: Standing) -> list[tuple[c.Command, str]]:
        """Move the gate with the lease, where nothing else of the standing has changed."""
        return self._open(standing)

    def done(self, command: c.PauseVms | c.UnpauseVms, *, ok: bool) -> None:
        """Note how the command ended; after anything but OK nobody knows, and both are tried again."""
        self._busy = False
        self._tried_at = None if ok else self._tried_at
        self.paused = isinstance(command, c.PauseVms) if ok else None

    def _reset(self, standing: Standing, now: float) -> list[tuple[c.Command, str]]:
        reason = None
        if standing.pair is PairState.FENCED:
            reason = "this node is fenced"
        elif self._is_too_late(standing):
            reason = f"no right to go on within {self.timers.grant_s:g} s of the last echoed heartbeat"
        elif self._forbidden_from is not None:
            reason = self._is_undead(standing, now - self._forbidden_from)
        elif standing.stuck_looks >= _STUCK_LOOKS:
            reason = "I/O of a VM has stood still for good since DRBD lost its peer (a defect of DRBD 8.4)"
        elif standing.doubt_s >= self.timers.stop_s:
            reason = "a right to write alone may be on the disk of this node, and the disk does not say"
        if reason is None or (self._reset_at is not None and now < self._reset_at + self.timers.retry_s):
            return []
        self._reset_at = now
        return [(c.ResetNode(reason), f"this node resets itself: {reason}")]

    def _is_undead(self, standing: Standing, forbidden_s: float) -> str | None:
        """Say why this node ends now: it must not run a VM, and may be running one. Sooner if the peer may run it."""
        limit_s = 2 * self.timers.retry_s if standing.superseded else self.timers.stop_s
        if forbidden_s < limit_s:
            return None
        what = "what runs here could not be stopped" if standing.known else "nobody can tell what runs here"
        return f"no VM may run on this node, and {what} within {limit_s:g} s"

    def _is_too_late(self, standing: Standing) -> bool:
        rightless = standing.may_write and not standing.solo and not standing.deciding
        return rightless and standing.lease_over and standing.lease_age_s >= self.timers.grant_s

    def _pause(self, standing: Standing, now: float) -> list[tuple[c.Command, str]]:
        if self._busy:
            return []
        stopped = standing.superseded or standing.pair in (PairState.FENCED, PairState.SPLIT)
        entitled = not stopped and (standing.solo or not standing.lease_over)
        runs = standing.may_run if stopped else standing.may_write
        if runs and not entitled and not self.paused:
            self._busy = True
            why = "no VM may run here any more" if stopped else "the lease has ended"
            return [(c.PauseVms(), f"{why}: the VMs stand still until there is a right to go on")]
        if self.paused is None and standing.known and not standing.may_write:
            self.paused = False  # there is nothing that could be paused
        proven = standing.solo or standing.lease_valid
        if self.paused is False or not proven or not standing.known or stopped:
            return []
        if self._tried_at is not None and now < self._tried_at + self.timers.retry_s:
            return []
        was, self._busy, self._tried_at = self.paused, True, now
        return [(c.UnpauseVms(), "the right to run is there again" if was else "")]

    def _open(self, standing: Standing) -> list[tuple[c.Command, str]]:
        """Move the gate, which closes by itself at the end of the lease; at each heartbeat, not for every echo.

        A node that owns nothing sends nothing, even if it cannot release an address (docs/safety.md, S23). Before the
        first echo, a run of the daemon that finds a VM leaves the gate as the run before has set it: whether that end
        has passed while the machine stood still, only the kernel knows.
        """
        barred = standing.superseded or standing.pair in (PairState.FENCED, PairState.SPLIT) or not standing.owner
        unproven = standing.lease_until_s is None and not standing.solo
        if unproven and standing.may_write and not barred:
            return []
        until_s = 0.0 if barred or unproven else None if standing.solo else standing.lease_until_s
        last_s = self._gate_until_s
        later_s = inf if until_s is None or last_s is None or last_s == _UNSET_S else until_s - last_s
        if until_s == last_s or 0.0 <= later_s < self.timers.heartbeat_s / 2:
            return []
        self._gate_until_s = until_s
        return [(c.OpenGate(until_s), "")]

    def _feed(self, standing: Standing, now: float) -> list[tuple[c.Command, str]]:
        if standing.tick:
            # A loop that was this late is not trusted with the watchdog before its next turn on time.
            self._late = self._ticked_at is not None and now - self._ticked_at >= self.timers.suspect_s
            self._ticked_at = now
        # What is left of a lease that is not fresh belongs to a pause that nobody notices (core/model.py, Timers).
        fresh = standing.lease_valid and standing.lease_age_s < self.timers.link_down_s
        right = standing.solo or fresh or (standing.known and not standing.may_write)
        if not standing.watchdog or self._late or not right or standing.pair is PairState.FENCED:
            return []
        if self._fed_at is not None and now < self._fed_at + _FEED_S * self.timers.second_s:
            return []
        self._fed_at = now
        self.feeds += 1
        return [(c.FeedWatchdog(), "")]

"""Whether the replication of a writer lasts: a link can carry heartbeats and no data (docs/safety.md, S41).

DRBD meets its peer again at once, and the VM stands still at each try. It must never give a right: that is consent.
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.damper import doubled
from avance.core.model import DiskRole, DiskView, Timers

_STEADY_S = 60.0  # a connection that lasted so long was sound
_HOLD_S = 40.0  # so long nobody is met after the second fall in a row, and twice as long after each further one


@dataclass(slots=True)
class Steadiness:
    """How the connections of one volume began and ended.

    `falls`: those of the writer that ended soon, in a row, although heartbeats passed on the same link.
    """

    falls: int = 0
    fell_at: float = 0.0
    met_at: float = 0.0

    def changed(
        self, before: DiskView | None, view: DiskView | None, now: float, second_s: float, *, carries: bool
    ) -> None:
        """Note how a connection began or ended; `carries`: heartbeats pass on the link at that moment."""
        if before is None or view is None:
            return
        was, is_now = before.connection == "Connected", view.connection == "Connected"
        if is_now and not was:
            self.met_at = now
        elif was and not is_now and view.connection != "StandAlone" and view.role is DiskRole.PRIMARY:
            steady = now >= self.met_at + _STEADY_S * second_s
            self.falls, self.fell_at = (0 if steady else self.falls) + carries, now

    @property
    def unsteady(self) -> bool:
        """The replication broke twice in a row although heartbeats pass: the link does not carry its data."""
        return self.falls > 1

    def is_held(self, now: float, timers: Timers) -> bool:
        """The peer is not met for a while, so that the VM does not stand still at each try."""
        hold_s = doubled(_HOLD_S * timers.second_s, self.falls - 2, timers.link_hold_max_s)
        return self.unsteady and now < self.fell_at + hold_s


__all__ = ["Steadiness"]

"""The service address on this node: held where the VMs belong, released where they must not be."""

from __future__ import annotations

from dataclasses import dataclass

from avance.core import commands as c
from avance.core.damper import doubled
from avance.core.decision import Draft
from avance.core.model import NodePart
from avance.core.results import Done

_RETRY_FACTOR_MAX = 16  # an address that cannot be held is tried again at least every 16 retry times


@dataclass(slots=True)
class Address:
    """What is known of the address here, and the one command about it that is in flight."""

    retry_s: float
    held: bool = False
    busy: bool = False
    down: bool = False  # an earlier run of the daemon may have left it up
    retry_at: float = 0.0
    failures: int = 0

    def done(self, command: c.HoldAddress | c.ReleaseAddress, result: Done, draft: Draft, now: float) -> None:
        """Note how the command ended."""
        ok, holding = result.ok, isinstance(command, c.HoldAddress)
        self.busy = False
        self.held = ok if holding else self.held and not ok
        self.down = ok and not holding
        self.failures = 0 if ok else self.failures + 1
        if not ok:
            # The pauses grow, but not for a release: it is a stop.
            pause_s = doubled(self.retry_s, self.failures - 1, _RETRY_FACTOR_MAX * self.retry_s)
            self.retry_at = now + (pause_s if holding else self.retry_s)
            draft.say(f"{type(command).__name__} ended {result.outcome}: {result.detail}")
        if holding and not ok:
            draft.part(
                NodePart.ADDRESS, f"The service address cannot be held: {result.detail}. It is tried again and again"
            )
        if ok and holding:
            draft.say("the service address is up here", milestone="service_address_up")
        if ok:
            draft.part(NodePart.ADDRESS, "")

    def seen(self, draft: Draft, *, present: bool) -> None:
        """The address is not where the last command left it, so that command is given again."""
        if self.busy:
            return
        if self.held and not present:
            self.held = False
            draft.part(NodePart.ADDRESS, "The service address was taken off this node from outside. It is put back now")
        elif self.down and present:
            self.down = False
            draft.say("the service address is up on this node, where it must not be")

    def free(self, now: float) -> bool:
        """Say whether a command may be given: one at a time, and not at once after one that failed."""
        return not self.busy and now >= self.retry_at

    def drive(self, draft: Draft, *, entitled: bool, gone: bool) -> None:
        """Hold the address where VMs may be started; release it where the VMs have to be gone."""
        if entitled and not self.held:
            self.busy = True
            draft.command(c.HoldAddress())
        elif gone and not self.down:
            self.busy = True
            draft.command(c.ReleaseAddress())

    def rests(self, now: float, *, owner: bool) -> bool:
        """The address is where it belongs."""
        return (self.held if owner else self.down) and self.free(now)


__all__ = ["Address"]

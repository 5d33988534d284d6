"""Liveness of the peer, by silence: per link UP, SUSPECT or DOWN, and the time of the last word from the peer.

The intuition: a link is only as good as the *echo* of our own heartbeats on it, so a one-way fault counts as a fault.
But the peer counts as lost only by the absence of *any* receipt, because the take-over wait is counted from the last
thing that it said (arbitration design, section 5). A peer that hears us no more goes on to repeat its last echo, so
only an echo newer than the last one counts. Silence while this node itself stood still is no evidence either.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from avance.core.model import LinkName, LinkState, Timers


@dataclass(slots=True)
class _Link:
    state: LinkState = LinkState.DOWN
    echo_at: float | None = None
    receipt_at: float | None = None
    echoed_sent_s: float | None = None


@dataclass(slots=True)
class Liveness:
    """What this node knows of its links; times are the monotonic seconds handed in as `now`."""

    timers: Timers
    names: tuple[LinkName, ...]
    _links: dict[LinkName, _Link] = field(init=False)
    lease_from_s: float | None = field(init=False, default=None)
    _updated_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        assert self.names, "a pair needs at least one link"
        self._links = {name: _Link() for name in self.names}

    def heartbeat_seen(self, link: LinkName, echoed_sent_s: float | None, now: float) -> None:
        """Note a receipt; an echo of our own heartbeat also renews the link and the lease."""
        entry = self._links[link]
        entry.receipt_at = now
        if echoed_sent_s is not None:
            assert echoed_sent_s <= now, "an echo cannot precede its heartbeat"
            if entry.echoed_sent_s is None or echoed_sent_s > entry.echoed_sent_s:
                entry.echo_at, entry.echoed_sent_s = now, echoed_sent_s
            self.lease_from_s = max(echoed_sent_s, self.lease_from_s or echoed_sent_s)

    def update(self, now: float) -> list[tuple[LinkName, LinkState, LinkState]]:
        """Re-judge every link; returns (link, before, after) of those that changed."""
        if self._updated_at is not None and now - self._updated_at >= self.timers.suspect_s:
            # The daemon or the whole node stood still: what the peer said meanwhile is still waiting to be read.
            for entry in self._links.values():
                entry.receipt_at = None if entry.receipt_at is None else now
        self._updated_at = now
        changes = []
        for name, entry in self._links.items():
            before, entry.state = entry.state, self._judge(entry, now)
            if before is not entry.state:
                changes.append((name, before, entry.state))
        return changes

    def _judge(self, entry: _Link, now: float) -> LinkState:
        if entry.echo_at is None or now - entry.echo_at >= self.timers.link_down_s:
            return LinkState.DOWN
        if now - entry.echo_at >= self.timers.suspect_s:
            return LinkState.SUSPECT
        return LinkState.UP

    @property
    def states(self) -> dict[LinkName, LinkState]:
        """The state of each link as of the last update."""
        return {name: entry.state for name, entry in self._links.items()}

    @property
    def last_receipt_at(self) -> float | None:
        """When the peer was last heard on any link, or could have been; None means never in this boot."""
        receipts = [entry.receipt_at for entry in self._links.values() if entry.receipt_at is not None]
        return max(receipts, default=None)

    def peer_alive(self) -> bool:
        """At least one link carries heartbeats in both directions."""
        return any(entry.state is not LinkState.DOWN for entry in self._links.values())

    def peer_lost(self, now: float) -> bool:
        """The peer was heard once and has been silent on every link for the peer-lost time."""
        last = self.last_receipt_at
        return last is not None and now - last >= self.timers.peer_lost_s

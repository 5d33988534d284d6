"""Liveness of the peer, by silence: per link UP, SUSPECT or DOWN, the last word from the peer, and this node's lease.

A link is only as good as the *echo* of our own heartbeats on it, so a fault in one direction counts as a fault.

Two clocks run. The *receipt* clock says when the peer last spoke; a backup waits by it. The *lease* clock says when the
last heartbeat was *sent* whose echo came back; an owner's right lasts by it (docs/safety.md, S18 and S22). A peer that
no longer hears us repeats its last echo, so only a newer echo counts. Silence proves nothing while this node itself
stood still.

This node may echo whatever it hears, and each echo can renew the peer's lease. So `heard_at_s` notes every receipt,
also of heartbeats that are not believed yet. The wait before a takeover counts from it, and nothing else moves it.
`contact_s` is a lower bound from the other side: the peer's lease counts from this moment, or from a later one.

A pause of this machine (core/pause.py) ends the lease, and so it is looked for here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from avance.core import alerts
from avance.core.damper import doubled
from avance.core.decision import Draft
from avance.core.model import LinkName, LinkState, Timers
from avance.core.pause import PauseWatch

_ANSWER_S = 0.1  # beyond a heartbeat: then the peer has echoed what was sent after a lag
_AFTER_PAUSE = 2  # heartbeats: a peer that is there has answered before this node looks for another right


@dataclass(slots=True)
class _Link:
    state: LinkState = LinkState.DOWN
    echo_at: float | None = None
    receipt_at: float | None = None
    echoed_sent_s: float | None = None
    good_from: float | None = None
    falls: int = 0
    was_up: bool = False
    newest_s: float | None = None  # the newest heartbeat of ours that the peer has echoed here, new to the link or not
    carried: list[tuple[float, float | None]] = field(default_factory=list)  # (sent from, `newest_s` that it went with)


@dataclass(slots=True)
class Liveness:
    """What this node knows of its links; times are the monotonic seconds handed in as `now`."""

    timers: Timers
    names: tuple[LinkName, ...]
    _links: dict[LinkName, _Link] = field(init=False)
    pauses: PauseWatch = field(init=False)
    started_at: float | None = field(init=False, default=None)
    lease_from_s: float | None = field(init=False, default=None)
    _void_before_s: float | None = field(init=False, default=None)
    _anchor_s: float | None = field(init=False, default=None)
    _updated_at: float | None = field(init=False, default=None)
    lag_s: float = field(init=False, default=0.0)
    _late_at: float | None = field(init=False, default=None)
    _lagged_at: float | None = field(init=False, default=None)
    heard_at_s: float | None = field(init=False, default=None)
    contact_s: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        assert self.names, "a pair needs at least one link"
        self._links = {name: _Link() for name in self.names}
        self.pauses = PauseWatch(self.timers.pause_s, self.timers.second_s)

    def begin(self, now: float) -> None:
        """Note when this run of the daemon began; only the first call counts."""
        self.started_at = now if self.started_at is None else self.started_at

    def heartbeat_seen(self, link: LinkName, echoed_sent_s: float | None, now: float) -> None:
        """Note a receipt; an echo of our own heartbeat also renews the link and the lease."""
        self.receipt(link, now)
        if echoed_sent_s is None:
            return
        entry = self._links[link]
        assert echoed_sent_s <= now, "an echo cannot precede its heartbeat"
        if self._void_before_s is not None and echoed_sent_s < self._void_before_s:
            return  # sent before this machine stood still: it says nothing about the time since
        if entry.echoed_sent_s is None or echoed_sent_s > entry.echoed_sent_s:
            entry.echo_at, entry.echoed_sent_s = now, echoed_sent_s
        self.lease_from_s = max(echoed_sent_s, self.lease_from_s or echoed_sent_s)
        self._in_contact(entry, echoed_sent_s)

    def receipt(self, link: LinkName, now: float) -> None:
        """Note that something of the peer came which this node may echo."""
        entry = self._links[link]
        entry.receipt_at = self.heard_at_s = now

    def sent(self, now: float, *, echoing: bool) -> None:
        """Note that a heartbeat goes out on every link, with or without the echo of what was heard there last."""
        for entry in self._links.values():
            carries = entry.newest_s if echoing else None
            if not entry.carried or entry.carried[-1][1] != carries:
                entry.carried.append((now, carries))

    def _in_contact(self, entry: _Link, echoed_sent_s: float) -> None:
        """Follow one chain of echoes. The peer got our heartbeat with the echo of its own, which had echoed `newest_s`.

        That heartbeat of the peer was sent after ours of `newest_s`, and its lease counts from it or from a later one.
        """
        entry.newest_s = max(echoed_sent_s, entry.newest_s or echoed_sent_s)
        carried = None
        while entry.carried and entry.carried[0][0] <= echoed_sent_s:
            carried = entry.carried.pop(0)
        if carried is None:
            return
        entry.carried.insert(0, carried)  # the next echo can be of a later one that went with the same
        if carried[1] is not None:
            self.contact_s = max(carried[1], self.contact_s or carried[1])

    def clock_read(self, rtc_s: float, draft: Draft, now: float) -> None:
        """Compare the hardware clock; when this machine has stood still, its lease is void."""
        gap_s = self.pauses.update(now, rtc_s)
        if gap_s:
            self.void(now)
            draft.say(f"this machine stood still for about {gap_s:.0f} s", alert=alerts.paused_machine(gap_s))

    def judge(self, draft: Draft, now: float) -> None:
        """Re-judge every link, and say what has changed, and that nothing was judged for too long."""
        changes = self.update(now)
        if self.lag_s:
            lag_s = self.lag_s
            draft.say(f"nothing was judged for {lag_s:.1f} s: this daemon was late", alert=alerts.lagging(lag_s))
        for name, before, after in changes:
            draft.say(f"link {name}: {before} -> {after}")
            if after is LinkState.DOWN:
                draft.alert(alerts.link_down(name))
            elif before is LinkState.DOWN and self.was_up(name):
                draft.alert(alerts.link_up(name))

    def void(self, now: float) -> None:
        """Forget the lease: this machine stood still, and only the echo of a heartbeat sent from now on counts."""
        self._void_before_s, self.lease_from_s = now, None
        self._anchor_s = now - self.timers.peer_lost_s + _AFTER_PAUSE * self.timers.heartbeat_s
        for entry in self._links.values():
            entry.newest_s = None
            entry.carried.clear()
            entry.echo_at = None if entry.echo_at is None else min(entry.echo_at, now - self.timers.suspect_s)

    def forgive(self) -> None:
        """Forget earlier falls of the links: they had a reason that has been found."""
        for entry in self._links.values():
            entry.falls = 0

    def update(self, now: float) -> list[tuple[LinkName, LinkState, LinkState]]:
        """Re-judge every link; returns (link, before, after) of those that changed.

        `lag_s` is then how long nothing was judged, where that is long enough to matter, else 0.
        """
        self._anchor_s = now if self._anchor_s is None else self._anchor_s
        gap_s = 0.0 if self._updated_at is None else now - self._updated_at
        self.lag_s = gap_s if gap_s >= self.timers.suspect_s else 0.0
        if self.lag_s:
            self._lagged_at = now
            # The daemon or the whole node stood still: what the peer said meanwhile is still waiting to be read.
            heard_s = self.echo_age_s(now - gap_s)
            self._late_at = now if heard_s is not None and heard_s < self.timers.suspect_s else None
            for entry in self._links.values():
                entry.receipt_at = None if entry.receipt_at is None else now
        self._updated_at = now
        changes = []
        for name, entry in self._links.items():
            entry.was_up = entry.was_up or entry.state is LinkState.UP
            before, entry.state = entry.state, self._judge(entry, now)
            if before is not entry.state:
                changes.append((name, before, entry.state))
        return changes

    def _judge(self, entry: _Link, now: float) -> LinkState:
        if entry.echo_at is None or now - entry.echo_at >= self.timers.link_down_s:
            if entry.state is not LinkState.DOWN:
                entry.falls += 1
            entry.good_from = None
            return LinkState.DOWN
        entry.good_from = now if entry.good_from is None else entry.good_from
        if entry.state is LinkState.DOWN and now - entry.good_from < self._hold_s(entry):
            return LinkState.DOWN
        return LinkState.SUSPECT if now - entry.echo_at >= self.timers.suspect_s else LinkState.UP

    def _hold_s(self, entry: _Link) -> float:
        """How long a link that fell must be good before it is used again: longer each time (docs/safety.md, S22)."""
        if entry.falls == 0:
            return 0.0
        return doubled(self.timers.link_hold_s, entry.falls - 1, self.timers.link_hold_max_s)

    @property
    def proof_s(self) -> float | None:
        """The same as `contact_s`; None if this machine has stood still since, for its clock may lag behind then."""
        voided = self._void_before_s is not None and (self.contact_s or 0.0) < self._void_before_s
        return None if voided else self.contact_s

    @property
    def states(self) -> dict[LinkName, LinkState]:
        """The state of each link as of the last update."""
        return {name: entry.state for name, entry in self._links.items()}

    def state(self, name: LinkName) -> LinkState:
        """Return the state of one link as of the last update."""
        return self._links[name].state

    def was_up(self, name: LinkName) -> bool:
        """Say whether this link was UP before the last update."""
        return self._links[name].was_up

    def returns(self, name: LinkName) -> bool:
        """Say whether a link that counts as down is good again, and is only held back because it fell."""
        entry = self._links[name]
        return entry.state is LinkState.DOWN and entry.good_from is not None

    @property
    def last_receipt_at(self) -> float | None:
        """When the peer was last heard on any link, or could have been; None means never in this run."""
        newest = None
        for entry in self._links.values():
            if entry.receipt_at is not None and (newest is None or entry.receipt_at > newest):
                newest = entry.receipt_at
        return newest

    def silent_from_s(self, now: float) -> float:
        """When the peer was last heard; before its first word, when this run began."""
        last = self.last_receipt_at
        return (self.started_at or now) if last is None else last

    def contact_from_s(self, now: float) -> float:
        """Until when the two surely heard each other. The owner cannot go on alone before 5 s after that."""
        return (self.started_at or now) if self.contact_s is None else self.contact_s

    def echo_age_s(self, now: float) -> float | None:
        """Seconds since the last new echo came on any link; None means never."""
        newest = None
        for entry in self._links.values():
            if entry.echo_at is not None and (newest is None or entry.echo_at > newest):
                newest = entry.echo_at
        return None if newest is None else now - newest

    def unbroken_until(self) -> float:
        """When the oldest link, receipt or lease becomes `suspect_s` old, if nothing comes any more.

        No judgement by silence has a shorter limit. The answer is -inf while any of them has never been there.
        """
        if self.lease_from_s is None:
            return -inf
        since = self.lease_from_s
        for entry in self._links.values():
            if entry.echo_at is None or entry.receipt_at is None:
                return -inf
            since = min(since, entry.echo_at, entry.receipt_at)
        return since + self.timers.suspect_s

    def silent(self, link: LinkName, now: float) -> bool:
        """Nothing came on this link for the link-down time, not even without an echo."""
        receipt_at = self._links[link].receipt_at
        return receipt_at is None or now - receipt_at >= self.timers.link_down_s

    def peer_alive(self, now: float) -> bool:
        """At least one link carries heartbeats in both directions."""
        if self.lease_from_s is None:
            return False
        for entry in self._links.values():
            if entry.echo_at is not None and now - entry.echo_at < self.timers.link_down_s:
                return True
        return False

    def good_s(self, now: float) -> float:
        """How long the best link has been good: 0 while none is."""
        return max([now - one.good_from for one in self._links.values() if one.good_from is not None], default=0.0)

    def was_late(self, now: float) -> bool:
        """This node stood still until a moment ago. A peer that was there before may have spoken meanwhile."""
        return self._late_at is not None and now - self._late_at < self._answer_s

    def catches_up(self, now: float) -> bool:
        """This node stood still until a moment ago: what came meanwhile may not have been read yet."""
        return self._lagged_at is not None and now - self._lagged_at < self._answer_s

    @property
    def _answer_s(self) -> float:
        return self.timers.heartbeat_s + _ANSWER_S * self.timers.second_s

    def lease_age_s(self, now: float) -> float:
        """Seconds since the send time of the last echoed heartbeat; before the first one, since this run began."""
        since = self._anchor_s if self.lease_from_s is None else self.lease_from_s
        return 0.0 if since is None else now - since

    def lease_over(self, now: float) -> bool:
        """The right to run by the peer's echo has ended; a run that has just begun gets the time of one lease."""
        voided = self._void_before_s is not None and self.lease_from_s is None
        return voided or self.lease_age_s(now) >= self.timers.lease_s

    @property
    def lease_until_s(self) -> float | None:
        """When the right to run by the peer's echo ends, or ended (`lease_over` begins); None before the first echo."""
        if self.lease_from_s is None:
            return None if self._void_before_s is None else 0.0
        return self.lease_from_s + self.timers.lease_s

    def lease_valid(self, now: float) -> bool:
        """The peer confirmed, less than the lease time ago, that it hears this node."""
        return self.lease_from_s is not None and now - self.lease_from_s < self.timers.lease_s

"""The other node, as far as it is known: what it said last, its restarts, and what lies between the two nodes.

It must never judge who may write: others ask it what it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core import alerts
from avance.core.crashloop import CrashLoop
from avance.core.damper import doubled
from avance.core.decision import Draft
from avance.core.model import PeerView, Timers


@dataclass(frozen=True, slots=True)
class Restarted:
    """The peer was started anew since it was paired with last.

    `links_fell`: its daemon was started anew, and the links fell because of that. `too_often`: its machine was started
    anew, unplanned, and the peer counts now as one that fails too often.
    """

    links_fell: bool
    too_often: bool


@dataclass(slots=True)
class Partner:
    """What this node knows of its peer.

    `run` and `machine` are the boots of its daemon and of its machine when they were paired last. `consenter` is the
    boot of the peer's machine in which it was last seen before this node went on alone.
    """

    timers: Timers
    crashes: CrashLoop
    view: PeerView | None = None
    machine: str = ""
    run: str = ""
    consenter: str = ""
    was_paired: bool = False
    paired_at: float = 0.0
    stable_at: float = 0.0
    mismatch_from_s: float | None = None

    def heard(self, view: PeerView, draft: Draft) -> None:
        """Note what the peer says of itself; a last word is for people, and proves nothing."""
        self.view = view
        if view.ends:
            draft.once("peer_resets", alerts.peer_resets(view.node, view.ends))

    def met(self, epoch: int, now: float) -> Restarted | None:
        """Pair, and count the peer's restarts.

        A restart for a cure is planned; any other is a failure (crash-loop quarantine).
        """
        peer = self.view
        assert peer is not None, "a peer that was never heard cannot be paired with"
        self.was_paired, self.paired_at = True, now
        machine, self.machine = self.machine, peer.machine
        run, self.run = self.run, peer.boot
        links_fell, too_often = run not in ("", peer.boot), False
        if machine not in ("", peer.machine) and peer.record.cure != epoch:
            too_often = self.crashes.failed(now)
            again = self.crashes.recent(now) - 1
            hold_s = doubled(self.timers.stable_s, again, self.timers.link_hold_max_s) if again > 0 else 0.0
            self.stable_at = now + hold_s
        return Restarted(links_fell, too_often) if links_fell or too_often else None

    def left(self, *, forget: bool) -> None:
        """Go on without the peer; `forget`: what it said last decides nothing any more."""
        self.consenter = "" if self.view is None else self.view.machine
        self.view = None if forget else self.view

    def reset_device(self) -> None:
        """Take the peer for a sound node again: a person has said so."""
        self.crashes.reset()
        self.stable_at = 0.0

    def differs(self, reason: str | None, draft: Draft, now: float) -> None:
        """Note why the nodes must not be paired, and tell of it when it has lasted; None: they may.

        It has to last because an operator changes one node after the other.
        """
        if reason is None:
            self.mismatch_from_s = None
            draft.in_order("mismatch")
            return
        self.mismatch_from_s = now if self.mismatch_from_s is None else self.mismatch_from_s
        if now - self.mismatch_from_s >= self.timers.peer_lost_s:
            draft.once("mismatch", alerts.mismatch(reason))

    def links_are_up(self, now: float, waits: int = 1) -> bool:
        """The nodes have been paired for so many boot waits: links come up later than their nodes."""
        return now >= self.paired_at + waits * self.timers.boot_wait_s

    def is_stable(self, now: float) -> bool:
        """The peer has not failed again a moment ago, so it is worth a resynchronisation."""
        return now >= self.stable_at

    def rests(self, now: float) -> bool:
        """Nothing about the peer is being waited for, and it asks for nothing."""
        asks = self.view is not None and (self.view.wants != 0 or self.view.leaves != 0)
        return not asks and self.mismatch_from_s is None and self.is_stable(now) and self.links_are_up(now)


__all__ = ["Partner", "Restarted"]

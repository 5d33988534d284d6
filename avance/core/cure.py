"""The cure of a backup that a dead private link or disk left behind: one restart, planned and remembered durably."""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core.decision import Draft
from avance.core.durable import Wish
from avance.core.model import LinkState, PairState
from avance.core.sight import Sight

_DROPPED_S = 20.0  # a disk that was dropped may answer again by then; a hanging one would hang the start, too


@dataclass(slots=True)
class Cure:
    """The restart that is planned.

    `due` says why this backup restarts as soon as the owner has followed; `dropped_at`, since when a disk is gone.
    """

    due: str = ""
    dropped_at: float | None = None

    def restart(self, sight: Sight, draft: Draft) -> None:
        """Restart once the plan is durable and the owner has taken this epoch, so that it goes on without this node."""
        record, peer = sight.durable.record, sight.partner.view
        given = record.cure == record.epoch
        if self.due and given and peer is not None and peer.record.epoch == record.epoch:
            why, self.due = self.due, ""
            draft.reset(f"{why}: this backup restarts in the hope of a cure")

    def look(self, sight: Sight, now: float) -> Wish | None:
        """Look whether a restart may help; return the record that remembers it."""
        record, peer = sight.durable.record, sight.partner.view
        dropped = any(unit.dropped for unit in sight.units.by_name.values())
        self.dropped_at = None if not dropped else now if self.dropped_at is None else self.dropped_at
        if sight.pairing.pair is not PairState.PAIRED or sight.durable.owner:
            return None
        if not record.peer_outdated or record.cure != 0:
            return None
        reason = self._reason(sight, now)
        followed = peer is not None and peer.record.epoch == record.epoch and sight.liveness.peer_alive(now)
        if not followed or reason is None or sight.durable.saving is not None:
            return None
        self.due = reason
        return Wish(replace(record, cure=record.epoch), f"{reason}: a restart may cure it")

    def _reason(self, sight: Sight, now: float) -> str | None:
        if sight.private_link() is LinkState.DOWN and sight.liveness.was_up(sight.setup.replication_link):
            return "the private link is down"
        if self.dropped_at is not None and now >= self.dropped_at + _DROPPED_S * sight.setup.timers.second_s:
            return "DRBD dropped a disk, which is used again only after a start"
        return None

    @property
    def rests(self) -> bool:
        """No restart is planned, and no disk is gone."""
        return not self.due and self.dropped_at is None


def failed(sight: Sight, now: float) -> bool:
    """As the owner: the backup has restarted in the hope of a cure, and the private link is still down."""
    peer, partner = sight.partner.view, sight.partner
    if not partner.links_are_up(now):
        return False
    if peer is None or peer.record.cure != sight.durable.record.epoch or peer.machine == partner.consenter:
        return False
    return sight.solo and sight.private_link() is LinkState.DOWN


__all__ = ["Cure", "failed"]

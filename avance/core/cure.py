"""The cure of a backup that a dead private link or disk left behind: one restart, planned and remembered durably.

A cable or a disk that comes and goes makes no loop of it: after `CURES_MAX` restarts there are no more, until none was
needed for an hour, or a person says so (decision 0026). The count is in the record, because each restart ends this run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core import alerts
from avance.core.damper import HOUR_S
from avance.core.decision import Draft
from avance.core.durable import Wish
from avance.core.model import LinkState, PairState
from avance.core.sight import Sight

CURES_MAX = 3  # as many restarts tell that a restart does not help
_DROPPED_S = 20.0  # a disk that was dropped may answer again by then; a hanging one would hang the start, too


@dataclass(slots=True)
class Cure:
    """The restart that is planned.

    `due` says why this backup restarts as soon as the owner has followed; `dropped_at`, since when a disk is gone.
    `ill_at` is when something was last in need of a cure in this run. `anew`: a person says that it is mended.
    """

    due: str = ""
    dropped_at: float | None = None
    ill_at: float | None = None
    anew: bool = False

    def restart(self, sight: Sight, draft: Draft) -> None:
        """Restart once the plan is durable and the owner has taken this epoch, so that it goes on without this node."""
        record, peer = sight.durable.record, sight.partner.view
        given = record.cure == record.epoch
        if self.due and given and peer is not None and peer.record.epoch == record.epoch:
            why, self.due = self.due, ""
            draft.reset(f"{why}: this backup restarts in the hope of a cure")

    def look(self, sight: Sight, draft: Draft, now: float) -> Wish | None:
        """Look whether a restart may help; return the record that remembers it, or that earlier ones are forgotten."""
        record, peer = sight.durable.record, sight.partner.view
        dropped = any(unit.dropped for unit in sight.units.by_name.values())
        self.dropped_at = None if not dropped else now if self.dropped_at is None else self.dropped_at
        reason = self._reason(sight, now)
        self.ill_at = now if reason is not None or _fell(sight) else self.ill_at
        if self._is_forgotten(sight, now):
            self.anew = False
            draft.in_order("cures")
            return Wish(replace(record, cures=0), "the restarts for a cure are forgotten: this node may restart again")
        if sight.pairing.pair is not PairState.PAIRED or sight.durable.owner:
            return None
        if not record.peer_outdated or record.cure != 0:
            return None
        followed = peer is not None and peer.record.epoch == record.epoch and sight.liveness.peer_alive(now)
        if not followed or reason is None or sight.durable.saving is not None:
            return None
        if record.cures >= CURES_MAX:
            draft.once("cures", alerts.cures_used_up(sight.setup.me, reason, record.cures))
            return None
        self.due = reason
        cured = replace(record, cure=record.epoch, cures=record.cures + 1)
        return Wish(cured, f"{reason}: a restart may cure it (number {cured.cures} of {CURES_MAX})")

    def _is_forgotten(self, sight: Sight, now: float) -> bool:
        """The earlier restarts do not count any more: none was needed for an hour of this run, or a person says so."""
        if sight.durable.record.cures == 0 or not sight.pairing.in_service or sight.durable.saving is not None:
            return False
        began_at = sight.liveness.started_at or now
        well_from_s = began_at if self.ill_at is None else max(began_at, self.ill_at)
        return self.anew or now >= well_from_s + HOUR_S * sight.setup.timers.second_s

    def mended(self) -> None:
        """A person says that what was ill is mended: the restarts are counted anew."""
        self.anew = True

    def _reason(self, sight: Sight, now: float) -> str | None:
        heard = LinkState.UP in sight.liveness.states.values()  # else it may be the peer that is gone
        back = sight.partner.links_are_up(now)  # else it may have just come back, one link after the other
        if heard and back and _fell(sight) and not sight.liveness.returns(sight.setup.replication_link):
            return "the private link is down"
        if self.dropped_at is not None and now >= self.dropped_at + _DROPPED_S * sight.setup.timers.second_s:
            return "DRBD dropped a disk, which is used again only after a start"
        return None

    @property
    def rests(self) -> bool:
        """No restart is planned, and no disk is gone."""
        return not self.due and self.dropped_at is None


def _fell(sight: Sight) -> bool:
    """The private link is down, or is good again and not trusted yet; in this run it was up."""
    return sight.private_link() is LinkState.DOWN and sight.liveness.was_up(sight.setup.replication_link)


def failed(sight: Sight, now: float) -> bool:
    """As the owner: the backup has restarted in the hope of a cure, and the private link is still down."""
    peer, partner = sight.partner.view, sight.partner
    if not partner.links_are_up(now):
        return False
    if peer is None or peer.record.cure != sight.durable.record.epoch or peer.machine == partner.consenter:
        return False
    return sight.solo and sight.private_link() is LinkState.DOWN


__all__ = ["CURES_MAX", "Cure", "failed"]

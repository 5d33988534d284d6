"""What strangers send on a link: refused, counted, and told once an hour with their addresses (decision 0026).

A datagram that is refused decides nothing, so nothing here may change what the core believes of its peer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core import alerts
from avance.core import events as e
from avance.core.damper import HOUR_S, Damper
from avance.core.decision import Draft
from avance.core.model import LinkName

SENDERS_MAX = 4  # addresses that are named; a sender can forge as many as it likes


@dataclass(frozen=True, slots=True)
class Junk:
    """What was refused on one link since the last alert: how many by reason, and from whom first."""

    told: Damper
    counts: dict[str, int] = field(default_factory=dict)
    senders: tuple[str, ...] = ()


@dataclass(slots=True)
class Strangers:
    """The junk of each link."""

    second_s: float
    links: dict[LinkName, Junk] = field(default_factory=dict)

    def refused(self, event: e.DatagramsRefused, draft: Draft, now: float) -> None:
        """Count what was refused; tell of all that gathered, once an hour for each link."""
        junk = self.links.get(event.link, Junk(Damper(1, HOUR_S * self.second_s)))
        counts = {**junk.counts, event.reason: junk.counts.get(event.reason, 0) + event.count}
        senders = tuple(dict.fromkeys((*junk.senders, *event.senders)))[:SENDERS_MAX]
        if junk.told.full(now):
            self.links[event.link] = replace(junk, counts=counts, senders=senders)
            return
        alert = alerts.datagrams_refused(event.link, counts, senders)
        draft.say(alert.text, alert=alert)
        self.links[event.link] = Junk(junk.told.counted(now))


__all__ = ["SENDERS_MAX", "Junk", "Strangers"]

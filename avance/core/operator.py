"""What only a person may decide: that a silent peer is off, that a device may come back, whose data is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from avance.core import alerts
from avance.core import commands as c
from avance.core import events as e
from avance.core.cure import Cure
from avance.core.decision import Draft
from avance.core.durable import Wish
from avance.core.health import Health
from avance.core.migration import Migration, departure, hindrance
from avance.core.model import PairState
from avance.core.restarts import Restarts
from avance.core.rights import Right
from avance.core.sight import Sight


class Order(StrEnum):
    """What a person decided."""

    OVERRIDE = "OVERRIDE"  # the silent peer is off for certain
    RESET_DEVICE = "RESET_DEVICE"  # the peer is sound again
    START_ANEW = "START_ANEW"  # what failed too often on this node is mended
    MOVE = "MOVE"  # the VMs are to run on the peer
    LEAVE = "LEAVE"  # this node is to be switched off
    YIELD = "YIELD"  # this node's version of diverged data is given up


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it is not done."""

    reason: str


@dataclass(frozen=True, slots=True)
class Owners:
    """Those of the engine's owners to whom a person can give an order."""

    right: Right
    cure: Cure
    restarts: Restarts
    health: Health
    migration: Migration


def asked(event: e.OperatorAsked, sight: Sight, owners: Owners, draft: Draft, now: float) -> None:
    """Do what only a person may decide, or say why not; the answer does not wait for the effect."""
    decided = decide(event, sight, now)
    match decided:
        case Refusal(reason):
            draft.command(c.AnswerOperator(event.ask, done=False, text=reason))
            return
        case Wish():
            sight.durable.wish(decided, draft)
        case Order.OVERRIDE:
            owners.right.vouched()
        case Order.RESET_DEVICE:
            sight.partner.reset_device()
        case Order.START_ANEW:
            owners.cure.mended()
            owners.restarts.anew()
            owners.health.anew()
            owners.migration.anew()
        case Order.MOVE:
            owners.migration.want("a person wants it")
        case Order.LEAVE:
            owners.migration.depart(event.ask, now)
            draft.alert(alerts.operator(event.request, event.node))
            return  # it is answered when it is over
        case Order.YIELD:
            sight.pairing.give_up()
        case _:
            assert_never(decided)
    draft.alert(alerts.operator(event.request, event.node))
    draft.command(c.AnswerOperator(event.ask, done=True, text=f"{event.request} {event.node}: done"))


def decide(event: e.OperatorAsked, sight: Sight, now: float) -> Order | Wish | Refusal:
    """Return what a person decided, as the record of it where it has one, or why it is refused."""
    if event.request == "override":
        return _override(event, sight)
    if event.request == "reset-device":
        if event.node == sight.setup.me:
            return Order.START_ANEW
        if event.node != sight.setup.peer_id or not sight.durable.owner:
            return Refusal(f"only the owner of the epoch can reset its peer {sight.setup.peer_id}")
        return Order.RESET_DEVICE
    if event.request == "keep":
        return _keep(event, sight)
    if event.request == "move":
        return _move(event, sight, now)
    if event.request == "leave":
        return _leave(event, sight, now)
    return Refusal(f"there is no request {event.request!r}")


def _override(event: e.OperatorAsked, sight: Sight) -> Order | Refusal:
    peer_id = sight.setup.peer_id
    if event.node != peer_id:
        return Refusal(f"type the name of the node that is off for certain: {peer_id}")
    if not _waits(sight):
        return Refusal(f"this node is {sight.pair}; an override is only possible while it waits for its peer")
    return Order.OVERRIDE


def _waits(sight: Sight) -> bool:
    """This node waits for its peer: for its word, or, as an owner alone, for a copy that is better than its own."""
    doubtful = sight.pair is PairState.ALONE and bool(sight.behind) and not sight.may_write
    return doubtful or sight.pair in (PairState.WAITING, PairState.STARTING)


def _move(event: e.OperatorAsked, sight: Sight, now: float) -> Order | Refusal:
    if event.node == sight.setup.me and sight.durable.owner:
        return Refusal(f"the VMs run on node {event.node} already")
    if event.node != sight.setup.peer_id:
        return Refusal(
            f"say `move` on the node where the VMs run, with the name of the other one: {sight.setup.peer_id}"
        )
    against = hindrance(sight, now)
    return Order.MOVE if against is None else Refusal(f"the VMs cannot move while they run: {against}")


def _leave(event: e.OperatorAsked, sight: Sight, now: float) -> Order | Refusal:
    if event.node != sight.setup.me:
        return Refusal(f"say it on the node that is to be left, with its own name: {sight.setup.me}")
    against = departure(sight, now) if sight.durable.owner else None
    return Order.LEAVE if against is None else Refusal(f"the VMs have to stay: {against}")


def _keep(event: e.OperatorAsked, sight: Sight) -> Order | Wish | Refusal:
    me, peer_id, record, peer = sight.setup.me, sight.setup.peer_id, sight.record, sight.peer
    if not record.split or event.node not in (me, peer_id):
        return Refusal(
            f"`keep` chooses between {me} and {peer_id} after both nodes wrote alone; that is not the case here"
        )
    if event.node == peer_id:
        return Order.YIELD
    if sight.durable.saving is not None:
        return Refusal("the durable record is being written just now; ask again")
    epoch = max(record.epoch, 0 if peer is None else peer.record.epoch) + 1
    # The person vouches for the data of this node, so what was known of better ones counts no more.
    ours = sight.units.written()
    kept = replace(
        record, epoch=epoch, owner=me, peer_outdated=True, split=False, chosen=epoch, behind=(), generations=ours
    )
    return Wish(kept, "an operator keeps this node's data")


__all__ = ["Order", "Owners", "Refusal", "asked", "decide"]

"""What only a person may decide: that a silent peer is off, that a device may come back, whose data is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from avance.core import alerts
from avance.core import commands as c
from avance.core import events as e
from avance.core.model import PairState

if TYPE_CHECKING:
    from avance.core.decision import Draft
    from avance.core.engine import Engine


def asked(engine: Engine, draft: Draft, event: e.OperatorAsked) -> None:
    """Do what only a person may decide, or say why not; the answer does not wait for the effect."""
    me, peer, refusal = engine.setup.me, engine.setup.peer_id, None
    if event.request == "override":
        if event.node != peer:
            refusal = f"type the name of the node that is off for certain: {peer}"
        elif engine.pair is not PairState.WAITING and engine.pair is not PairState.STARTING:
            refusal = f"this node is {engine.pair}; an override is only possible while it waits for its peer"
        else:
            engine.override = True
    elif event.request == "reset-device":
        if event.node != peer or not engine.is_owner:
            refusal = f"only the owner of the epoch can reset its peer {peer}"
        else:
            engine.partner.reset_device()
    elif event.request == "keep":
        if not engine.record.split or event.node not in (me, peer):
            refusal = f"`keep` chooses between {me} and {peer} after both nodes wrote alone; that is not the case here"
        elif event.node == peer:
            engine.yields = True
        elif engine.durable.saving is not None:
            refusal = "the durable record is being written just now; ask again"
        else:
            theirs = 0 if engine.peer is None else engine.peer.record.epoch
            epoch = max(engine.record.epoch, theirs) + 1
            kept = replace(engine.record, epoch=epoch, owner=me, peer_outdated=True, split=False)
            kept = replace(kept, chosen=kept.epoch)
            engine.durable.wish(kept, "an operator keeps this node's data", draft)
    else:
        refusal = f"there is no request {event.request!r}"
    if refusal is None:
        draft.alert(alerts.operator(event.request, event.node))
    text = refusal or f"{event.request} {event.node}: done"
    draft.command(c.AnswerOperator(event.ask, refusal is None, text))

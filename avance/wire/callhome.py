"""Call Home: an alert as the body of a request (schema `avance/schema/alert.json`)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from avance.core.model import Alert, NodeId

SCHEMA = "avance.alert/1"
TEXT_MAX = 4096  # letters; a service centre may refuse more, and all alerts behind it would wait


@dataclass(frozen=True, slots=True)
class Envelope:
    """What belongs to an alert beside its text; `id` stays the same over every retry."""

    id: str
    node: NodeId
    seq: int
    epoch: int
    wall: str


def body(alert: Alert, envelope: Envelope) -> bytes:
    """Return the JSON body of the request."""
    fields = {
        "schema": SCHEMA,
        "id": envelope.id,
        "node": envelope.node,
        "seq": envelope.seq,
        "kind": alert.kind,
        "code": alert.code,
        "severity": alert.severity,
        "text": alert.text[:TEXT_MAX],
        "epoch": envelope.epoch,
        "wall": envelope.wall,
    }
    return json.dumps(fields).encode()

"""Call Home: an alert as the body of a request (schema `avance/schema/alert.json`)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from avance.core.model import Alert, NodeId
from avance.parsed import Json

SCHEMA = "avance.alert/1"
TEXT_MAX = 3000  # characters; what a tool said can be longer, and its end is cut off


@dataclass(frozen=True, slots=True)
class Envelope:
    """What belongs to an alert beside its text; `id` stays the same over every retry.

    `count`: so often it has happened since `since` (wall clock), this time included.
    """

    id: str
    node: NodeId
    seq: int
    epoch: int
    wall: str
    count: int = 1
    since: str = ""


def body(alert: Alert, envelope: Envelope) -> bytes:
    """Return the JSON body of the request."""
    text = alert.text if len(alert.text) <= TEXT_MAX else f"{alert.text[:TEXT_MAX]} ..."
    if envelope.count > 1:
        text += f" It has happened {envelope.count} times since {envelope.since}."
    fields = {
        "schema": SCHEMA,
        "id": envelope.id,
        "node": envelope.node,
        "seq": envelope.seq,
        "kind": alert.kind,
        "code": alert.code,
        "severity": alert.severity,
        "text": text,
        "epoch": envelope.epoch,
        "wall": envelope.wall,
        "about": alert.about,
        "count": envelope.count,
        "since": envelope.since or envelope.wall,
    }
    return json.dumps(fields).encode()


def told(raw: bytes) -> tuple[tuple[str, str], int, str]:
    """Return what a body that waits in the queue is about (code, subject), how often it happened, and since when.

    Raises:
        ValueError, LookupError, TypeError: it is no body of ours.
    """
    fields: Json = json.loads(raw)
    return (str(fields["code"]), str(fields["about"])), int(fields["count"]), str(fields["since"])

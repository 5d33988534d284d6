"""The durable record as bytes: sequence number, checksum, JSON; a torn or rotten copy is recognised."""

from __future__ import annotations

import hashlib
import json

from avance.core.model import NodeId, Record, VmId

_VERSION = "avance.record/1"


def encode(record: Record, seq: int) -> bytes:
    """Return one copy of the record."""
    fields = {
        "schema": _VERSION,
        "seq": seq,
        "epoch": record.epoch,
        "owner": record.owner,
        "peer_outdated": record.peer_outdated,
        "fresh": record.fresh,
    }
    data = json.dumps(fields, sort_keys=True)
    return f"{hashlib.sha256(data.encode()).hexdigest()} {data}\n".encode()


def decode(raw: bytes) -> tuple[int, Record] | None:
    """Return (sequence number, record), or None when the copy is torn, rotten or of another version."""
    checksum, _, data = raw.decode(errors="replace").rstrip("\n").partition(" ")
    if hashlib.sha256(data.encode()).hexdigest() != checksum:
        return None
    fields = json.loads(data)
    if fields["schema"] != _VERSION:
        return None
    owner = None if fields["owner"] is None else NodeId(fields["owner"])
    fresh = tuple(VmId(vm) for vm in fields["fresh"])
    return fields["seq"], Record(fields["epoch"], owner, fields["peer_outdated"], fresh)

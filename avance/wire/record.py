"""The durable record as bytes: sequence number, checksum, JSON; a torn or rotten copy is recognised.

A copy of version 1, which an earlier release left behind, is still read; what it does not know has its default.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

from avance.core.model import Record
from avance.parsed import Json
from avance.wire.plain import read_record, to_plain

_VERSION = "avance.record/2"
_FIELDS = {
    "avance.record/1": {"epoch", "owner", "peer_outdated", "fresh"},
    _VERSION: {field.name for field in fields(Record)},
}


def encode(record: Record, seq: int) -> bytes:
    """Return one copy of the record."""
    values: dict[str, Json] = {name: value for name, value in to_plain(record).items() if name != "type"}
    data = json.dumps({"schema": _VERSION, "seq": seq, **values}, sort_keys=True)
    return f"{hashlib.sha256(data.encode()).hexdigest()} {data}\n".encode()


def decode(raw: bytes) -> tuple[int, Record] | None:
    """Return (sequence number, record), or None when the copy is torn, rotten or of another version."""
    checksum, _, data = raw.decode(errors="replace").rstrip("\n").partition(" ")
    if hashlib.sha256(data.encode()).hexdigest() != checksum:
        return None
    values = json.loads(data)
    known = _FIELDS.get(values.pop("schema"))
    if known is None or values.keys() - {"seq"} != known:
        return None
    seq: int = values.pop("seq")
    return seq, read_record(values)

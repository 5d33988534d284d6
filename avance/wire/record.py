"""The durable record as bytes: sequence number, checksum, JSON; a torn or rotten copy is recognised.

A copy of version 1, which an earlier release left behind, is still read; what it does not know has its default.
"""

from __future__ import annotations

import json
from dataclasses import fields

from avance.core.model import Record
from avance.parsed import Json
from avance.wire.plain import read_record, to_plain
from avance.wire.summed import UnknownFormat, json_object, seal, unseal

_VERSION = "avance.record/2"
_FIELDS = {
    "avance.record/1": {"epoch", "owner", "peer_outdated", "fresh"},
    _VERSION: {field.name for field in fields(Record)},
}


def encode(record: Record, seq: int) -> bytes:
    """Return one copy of the record."""
    values: dict[str, Json] = {name: value for name, value in to_plain(record).items() if name != "type"}
    return seal(json.dumps({"schema": _VERSION, "seq": seq, **values}, sort_keys=True))


def decode(raw: bytes) -> tuple[int, Record]:
    """Return (sequence number, record).

    Raises:
        UnknownFormat: it is whole, and of another version.
        ValueError: it is torn or rotten, or is no record.
    """
    values = json_object(unseal(raw))
    schema, seq = values.pop("schema", None), values.pop("seq", None)
    if not isinstance(seq, int) or isinstance(seq, bool):
        raise ValueError(f"its number is {str(seq)[:40]!r}")  # noqa: TRY004 - the file is wrong, not the call
    known = _FIELDS.get(schema) if isinstance(schema, str) else None
    if known is None or values.keys() != known:
        raise UnknownFormat(f"format {str(schema)[:40]!r}, this release knows {', '.join(_FIELDS)}", seq)
    return seq, read_record(values)

"""The configuration of a node as bytes: JSON that a person can read, with its number and its checksum in it.

A file of an earlier release, or one that a person wrote, has neither: it counts as the oldest.
"""

from __future__ import annotations

import hashlib
import json

from avance.parsed import Json

_KEYS = {"node", "site", "vms"}


def encode(raw: dict[str, Json], seq: int) -> bytes:
    """Return one copy; `raw` has the node's name, its site and its VMs."""
    values = {**raw, "seq": seq}
    return json.dumps({**values, "sum": _sum(values)}, indent=1).encode() + b"\n"


def decode(data: bytes) -> tuple[int, dict[str, Json]]:
    """Return (number, the node's name with its site and its VMs).

    Raises:
        ValueError: it was torn, has rotten, or is something else.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if not isinstance(values, dict) or not values.keys() >= _KEYS:
        raise ValueError(f"it is no object with {', '.join(sorted(_KEYS))}")
    stated, seq = values.pop("sum", None), values.get("seq", 0)
    if "seq" in values and (not isinstance(seq, int) or isinstance(seq, bool) or stated != _sum(values)):
        raise ValueError(
            "its checksum is wrong: it was torn, has rotten, or was changed by hand, with `seq` left in it"
        )
    return seq, {key: values[key] for key in sorted(_KEYS)}


def _sum(values: dict[str, Json]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

"""The configuration of a node as bytes: JSON that a person can read, with its number and its checksum in it.

A file of an earlier release, or one that a person wrote, has neither: it counts as the oldest. An earlier release knew
no numbers of definitions either; what it had counts as number 1.
"""

from __future__ import annotations

import hashlib
import json

from avance.core.model import NodeId, Proposal, Stand, Version
from avance.parsed import Json

_KEYS = {"node", "site", "vms"}
_PROPOSAL_KEYS = {"id", "number", "hash", "by", "site", "vms"}
_FIRST = 1  # the number of definitions that an earlier release kept


def encode(raw: dict[str, Json], seq: int) -> bytes:
    """Return one copy.

    `raw` has the node's name, its site and its VMs, their `number` and `history`, and a `proposal` or None.
    """
    values = {**{key: value for key, value in raw.items() if value is not None}, "seq": seq}
    return json.dumps({**values, "sum": _sum(values)}, indent=1).encode() + b"\n"


def decode(data: bytes) -> tuple[int, dict[str, Json]]:
    """Return (number of the copy, what `encode` was given).

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
    number, history, proposal = values.get("number", _FIRST), values.get("history", []), values.get("proposal")
    if not _is_number(number) or not _are_versions(history) or not (proposal is None or _is_proposal(proposal)):
        raise ValueError("its `number`, its `history` or its `proposal` is none")
    whole = {key: values[key] for key in sorted(_KEYS)}
    return seq, {**whole, "number": number, "history": history, "proposal": proposal}


def stand_of(raw: dict[str, Json], contents: str) -> Stand:
    """Return what a configuration that was read says of its definitions; `contents`: the hash of site and VMs."""
    proposal = raw["proposal"]
    proposed = None
    if proposal is not None:
        version = Version(proposal["number"], proposal["hash"])
        proposed = Proposal(proposal["id"], version, NodeId(proposal["by"]))
    history = tuple(Version(number, known) for number, known in raw["history"])
    return Stand(Version(raw["number"], contents), history, proposed)


def _is_number(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_versions(value: Json) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and _is_number(one[0]) and isinstance(one[1], str) for one in value
    )


def _is_proposal(value: Json) -> bool:
    if not isinstance(value, dict) or value.keys() != _PROPOSAL_KEYS or not _is_number(value["number"]):
        return False
    return all(isinstance(value[key], str) for key in ("id", "hash", "by"))


def _sum(values: dict[str, Json]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

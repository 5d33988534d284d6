"""What the switch saw of the addresses that it watches: which port sent with them, and when. Pure.

It takes frames that *entered* at a port; a frame that the switch flooded is no sighting. So it needs no co-operation of
any node. It must never take what was not watched for what did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.history import HistoryRecord
from testbed.judge.recorded import Recorded

MERGE_GAP_S = 1.0  # a port that was silent for less than this was active all the time


@dataclass(frozen=True)
class Sighting:
    """An address was in use at a port from the first to the last time; `is_cut` says that a rule stopped all of it."""

    address: str
    port: str
    first_s: float
    last_s: float
    is_cut: bool = False


def sightings(records: Iterable[HistoryRecord]) -> list[Sighting]:
    """The claims and keep-alives of the switch in a history."""
    found = []
    for record in records:
        if record.source != "switch" or record.kind not in {"claim", "seen"}:
            continue
        fields = record.fields
        address, port = fields.get("mac") or fields.get("ip"), fields["port"]
        first_s, last_s = fields.get("first_s", record.t_s), fields.get("last_s", record.t_s)
        assert isinstance(address, str)
        assert isinstance(port, str)
        assert isinstance(first_s, float)
        assert isinstance(last_s, float)
        found.append(Sighting(address, port, first_s, last_s, fields.get("cut") is True))
    return found


def sightings_of(recorded: Recorded) -> list[Sighting]:
    """The sightings of the time that is judged."""
    return [one for one in sightings(recorded.seen) if one.last_s >= recorded.since_s]


def why_unwatched(recorded: Recorded) -> str:
    """Why the switch cannot tell who used the addresses, or the empty text."""
    switch = [record for record in recorded.records if record.source == "switch"]
    begun = [record.t_s for record in switch if record.kind == "watching"]
    if not begun or min(begun) > recorded.since_s:
        return "the switch was not asked to watch the addresses from the beginning"
    if not is_complete(switch):
        return "the switch had to drop observations"
    if any(record.kind == "ended" and record.t_s < recorded.until_s for record in switch):
        return "the switch ended before the run"
    scene = recorded.scene
    ports = {port for members in scene.client_ports.values() for port in members}
    heard = {one.address for one in sightings_of(recorded) if one.port in ports}
    silent = [name for mac, name in scene.vm_macs.items() if mac not in heard]
    return f"VM {' and '.join(silent)} did not send a single frame through any node's port" if silent else ""


def is_complete(records: Iterable[HistoryRecord]) -> bool:
    """False when the switch had to drop events, so that the absence of an overlap proves nothing."""
    return not any(record.source == "switch" and record.kind == "lost" for record in records)


def joined(seen: Sequence[Sighting], gap_s: float) -> list[Sighting]:
    """Stretches of activity: sightings with at most this gap between them are one; it is cut when all of it was."""
    merged: list[Sighting] = []
    for one in sorted(seen, key=lambda item: item.first_s):
        before = merged[-1] if merged else None
        if before is None or one.first_s - before.last_s > gap_s:
            merged.append(one)
            continue
        last_s = max(before.last_s, one.last_s)
        merged[-1] = Sighting(one.address, before.port, before.first_s, last_s, before.is_cut and one.is_cut)
    return merged

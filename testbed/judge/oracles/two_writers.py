"""DRBD has two writers of a volume only while a VM is on its way from one node to the other. Pure.

Each node's kernel says which node is a writer; that is read beside the list of its domains, without the product. A move
shows there, too: a domain that is still on its way has a name of its own, and one that has arrived stands still, while
the other node's one runs or has just ended. It must never take the product's word for it that a move is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.history import HistoryRecord
from testbed.judge.finding import Finding, blind, failed, passed
from testbed.judge.oracle import Oracle
from testbed.judge.recorded import Recorded

BOTH = "Primary/Primary"
INCOMING = "--incoming"  # the end of the name that libxl gives a domain on its way
SIGN_S = 20.0  # so long before the first sign of a move, and after its last one, there may be two writers


@dataclass(frozen=True)
class Roles:
    """What the kernel of one node said: the volumes with two writers, and whether a domain is arriving there."""

    node: str
    at_s: float
    both: tuple[str, ...]
    arriving: bool


class TwoWriters:
    """A volume has two writers only for a live move."""

    name = "two_writers"
    is_needed = False  # a dom0 that hangs leaves it blind

    def judge(self, recorded: Recorded) -> Finding:
        """Look at every moment in which a node's kernel knew two writers."""
        looks = [look for look in looks_of(recorded.records) if recorded.since_s <= look.at_s <= recorded.until_s]
        return judge_looks(looks, SIGN_S * recorded.scene.dilation)


ORACLES: tuple[Oracle, ...] = (TwoWriters(),)


def judge_looks(looks: Sequence[Roles], sign_s: float) -> Finding:
    """Judge the looks of both nodes; `sign_s`: how far the next sign of a move may be."""
    if not looks:
        return blind(TwoWriters.name, "no node was asked who writes")
    signs = [look.at_s for look in looks if look.arriving]
    doubled = [look for look in looks if look.both]
    bare = [look for look in doubled if not any(abs(sign - look.at_s) <= sign_s for sign in signs)]
    times = [[look.node, round(look.at_s, 3), *look.both] for look in bare or doubled]
    if bare:
        text = f"volume {bare[0].both[0]} had two writers at {bare[0].at_s:.3f} s, and no VM was on its way"
        return failed(TwoWriters.name, text, looks=times)
    said = "while a VM was on its way" if doubled else "at no time"
    return passed(TwoWriters.name, f"a volume had two writers {said}", looks=len(looks), doubled=len(doubled))


def looks_of(records: Iterable[HistoryRecord]) -> list[Roles]:
    """The looks in a history: records `guests domains` that tell DRBD's roles, too."""
    found = []
    for record in records:
        roles, listed, node = (record.fields.get(key) for key in ("roles", "domains", "node"))
        if record.source != "guests" or record.kind != "domains" or not isinstance(roles, dict):
            continue
        assert isinstance(listed, Sequence)
        assert isinstance(node, str)
        both = tuple(str(minor) for minor, said in roles.items() if said == BOTH)
        arriving = any(one["name"].endswith(INCOMING) or (both and "p" in one["state"]) for one in listed)
        found.append(Roles(node, record.t_s, both, arriving))
    return found

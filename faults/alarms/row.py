"""What one row of the table of alarms can say: under which circumstances a fault brings which alerts. Pure.

A row has cases, because one fault does different harm on different parts: a disk with data, or the one with the
records. The first case whose circumstances fit counts. A case either names alerts that must come, or says why nobody
hears of it. It must never hold a result: what came in a run is judged in `score`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from testbed.vocabulary import AlertCode


class Teller(StrEnum):
    """Which node must tell of it."""

    HIT = "hit"  # the one that the fault hits
    PEER = "peer"  # the other one
    EITHER = "either"


class Unseen(StrEnum):
    """Why no alert is demanded."""

    HARMLESS = "nobody needs to hear of it"
    GAP = "the product cannot see it yet"


class Spot(StrEnum):
    """What of the bed a fault is aimed at, as far as alerts differ by it."""

    PRIVATE = "the private link"
    PUBLIC = "a public link of a node"
    WITNESS = "the cable of a witness"
    BMC = "the cable of a BMC"
    OUTSIDE = "the cable of a client or of the outside world"
    DATA = "one data disk"
    MIRROR = "both data disks of a node"
    SYSTEM = "the disk with the records"
    DAEMON = "the daemon"
    KERNEL = "threads of the kernel"
    NODE = ""  # a whole node, a pair, a VM, a witness or the host: nothing differs


class Kept(StrEnum):
    """Which frames a fault of a link lets through no more, where it takes some out."""

    ALL = "every frame"
    REPLICATION = "the replication"
    HEARTBEATS = "heartbeats"
    PEER = "what comes from the other node"
    SOME = "some other kind of frame"


@dataclass(frozen=True, slots=True)
class Given:
    """The circumstances of a case; what is not said does not matter.

    `power`: the site's nodes know each other's BMC. `least`: a parameter, and the least value that it has.
    """

    spots: tuple[Spot, ...] = ()
    kept: tuple[Kept, ...] = ()
    power: bool | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    least: tuple[str, float] | None = None

    @property
    def text(self) -> str:
        """For people; empty where it always holds."""
        parts = [" or ".join(self.spots)] if any(self.spots) else []
        parts += [" or ".join(self.kept)] if self.kept else []
        parts += [f"`{name}` is `{str(value).lower()}`" for name, value in self.values.items()]
        if self.least is not None:
            parts.append(f"`{self.least[0]}` is {self.least[1]:g} or more")
        if self.power is not None:
            parts.append(f"the site names {'the BMCs' if self.power else 'no BMC'}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class AlarmDue:
    """One alert that must come.

    One of `codes` is enough. `within_s`: a fault that is taken back earlier need not bring it; at dilation 1, as all
    times. `names`: the part that its text must name, with parameters of the fault and `link`, `node`, `peer` or
    `witness` in braces. `over`: one of these says that it is over; where there is none, `ends` says why. `over_from`:
    who says so. `clear_s`: so long after the heal it may take. `mends`: it may be over before the heal. `whole`: it
    comes only where both nodes were in service, with equal copies, before.
    """

    codes: tuple[AlertCode, ...]
    teller: Teller
    within_s: float = 0.0
    names: str = ""
    over: tuple[AlertCode, ...] = ()
    over_from: Teller = Teller.EITHER
    clear_s: float = 60.0
    mends: bool = False
    whole: bool = False
    ends: str = ""


@dataclass(frozen=True, slots=True)
class AlarmCase:
    """What follows under some circumstances: alerts that must come, or why none is demanded.

    `may`: what may come besides, from either node. `may_hit`: the same, from the hit node only.
    """

    given: Given = Given()
    must: tuple[AlarmDue, ...] = ()
    may: tuple[AlertCode, ...] = ()
    may_hit: tuple[AlertCode, ...] = ()
    unseen: Unseen | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One fault of the registry, and its cases."""

    fault: str
    cases: tuple[AlarmCase, ...]


def flaw(row: AlarmRow) -> str | None:
    """Say what is wrong with a row in itself, or None."""
    if not row.cases or row.cases[-1].given.text:
        return f"{row.fault}: the last case must hold always"
    for case in row.cases:
        where = f"{row.fault}, {case.given.text or 'always'}"
        if bool(case.must) == (case.unseen is not None):
            return f"{where}: it must either bring an alert, or say why nobody hears of it"
        if (case.unseen is not None) != bool(case.reason):
            return f"{where}: what is unseen, and nothing else, has a reason"
        for due in case.must:
            if bool(due.over) == bool(due.ends):
                return f"{where}: {due.codes[0]} must either have an end, or say why it has none"
    return None


__all__ = ["AlarmCase", "AlarmDue", "AlarmRow", "Given", "Kept", "Spot", "Teller", "Unseen", "flaw"]

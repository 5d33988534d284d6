"""Every single fault that stays, from every state of the pair, on every kind of site: served, or told why not.

Rule: within 120 s either each VM runs on a node with a good copy, or a node says in its status what is missing and who
can give it. A row is a fault, a state and a site; nothing is healed. `python -m tests.sim --singles` tries them all.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.playbook import A, B
from tests.sim.demand import demand
from tests.sim.inject import DARK, Fault, inject
from tests.sim.judges import Violation
from tests.sim.site import SimSite
from tests.sim.world import World

TICK_S = 0.25
MOVE_S = 9.0  # about as long as a live move takes
# What one fault may leave to somebody else. Anything else that a node says while nobody serves is wrong.
LEGITIMATE = tuple(map(re.compile, (
    r"epoch \d+ belongs to [ab], whose copy is or may be newer",  # the backup booted alone
    r"the owner [ab] recorded this copy as outdated in epoch \d+",  # ... or the writer of the only good copy is away
    r"the copy of web on node [ab] is (Inconsistent|Outdated|Diskless)",
    r"the only good copy of web is on the disks of this node, and they are not there",
    r"this node may not have been the last in service; it waits for its peer",
    r"site policy safety gives no right without consent, witness or power fence",
    r"site policy safety starts nothing without the peer",
    r"witness w1 did not grant epoch \d+",  # the peer has it, and is away
    r"witness w1 is in office and does not answer",
    r"witness w1 has lost what it knew",
    r"no gateway answered: this node, not its peer, is or was cut off",
    r"the peer's last word was that it looked for the right to go on alone",
)))  # fmt: skip

SITES = {
    "plain": SimSite(),
    "safe": SimSite(policy="safety"),
    "power": SimSite(power=True),
    "safe power": SimSite(power=True, policy="safety"),
    "witness": SimSite(witnesses=1),
    "safe witness": SimSite(witnesses=1, policy="safety"),
    "both": SimSite(witnesses=1, power=True),
    "halves": SimSite(halves=True),  # ... and with the mirrors of the nodes, for their faults alone
    "halves witness": SimSite(witnesses=1, halves=True),
}
# Whether its copy is the newer one is read by the tool that hangs, and this site has nobody else to ask.
UNREAD = re.compile(r"a: the copies of web have to meet, or node b has to let this node go on alone")
LINKS = ("a.priv0", "a.biz0", "b.priv0", "b.biz0")


def faults() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every fault that can stay: its name, its target and its parameters."""
    yield from _of_nodes()
    yield from _of_links()
    for name in ("witness.down", "witness.pause", "witness.mute", "witness.late", "witness.wiped", "witness.restart"):
        yield name, "w1", {}
    yield "gateway.down", "gateway", {}
    yield "commands.odd", "both", {"share": 0.3}


def _of_nodes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for node in ("a", "b"):
        for name in ("power.cut", "node.kill", "node.pause", "node.freeze", "node.deaf", "domain.undead",
                     "gate.gone", "watchdog.dead"):  # fmt: skip
            yield name, node, {}
        yield "process.stop", f"{node}/daemon", {}
        yield "process.blocked", f"{node}/daemon", {"blocked_s": 0.5}
        for back in ("old", "foreign"):
            yield "disk.gone", node, {"back": back}
        for disk in ("vda", "vdb"):
            yield "disk.hang", node, {"disk": disk}
            yield "disk.slow", node, {"disk": disk, "delay_s": 3.0}
            yield "half.gone", node, {"disk": disk.replace("vda", "vdc")}
        yield "store.errors", node, {"share": 1.0}
        yield "store.refuses", node, {}
        for tool in ("xl", "drbd", "ip", "lvm", "all"):
            yield "tool.hang", f"{node}/{tool}", {}
        for name in ("bmc.unreachable", "bmc.slow", "bmc.deaf", "bmc.dead_with_node"):
            yield name, node, {}
        yield "witness.cut", f"{node}/w1", {}
        yield "gateway.cut", node, {}


def _of_links() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for port in LINKS:
        yield "link.cut", port, {"direction": "both"}
        for way in ("in", "out"):
            yield "link.cut_one_way", port, {"direction": way}
        yield "link.carrier_loss", port, {}
        for share in (0.3, 0.9):
            yield "link.loss", port, {"probability": share}
        yield "link.delay", port, {"delay_s": 2.0}
        yield "link.duplicate", port, {"probability": 0.5}
        yield "link.hold_and_release", port, {}
    for link in ("priv0", "both"):
        for name in ("link.no_datagrams", "link.no_streams", "link.no_large"):
            yield name, link, {}
        yield "link.apart", link.replace("both", "biz0"), {}


# ---------------------------------------------------------------- states


Begin = Callable[[World, Fault], None]


def _protected(world: World, fault: Fault) -> None:
    inject(world, fault)


def _resyncing(world: World, fault: Fault) -> None:
    """B was away, and is filled by A just now."""
    world.resync_factor = 10.0  # it takes some 40 s
    world.machines[B].power_off()
    world.run(30.0)
    world.machines[B].power_on()
    world.run(20.0)
    inject(world, fault)


def _off(world: World, *names: str) -> None:
    for name, machine in world.machines.items():
        if name in names:
            machine.power_off()


def _on(world: World, fault: Fault, *names: str) -> None:
    """Switch nodes on again that the fault does not keep dark."""
    dark = fault.target.split("+") if fault.name in DARK else []
    for name, machine in world.machines.items():
        if name in names and name not in dark:
            machine.power_on()


def _cold(world: World, fault: Fault) -> None:
    """Both lost their power; the fault is there when they come back."""
    _off(world, A, B)
    world.run(5.0)
    inject(world, fault)
    _on(world, fault, A, B)


def _owner_back(world: World, fault: Fault) -> None:
    """A was off for a moment, and B has not taken over."""
    _off(world, A)
    world.run(3.0)
    inject(world, fault)
    _on(world, fault, A)


def _owner_back_late(world: World, fault: Fault) -> None:
    """A was off for long, and B serves where it has a right to."""
    _off(world, A)
    world.run(60.0)
    inject(world, fault)
    _on(world, fault, A)


def _backup_back(world: World, fault: Fault) -> None:
    """B was off for long, and A serves alone where it has a right to."""
    _off(world, B)
    world.run(60.0)
    inject(world, fault)
    _on(world, fault, B)


def _moving(world: World, fault: Fault) -> None:
    """A person moves the VMs from A to B just now, while they run."""
    world.operator(A, "move", B)
    world.run(world.random.uniform(0.2, MOVE_S))
    inject(world, fault)


STATES: dict[str, Begin] = {
    "protected": _protected,
    "resyncing": _resyncing,
    "cold": _cold,
    "owner back": _owner_back,
    "owner back late": _owner_back_late,
    "backup back": _backup_back,
    "moving": _moving,
}


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class Single:
    """One fault that stays, where it meets the pair, and the site."""

    name: str
    target: str
    state: str
    site: str
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The row in one phrase, which is its name too."""
        given = "".join(f" {value}" for value in self.parameters.values())
        return f"{self.name} {self.target}{given}, {self.state}, {self.site}"

    @property
    def place(self) -> int:
        """A number that stays the same, by which samples are drawn."""
        return zlib.crc32(self.text.encode())


def rows() -> list[Single]:
    """Return every row that makes sense on its site."""
    found = []
    for name, target, given in faults():
        for state in STATES:
            for site, made in SITES.items():
                family = name.partition(".")[0]
                if (family == "witness" and not made.witnesses) or (family == "bmc" and not made.power):
                    continue
                if (family == "half") is not made.halves:
                    continue
                found.append(Single(name, target, state, site, given))
    return found


@dataclass(frozen=True)
class SingleResult:
    """What became of a row: what the nodes say where nobody serves; `wrong` where nobody says, or a judge objects."""

    row: Single
    says: tuple[str, ...]
    wrong: str = ""


@cache
def _frozen(site: str) -> bytes:
    world = World.in_service(0, site=SITES[site], tick_s=TICK_S, tracing=False)
    world.commands.clear()
    world.milestones.clear()
    world.judges.starts.clear()
    return world.frozen_copy()


def run(row: Single, *, seed: int = 1, tell: Callable[[str], None] | None = None) -> SingleResult:
    """Try one row; `tell` gets each line of its story."""
    world = World.thawed(_frozen(row.site), seed)
    world.tracing = tell is not None
    world.run(world.random.uniform(1.0, 3.0))
    fault = Fault(row.name, row.target, world.elapsed_s, None, row.parameters, stays=True)
    says: tuple[str, ...] = ()
    wrong = ""
    try:
        STATES[row.state](world, fault)
        says = demand(world)
        world.judges.end_with_a_fault()
        unread = row.name == "tool.hang" and row.site == "safe" and any(map(UNREAD.search, says))
        if says and not unread and not any(one.search(text) for one in LEGITIMATE for text in says):
            wrong = f"one fault is no reason for this: {' / '.join(says)}"
    except Violation as violation:
        wrong = str(violation)
    if tell is not None:
        for line in [*world.trace, world.summary()]:
            tell(line)
    return SingleResult(row, says, wrong)


__all__ = ["SITES", "STATES", "Single", "SingleResult", "faults", "rows", "run"]

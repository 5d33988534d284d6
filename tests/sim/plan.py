"""Plans: a site and a few faults, drawn from a seed; as text, and made smaller.

The same seed gives the same plan and the same history. It must never depend on anything but the seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.playbook import DB, WEB
from tests.sim.inject import Fault
from tests.sim.mirror import DISKS
from tests.sim.site import SimSite

RARE = Path(__file__).parent / "rare.json"  # histories that took a rare transition (tests/sim/reach.py)
TWO_VMS, TWO = (WEB, DB), 0.15  # share of plans with two VMs
MOVED = 0.35  # share of plans in which a person moves the VMs
HALVES = 0.08  # share of plans in which the halves of a mirror are gone
LEANING = 0.2  # share of plans that are drawn near one of these
FAULTS = 3
SETTLE_S = 12.0
PARTITIONED = 0.35  # share of plans in which the nodes lose each other
ILL = 0.15  # ... share of these in which a node knows little of itself
SLEEPER = 0.08  # ... and, of those that are left, in which a machine stands still for long and wakes ill
CROSSING = 0.25  # ... and, of the others, but for single frames
DEAF = 0.4  # ... share of these in which a node cannot stop by itself
MACHINE_FAULTS = ("power.cut", "node.kill", "power.reset", "node.pause", "node.freeze", "power.flicker")
PROCESS_FAULTS = ("process.kill", "process.stop", "process.stop_for", "process.blocked")
LINK_FAULTS = ("link.cut", "link.cut", "link.cut_one_way", "link.loss", "link.delay", "link.duplicate",
               "link.hold_and_release", "link.flap", "link.carrier_loss")  # fmt: skip
DISK_FAULTS = (
    "disk.gone",
    "disk.gone",
    "disk.gone",
    "disk.hang",
    "disk.hang",
    "disk.slow",
    "store.errors",
    "store.refuses",
)
TOOLS = ("xl", "xl", "drbd", "ip", "lvm", "all")
PATH_FAULTS = ("link.crossing", "link.no_datagrams", "link.no_streams", "link.no_large")
PART_FAULTS = ("gate.gone", "watchdog.dead", "address.gone")
PARTS = 0.15  # share of plans with one of these beside the others
LASTING = 1 / 3  # share of plans of which one fault stays
# What is over in a moment, or heals itself, cannot stay.
PASSING = frozenset({"power.reset", "power.flicker", "process.kill", "process.stop_for", "guest.crash", "clock.jump",
                     "link.flap", "link.crossing", "witness.restart", "witness.wiped", "disk.half",
                     "address.gone", "person.orders"})  # fmt: skip
BMC_FAULTS = ("bmc.unreachable", "bmc.slow", "bmc.deaf", "bmc.dead_with_node")
WITNESS_FAULTS = ("witness.down", "witness.pause", "witness.wiped", "witness.mute", "witness.late", "witness.cut",
                  "witness.restart")  # fmt: skip
BACKUP_ONLY = frozenset({*MACHINE_FAULTS, *PROCESS_FAULTS})


@dataclass(frozen=True)
class Plan:
    """All that makes a history: the seed of the world, the site, the faults, and how long it goes on after the last."""

    seed: int
    site: SimSite
    faults: tuple[Fault, ...]
    settle_s: float = SETTLE_S

    @property
    def end_s(self) -> float:
        """When everything is healed."""
        return max([fault.at_s + (fault.for_s or 0.0) for fault in self.faults], default=0.0) + self.settle_s

    @property
    def lasting(self) -> Fault | None:
        """The fault that no healing ends, if any."""
        return next((fault for fault in self.faults if fault.stays), None)

    @property
    def backup_only(self) -> bool:
        """Say whether every fault is one of the backup alone."""
        return all(fault.name in BACKUP_ONLY and fault.target.partition("/")[0] == "b" for fault in self.faults)

    def text(self) -> str:
        """Return the plan in a few lines."""
        lines = [f"seed {self.seed}: {self.site.text()}; healed at {self.end_s:g} s"]
        return "\n".join([*lines, *(f"  {fault.text()}" for fault in self.faults)])


def draw(seed: int) -> Plan:
    """Return the plan of a seed: a new one, or one that is near an earlier one that took a rare transition."""
    plan = _with_moves(_with_halves(_near_a_rare_one(seed) if leans(seed) else fresh(seed)))
    return replace(plan, site=_site_of(seed, plan.site), faults=_stoppable(plan.faults))


def _with_halves(plan: Plan) -> Plan:
    """In some plans the halves of a node's mirror are gone one after the other, and the node is started anew.

    The dice are its own. One of the other faults stays beside them.
    """
    dice = random.Random(f"halves {plan.seed}")
    if dice.random() >= HALVES:
        return plan
    node, first, second = _node(dice), *dice.sample(DISKS, 2)
    at_s, away_s = (
        round(dice.uniform(0.5, 12.0), 2),
        round(dice.choice((2.0, 8.0, 20.0, 40.0)) * dice.uniform(0.7, 1.3), 2),
    )
    faults = [Fault("half.gone", node, at_s, away_s, {"disk": first, "press": False})]
    then_s = round(at_s + away_s * dice.uniform(0.3, 1.2), 2)
    if dice.random() < 0.7:
        press = dice.random() < 0.5
        faults.append(Fault("half.gone", node, then_s, _last(dice), {"disk": second, "press": press}))
    if dice.random() < 0.8:
        end = dice.choice(("power.reset", "power.reset", "power.cut", "process.kill"))
        target = f"{node}/daemon" if end == "process.kill" else node
        for_s = round(dice.uniform(2.0, 20.0), 2) if end == "power.cut" else None
        faults.append(Fault(end, target, round(max(0.1, then_s + dice.uniform(-0.5, 3.0)), 2), for_s))
    beside = [dice.choice([fault for fault in plan.faults if not fault.stays] or [faults[0]])]
    every = tuple(sorted((*faults, *(fault for fault in beside if fault is not faults[0])), key=_moment))
    return Plan(plan.seed, replace(plan.site, halves=True), every, plan.settle_s)


def _with_moves(plan: Plan) -> Plan:
    """In some plans a person moves the VMs, so that one of the faults meets a move; the dice are their own."""
    dice = random.Random(f"moves {plan.seed}")
    if dice.random() >= MOVED:
        return plan
    moves = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        met = dice.choice(plan.faults)
        at_s = round(max(0.1, met.at_s - dice.uniform(-1.0, 10.0)), 2)
        node = "a" if dice.random() < 0.7 else "b"
        moves.append(Fault("person.orders", node, at_s, None, {"order": "move", "patience_s": 20.0}))
    return replace(plan, faults=tuple(sorted((*plan.faults, *moves), key=_moment)))


def _site_of(seed: int, site: SimSite) -> SimSite:
    """Give some plans a second VM; the dice are its own, so the faults of a seed stay what they are."""
    return replace(site, vms=TWO_VMS) if random.Random(f"vms {seed}").random() < TWO else site


def _stoppable(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """A node whose pause and reset do nothing keeps its watchdog: nothing else could stop it."""
    deaf = {fault.target for fault in faults if fault.name == "node.deaf"}
    return tuple(fault for fault in faults if fault.name != "watchdog.dead" or fault.target not in deaf)


def leans(seed: int) -> bool:
    """Say whether the plan of this seed is drawn near a rare one."""
    return random.Random(f"lean {seed}").random() < LEANING


def _near_a_rare_one(seed: int) -> Plan:
    """A plan that took a rare transition, with other moments, and one fault that is new in place of another or beside.

    So random plans lean towards what they seldom reach; the list is made by tests/sim/reach.py.
    """
    dice = random.Random(f"near {seed}")
    seeds = dice.choice(_rare())
    plan = fresh(dice.choice(seeds))
    faults = [_moved(dice, fault) for fault in plan.faults]
    new = _draw_fault(dice, plan.site, round(dice.uniform(0.5, 30.0), 2))
    places = [place for place, fault in enumerate(faults) if not fault.stays]
    if places and dice.random() < 0.4:
        faults[dice.choice(places)] = new
    elif dice.random() < 0.5:
        faults.append(new)
    return Plan(seed, plan.site, tuple(sorted(faults, key=_moment)), plan.settle_s)


def _moved(dice: random.Random, fault: Fault) -> Fault:
    """The same fault a little earlier or later, and shorter or longer."""
    at_s = round(max(0.1, fault.at_s + dice.choice((0.0, dice.uniform(-2.0, 2.0)))), 2)
    for_s = None if fault.for_s is None else round(fault.for_s * dice.choice((1.0, dice.uniform(0.7, 1.4))), 2)
    return replace(fault, at_s=at_s, for_s=for_s)


@cache
def _rare() -> list[list[int]]:
    rare: dict[str, list[int]] = json.loads(RARE.read_text())
    return list(rare.values())


def fresh(seed: int) -> Plan:
    """Return the plan that is drawn from all that there is."""
    dice = random.Random(f"plan {seed}")
    policy = "availability" if dice.random() < 0.6 else "safety"
    site = SimSite(dice.randrange(3), dice.random() < 0.5, dice.random() < 0.7, policy)
    moment_s = dice.uniform(1.0, 8.0)
    found = []
    for _ in range(FAULTS):
        found.append(_draw_fault(dice, site, round(moment_s, 2)))
        near = dice.random() < 0.4
        moment_s += dice.uniform(0.0, 3.0) if near else dice.uniform(3.0, 14.0)
    faults = tuple(found)
    if dice.random() < PARTITIONED:
        faults = (*_partition(dice), _beside(dice, site))
        if dice.random() < ILL:
            faults = (*faults, *_ill_node(dice, _node(dice), dice.uniform(0.5, 20.0)))
    elif dice.random() < CROSSING:
        slips = _crossing(dice, round(dice.uniform(1.0, 15.0), 2))
        beside = faults[1]
        if dice.random() < DEAF:
            beside = _a_deaf(dice, site, round(slips.at_s * dice.random(), 2))
        faults = (slips, beside, faults[2])
    elif dice.random() < SLEEPER:
        faults = _sleeper(dice)
    if dice.random() < LASTING:
        faults = _with_lasting(dice, faults)
    settle_s = round(dice.uniform(0.0, SETTLE_S), 2)
    return Plan(seed, site, tuple(sorted((*faults, *_a_part(seed, faults)), key=_moment)), settle_s)


def _with_lasting(dice: random.Random, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Let one of the faults stay, if any of them can."""
    places = [place for place, fault in enumerate(faults) if fault.name not in PASSING]
    if not places:
        return faults
    place = dice.choice(places)
    stays = replace(faults[place], for_s=None, stays=True)
    return (*faults[:place], stays, *faults[place + 1 :])


def _partition(dice: random.Random) -> tuple[Fault, Fault]:
    """The nodes lose each other on both links: both ways, one way, or because one of them loses everything."""
    at_s, for_s = round(dice.uniform(1.0, 15.0), 2), round(dice.choice((8.0, 20.0, 35.0)) * dice.uniform(0.7, 1.3), 2)
    kind, node, given = dice.choice(("apart", "one way", "isolated", "isolated")), _node(dice), {}
    if kind == "isolated":
        given = {"direction": dice.choice(("both", "both", "in", "out"))}
        return Fault("link.cut", f"{node}.priv0", at_s, for_s, given), Fault(
            "link.cut", f"{node}.biz0", at_s, for_s, given
        )
    if kind == "one way":
        given = {"only_from": node}
    return Fault("link.apart", "priv0", at_s, for_s, given), Fault("link.apart", "biz0", at_s, for_s, given)


def _ill_node(dice: random.Random, node: str, at_s: float) -> tuple[Fault, Fault]:
    """A tool of a node hangs, and its daemon is started anew: it cannot tell what runs on it."""
    hangs = Fault("tool.hang", f"{node}/{dice.choice(('xl', 'xl', *TOOLS))}", round(at_s, 2), _last(dice))
    return hangs, Fault("process.kill", f"{node}/daemon", round(at_s + dice.uniform(0.0, 5.0), 2))


def _sleeper(dice: random.Random) -> tuple[Fault, ...]:
    """A machine stands still for longer than a takeover takes, and is ill when it wakes."""
    node, at_s, for_s = _node(dice), round(dice.uniform(1.0, 8.0), 2), round(dice.uniform(18.0, 45.0), 2)
    still = Fault(dice.choice(("node.pause", "node.freeze")), node, at_s, for_s)
    return still, *_ill_node(dice, node, at_s + dice.uniform(0.0, for_s))


def _beside(dice: random.Random, site: SimSite) -> Fault:
    """One more fault about the time of a partition, first of all of what decides then."""
    outside = [
        name for name, there in (("witness", site.witnesses), ("bmc", site.power), ("gateway", site.gateway)) if there
    ]
    families = [*outside, *outside, "machine", "process", "disk", "disk", "link", "path", "tool", "deaf"]
    return _FAMILIES[dice.choice(families)](dice, site, round(dice.uniform(0.5, 30.0), 2))


def _moment(fault: Fault) -> float:
    return fault.at_s


def _draw_fault(dice: random.Random, site: SimSite, at_s: float) -> Fault:
    families = ["machine", "machine", "process", "link", "link", "disk", "disk", "disk", "guest", "both", "odd",
                "clock", "tool", "path", "deaf"]  # fmt: skip
    families += ["bmc"] if site.power else []
    families += ["witness", "witness"] if site.witnesses else []
    families += ["gateway"] if site.gateway else []
    return _FAMILIES[dice.choice(families)](dice, site, at_s)


def _last(dice: random.Random, *, open_ended: float = 0.3) -> float | None:
    return (
        None if dice.random() < open_ended else round(dice.choice((1.0, 4.0, 12.0, 25.0)) * dice.uniform(0.5, 1.6), 2)
    )


def _a_part(seed: int, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Beside the others, in some plans: a gate or a watchdog that does not do its work, or an address that is deleted.

    It has dice of its own, so the other faults of a seed stay what they are.
    """
    dice = random.Random(f"parts {seed}")
    if dice.random() >= PARTS:
        return ()
    at_s, node = round(dice.uniform(0.5, 20.0), 2), _node(dice)
    name = dice.choice(PART_FAULTS)
    if name == "address.gone":
        return (Fault(name, node, at_s),)
    stays = dice.random() < LASTING and not any(fault.stays for fault in faults)
    return (Fault(name, node, at_s, None if stays else _last(dice), stays=stays),)


def _node(dice: random.Random) -> str:
    return "a" if dice.random() < 0.6 else "b"


def _a_machine(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    name = dice.choice(MACHINE_FAULTS)
    given: dict[str, Any] = {}
    for_s = _last(dice)
    if name == "power.flicker":
        given, for_s = {"times": dice.randrange(1, 4), "off_s": 0.5, "on_s": 2.0}, 10.0
    return Fault(name, _node(dice), at_s, None if name == "power.reset" else for_s, given)


def _a_deaf(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    """Neither the pause of the VMs nor the reset does anything: only the watchdog stops the node."""
    return Fault("node.deaf", _node(dice), at_s, None)


def _a_process(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    name = dice.choice(PROCESS_FAULTS)
    given = {"blocked_s": round(dice.uniform(0.1, 3.0), 2)} if name == "process.blocked" else {}
    for_s = None if name == "process.kill" else 4.0 if name == "process.stop_for" else _last(dice)
    return Fault(name, f"{_node(dice)}/daemon", at_s, for_s, given)


def _a_link(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    name = dice.choice(LINK_FAULTS)
    given: dict[str, Any] = {}
    if name in ("link.cut", "link.cut_one_way"):
        given = {"direction": dice.choice(("in", "out") if name == "link.cut_one_way" else ("in", "out", "both"))}
    elif name in ("link.loss", "link.duplicate"):
        given = {"probability": round(dice.uniform(0.05, 0.9), 2)}
    elif name == "link.delay":
        given = {"delay_s": round(dice.uniform(0.05, 2.5), 2)}
    elif name == "link.flap":
        given = {"down_s": round(dice.uniform(0.5, 8.0), 1), "up_s": round(dice.uniform(0.5, 8.0), 1)}
    for_s = _last(dice) or 25.0 if name == "link.flap" else _last(dice)
    return Fault(name, f"{_node(dice)}.{dice.choice(('priv0', 'biz0'))}", at_s, for_s, given)


def _a_disk(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    name = dice.choice(DISK_FAULTS)
    if name == "disk.gone":
        back = dice.choice(("old", "old", "old", "clone", "foreign"))
        return Fault(name, _node(dice), at_s, _last(dice), {"back": back, "press": dice.random() < 0.7})
    if name == "disk.hang":
        disk = dice.choice(("vda", "vdb"))
        return Fault(name, _node(dice), at_s, _last(dice), {"disk": disk, "press": dice.random() < 0.7})
    if name == "disk.slow":
        given = {"disk": dice.choice(("vda", "vdb")), "delay_s": round(dice.uniform(0.1, 5.0), 2)}
        return Fault(name, _node(dice), at_s, _last(dice), given)
    return Fault(name, _node(dice), at_s, _last(dice), {"share": round(dice.uniform(0.1, 1.0), 2)})


def _a_tool(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    if dice.random() < 0.2:
        return Fault("domain.undead", _node(dice), at_s, _last(dice))
    return Fault("tool.hang", f"{_node(dice)}/{dice.choice(TOOLS)}", at_s, _last(dice))


def _a_path(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    name = dice.choice(PATH_FAULTS)
    if name == "link.crossing":
        return _crossing(dice, at_s)
    return Fault(name, dice.choice(("priv0", "priv0", "both")), at_s, _last(dice))


def _crossing(dice: random.Random, at_s: float) -> Fault:
    """Single frames slip through a cut between the nodes, or through the cuts of all cables of one."""
    target = dice.choice(("both", "a", "a", "a", "b"))
    given = {
        "first": target if target != "both" and dice.random() < 0.7 else _node(dice),
        "lag_s": dice.choice((0.0, *(round(dice.uniform(0.6, 2.0), 2) for _ in range(3)))),
        "first_s": round(dice.uniform(4.0, 13.0), 2),
        "every_s": round(dice.uniform(0.1, 1.0), 2),
        "pause_s": round(dice.uniform(2.0, 9.0), 2),
        "rounds": dice.choice((1, 1, 2, 2, 2, 3, 4, 8)),
    }
    for_s = round(dice.choice((20.0, 35.0)) * dice.uniform(0.7, 1.3), 2)
    return Fault("link.crossing", target, at_s, for_s, given)


def _a_guest(_: random.Random, __: SimSite, at_s: float) -> Fault:
    return Fault("guest.crash", WEB, at_s)


def _both(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    return Fault("power.cut_both", "a+b", at_s, _last(dice))


def _odd(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    return Fault("commands.odd", "both", at_s, _last(dice), {"share": round(dice.uniform(0.05, 0.3), 2)})


def _a_clock(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    return Fault("clock.jump", _node(dice), at_s, None, {"by_s": dice.choice((-3600.0, 2.5, 3600.0))})


def _a_bmc(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    return Fault(dice.choice(BMC_FAULTS), _node(dice), at_s, _last(dice))


def _a_witness(dice: random.Random, site: SimSite, at_s: float) -> Fault:
    name, host = dice.choice(WITNESS_FAULTS), dice.choice(site.witness_names)
    return Fault(name, f"{_node(dice)}/{host}" if name == "witness.cut" else host, at_s, _last(dice))


def _a_gateway(dice: random.Random, _: SimSite, at_s: float) -> Fault:
    name = dice.choice(("gateway.down", "gateway.cut"))
    return Fault(name, _node(dice) if name == "gateway.cut" else "gateway", at_s, _last(dice))


_FAMILIES: dict[str, Callable[[random.Random, SimSite, float], Fault]] = {
    "machine": _a_machine, "process": _a_process, "link": _a_link, "disk": _a_disk, "guest": _a_guest, "both": _both,
    "odd": _odd, "clock": _a_clock, "deaf": _a_deaf, "tool": _a_tool, "path": _a_path, "bmc": _a_bmc,
    "witness": _a_witness,
    "gateway": _a_gateway,
}  # fmt: skip


# ---------------------------------------------------------------- smaller


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, budget: int = 200) -> Plan:
    """Return the smallest plan found that still fails: fewer faults, the plain site, then shorter and rounder times."""
    left = budget
    best, changed = plan, True
    while changed:
        changed = False
        for candidate in _smaller(best):
            if left == 0:
                return best
            left -= 1
            if fails(candidate):
                best, changed = candidate, True
                break
    return best


def _smaller(plan: Plan) -> list[Plan]:
    found = [replace(plan, faults=plan.faults[:n] + plan.faults[n + 1 :]) for n in range(len(plan.faults))]
    found = [candidate for candidate in found if candidate.faults]
    named = any(fault.target.endswith(f"w{plan.site.witnesses}") for fault in plan.faults)
    fewer = plan.site.witnesses > 0 and not named  # a fault of a witness needs it
    plain = [replace(plan.site, witnesses=plan.site.witnesses - 1)] if fewer else []
    plain += [replace(plan.site, power=False)] if plan.site.power else []
    plain += [replace(plan.site, vms=plan.site.vms[:1])] if len(plan.site.vms) > 1 else []
    found += [replace(plan, site=site) for site in plain]
    for number, fault in enumerate(plan.faults):
        for shorter in _shorter(fault):
            found.append(replace(plan, faults=(*plan.faults[:number], shorter, *plan.faults[number + 1 :])))
    if plan.settle_s >= 1.0:
        found.append(replace(plan, settle_s=float(int(plan.settle_s / 2))))
    return found


def _shorter(fault: Fault) -> list[Fault]:
    found = [replace(fault, at_s=float(int(fault.at_s / 2)))] if fault.at_s >= 2.0 else []
    if fault.stays:
        found.append(replace(fault, stays=False))
    if fault.for_s is not None and fault.for_s >= 1.0:
        found.append(replace(fault, for_s=float(int(fault.for_s / 2)) or 0.5))
    return found

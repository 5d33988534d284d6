"""Was a VM running twice at once, by the moments at which one running instance was seen alive? Pure.

Two sources, judged apart: what each node's dom0 lists (a domain of one life of the node is one instance), and the boot
id in each answer of the service (one boot is one instance, wherever it runs). A sighting says "alive at some moment of
this window", because the question and the answer take time. An instance that was seen twice lived all the time between.
It must never call two windows that merely touch an overlap, and never take an unwatched time for a clean one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.history import HistoryRecord
from testbed.judge.finding import Finding, blind, failed, passed, together
from testbed.judge.oracle import Oracle
from testbed.judge.orders import Choice, choice_of
from testbed.judge.recorded import Recorded
from testbed.vocabulary import in_tools

GAP_MAX_S = 5.0  # a living node that was not looked at for longer than this could have hidden a VM
BOOT_GRACE_S = 60.0  # a node under emulation boots in some 20 s, and its dom0 cannot be asked before
STANDSTILLS = ("node.pause", "node.freeze")  # nothing runs on the node from their injection to their healing

BOOTS = "boots"  # the slow probe that asks a VM which boot of it answers

Window = tuple[float, float]


@dataclass(frozen=True)
class Alive:
    """One instance of the VM was alive at some moment from `from_s` to `to_s`."""

    instance: str
    from_s: float
    to_s: float


@dataclass(frozen=True)
class Domains:
    """What one dom0 listed: the running domains with the VM's name, as (domain number, state letters)."""

    node: str
    life: str  # names one boot of the node: domain numbers begin again with the next one
    asked_s: float
    answered_s: float
    running: tuple[int, ...]


@dataclass(frozen=True)
class Twice:
    """Two instances that certainly lived at the same time, and when."""

    instances: tuple[str, str]
    from_s: float
    to_s: float

    def __str__(self) -> str:
        return f"{' and '.join(self.instances)} ran at once, from {self.from_s:.3f} to {self.to_s:.3f} s"


class TwiceByDomains:
    """No two domains of the VM are alive at once, by what each node's dom0 lists."""

    name = "vm_twice.domains"
    is_needed = False  # a dom0 that hangs leaves it blind

    def judge(self, recorded: Recorded) -> Finding:
        """Judge the lists; a node need not be looked at while nothing can run on it."""
        since_s, until_s, scene = recorded.since_s, recorded.until_s, recorded.scene
        gone = {node: away(recorded.records, node, until_s, scene.dilation) for node in scene.node_ports}
        choice = choice_of(recorded)
        ordered = (choice.both_s, choice.chosen_s) if isinstance(choice, Choice) else None
        said = {}
        for vm in scene.vms:
            lists = domains_of(recorded.records, vm)  # of all records: a node's lives are counted from the first
            said[vm] = judge_domains(
                [look for look in lists if since_s <= look.answered_s <= until_s],
                nodes=tuple(scene.node_ports),
                since_s=since_s,
                until_s=until_s,
                away=gone,
                gap_max_s=GAP_MAX_S * scene.dilation,
                still={node: standstills(recorded.records, node) for node in scene.node_ports},
                allowed_s=recorded.overlap_allowed_s,
                ordered=ordered,
            )
        return together(self.name, said)


class TwiceByBoots:
    """No boot of the VM answers again after another boot has answered."""

    name = "vm_twice.boots"
    is_needed = False  # a service that stands still leaves it blind

    def judge(self, recorded: Recorded) -> Finding:
        """Judge the boot ids of the answers that the client got."""
        guests = recorded.scene.topology.guests
        return together(self.name, {vm.name: judge_boots(boots_of(recorded.seen, vm.of(BOOTS))) for vm in guests})


ORACLES: tuple[Oracle, ...] = (TwiceByDomains(), TwiceByBoots())


def judge_domains(
    lists: Sequence[Domains],
    *,
    nodes: Sequence[str],
    since_s: float,
    until_s: float,
    away: Mapping[str, Sequence[Window]],
    gap_max_s: float = GAP_MAX_S,
    still: Mapping[str, Sequence[Window]] | None = None,
    allowed_s: float = 0.0,
    ordered: Window | None = None,
) -> Finding:
    """Judge what the nodes' dom0s listed; `away` are the times in which a node was off or stood still.

    `still` are those of them in which its machine was paused, after which a domain may run for `allowed_s`. In the time
    `ordered` persons had forced both nodes to run: two domains are what they asked for.
    """
    name, overlaps = TwiceByDomains.name, twice(alive(lists, still or {}, allowed_s))
    if ordered is not None:
        overlaps = [one for one in overlaps if not (ordered[0] <= one.from_s and one.to_s <= ordered[1])]
    if overlaps:
        return failed(name, f"{overlaps[0]}", overlaps=[str(item) for item in overlaps])
    gaps = {
        node: unwatched(
            [look.answered_s for look in lists if look.node == node], since_s, until_s, away.get(node, ()), gap_max_s
        )
        for node in nodes
    }
    looks = {node: sum(look.node == node for look in lists) for node in nodes}
    unseen = [node for node in nodes if gaps[node]]
    if unseen:
        text = f"the domains of node {' and '.join(unseen)} were not looked at for longer than {gap_max_s:g} s"
        return blind(name, text, unwatched=gaps, looks=looks)
    if not any(look.running for look in lists):
        return blind(name, "the VM was never seen running on any node", looks=looks)
    return passed(name, "no two domains of the VM were seen running at once", looks=looks)


def judge_boots(answers: Sequence[Alive]) -> Finding:
    """Judge the boot ids of the answers that the client got."""
    name, overlaps = TwiceByBoots.name, twice(answers)
    boots = list(dict.fromkeys(answer.instance for answer in answers))
    if overlaps:
        return failed(name, f"{overlaps[0]}", overlaps=[str(item) for item in overlaps])
    if len(answers) < 2:
        return blind(name, f"{len(answers)} answers named the boot of their VM; at least two are needed")
    text = "no boot of the VM answered again after another one had"
    return passed(name, text, answers=len(answers), boots=boots)


def boots_anew(record: HistoryRecord) -> str:
    """The node whose machine begins to boot with this record, switched on or reset, or the empty text."""
    area, _, node = record.source.partition(".")
    is_reset = area == "qmp" and record.fields.get("event") == "RESET"
    return node if is_reset or (area == "machine" and record.kind == "started") else ""


def is_running(state: str) -> bool:
    """Whether a domain with these state letters of `xl list` may execute: not paused, shut down, crashed or dying."""
    return not set(state) & set("pscd")


def domains_of(records: Iterable[HistoryRecord], vm: str) -> list[Domains]:
    """The lists in a history: records `guests domains` with node, asked_s and domains of name, id and state.

    A node that was reset or switched on begins a new life, in which its domains are numbered from the beginning.
    """
    lives: dict[str, int] = {}
    found: list[Domains] = []
    for record in records:
        node = boots_anew(record)
        if node:
            lives[node] = lives.get(node, 0) + 1
        if record.source != "guests" or record.kind != "domains":
            continue
        fields = record.fields
        name, asked_s, listed = fields["node"], fields["asked_s"], fields["domains"]
        assert isinstance(name, str)
        assert isinstance(asked_s, float)
        assert isinstance(listed, Sequence)
        running = tuple(
            int(item["id"]) for item in listed if item["name"] == in_tools(vm) and is_running(item["state"])
        )
        found.append(Domains(name, str(lives.get(name, 0)), asked_s, record.t_s, running))
    return found


def boots_of(records: Iterable[HistoryRecord], source: str) -> list[Alive]:
    """The answers in a history that name a boot: records of a VM's slow probe with `boot` and `intended_s`."""
    found = []
    for record in records:
        boot, asked_s = record.fields.get("boot"), record.fields.get("intended_s")
        if record.source == source and isinstance(boot, str) and isinstance(asked_s, float):
            found.append(Alive(f"boot {boot}", asked_s, record.t_s))
    return found


def alive(lists: Iterable[Domains], still: Mapping[str, Sequence[Window]], allowed_s: float) -> list[Alive]:
    """Each running domain of each list as a sighting; what was seen before and after a standstill is told apart.

    A question that was put during a standstill was answered after it. An answer within `allowed_s` of its end is none.
    """
    found = []
    for seen in lists:
        over = sorted(to_s for from_s, to_s in still.get(seen.node, ()) if from_s <= seen.answered_s)
        if over and seen.answered_s - over[-1] <= allowed_s:
            continue
        part = f", after standstill {len(over)}" if over else ""
        found += [
            Alive(
                f"domain {number} of node {seen.node} (life {seen.life}{part})",
                max(seen.asked_s, *over) if over else seen.asked_s,
                seen.answered_s,
            )
            for number in seen.running
        ]
    return found


def twice(sightings: Iterable[Alive]) -> list[Twice]:
    """The pairs of instances that certainly lived at the same time."""
    by_instance: dict[str, list[Window]] = {}
    for one in sightings:
        by_instance.setdefault(one.instance, []).append((one.from_s, one.to_s))
    found = []
    for left, right in itertools.combinations(by_instance, 2):
        window = _certain(by_instance[left], by_instance[right])
        if window is not None:
            found.append(Twice((left, right), *window))
    return sorted(found, key=lambda item: item.from_s)


def _certain(left: Sequence[Window], right: Sequence[Window]) -> Window | None:
    """A time in which both certainly lived at some moment, or None."""
    mine, other = _span(left), _span(right)
    if mine and other and max(mine[0], other[0]) <= min(mine[1], other[1]):
        return max(mine[0], other[0]), min(mine[1], other[1])
    for span, windows in ((mine, right), (other, left)):
        inside = [window for window in windows if span and span[0] <= window[0] and window[1] <= span[1]]
        if inside:
            return min(window[0] for window in inside), max(window[1] for window in inside)
    return None


def _span(windows: Sequence[Window]) -> Window | None:
    """The time in which the instance certainly lived without a break, or None when it was seen only once."""
    first, last = min(to_s for _, to_s in windows), max(from_s for from_s, _ in windows)
    return (first, last) if first <= last else None


def unwatched(
    looks: Iterable[float], since_s: float, until_s: float, away: Sequence[Window], gap_max_s: float
) -> list[Window]:
    """The times longer than `gap_max_s` in which nobody looked, less those in which nothing could run."""
    moments = [since_s, *sorted(look for look in looks if since_s <= look <= until_s), until_s]
    gaps = []
    for before, after in itertools.pairwise(moments):
        for from_s, to_s in _without((before, after), away):
            if to_s - from_s > gap_max_s:
                gaps.append((round(from_s, 3), round(to_s, 3)))
    return gaps


def _without(window: Window, away: Sequence[Window]) -> list[Window]:
    parts, at_s = [], window[0]
    for from_s, to_s in sorted(away):
        if to_s > at_s and from_s < window[1]:
            parts.append((at_s, max(at_s, from_s)))
            at_s = max(at_s, to_s)
    parts.append((at_s, max(at_s, window[1])))
    return parts


def away(
    records: Sequence[HistoryRecord], node: str, until_s: float, dilation: float = 1.0
) -> list[tuple[float, float]]:
    """The times in which nothing can run on a node: no process of it, booting, paused, or held still by a fault."""
    gone: dict[str, float] = {"off": float("-inf")}
    times = []
    for record in records:
        why, is_gone = _presence(record, node)
        if why and is_gone:
            gone.setdefault(why, record.t_s)
        elif why:
            over = tuple(gone) if why == "off" else (why,)  # a machine that starts is neither paused nor held still
            times += [(gone.pop(kind), record.t_s) for kind in over if kind in gone]
        if boots_anew(record) == node and not record.fields.get("incoming"):  # a restored machine does not boot
            times.append((record.t_s, _booted_at(records, node, record.t_s, BOOT_GRACE_S * dilation)))
    return times + [(from_s, until_s) for from_s in gone.values()]


def standstills(records: Iterable[HistoryRecord], node: str) -> list[Window]:
    """The times in which the machine of a node was paused with its clocks."""
    found, stopped_s = [], None
    for record in records:
        event = record.fields.get("event") if record.source == f"qmp.{node}" else None
        if event == "STOP" and stopped_s is None:
            stopped_s = record.t_s
        elif event == "RESUME" and stopped_s is not None:
            found.append((stopped_s, record.t_s))
            stopped_s = None
    return found


def _booted_at(records: Sequence[HistoryRecord], node: str, started_s: float, grace_s: float) -> float:
    """When a machine that was started could run its first VM: its dom0 answered, or the grace is over."""
    looks = [
        record.t_s
        for record in records
        if record.source == "guests" and record.fields.get("node") == node and record.t_s > started_s
    ]
    return min([started_s + grace_s, *looks[:1]])


def _presence(record: HistoryRecord, node: str) -> tuple[str, bool]:
    """(what kind of absence, whether it begins) for a record that says so, else an empty text."""
    if record.source == f"machine.{node}" and record.kind in {"started", "killed", "died", "quit"}:
        return "off", record.kind != "started"
    event = record.fields.get("event")
    if record.source == f"qmp.{node}" and event in {"STOP", "RESUME"}:
        return "paused", event == "STOP"
    if record.source == "fault" and record.fields.get("target") == node and record.fields.get("name") in STANDSTILLS:
        return "still", record.kind != "healed"
    return "", False

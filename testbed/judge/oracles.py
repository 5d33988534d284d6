"""All oracles over one history: `judge_history` says of each promise whether it held, with the evidence; pure.

None of them asks the product: they use the switch's ports, dom0's own list, boot ids in the service's answers, the
disks, and the client's book. It must never pass over an oracle: one that could not see is in the result as blind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from testbed import site
from testbed.client.ledger import Verdict
from testbed.judge import dual_active, failover, multicast, twice
from testbed.judge.dual_active import Entry
from testbed.judge.finding import Finding, blind, holds, violated
from testbed.judge.writes import SetFull, as_fields
from testbed.replica.compare import ReplicaReport

DUAL_ACTIVE, REPLICAS, HALVES, WRITES = "dual_active", "replicas_equal", "mirror_halves_equal", "writes"
BOOT_GRACE_S = 60.0  # a node under emulation boots in some 20 s, and its dom0 cannot be asked before
STANDSTILLS = ("node.pause", "node.freeze")  # nothing runs on the node from their injection to their healing


@dataclass(frozen=True)
class Scene:
    """What the oracles must know of the bed: nodes with their ports (all, and those of clients), and the one VM."""

    node_ports: Mapping[str, Sequence[str]]
    client_ports: Mapping[str, Sequence[str]]
    vm: str
    vm_macs: Collection[str]
    dilation: float = 1.0  # of the run: a slower pair is seen less often


def bed_scene(dilation: float = 1.0) -> Scene:
    """The bed as the oracles must know it."""
    return Scene(
        node_ports={node: [f"{node}.{link}" for link in (site.PRIVATE, site.PUBLIC)] for node in site.NODES},
        client_ports={node: [f"{node}.{site.PUBLIC}"] for node in site.NODES},
        vm=site.VM_NAME,
        vm_macs={site.VM_MAC},
        dilation=dilation,
    )


def judge_history(
    records: Sequence[Entry],
    scene: Scene,
    *,
    since_s: float,
    until_s: float,
    overlap_allowed_s: float,
    replicas: ReplicaReport | str,
    writes: SetFull | str,
) -> tuple[Finding, ...]:
    """Run every oracle over a part of a history; `replicas` and `writes` are a sentence why there are none, if so."""
    seen = [record for record in records if since_s <= record.t_s and _began(record) <= until_s]
    claims = [claim for claim in dual_active.sightings(seen) if claim.last_s >= since_s]
    ever = [claim for claim in dual_active.sightings(records) if claim.first_s <= until_s]  # who had it before is known
    unwatched = _why_unwatched(records, claims, scene, since_s, until_s)
    lists = [look for look in twice.domains_of(records, scene.vm) if since_s <= look.answered_s <= until_s]
    moves = failover.moves(ever, scene.client_ports, gap_s=dual_active.MERGE_GAP_S * scene.dilation)
    moved = [move for move in moves if move.t_s >= since_s]
    happened = [*moved, *(start for start in failover.starts(records, since_s) if start.t_s <= until_s)]
    return (
        _dual_active(claims, scene, overlap_allowed_s, unwatched),
        twice.judge_domains(
            lists, nodes=tuple(scene.node_ports), since_s=since_s, until_s=until_s,
            away={node: away(records, node, until_s, scene.dilation) for node in scene.node_ports},
            gap_max_s=twice.GAP_MAX_S * scene.dilation,
        ),
        twice.judge_boots(twice.boots_of(seen)),
        failover.judge(
            sorted(happened, key=lambda move: move.t_s), failover.faults_of(seen), unseen=unwatched
        ),
        multicast.judge(
            multicast.counts_of(seen), node_ports=scene.node_ports, vm_macs=scene.vm_macs, since_s=since_s,
            unseen=multicast.why_uncounted(records, since_s, until_s),
        ),
        judge_replicas(replicas),
        judge_halves(replicas),
        judge_writes(writes),
    )  # fmt: skip


def _began(record: Entry) -> float:
    """When what a record tells began: an aggregate that ends behind the time that is judged still belongs to it."""
    first_s = record.fields.get("first_s")
    return first_s if isinstance(first_s, float) else record.t_s


def away(
    records: Sequence[Entry], node: str, until_s: float, dilation: float = 1.0
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
        if twice.boots_anew(record) == node and not record.fields.get("incoming"):  # a restored one boots not
            times.append((record.t_s, _booted_at(records, node, record.t_s, BOOT_GRACE_S * dilation)))
    return times + [(from_s, until_s) for from_s in gone.values()]


def _booted_at(records: Sequence[Entry], node: str, started_s: float, grace_s: float) -> float:
    """When a machine that was started could run its first VM: its dom0 answered, or the grace is over."""
    looks = [
        record.t_s for record in records
        if record.source == "guests" and record.fields.get("node") == node and record.t_s > started_s
    ]  # fmt: skip
    return min([started_s + grace_s, *looks[:1]])


def _presence(record: Entry, node: str) -> tuple[str, bool]:
    """(what kind of absence, whether it begins) for a record that says so, else an empty text."""
    if record.source == f"machine.{node}" and record.kind in {"started", "killed", "died", "quit"}:
        return "off", record.kind != "started"
    event = record.fields.get("event")
    if record.source == f"qmp.{node}" and event in {"STOP", "RESUME"}:
        return "paused", event == "STOP"
    if record.source == "fault" and record.fields.get("target") == node and record.fields.get("name") in STANDSTILLS:
        return "still", record.kind != "healed"
    return "", False


def _why_unwatched(
    records: Sequence[Entry], claims: Sequence[dual_active.Sighting], scene: Scene, since_s: float, until_s: float
) -> str:
    """Why the switch cannot tell who used the addresses, or the empty text."""
    begun = [record.t_s for record in records if record.source == "switch" and record.kind == "watching"]
    if not begun or min(begun) > since_s:
        return "the switch was not asked to watch the addresses from the beginning"
    if not dual_active.is_complete(records):
        return "the switch had to drop observations"
    ended = [record.t_s for record in records if record.source == "switch" and record.kind == "ended"]
    if ended and min(ended) < until_s:
        return "the switch ended before the run"
    ports = {port for members in scene.client_ports.values() for port in members}
    if not any(claim.address in scene.vm_macs and claim.port in ports for claim in claims):
        return "the VM did not send a single frame through any node's port"
    return ""


def _dual_active(claims: Sequence[dual_active.Sighting], scene: Scene, allowed_s: float, unseen: str) -> Finding:
    gap_s = dual_active.MERGE_GAP_S * scene.dilation
    overlaps = dual_active.dual_active(claims, scene.client_ports, allowed_s, merge_gap_s=gap_s)
    if overlaps:
        first = overlaps[0]
        text = f"nodes {' and '.join(first.nodes)} both used {first.address} for {first.duration_s:.3f} s"
        told = [[o.address, *o.nodes, o.from_s, o.to_s, o.reached_network] for o in overlaps]
        return violated(DUAL_ACTIVE, text, overlaps=told)
    if unseen:
        return blind(DUAL_ACTIVE, unseen)
    shared = dual_active.dual_active(claims, scene.client_ports, 0.0, merge_gap_s=gap_s)
    text = f"no address was used by two nodes at once for longer than {allowed_s:g} s"
    if not shared:
        return holds(DUAL_ACTIVE, "no address was used by two nodes at once")
    longest_s = max(overlap.duration_s for overlap in shared)
    allowed = [[o.address, *o.nodes, o.from_s, o.to_s, o.reached_network] for o in shared]
    return holds(DUAL_ACTIVE, f"{text}; the longest time was {longest_s:.3f} s", allowed=allowed)


def judge_replicas(report: ReplicaReport | str) -> Finding:
    """Judge the comparison of the nodes' replicas; the caller has seen to it that they must be equal."""
    if isinstance(report, str):
        return blind(REPLICAS, report)
    evidence = {"sha256": dict(report.sha256), "generations": dict(report.generations), "problems": report.problems}
    if not report.nodes:
        return blind(REPLICAS, "there was only one replica to look at", **evidence)
    if report.is_equal:
        return holds(REPLICAS, "; ".join(str(comparison) for comparison in report.nodes), **evidence)
    unequal = [comparison for comparison in report.nodes if not comparison.is_equal]
    ranges = {f"{comparison.left}, {comparison.right}": comparison.ranges for comparison in unequal}
    return violated(REPLICAS, "; ".join(str(comparison) for comparison in unequal), ranges=ranges, **evidence)


def judge_halves(report: ReplicaReport | str) -> Finding:
    """Judge the mirror inside each node, which promises equality only while it says that it is clean."""
    if isinstance(report, str):
        return blind(HALVES, report)
    unequal = [comparison for comparison in report.halves if not comparison.is_equal]
    text = "; ".join(str(comparison) for comparison in unequal)
    if unequal and not report.dirty:
        return violated(HALVES, text, problems=report.problems)
    if unequal:
        return blind(HALVES, f"not a quiet point, the mirror of {' and '.join(report.dirty)} is being written: {text}")
    if report.problems or not report.halves:
        return blind(HALVES, "; ".join(report.problems) or "no node has a second half", problems=report.problems)
    return holds(HALVES, "; ".join(str(comparison) for comparison in report.halves))


def judge_writes(found: SetFull | str) -> Finding:
    """Judge the client's book against everything that was read back."""
    if isinstance(found, str):
        return blind(WRITES, found)
    make = {Verdict.VIOLATED: violated, Verdict.INCONCLUSIVE: blind, Verdict.CLEAN: holds}[found.verdict]
    return make(WRITES, found.reason, **as_fields(found))

"""At most 10 multicasts per node, second and link, as the switch counted them at its ports. Pure.

A broadcast is a multicast to everybody and counts. What the VM itself sends passes through its node's port and is not
the node's; its MAC address tells it apart. Every other source at a node's port counts, also one that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.history import HistoryRecord
from testbed.judge.finding import Finding, blind, failed, passed
from testbed.judge.oracle import Oracle
from testbed.judge.recorded import Recorded

PER_SECOND_MAX = 10


@dataclass(frozen=True)
class MulticastCount:
    """Frames to many from one source at one port; `peak` is the most in any one second, which `peak_from_s` began."""

    port: str
    mac: str
    last_s: float
    frames: int
    peak: int
    peak_from_s: float


class Multicasts:
    """No node sends more than 10 multicasts within any second on a link."""

    name = "multicasts"
    is_needed = True

    def judge(self, recorded: Recorded) -> Finding:
        """Judge the counts of the time that is judged; what the VM itself sends is not the node's."""
        scene = recorded.scene
        own = [
            one for one in counts_of(recorded.seen) if one.mac not in scene.vm_macs and one.last_s >= recorded.since_s
        ]
        return judge_counts(own, node_ports=scene.node_ports, unseen=why_uncounted(recorded))


ORACLES: tuple[Oracle, ...] = (Multicasts(),)


def judge_counts(counts: Iterable[MulticastCount], *, node_ports: Mapping[str, Sequence[str]], unseen: str) -> Finding:
    """Judge the counts of the nodes' ports; `unseen` says why some are missing, if so."""
    node_of = {port: node for node, ports in node_ports.items() for port in ports}
    own = [one for one in counts if one.port in node_of]
    peaks = {port: max((one.peak for one in own if one.port == port), default=0) for port in node_of}
    broken = [one for one in own if one.peak > PER_SECOND_MAX]
    if broken:
        most = max(broken, key=lambda one: one.peak)
        text = f"node {node_of[most.port]} sent {most.peak} multicasts within one second at {most.port}"
        told = [[one.port, one.mac, one.peak, one.peak_from_s] for one in broken]
        return failed(Multicasts.name, f"{text}; {PER_SECOND_MAX} are allowed", broken=told, peaks=peaks)
    if unseen:
        return blind(Multicasts.name, f"not every multicast was counted: {unseen}", peaks=peaks)
    most_at_all = max(peaks.values(), default=0)
    return passed(Multicasts.name, f"no node sent more than {most_at_all} in any second of a link", peaks=peaks)


def counts_of(records: Iterable[HistoryRecord]) -> list[MulticastCount]:
    """The counts of the switch in a history."""
    found = []
    for record in records:
        if record.source == "switch" and record.kind == "multicast":
            fields = record.fields
            port, mac, last_s = fields["port"], fields["mac"], fields["last_s"]
            frames, peak, from_s = fields["frames"], fields["peak"], fields["peak_from_s"]
            assert isinstance(port, str)
            assert isinstance(mac, str)
            assert isinstance(last_s, float)
            assert isinstance(frames, int)
            assert isinstance(peak, int)
            assert isinstance(from_s, float)
            found.append(MulticastCount(port, mac, last_s, frames, peak, from_s))
    return found


def why_uncounted(recorded: Recorded) -> str:
    """Why the switch did not count all of this time, or the empty text."""
    switch = [record for record in recorded.records if record.source == "switch"]
    begun = [record.t_s for record in switch if record.kind == "counting"]
    if not begun or min(begun) > recorded.since_s:
        return "the switch was not asked to count from the beginning"
    if max(begun) < recorded.until_s:
        return "the switch was not asked for its last counts at the end"
    if any(record.kind == "lost" for record in switch):
        return "the switch had to drop events"
    ended = any(record.kind == "ended" and record.t_s < recorded.until_s for record in switch)
    return "the switch ended before the run" if ended else ""

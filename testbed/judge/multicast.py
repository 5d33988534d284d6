"""At most 10 multicasts per node, second and link: a pure judge over what the switch counted at its ports.

A broadcast is a multicast to everybody and counts. What the VM itself sends passes through its node's port and is not
the node's; its MAC address tells it apart. Every other source at a node's port counts, also one that nobody knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.judge.dual_active import Entry
from testbed.judge.finding import Finding, blind, holds, violated

MULTICASTS = "multicasts"
PER_SECOND_MAX = 10


@dataclass(frozen=True)
class Count:
    """Frames to many from one source at one port; `peak` is the most in any one second, which `peak_from_s` began."""

    port: str
    mac: str
    last_s: float
    frames: int
    peak: int
    peak_from_s: float


def counts_of(records: Iterable[Entry]) -> list[Count]:
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
            found.append(Count(port, mac, last_s, frames, peak, from_s))
    return found


def why_uncounted(records: Sequence[Entry], since_s: float, until_s: float) -> str:
    """Why the switch did not count all of this time, or the empty text."""
    begun = [record.t_s for record in records if record.source == "switch" and record.kind == "counting"]
    if not begun or min(begun) > since_s:
        return "the switch was not asked to count from the beginning"
    if max(begun) < until_s:
        return "the switch was not asked for its last counts at the end"
    if any(record.source == "switch" and record.kind == "lost" for record in records):
        return "the switch had to drop events"
    ended = [record.t_s for record in records if record.source == "switch" and record.kind == "ended"]
    return "the switch ended before the run" if ended and min(ended) < until_s else ""


def judge(
    counts: Iterable[Count],
    *,
    node_ports: Mapping[str, Sequence[str]],
    vm_macs: Collection[str],
    since_s: float,
    unseen: str,
    limit: int = PER_SECOND_MAX,
) -> Finding:
    """Judge the counts since a time; `unseen` says why some are missing, if so."""
    node_of = {port: node for node, ports in node_ports.items() for port in ports}
    own = [one for one in counts if one.port in node_of and one.mac not in vm_macs and one.last_s >= since_s]
    peaks = {port: max((one.peak for one in own if one.port == port), default=0) for port in node_of}
    broken = [one for one in own if one.peak > limit]
    if broken:
        most = max(broken, key=lambda one: one.peak)
        text = f"node {node_of[most.port]} sent {most.peak} multicasts within one second at {most.port}"
        told = [[one.port, one.mac, one.peak, one.peak_from_s] for one in broken]
        return violated(MULTICASTS, f"{text}; {limit} are allowed", broken=told, peaks=peaks)
    if unseen:
        return blind(MULTICASTS, f"not every multicast was counted: {unseen}", peaks=peaks)
    most_at_all = max(peaks.values(), default=0)
    return holds(MULTICASTS, f"no node sent more than {most_at_all} in any second of a link", peaks=peaks)

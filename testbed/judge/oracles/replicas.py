"""Are the copies of each VM's disk equal, byte for byte: between the nodes, and between the halves inside a node? Pure.

Whoever compared them has seen to it that they must be equal: both nodes said so, and nobody wrote.
"""

from __future__ import annotations

from testbed.judge.finding import Finding, blind, failed, passed, together
from testbed.judge.oracle import Oracle
from testbed.judge.recorded import Recorded
from testbed.replica.compare import ReplicaReport


class ReplicasEqual:
    """Both nodes hold the same bytes."""

    name = "replicas_equal"
    is_needed = True

    def judge(self, recorded: Recorded) -> Finding:
        """Judge the comparison of the nodes' replicas of each VM."""
        return together(self.name, {vm: self._of_one(recorded.replicas_of(vm)) for vm in recorded.scene.vms})

    def _of_one(self, report: ReplicaReport | str) -> Finding:
        if isinstance(report, str):
            return blind(self.name, report)
        evidence = {"sha256": dict(report.sha256), "generations": dict(report.generations), "problems": report.problems}
        if not report.nodes:
            return blind(self.name, "there was only one replica to look at", **evidence)
        if report.is_equal:
            return passed(self.name, "; ".join(str(comparison) for comparison in report.nodes), **evidence)
        unequal = [comparison for comparison in report.nodes if not comparison.is_equal]
        ranges = {f"{comparison.left}, {comparison.right}": comparison.ranges for comparison in unequal}
        return failed(self.name, "; ".join(str(comparison) for comparison in unequal), ranges=ranges, **evidence)


class HalvesEqual:
    """Both halves of each node's mirror hold the same bytes, while the mirror says that it is clean."""

    name = "mirror_halves_equal"
    is_needed = False  # a run may take a half away

    def judge(self, recorded: Recorded) -> Finding:
        """Judge the comparison inside each node, for each VM."""
        return together(self.name, {vm: self._of_one(recorded.replicas_of(vm)) for vm in recorded.scene.vms})

    def _of_one(self, report: ReplicaReport | str) -> Finding:
        if isinstance(report, str):
            return blind(self.name, report)
        unequal = [comparison for comparison in report.halves if not comparison.is_equal]
        text = "; ".join(str(comparison) for comparison in unequal)
        if unequal and not report.dirty:
            return failed(self.name, text, problems=report.problems)
        if unequal:
            busy = " and ".join(report.dirty)
            return blind(self.name, f"not a quiet point, the mirror of {busy} is being written: {text}")
        if report.problems or not report.halves:
            why_not = "; ".join(report.problems) or "no node has a second half"
            return blind(self.name, why_not, problems=report.problems)
        return passed(self.name, "; ".join(str(comparison) for comparison in report.halves))


ORACLES: tuple[Oracle, ...] = (ReplicasEqual(), HalvesEqual())

"""The main promise on the real pair: the primary dies, the service comes back, nothing is lost; and the test is proven
to fail when the product, the workload or the fault is broken."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from faults.kinds.node.whole import NodeKill
from faults.run.scenario import primary_crash, run_schedule
from faults.run.summary import summary
from testbed.bed import Bed
from testbed.errors import HostError
from testbed.judge.result import Result
from testbed.judge.verdict import Verdict
from testbed.report import page as report
from testbed.site import SiteOptions

# What these tests wait for has its own deadlines; this one only ends a hung harness.
pytestmark = pytest.mark.timeout(3600)


async def _crash(
    out: Path, *, site: SiteOptions, fault: type[NodeKill] = NodeKill, cold: bool = False, limit_s: float = 60.0
) -> Result:
    crash = replace(primary_crash(random.Random().getrandbits(32)), site=site)
    return await run_schedule(crash, out, cold=cold, make_fault=fault, step=report.step, takeover_limit_s=limit_s)


def test_service_survives_the_crash_of_the_primary(run_dir: Path, cold_bed: bool) -> None:
    """After the crash of the primary the VM answers from the other node, no acknowledged write is lost, two nodes are
    never active at once, redundancy returns and Call Home tells of it."""
    try:
        result = asyncio.run(_crash(run_dir, site=SiteOptions(), cold=cold_bed))
    except HostError as error:  # refused before anything began
        pytest.fail(str(error), pytrace=False)
    report.attach_run(run_dir, result)
    print(summary(run_dir, result))
    if result.verdict is not Verdict.PASS:  # the reasons are for people, who need no stack of calls
        pytest.fail(f"{result.verdict}: {'; '.join(result.reasons)}. What to do: {result.what_to_do}", pytrace=False)


def test_a_product_that_does_not_take_over_fails_the_run(tmp_path: Path) -> None:
    """With takeover disabled (site policy `safety`, no witness) the verdict is fail, and says what is missing."""
    result = asyncio.run(_crash(tmp_path / "run", site=SiteOptions(policy="safety", witnesses=0), limit_s=30.0))
    assert result.verdict is Verdict.FAIL
    assert result.phases_s["detect"] is not None
    assert result.phases_s["vm_start"] is None
    assert "phase decide was never reached" in result.reasons


def test_a_vm_that_does_not_sync_before_it_acknowledges_fails_the_run(tmp_path: Path) -> None:
    """Acknowledged writes that were only in the guest's memory are found to be lost, and the verdict is fail."""
    result = asyncio.run(_crash(tmp_path / "run", site=SiteOptions(workload_args="nosync=1")))
    assert result.verdict is Verdict.FAIL
    lost = result.ledger["lost"]
    assert isinstance(lost, int)
    assert lost > 0


class _KillThatDoesNothing(NodeKill):
    """A sabotaged injector: it says that it killed the node, and did not."""

    async def inject(self, bed: Bed) -> None:
        """Do nothing."""


def test_a_fault_that_did_not_happen_is_never_green(tmp_path: Path) -> None:
    """When the node was not really killed, the fault's verdict is mismatch and the run does not pass."""
    result = asyncio.run(_crash(tmp_path / "run", site=SiteOptions(), fault=_KillThatDoesNothing, limit_s=10.0))
    assert [fault.verdict for fault in result.faults] == ["mismatch"]
    assert result.verdict is Verdict.INCONCLUSIVE

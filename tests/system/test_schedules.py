"""Schedules on the real pair: each fault really happened, every recovery is measured, and safety holds.

What the product is known to do wrong today stands in `KNOWN` with its reason, so that a cure makes the test fail and
the line has to go. A violation that is not in there is a failure of the product, a fault that is not confirmed one of
the testbed.
"""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import pytest

import faults
from faults.scenario import REDUNDANCY_LIMIT_S, Plan, run
from faults.schedule import expand, load
from faults.summary import summary
from testbed import report
from testbed.result import NEEDED_ORACLES, Result, Verdict
from testbed.session import Session

pytestmark = pytest.mark.timeout(900)

DIRECTORY = Path(str(faults.__file__)).parent / "schedules"
NAMES = (
    "private_link_cut",
    "private_link_cut_one_way",
    "primary_disk_gone",
    "primary_paused_60s",
    "primary_frozen_60s",
    "daemon_stopped_for_ever",
    "second_fault_during_recovery",
)
# What today's product does wrong, as words of the reasons for its verdict `fail`.
KNOWN: dict[str, str] = {
    # Loss of the private link alone freezes the VM's I/O until it returns: there is no consent over the other link yet.
    "private_link_cut": "without service for",
    "private_link_cut_one_way": "without service for",
    # A thawed primary answers under its old right for a moment, and then stays fenced: it does not reset itself yet.
    "primary_paused_60s": "dual_active|not redundant|say protected",
    "primary_frozen_60s": "dual_active|not redundant|say protected",
    # A stopped daemon still holds the service address when the backup takes it; nobody resets that node.
    "daemon_stopped_for_ever": "dual_active|not redundant|say protected|never reached",
    # A daemon that is started again on the only node does not take the VM up: it waits for its peer.
    "second_fault_during_recovery": "without service for|service, for the client|not redundant|say protected",
}


async def _play(name: str, out: Path) -> Result:
    schedule = expand(random.Random().getrandbits(32), load(DIRECTORY / f"{name}.jsonl"))
    async with Session(out, schedule.site) as session:
        with report.step("a protected pair"):
            await session.protect()
        # What is known not to come back does not, however long one waits.
        limit_s = 60.0 if name in KNOWN else REDUNDANCY_LIMIT_S
        return await run(session.bed, Plan(schedule, out, step=report.step, redundancy_limit_s=limit_s))


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_runs_end_to_end(name: str, tmp_path: Path) -> None:
    """Every fault is confirmed and healed, no oracle that is needed was blind, and the verdict is the expected one."""
    out = tmp_path / "run"
    result = asyncio.run(_play(name, out))
    report.attach_run(out, result)
    print(summary(out, result))
    assert [fault.verdict for fault in result.faults] == ["confirmed"] * len(result.faults), result.reasons
    assert all(fault.healed_at_s is not None for fault in result.faults)
    blind = {one["oracle"]: one["text"] for one in result.findings if one["state"] == "blind"}
    assert not blind.keys() & set(NEEDED_ORACLES) - ({"replicas_equal"} if not result.is_redundant else set()), blind
    if name in KNOWN:
        assert result.verdict is Verdict.FAIL, "the product does better than it is known to: take its line out"
        assert all(re.search(KNOWN[name], text) for text in result.reasons), result.reasons
    else:
        assert result.verdict is Verdict.PASS, result.reasons

"""The other half of the main promise on the real pair: the backup dies, and the users of the VM notice a pause only."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds.node.whole import NodeKill
from faults.life import Life
from testbed.bed import Session
from testbed.client import ledger as book
from testbed.client.ledger import Ledger
from testbed.client.outage import OutageSummary
from testbed.judge.oracles.writes import SetFull, classify
from testbed.judge.verdict import Verdict
from testbed.replica.reading import from_service
from testbed.site import SiteOptions

pytestmark = pytest.mark.timeout(3600)

LIMIT_S = 240.0


@dataclass(frozen=True)
class _Story:
    proof: Proof
    boots: int
    roles: tuple[str, str]
    client: OutageSummary
    writes: SetFull


async def _backup_crash(out: Path) -> _Story:
    async with Session(out, SiteOptions()) as session:
        await session.protect()
        bed = session.bed
        with Ledger(out / "ledger.jsonl") as ledger:
            async with (
                bed.probe("writes", ledger=ledger, record=True) as writes,
                bed.probe("pings", ledger=None) as pings,
            ):
                await writes.wait_first_ok(LIMIT_S)
                await pings.wait_first_ok(LIMIT_S)
                primary, backup = await bed.primary()
                fault, mark = NodeKill(backup.name), bed.history.mark()
                life = Life(fault, bed)
                proof = await life.prove()
                await bed.wait_milestone("epoch_saved", node=primary.name, after=mark, timeout_s=LIMIT_S)
                outage = await writes.wait_recovered(LIMIT_S, since_s=proof.injected_at_s or 0.0)
                assert outage.ended_at_s is not None
                await life.heal()
                await bed.wait_milestone("protected", node=primary.name, after=mark, timeout_s=LIMIT_S)
                await writes.stop()
                await pings.stop()
            read = await book.read_back(
                bed.client, bed.topology.guests[0].address, bed.image.workload.udp_port, timeout_s=LIMIT_S
            )
            readings = [from_service("the service", time.monotonic(), read)]
            verdict = classify(ledger.entries(), readings, duplicates_allowed=False, pong_totals=pings.pong_totals)
        roles = ((await primary.status())["role"], (await backup.status())["role"])
        return _Story(proof, len(pings.boots), roles, writes.summary(), verdict)


def test_the_vm_goes_on_without_the_backup_and_is_protected_again(tmp_path: Path) -> None:
    """The VM is neither restarted nor moved, its I/O goes on after the solo right is durable, and nothing is lost."""
    story = asyncio.run(_backup_crash(tmp_path / "run"))
    assert story.proof.verdict is FaultVerdict.CONFIRMED
    assert story.boots == 1, "the VM was started again"
    assert story.roles == ("primary", "backup")
    assert story.client.good > 0
    assert story.writes.verdict is Verdict.PASS, story.writes.reason

"""Proves the bookkeeping of a scenario on recorded events; the whole of it is proven on the real pair."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import cast

import pytest

from faults import scenario
from faults.node import NodeKill
from faults.scenario import Plan
from testbed import site
from testbed.bed import Bed
from testbed.history import History
from testbed.node import Node
from testbed.progress import Progress
from testbed.result import Result
from tests.unit.testbed.small_image import cold_bed

TAKEOVER = ("peer_lost", "epoch_saved", "disk_promoted", "vm_start_commanded")


def result_of(phase_vm_start_s: float | None = None) -> Result:
    """A result in which nothing was noted yet, or only that the VM was started."""
    result = Result("primary-crash", "tcg", 1.0, 7, "")
    result.phases_s["vm_start"] = phase_vm_start_s
    return result


def bed_with(tmp_path: Path, *records: tuple[float, str, str]) -> Bed:
    """A bed that was not entered, with these (time, source, milestone or kind) in its history."""
    history = History()
    for t_s, source, word in records:
        if source.startswith("journal."):
            history.record_at(t_s, source, "entry", entry={"milestone": word})
        else:
            history.record_at(t_s, source, word)
    return cold_bed(tmp_path, tmp_path, history)


def plan(limit_s: float = 5.0) -> Plan:
    """A plan with a short limit."""
    return Plan("primary-crash", Path("unused"), 7, NodeKill, takeover_limit_s=limit_s)


@pytest.mark.parametrize(("at_s", "index"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (3.0, 2)])
def test_the_mark_is_the_first_record_at_or_after_the_time(tmp_path: Path, at_s: float, index: int) -> None:
    """Nothing between the fault and the wait is missed, and nothing before the fault counts."""
    assert scenario._mark_at(bed_with(tmp_path, (1.0, "x", "one"), (2.0, "x", "two")), at_s) == index


def test_phases_are_milestones_of_the_survivor_after_the_fault(tmp_path: Path) -> None:
    """What the node said before the fault, and what the other node says, is not taken for its reaction."""
    before = [(90.0 + n, "journal.b", word) for n, word in enumerate(TAKEOVER)]
    others = [(100.5 + n, "journal.a", word) for n, word in enumerate(TAKEOVER)]
    after = [(105.0 + n, "journal.b", word) for n, word in enumerate(TAKEOVER)]
    bed, result = bed_with(tmp_path, *sorted([*before, *others, *after])), result_of()
    asyncio.run(scenario._takeover(bed, plan(), "b", 100.0, result))
    assert [result.phases_s[phase] for phase in ("detect", "decide", "promote", "vm_start")] == [5.0, 6.0, 7.0, 8.0]
    assert result.problems == []


def test_a_takeover_that_stops_half_way_is_a_finding(tmp_path: Path) -> None:
    """Phases that were reached keep their times, the others stay None, and the text names the missing milestone."""
    bed, result = bed_with(tmp_path, (105.0, "journal.b", "peer_lost")), result_of()
    asyncio.run(scenario._takeover(bed, plan(limit_s=0.05), "b", 100.0, result))
    assert result.phases_s["detect"] == 5.0
    assert [result.phases_s[phase] for phase in ("decide", "promote", "vm_start")] == [None, None, None]
    assert len(result.problems) == 1
    assert "'epoch_saved' of node b" in result.problems[0]
    assert [entry.kind for entry in bed.history if entry.source == "bed"] == ["not_reached"]


def observed(tmp_path: Path, *, b_from_s: float, lost: bool = False) -> int | None:
    """How often two nodes were active when a used the service address until 12 s and b from the given time on."""
    history = History()
    history.zero_at_s = 10.0
    for node, first_s, last_s in (("a", 11.0, 12.0), ("b", b_from_s, b_from_s + 1.0)):
        port = f"{node}.{site.PUBLIC}"
        history.record_at(first_s, "switch", "claim", port=port, ip=site.SERVICE)
        history.record_at(
            last_s, "switch", "seen", port=port, ip=site.SERVICE, first_s=first_s, last_s=last_s, frames=9
        )
    if lost:
        history.record_at(12.0, "switch", "lost", events=3)
    result, bed = result_of(), cold_bed(tmp_path, tmp_path, history)
    bed.nodes = dict.fromkeys(site.NODES, cast("Node", None))  # only the names are asked for
    scenario._observe(bed, result)
    return result.dual_active


def test_one_after_the_other_is_not_two_at_once(tmp_path: Path) -> None:
    """A takeover moves the address, which is no violation; an overlap is one."""
    assert observed(tmp_path, b_from_s=20.0) == 0
    assert observed(tmp_path, b_from_s=11.5) == 1


def test_a_switch_that_lost_observations_cannot_say_zero(tmp_path: Path) -> None:
    """The count is None, which the judge calls inconclusive."""
    assert observed(tmp_path, b_from_s=20.0, lost=True) is None


def test_without_a_started_vm_nobody_waits_for_the_service() -> None:
    """The run goes on at once: waiting longer would tell nothing new."""
    result = result_of()
    asyncio.run(scenario._service(plan(), None, 100.0, result))  # type: ignore[arg-type]  # the probe is not asked
    assert (result.phases_s["service_up"], result.problems) == (None, [])


def test_the_same_seed_gives_the_same_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The load before the fault is drawn from the seed, within its limits, and both are told."""
    monkeypatch.setattr(scenario, "STEADY_S", (0.0, 0.05))
    bed = bed_with(tmp_path)
    bed.progress = Progress()

    async def three_runs() -> None:
        for seed in (7, 7, 8):
            await scenario._steady_load(bed, Plan("x", tmp_path, seed, NodeKill))

    asyncio.run(three_runs())
    told = re.findall(r"steady write load for (\d\.\d\d) s \(seed (\d)\) \.\.\.", capsys.readouterr().err)
    assert told == [("0.02", "7"), ("0.02", "7"), ("0.01", "8")]

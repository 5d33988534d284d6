"""The summary of a run shows its story, its figures, every reason and how to run it again."""

from __future__ import annotations

from pathlib import Path

from faults.run.summary import figures, summary
from testbed.judge.result import FaultResult, Result
from testbed.judge.verdict import Verdict
from testbed.vocabulary import PHASES


def a_result() -> Result:
    """A failed run with some figures and a gap."""
    result = Result("primary-crash", "tcg", 1.0, 0xBEEF, "2026-01-01T00:00:00+00:00", verdict=Verdict.FAIL)
    result.phases_s |= dict.fromkeys(PHASES[:-1], 6.25)
    result.outage_s, result.outage_resolution_s, result.dual_active = 14.2, 0.05, 0
    result.ledger = {"acknowledged": 120, "lost": 0, "stale": None}
    result.faults = [FaultResult("node.kill", "a", "confirmed", 4.0, {}, step="dead", late_s=0.001, healed_at_s=20.0)]
    result.reasons = ["phase redundancy was never reached", "y"]
    return result


def test_the_summary_is_story_verdict_and_the_way_back(tmp_path: Path) -> None:
    """In this order, each part apart."""
    (tmp_path / "timeline.txt").write_text("the story\n\n", encoding="utf-8")
    lines = summary(tmp_path, a_result()).splitlines()
    assert lines[:2] == ["the story", ""]
    assert lines[2].startswith("phases after the first fault:")
    assert lines[-1] == f"again: testbed replay {tmp_path / 'schedule.jsonl'}"


def test_what_is_not_known_is_no_figure() -> None:
    """A phase that was never reached is a dash, a count that nobody has is unknown, and each reason has its line."""
    lines = figures(a_result())
    assert "detect 6.2 s" in lines[0]
    assert "redundancy -" in lines[0]
    assert lines[1] == "seen by the client: outage 14.2 s (resolution 0.05 s)"
    assert lines[2] == "writes: 120 acknowledged, 0 lost, unknown stale"
    assert "host speed unknown, seed 0xbeef" in lines[4]
    assert lines[5].splitlines() == [
        "verdict: fail",
        "  because phase redundancy was never reached",
        "  because y",
    ]


def test_what_a_person_gave_up_is_counted_beside_what_was_lost() -> None:
    """Only where there is something."""
    result = a_result()
    result.ledger |= {"given_up": 7}
    told = "writes: 120 acknowledged, 0 lost, unknown stale, 7 in the version that was given up only"
    assert figures(result)[2] == told
    result.ledger |= {"given_up": 0}
    assert figures(result)[2] == told.partition(", 7")[0]


def test_a_run_without_a_story_says_so(tmp_path: Path) -> None:
    """The verdict is shown all the same."""
    text = summary(tmp_path, a_result())
    assert text.startswith("no story was written")
    assert "verdict: fail" in text


def test_the_speed_of_the_host_stands_beside_the_dilation() -> None:
    """Its median and its lowest, so that a person sees what the times were measured on; and what to do."""
    result = a_result()
    result.host = {"speed": {"median": 0.46, "lowest": 0.3}}
    result.what_to_do = "end other programs"
    lines = figures(result)
    assert "dilation 1, host speed 0.46 (lowest 0.30)" in lines[4]
    assert lines[-1] == "what to do: end other programs"

"""Proves the judgement: safety first, nothing passes unproven, and every reason is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.judge import result as module
from testbed.judge.finding import blind, failed, passed
from testbed.judge.phases import TAKEOVER
from testbed.judge.result import SCHEMA, Expect, FaultResult, Result, not_reached, take, what_to_do
from testbed.judge.verdict import Verdict
from testbed.vocabulary import PHASES, Phase

KILL = FaultResult("node.kill", "a", "confirmed", 4.2, {"process_gone": True})
ALERTS = ("peer_lost", "takeover")
HOST = {"probe_lateness_p99_s": 0.01}


NAMES = ("dual_active", "failovers", "multicasts", "replicas_equal", "writes")


def told(*, needed: bool = True, **verdicts: str) -> list[dict[str, object]]:
    """What every oracle says: that all is well, or what is given."""
    return [
        {"oracle": name, "verdict": verdicts.get(name, "pass"), "text": f"it was {verdicts.get(name, 'fine')}",
         "needed": needed}
        for name in NAMES
    ]  # fmt: skip


def judge(result: Result, *, alerts_wanted: tuple[str, ...]) -> tuple[Verdict, list[str]]:
    """The judgement where all these oracles had to be asked."""
    return module.judge(result, alerts_wanted=alerts_wanted, oracles=NAMES)


def good() -> Result:
    """A run in which everything went well."""
    return Result(
        scenario="primary-crash",
        accel="tcg",
        dilation=1.0,
        seed=7,
        started_wall="2026-01-01T00:00:00+00:00",
        expect=Expect.TAKEOVER,
        faults=[KILL],
        failovers=1,
        is_redundant=True,
        phases_s=dict.fromkeys(PHASES, 5.0),
        outage_s=14.2,
        ledger={"acknowledged": 100, "lost": 0, "stale": 0},
        dual_active=0,
        findings=told(),
        call_home=[{"code": code, "node": "b"} for code in ALERTS],
        host=dict(HOST),
    )


def unproven(verdict: str) -> list[FaultResult]:
    """The fault with another verdict."""
    return [replace(KILL, verdict=verdict)]


def test_a_run_in_which_all_is_well_passes() -> None:
    """A pass has no reasons."""
    assert judge(good(), alerts_wanted=ALERTS) == (Verdict.PASS, [])


CASES: list[tuple[str, dict[str, object], Verdict, str]] = [
    ("lost", {"findings": told(writes="fail")}, Verdict.FAIL, "writes: it was fail"),
    ("two active", {"findings": told(dual_active="fail")}, Verdict.FAIL, "dual_active: it was fail"),
    ("mismatch", {"faults": unproven("mismatch")}, Verdict.INCONCLUSIVE, "fault node.kill on a: mismatch"),
    ("inconclusive", {"faults": unproven("inconclusive")}, Verdict.INCONCLUSIVE, "fault node.kill on a: inconclusive"),
    ("one of two", {"faults": [KILL, *unproven("mismatch")]}, Verdict.INCONCLUSIVE, "fault node.kill on a: mismatch"),
    ("no fault", {"faults": []}, Verdict.INCONCLUSIVE, "no fault was injected"),
    ("late", {"host": {"probe_lateness_p99_s": 0.51}}, Verdict.INVALID_HOST, "the probe itself was late: p99 0.51 s"),
    ("not measured", {"host": {}}, Verdict.INVALID_HOST, "the probe itself was late: p99 None s"),
    ("pressed", {"host": {**HOST, "cpu_pressure_some": 0.9}}, Verdict.INVALID_HOST, "pressure 0.9"),
    ("stolen", {"host": {**HOST, "steal": 0.3}}, Verdict.INVALID_HOST, "steal 0.3"),
    ("no outage", {"outage_s": None}, Verdict.FAIL, "no outage with a beginning and an end was seen by the client"),
    ("no alert", {"call_home": [{"code": "takeover"}]}, Verdict.FAIL, "Call Home never reported peer_lost"),
    ("problem", {"problems": ["heal failed"]}, Verdict.FAIL, "heal failed"),
    ("slow", {"host": {**HOST, "speed": {"lowest": 0.4, "window_s": 30.0}}}, Verdict.INVALID_HOST, "0.4 of the refer"),
    ("broken", {"broken": "no answer", "host": {}}, Verdict.INCONCLUSIVE, "the run broke off: no answer"),
    ("not asked", {"findings": told()[1:]}, Verdict.INCONCLUSIVE, "the oracle dual_active was not asked"),
    ("blind oracle", {"findings": told(writes="inconclusive")}, Verdict.INCONCLUSIVE, "writes could not see: it was"),
]


@pytest.mark.parametrize(("change", "verdict", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_thing_that_is_wrong_decides(change: dict[str, object], verdict: Verdict, reason: str) -> None:
    """Each defect of an otherwise good run gives its verdict and is the only reason."""
    result = good()
    for name, value in change.items():
        setattr(result, name, value)
    found, reasons = judge(result, alerts_wanted=ALERTS)
    assert found is verdict
    assert len(reasons) == 1
    assert reason in reasons[0]


@pytest.mark.parametrize("phase", [*TAKEOVER, "redundancy"])
def test_a_phase_that_was_never_reached_is_named(phase: Phase) -> None:
    """The verdict is fail, and the text says which phase is missing."""
    result = good()
    result.phases_s[phase] = None
    assert judge(result, alerts_wanted=ALERTS) == (Verdict.FAIL, [f"phase {phase} was never reached"])


def test_a_vm_that_was_to_stay_must_not_move() -> None:
    """Without a takeover no phase is missed; a move, and a pair that is not redundant again, are."""
    result = good()
    result.expect, result.phases_s, result.outage_s = Expect.STAY, dict.fromkeys(PHASES), None
    assert "was to stay" in judge(result, alerts_wanted=())[1][0]
    result.failovers = 0
    assert judge(result, alerts_wanted=()) == (Verdict.PASS, [])
    result.is_redundant = False
    assert judge(result, alerts_wanted=()) == (Verdict.FAIL, ["the pair was not redundant again after the heal"])


def test_an_outage_that_is_longer_than_promised_fails() -> None:
    """The limit is the schedule's, times the dilation; one that never ended counts as far as it was seen."""
    result = good()
    result.outage_max_s = 14.0
    assert judge(result, alerts_wanted=ALERTS)[1] == [
        "the client was without service for 14.2 s; at most 14 s are promised"
    ]
    result.dilation = 2.0
    assert judge(result, alerts_wanted=ALERTS)[0] is Verdict.PASS
    result.expect, result.outage_s, result.limits_s = Expect.ANY, None, {"outage": 30.0}
    assert "without service for 30.0 s; at most 28 s" in judge(result, alerts_wanted=ALERTS)[1][0]


def test_an_unproven_fault_tells_its_problem() -> None:
    """What hindered the injection stands in the reason."""
    result = good()
    result.faults = [replace(KILL, verdict="not injected", problem="not armed: no such milestone")]
    assert "(not armed: no such milestone)" in judge(result, alerts_wanted=ALERTS)[1][0]


@pytest.mark.parametrize("verdict", ["mismatch", "inconclusive", "anything else"])
@pytest.mark.parametrize("writes", ["pass", "inconclusive"])
def test_a_fault_that_is_not_confirmed_never_passes(verdict: str, writes: str) -> None:
    """Whatever else the run shows, an unproven fault proves nothing."""
    result = good()
    result.faults, result.findings = unproven(verdict), told(writes=writes)
    assert judge(result, alerts_wanted=ALERTS)[0] is Verdict.INCONCLUSIVE


def test_an_oracle_that_is_not_needed_may_be_blind_but_must_be_asked() -> None:
    """A run passes without its word, and never without its finding: so nobody can pass over an oracle."""
    result = good()
    result.findings = told(needed=False, writes="inconclusive")
    assert judge(result, alerts_wanted=ALERTS) == (Verdict.PASS, [])
    result.findings = result.findings[:-1]
    assert judge(result, alerts_wanted=ALERTS) == (Verdict.INCONCLUSIVE, ["the oracle writes was not asked"])


@pytest.mark.parametrize("change", [{"faults": []}, {"faults": unproven("mismatch")}, {"host": {}}, {"outage_s": None}])
def test_a_lost_write_is_a_failure_whatever_else_happened(change: dict[str, object]) -> None:
    """Neither an unproven fault nor a noisy host excuses a violation of safety, which is named first."""
    result = good()
    result.findings = told(writes="fail")
    for name, value in change.items():
        setattr(result, name, value)
    found, reasons = judge(result, alerts_wanted=ALERTS)
    assert found is Verdict.FAIL
    assert reasons[0] == "writes: it was fail"


def test_the_figures_of_the_oracles_have_keys_of_their_own() -> None:
    """What an oracle could not see is None, never 0."""
    counted = {"acknowledged": 9, "lost": 2, "stale": 0, "unknown": 1, "duplicated": 0, "resurrected": 0, "given_up": 0}
    result = good()
    moved = passed("failovers", "fine", vm_moves=1, vm_starts=2)
    take(result, [failed("writes", "gone", **counted), moved, failed("dual_active", "both", overlaps=[["x"]])])
    assert (result.ledger, result.failovers, result.restarts, result.dual_active) == (counted, 1, 2, 1)
    take(result, [blind("writes", "dark", acknowledged=9), blind("failovers", "dark"), blind("dual_active", "dark")])
    assert (result.ledger["acknowledged"], result.ledger["lost"], result.ledger["stale"]) == (9, None, None)
    assert (result.failovers, result.restarts, result.dual_active) == (None, None, None)


NOISY: dict[str, object] = {"probe_lateness_p99_s": 9.0, "cpu_pressure_some": 0.9}


def test_a_noisy_host_is_neither_a_pass_nor_a_failure_of_the_product() -> None:
    """A step that was not reached may be the host's fault; an unproven fault is said first."""
    result = good()
    result.host, result.phases_s["redundancy"] = NOISY, None
    found, reasons = judge(result, alerts_wanted=ALERTS)
    assert found is Verdict.INVALID_HOST
    assert len(reasons) == 2
    result.faults = unproven("inconclusive")
    assert judge(result, alerts_wanted=ALERTS)[0] is Verdict.INCONCLUSIVE


def test_what_was_not_reached_is_later_than_it_was_waited_for() -> None:
    """The first limit of a phase stays; a phase with a time has none."""
    result = good()
    result.phases_s |= {"service_up": None, "redundancy": None}
    not_reached(result, 120.0, ["service_up", "detect"])
    not_reached(result, 240.0004)
    assert result.limits_s == {"service_up": 120.0, "redundancy": 240.0}


def test_all_that_is_missing_is_told_at_once() -> None:
    """A person does not have to run again to learn the second reason."""
    result = good()
    result.phases_s["redundancy"], result.outage_s, result.call_home = None, None, []
    assert len(judge(result, alerts_wanted=ALERTS)[1]) == 4


def test_a_new_result_is_inconclusive_and_knows_nothing() -> None:
    """What has no source is None, never 0."""
    result = Result("x", "tcg", 1.0, 1, "")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert set(result.phases_s.values()) == {None}
    assert (result.ledger["lost"], result.dual_active, result.outage_s) == (None, None, None)
    assert judge(result, alerts_wanted=())[0] is Verdict.INCONCLUSIVE


def test_the_file_holds_every_key_in_plain_words(tmp_path: Path) -> None:
    """Verdict and faults are readable without this package."""
    result = good()
    result.verdict, result.reasons = judge(result, alerts_wanted=ALERTS)
    result.write(tmp_path / "result.json")
    read = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (read["schema"], read["verdict"]) == (SCHEMA, "pass")
    assert read["faults"] == [
        {"name": "node.kill", "target": "a", "verdict": "confirmed", "injected_at_s": 4.2,
         "evidence": {"process_gone": True}, "step": "", "late_s": None, "healed_at_s": None, "problem": None}
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """The file is whole or not there: an error half-way does not touch it."""
    path = tmp_path / "result.json"
    path.write_text("old", encoding="utf-8")
    result = good()
    result.files["loop"] = result.files
    with pytest.raises((ValueError, RecursionError)):
        result.write(path)
    assert path.read_text(encoding="utf-8") == "old"


SLOW: dict[str, object] = {**HOST, "speed": {"lowest": 0.4, "window_s": 30.0}}


@pytest.mark.parametrize(
    "change",
    [{"faults": unproven("inconclusive")}, {"faults": []}, {"outage_s": None}, {"problems": ["x"]}, {"broken": "x"}],
)
def test_what_a_slow_host_did_not_let_come_is_invalid_host(change: dict[str, object]) -> None:
    """Neither a failure of the product nor an unproven fault nor a broken bed; and what broke off is told as well."""
    result = good()
    for name, value in change.items():
        setattr(result, name, value)
    result.host = SLOW
    verdict, reasons = judge(result, alerts_wanted=ALERTS)
    assert verdict is Verdict.INVALID_HOST
    assert "0.4 of the reference" in reasons[0]
    assert ("the run broke off: x" in reasons) is bool(result.broken)


def test_slowness_excuses_no_violation() -> None:
    """A lost write is a failure on any host, also of a run that broke off."""
    result = good()
    result.host, result.broken = SLOW, "it broke"
    result.findings = told(writes="fail")
    assert judge(result, alerts_wanted=ALERTS) == (Verdict.FAIL, ["writes: it was fail"])


@pytest.mark.parametrize(
    ("verdict", "dilation", "lowest", "expected"),
    [
        (Verdict.PASS, 1.0, 1.0, "nothing"),
        (Verdict.FAIL, 1.0, 1.0, "timeline.txt"),
        (Verdict.INCONCLUSIVE, 1.0, 1.0, "evidence of the faults"),
        (Verdict.INVALID_HOST, 1.0, 0.4, "--dilation 4"),
        (Verdict.INVALID_HOST, 2.0, 1.0, "--dilation 4"),  # fast enough, but late: the next one
        (Verdict.INVALID_HOST, 8.0, 0.05, "end other programs on this computer and run it again"),
    ],
)
def test_each_verdict_says_what_to_do(verdict: Verdict, dilation: float, lowest: float, expected: str) -> None:
    """One sentence, with a dilation that would have been enough where there is one."""
    result = good()
    result.verdict, result.dilation, result.host = verdict, dilation, {"speed": {"lowest": lowest}}
    assert expected in what_to_do(result)

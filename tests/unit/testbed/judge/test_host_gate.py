"""Proves the gate: each limit by itself, what is not known, and that quiet figures of a real run pass."""

from __future__ import annotations

import pytest

from testbed.judge.host_gate import LIMITS, Limit, lateness_fields, reasons

QUIET: dict[str, object] = {
    "duration_s": 56.0, "cpu_pressure_some": 0.126, "steal": 0.0005, "busy": 0.48, "probe_lateness_p99_s": 0.004,
    "switch_lateness_median_s": 0.0001, "switch_lateness_max_s": 0.004,
}  # fmt: skip


def test_a_quiet_host_gives_no_reason() -> None:
    """Two emulated nodes on two cores press on the processors, and that is normal."""
    assert reasons(QUIET) == []


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.key)
def test_each_limit_counts_by_itself(limit: Limit) -> None:
    """At the limit is allowed; just above it is one reason, with the figure and the limit in it."""
    key, most = limit.key, limit.most
    assert reasons(QUIET | {key: most}) == []
    (reason,) = reasons(QUIET | {key: most * 1.5})
    assert f"{most * 1.5:.3g}" in reason
    assert f"limit {most:g}" in reason


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.key)
def test_limits_of_lateness_grow_with_the_dilation(limit: Limit) -> None:
    """The client's own times are longer then; pressure and steal are shares and stay."""
    found = reasons(QUIET | {limit.key: limit.most * 1.5}, 2.0)
    assert bool(found) is (not limit.dilates)
    assert limit.dilates is limit.key.endswith("_s")


def at_speed(lowest: float) -> dict[str, object]:
    """A quiet host whose speed was measured."""
    return QUIET | {"speed": {"lowest": lowest, "window_s": 60.0}}


def test_a_host_that_was_too_slow_for_too_long_is_the_reason() -> None:
    """Speed times dilation counts; the sentence holds both and the length."""
    assert reasons(at_speed(0.5), 2.0) == []
    (reason,) = reasons(at_speed(0.49), 2.0)
    assert "for 60 s it ran at 0.49 of the reference" in reason
    assert "dilation 2 is below 1" in reason


def test_where_the_speed_is_known_pressure_and_steal_are_evidence_only() -> None:
    """A host that is shared and still fast enough is a good host; a late probe is a reason all the same."""
    loaded: dict[str, object] = {"cpu_pressure_some": 0.9, "steal": 0.5}
    assert reasons(at_speed(1.0) | loaded) == []
    assert len(reasons(at_speed(1.0) | loaded | {"probe_lateness_p99_s": 0.2})) == 1
    unknown: dict[str, object] = {"speed": {"lowest": None, "trace": []}}
    assert len(reasons(QUIET | loaded | unknown)) == 2


def test_all_reasons_are_told() -> None:
    """A person sees at once everything that was wrong with the host."""
    assert len(reasons({limit.key: 1e9 for limit in LIMITS})) == len(LIMITS)


@pytest.mark.parametrize("value", [None, "0.001", True])
def test_without_the_probe_nothing_is_valid(value: object) -> None:
    """The bed measures its own lateness; when that is missing or no number, nobody knows."""
    assert len(reasons(QUIET | {"probe_lateness_p99_s": value})) == 1


@pytest.mark.parametrize("key", [limit.key for limit in LIMITS if not limit.required])
def test_a_figure_that_the_host_does_not_give_is_no_reason(key: str) -> None:
    """A kernel without pressure figures, or a switch that held nothing back, is no noisy host."""
    assert reasons(QUIET | {key: None}) == []


def test_the_lateness_of_the_switch_becomes_two_fields() -> None:
    """As the switch tells it; None while it held no frame back."""
    told = {"count": 3, "median_s": 0.001, "max_s": 0.02}
    assert lateness_fields(told) == {"switch_lateness_median_s": 0.001, "switch_lateness_max_s": 0.02}
    assert set(lateness_fields({"count": 0, "median_s": None, "max_s": None}).values()) == {None}

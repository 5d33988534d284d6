"""Proves the figures as text and as a page, and that docs/alarms.md shows the table."""

from __future__ import annotations

import os
from pathlib import Path

from faults.alarms import told
from faults.alarms.score import score
from faults.alarms.table import BY_FAULT, ROWS
from testbed.judge.verdict import Verdict
from tests.unit.faults.alarms.planted import alert, fault, run

PAGE = Path(__file__).resolve().parents[4] / "docs" / "alarms.md"
CUT = fault("link.cut", "a.priv0")
DOWN, UP = alert("link_down", "b", 14.0, "No heartbeat returns on link priv0."), alert("link_up", "b", 70.0)
BAD = run(
    [CUT, fault("disk.gone", "a", disk="vdc"), fault("disk.hang", "b")],
    alert("link_down", "b", 15.0, "link biz0"), alert("mirror_degraded", "a", 11.0, "/dev/vdc"),
    alert("fan_failed", "a", 20.0, "Fan 1"), alert("fan_failed_over", "a", 21.0),
    name="X2/run-1", speed=0.7, dilation=2.0,
)  # fmt: skip


def test_the_page_shows_the_table() -> None:
    """Fault by fault, then the conditions and what is not demanded."""
    text = told.page(ROWS)
    if os.environ.get("AVANCE_REGENERATE"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "AVANCE_REGENERATE=1 writes the page anew"


def test_a_good_run_is_told_in_figures_only() -> None:
    """Each with its interval, and the seconds to the first alarm."""
    found = score([run([CUT], DOWN, UP), run([], verdict=Verdict.INCONCLUSIVE)], BY_FAULT)
    assert told.report(found).splitlines() == [
        "1 runs with 1 faults, 0 of them with no alert to wait for; left out: inconclusive 1.",
        "",
        "expected alarms that came     1 of 1 [21-100 %]",
        "alarms that a fault explains  1 of 1 [21-100 %]",
        "right node and part named     1 of 1 [21-100 %]",
        "end told after the heal       1 of 1 [21-100 %]",
        "",
        "seconds from the fault to its first alarm, at dilation 1 (median, faults):",
        "  `link.cut` (the private link): 4.0 s, 1",
    ]
    assert told.is_good(found)


def test_what_is_wrong_is_named() -> None:
    """Each alarm that is missing, wrong, unexplained or without an end."""
    found = score([BAD], BY_FAULT)
    lines = told.report(found).splitlines()
    assert not told.is_good(found)
    for title, line in (
        ("expected, and did not come:", "  X2/run-1: disk.hang on b, 10.0 s: copy_lost from b"),
        ("came, and nothing explains it:", "  X2/run-1: fan_failed from a, 20.0 s (Fan 1)"),
        ("an all-clear that nothing explains:", "  X2/run-1: fan_failed_over from a, 21.0 s"),
        ("came from the wrong node, or did not name the part:",
         "  X2/run-1: link.cut on a.priv0, 10.0 s: link_down from a or b; b said: link biz0"),
        ("came, and its end was not told:",
         "  X2/run-1: disk.gone on a, disk vdc, 10.0 s: mirror_degraded from a: no mirror_whole"),
    ):  # fmt: skip
        assert lines[lines.index(title) + 1] == line


def test_what_is_not_counted_is_told_with_the_reason() -> None:
    """How many, and why."""
    found = score([run([fault("link.cut", "a.priv0", 10.0, 12.0)])], BY_FAULT)
    assert "not counted: 1 alarms, because the fault was over before it was due" in told.report(found)
    assert "because the fault was over before it was due.\n" in told.measured(found)


def test_what_the_product_cannot_see_is_told() -> None:
    """A gap by its name; what nobody needs to hear of is not listed."""
    faults = [fault("process.kill", "a/daemon"), fault("process.kill", "b/daemon"), fault("link.duplicate", "a.priv0")]
    lines = told.report(score([run(faults)], BY_FAULT)).splitlines()
    assert [line for line in lines if "seen" in line] == ["cannot be seen yet: process.kill, 2 times"]


def test_the_median_is_that_of_the_first_alarm_of_each_fault() -> None:
    """Of several alarms of a fault the first; an even number has the middle of both."""
    dead = fault("node.kill", "b")
    runs = [
        run([dead], alert("peer_lost", "a", at_s, "Node b"), alert("alone", "a", 40.0), name=f"A2/run-{at_s}")
        for at_s in (15.0, 16.0)
    ]
    assert "  `node.kill`: 5.5 s, 2" in told.report(score(runs, BY_FAULT)).splitlines()


def test_the_page_of_measurements() -> None:
    """Conditions first, then the figures, what is wrong, and the seconds."""
    text = told.measured(score([run([CUT], DOWN, UP, speed=0.9), BAD], BY_FAULT))
    assert "Runs: X1, X2. Dilation 1, 2, speed of the host 0.70 to 0.90 of the reference.\n2 runs with 4 faults" in text
    assert "| expected alarms that came | 3 of 4 [30-95 %] |\n" in text
    assert "## Expected, and did not come\n\n* X2/run-1: disk.hang on b" in text
    assert "| `link.cut` (the private link) | 3.2 s | 2 |\n" in text
    assert "No run could be counted." in told.measured(score([], BY_FAULT))

"""Tests of testbed.judge.oracles.twice: planted second instances of a VM, takeovers that are none, and blind times."""

from __future__ import annotations

import pytest

from testbed.history import History
from testbed.judge.finding import Finding
from testbed.judge.oracles.twice import (
    BOOT_GRACE_S,
    Alive,
    Domains,
    TwiceByDomains,
    away,
    boots_of,
    domains_of,
    is_running,
    judge_boots,
    judge_domains,
    standstills,
    twice,
    unwatched,
)
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict
from tests.unit.testbed.judge.test_orders import FORCED, KEPT, tells


def looked(node: str, at_s: float, *running: int, life: str = "1") -> Domains:
    """A list that took a tenth of a second."""
    return Domains(node, life, at_s - 0.1, at_s, running)


def judged(*lists: Domains, until_s: float = 10.0, away: dict[str, list[tuple[float, float]]] | None = None) -> Finding:
    """The finding over both nodes from 0."""
    return judge_domains(lists, nodes=("a", "b"), since_s=0.0, until_s=until_s, away=away or {})


def watched(node: str, *running: int, from_s: int = 1, to_s: int = 10) -> list[Domains]:
    """A look each second."""
    return [looked(node, float(second), *running) for second in range(from_s, to_s + 1)]


def test_one_domain_at_a_time_holds() -> None:
    """A takeover: the first domain is gone before the second one comes."""
    found = judged(*watched("a", 1, to_s=4), *watched("a", from_s=5), *watched("b", to_s=5), *watched("b", 1, from_s=6))
    assert (found.verdict, found.evidence["looks"]) == (Verdict.PASS, {"a": 10, "b": 10})


def test_a_second_domain_on_the_other_node_is_a_violation() -> None:
    """The planted violation: the VM boots on node b while it runs on node a."""
    found = judged(*watched("a", 1), *watched("b", to_s=5), *watched("b", 3, from_s=6))
    assert found.verdict is Verdict.FAIL
    assert found.text.startswith("domain 1 of node a (life 1) and domain 3 of node b (life 1) ran at once")
    assert found.text.endswith("from 6.000 to 9.900 s")


def test_a_single_look_within_the_others_life_is_enough() -> None:
    """It was seen only once, but at that time the other one certainly lived."""
    assert judged(*watched("a", 1), looked("b", 5.0, 2), *watched("b")).verdict is Verdict.FAIL
    assert judged(looked("a", 5.0, 2), *watched("a"), *watched("b", 1)).verdict is Verdict.FAIL


def test_looks_that_merely_touch_prove_nothing() -> None:
    """Two single looks at the same time may be of one domain that ended and one that began in between."""
    assert twice([Alive("x", 1.0, 2.0), Alive("y", 1.5, 1.9)]) == []
    assert twice([Alive("x", 1.0, 2.0), Alive("x", 3.0, 4.0), Alive("y", 3.5, 5.0)]) == []


@pytest.mark.parametrize(
    ("answered_s", "allowed_s", "verdict"), [(7.4, 0.5, "pass"), (7.4, 0.3, "fail"), (7.8, 0.5, "fail")]
)
def test_a_domain_of_a_paused_machine_does_not_run(answered_s: float, allowed_s: float, verdict: str) -> None:
    """Node a stands still from 2 to 7 s; its domain may run for a moment after it, before anybody there can know."""
    before, after = watched("a", 1, to_s=2), Domains("a", "1", 5.0, answered_s, (1,))
    found = judge_domains(
        [*before, after, *watched("b", to_s=3), *watched("b", 1, from_s=4)],
        nodes=("a", "b"), since_s=0.0, until_s=10.0, away={"a": [(2.0, 7.0)]},
        still={"a": [(2.0, 7.0)]}, allowed_s=allowed_s,
    )  # fmt: skip
    assert found.verdict == verdict
    if verdict == "fail":
        assert found.text.startswith("domain 1 of node a (life 1, after standstill 1) and domain 1 of node b (life 1)")


def test_standstills_are_what_the_machine_told() -> None:
    """From STOP to RESUME; one that has not ended is none yet."""
    with History() as history:
        for t_s, event in ((1.0, "STOP"), (2.0, "RESUME"), (3.0, "RESUME"), (4.0, "STOP"), (5.0, "STOP")):
            history.record_at(t_s, "qmp.a", "event", event=event)
        history.record_at(1.5, "qmp.b", "event", event="STOP")
        assert standstills(list(history), "a") == [(1.0, 2.0)]


def test_the_same_number_in_another_life_of_the_node_is_another_domain() -> None:
    """Domain numbers begin again when a node is switched on."""
    lists = [*watched("b", 1, from_s=3, to_s=6)]
    lives = [looked("a", 1.0, 1), looked("a", 2.0, 1), looked("a", 7.0, 1, life="2"), looked("a", 8.0, 1, life="2")]
    assert judged(*lists, *lives, until_s=8.5, away={"b": [(6, 9)]}).verdict is Verdict.PASS
    same = [Domains("a", "1", look.asked_s, look.answered_s, look.running) for look in lives]
    assert judged(*lists, *same, until_s=8.5).verdict is Verdict.FAIL


def test_a_node_that_nobody_looked_at_makes_it_blind() -> None:
    """Nobody knows what ran there; a time in which it was off or stood still does not count."""
    found = judged(*watched("a", 1), *watched("b", to_s=2))
    assert (found.verdict, found.evidence["unwatched"]) == (Verdict.INCONCLUSIVE, {"a": [], "b": [(2.0, 10.0)]})
    assert "node b were not looked at for longer than 5 s" in found.text
    assert judged(*watched("a", 1), *watched("b", to_s=2), away={"b": [(4.0, 99.0)]}).verdict is Verdict.PASS


def test_a_vm_that_was_never_seen_makes_it_blind() -> None:
    """A name that nobody has would always hold."""
    assert judged(*watched("a"), *watched("b")).verdict is Verdict.INCONCLUSIVE
    assert judged().verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("away", "gaps"),
    [
        ([], [(0.0, 10.0)]),
        ([(2.0, 4.0)], [(4.0, 10.0)]),
        ([(2.0, 4.0), (3.0, 6.0)], []),
        ([(-5.0, 20.0)], []),
        ([(12.0, 20.0)], [(0.0, 10.0)]),
    ],
)
def test_unwatched_times_are_what_is_left(away: list[tuple[float, float]], gaps: list[tuple[float, float]]) -> None:
    """Overlapping absences are taken out once."""
    assert unwatched([], 0.0, 10.0, away, 5.0) == gaps


@pytest.mark.parametrize(
    ("state", "runs"),
    [("r-----", True), ("-b----", True), ("------", True), ("--p---", False), ("---s--", False), ("---s-d", False)],
)
def test_only_a_domain_that_may_execute_runs(state: str, runs: bool) -> None:
    """Paused before its start, shut down or dying does not count."""
    assert is_running(state) is runs


def test_lists_and_answers_are_found_in_a_history() -> None:
    """The life of a node is counted by starts and resets of its machine; other domains are passed over."""
    history = History()
    history.record_at(1.0, "machine.a", "started")
    listed = [
        {"name": "Domain-0", "id": 0, "state": "r-----"},
        {"name": "avance-web", "id": 3, "state": "---s-d"},
        {"name": "avance-web", "id": 4, "state": "-b----"},
    ]
    history.record_at(2.0, "guests", "domains", node="a", asked_s=1.9, domains=listed)
    history.record_at(3.0, "machine.a", "started")
    history.record_at(4.0, "guests", "domains", node="a", asked_s=3.9, domains=[])
    history.record_at(4.1, "qmp.a", "event", event="RESET", data={"guest": True})
    history.record_at(4.2, "qmp.b", "event", event="RESET")
    history.record_at(4.5, "guests", "domains", node="a", asked_s=4.4, domains=listed)
    history.record_at(5.0, "boots", "ok", boot="beef", intended_s=4.8)
    history.record_at(5.0, "boots", "ok", intended_s=4.9)
    assert domains_of(history, "web") == [
        Domains("a", "1", 1.9, 2.0, (4,)),
        Domains("a", "2", 3.9, 4.0, ()),
        Domains("a", "3", 4.4, 4.5, (4,)),
    ]
    assert boots_of(history, "boots") == [Alive("boot beef", 4.8, 5.0)]


def answers(*boots: str) -> list[Alive]:
    """An answer a second, each within a tenth."""
    return [Alive(f"boot {boot}", second, second + 0.1) for second, boot in enumerate(boots)]


def test_a_boot_that_answers_again_after_another_is_a_violation() -> None:
    """The planted violation: two boots of the VM answer in turns."""
    found = judge_boots(answers("one", "two", "one"))
    assert found.verdict is Verdict.FAIL
    assert "boot one and boot two ran at once" in found.text


def test_boots_one_after_the_other_hold() -> None:
    """A restart, wherever."""
    found = judge_boots(answers("one", "one", "two", "two"))
    assert (found.verdict, found.evidence["boots"]) == (Verdict.PASS, ["boot one", "boot two"])


def test_a_late_answer_of_the_first_boot_proves_nothing() -> None:
    """It was asked before the second boot answered, and may have been on its way all the time."""
    second = [Alive("boot two", 3.0, 3.1), Alive("boot two", 4.0, 4.1)]
    assert judge_boots([*answers("one", "one"), *second, Alive("boot one", 1.5, 5.0)]).verdict is Verdict.PASS


def test_no_answer_that_names_a_boot_is_blind() -> None:
    """A probe that only writes learns no boot."""
    assert judge_boots([]).verdict is Verdict.INCONCLUSIVE
    assert judge_boots(answers("one")).verdict is Verdict.INCONCLUSIVE


def test_times_in_which_a_node_cannot_run_anything_are_known() -> None:
    """Off, booting until its dom0 answers, paused, and held still by a fault."""
    history = History()
    records: list[tuple[float, str, str, dict[str, object]]] = [
        (0.2, "machine.a", "started", {"incoming": "a.memory"}),
        (0.5, "machine.a", "quit", {}),
        (1.0, "machine.a", "started", {}),
        (9.0, "guests", "domains", {"node": "a"}),
        (10.0, "qmp.a", "event", {"event": "STOP"}),
        (12.0, "qmp.a", "event", {"event": "RESUME"}),
        (13.0, "qmp.a", "event", {"event": "RESET"}),
        (15.0, "guests", "domains", {"node": "a"}),
        (20.0, "fault", "injected", {"name": "node.freeze", "target": "a"}),
        (21.0, "fault", "confirmed", {"name": "node.freeze", "target": "a"}),
        (25.0, "fault", "healed", {"name": "node.freeze", "target": "a"}),
        (26.0, "fault", "injected", {"name": "link.cut", "target": "a"}),
        (28.0, "qmp.a", "event", {"event": "STOP"}),
        (30.0, "machine.a", "died", {}),
        (31.0, "machine.a", "quit", {}),
        (40.0, "machine.a", "started", {}),
    ]
    for t_s, source, kind, fields in records:
        history.record_at(t_s, source, kind, **fields)
    assert sorted(away(tuple(history), "a", 200.0)) == [
        (float("-inf"), 0.2), (0.5, 1.0), (1.0, 9.0), (10.0, 12.0), (13.0, 15.0), (20.0, 25.0), (28.0, 40.0),
        (30.0, 40.0), (40.0, 40.0 + BOOT_GRACE_S),
    ]  # fmt: skip
    assert away(tuple(history)[:-2], "a", 200.0)[-1] == (30.0, 200.0)  # not started again


@pytest.mark.parametrize(("from_s", "to_s", "verdict"), [(5.9, 10.0, "pass"), (6.1, 10.0, "fail"), (5.9, 9.8, "fail")])
def test_two_domains_are_no_violation_while_persons_have_forced_both(from_s: float, to_s: float, verdict: str) -> None:
    """They overlap from 6.0 to 9.9 s: in the time of the orders, from before the second order, and over the choice."""
    found = judge_domains(
        [*watched("a", 1), *watched("b", to_s=5), *watched("b", 3, from_s=6)],
        nodes=("a", "b"), since_s=0.0, until_s=10.0, away={}, ordered=(from_s, to_s),
    )  # fmt: skip
    assert found.verdict == verdict


def test_the_time_of_the_orders_is_that_of_the_history() -> None:
    """From the second order to the choice; without the word of the schedule there is none."""
    history = History()
    for second in range(1, 100):
        running = {"a": second > 51, "b": second < 85}
        for node, number in (("a", 1), ("b", 2)):
            listed = [{"name": "avance-web", "id": number, "state": "-b----"}] if running[node] else []
            history.record_at(float(second), "guests", "domains", node=node, asked_s=second - 0.1, domains=listed)
    for order in (*FORCED, *KEPT):
        tells(history, *order)
    for expected in (True, False):
        run = Recorded(Scene(), 1.0, 99.0, "none", "none", choice_expected=expected, records=tuple(history))
        assert (TwiceByDomains().judge(run).verdict is Verdict.FAIL) is not expected

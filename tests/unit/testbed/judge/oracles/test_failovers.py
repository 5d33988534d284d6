"""Tests of testbed.judge.oracles.failovers: moves, starts, and which fault accounts for them."""

from __future__ import annotations

from testbed.history import History
from testbed.judge.oracles.failovers import FaultSpan, Move, faults_of, judge_moves, moves, starts, unpaid
from testbed.judge.sightings import Sighting
from testbed.judge.verdict import Verdict

PORTS = {"a": ["a.biz0"], "b": ["b.biz0"]}
VM = "00:16:3e:77:00:20"


BOOTS = {"boots": "web", "boots@web1": "web1"}


def use(node: str, first_s: float, last_s: float, *, address: str = VM, is_cut: bool = False) -> Sighting:
    """An address in use at a node's port."""
    return Sighting(address, f"{node}.biz0", first_s, last_s, is_cut)


def move(t_s: float, what: str = VM) -> Move:
    """A move of an address."""
    return Move(what, t_s, f"{what} moved")


def kill(began_s: float, settled_s: float | None = None) -> FaultSpan:
    """A fault."""
    return FaultSpan("node.kill", "a", began_s, settled_s)


def test_a_takeover_is_one_move() -> None:
    """However many sightings there are on either side."""
    seen = [use("a", second, second + 0.2) for second in range(5)] + [use("b", 9.0, 9.5), use("b", 12.0, 20.0)]
    assert [(found.t_s, found.text) for found in moves(seen, PORTS)] == [(9.0, f"{VM} from node a to node b")]


def test_moves_there_and_back_are_two() -> None:
    """Each address for itself; what is no node's port is passed over."""
    seen = [use("a", 0, 5), use("b", 6, 9), use("a", 10, 15), use("b", 1, 2, address="10.77.0.10"), use("client", 7, 8)]
    assert [found.t_s for found in moves(seen, PORTS)] == [6, 10]


def test_a_short_use_within_the_others_is_no_move_but_dual_activity() -> None:
    """A thawed node that leaks some frames did not take the service over; what a cut stopped did neither."""
    assert moves([use("b", 0, 20), use("a", 5, 5.2)], PORTS) == []
    assert moves([use("b", 0, 20), use("a", 22, 25, is_cut=True)], PORTS) == []


def test_one_failover_for_one_fault_holds() -> None:
    """Both addresses move, and the VM starts anew: one of each is one failover."""
    happened = [move(5.0), move(5.1, "10.77.0.10"), move(6.0, "VM")]
    assert judge_moves(happened, [kill(1.0)], unseen="").verdict is Verdict.PASS


def test_two_failovers_for_one_fault_are_a_violation() -> None:
    """The planted violation: there and back again."""
    found = judge_moves([move(5.0), move(9.0)], [kill(1.0)], unseen="")
    assert found.verdict is Verdict.FAIL
    assert found.text == f"no fault accounts for {VM} moved at 9.000 s"
    assert found.evidence["faults"] == ["node.kill on a at 1.000 s"]


def test_a_failover_without_or_before_a_fault_is_a_violation() -> None:
    """A spurious takeover."""
    assert judge_moves([move(5.0)], [], unseen="").verdict is Verdict.FAIL
    assert judge_moves([move(0.5)], [kill(1.0)], unseen="").verdict is Verdict.FAIL


def test_a_second_fault_during_recovery_accounts_for_a_second_failover() -> None:
    """The first failover may come after the second fault."""
    assert unpaid([move(5.0), move(6.0)], [kill(1.0), kill(4.0)]) == []
    assert unpaid([move(5.0), move(6.0), move(7.0)], [kill(1.0), kill(4.0)]) == [move(7.0)]


def test_a_fault_that_was_over_accounts_for_nothing_later() -> None:
    """A fault that needed no failover does not pay for the next one's second."""
    assert unpaid([move(5.0), move(6.0)], [kill(1.0, settled_s=4.0), kill(4.5)]) == [move(6.0)]


def test_the_fault_whose_time_ends_first_pays_first() -> None:
    """Otherwise a move would be left over for which there was a fault."""
    assert unpaid([move(3.0), move(9.0)], [kill(1.0), kill(2.0, settled_s=4.0)]) == []


def test_a_blind_switch_is_blind_unless_it_saw_too_many() -> None:
    """Nobody knows what was not seen."""
    assert judge_moves([move(5.0)], [kill(1.0)], unseen="dark").verdict is Verdict.INCONCLUSIVE
    assert judge_moves([move(5.0), move(6.0)], [kill(1.0)], unseen="dark").verdict is Verdict.FAIL


def test_faults_are_found_in_a_history_with_the_end_of_their_time() -> None:
    """Healed before the next one began: it is over then; otherwise it stays open."""
    history = History()
    for t_s, kind, target in (
        (1.0, "injecting", "a"), (1.5, "injected", "a"), (2.0, "confirmed", "a"), (5.0, "healed", "a"),
        (8.0, "injected", "b"), (9.0, "injected", "a"), (9.5, "healed", "a"), (9.8, "healed", "c"),
    ):  # fmt: skip
        history.record_at(t_s, "fault", kind, name="node.kill", target=target)
    history.record_at(9.9, "bed", "stage")
    history.record_at(9.9, "fault", "injected", name="node.kill", target="b", step="again")
    again = FaultSpan("node.kill", "b", 9.9)
    assert faults_of(history) == [kill(1.0, 8.0), FaultSpan("node.kill", "b", 8.0), kill(9.0, 9.9), again]


def test_a_fault_that_strikes_again_pays_each_time() -> None:
    """A guest that crashes in a loop is started as often as it crashed, and once more would be one too many."""
    history = History()
    for t_s, kind in ((1.0, "injecting"), (3.0, "again"), (5.0, "again"), (7.0, "injected"), (9.0, "healed")):
        history.record_at(t_s, "fault", kind, name="guest.crash_loop", target="web", step="loop")
    found = faults_of(history)
    assert [fault.began_s for fault in found] == [1.0, 3.0, 5.0]
    assert unpaid([move(2.0), move(4.0), move(8.0)], found) == []
    assert unpaid([move(2.0), move(4.0), move(8.0), move(9.5)], found) == [move(9.5)]


def test_a_fault_that_struck_again_and_was_healed_pays_for_nothing_later() -> None:
    """Once it is over and another fault begins, no strike of it is left that could pay for a spurious failover."""
    history = History()
    for t_s, kind in ((1.0, "injecting"), (3.0, "again"), (5.0, "again"), (9.0, "healed")):
        history.record_at(t_s, "fault", kind, name="guest.crash_loop", target="web", step="loop")
    history.record_at(20.0, "fault", "injecting", name="node.kill", target="a", step="kill")
    found = faults_of(history)
    assert [fault.settled_s for fault in found] == [20.0, 20.0, 20.0, None]
    assert unpaid([move(2.0), move(25.0), move(30.0)], found) == [move(30.0)]


def test_each_new_boot_of_the_vm_is_a_start_but_the_first() -> None:
    """The one that ran when the watch began was there already."""
    history = History()
    for t_s, boot in ((1.0, "one"), (2.0, "one"), (6.0, "two"), (7.0, "two"), (9.0, "three")):
        history.record_at(t_s, "boots", "ok", boot=boot)
    assert [(found.t_s, found.text) for found in starts(history, 0.0, BOOTS)] == [
        (6.0, "boot two of VM web answered"),
        (9.0, "boot three of VM web answered"),
    ]
    assert [found.t_s for found in starts(history, 8.0, BOOTS)] == [9.0]


def test_the_first_boot_of_one_vm_is_no_start_of_another() -> None:
    """Each VM is counted for itself, and named."""
    history = History()
    for t_s, source, boot in ((1.0, "boots", "one"), (2.0, "boots@web1", "a"), (6.0, "boots@web1", "b")):
        history.record_at(t_s, source, "ok", boot=boot)
    assert [(found.what, found.t_s) for found in starts(history, 0.0, BOOTS)] == [("VM web1", 6.0)]

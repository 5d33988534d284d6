"""Tests of testbed.judge.oracles: a whole history that holds, one planted violation for each oracle, and blind ones."""

from __future__ import annotations

import pytest

from testbed.client.ledger import Verdict
from testbed.history import History
from testbed.judge.finding import Finding, State, worst
from testbed.judge.oracles import (
    BOOT_GRACE_S,
    away,
    bed_scene,
    judge_halves,
    judge_history,
    judge_replicas,
    judge_writes,
)
from testbed.judge.writes import Fate, SetFull
from testbed.replica.compare import Comparison, ReplicaReport

VM, NODE_B = "00:16:3e:77:00:20", "52:54:00:77:00:02"
EQUAL = ReplicaReport({"a": "x", "b": "x"}, (Comparison("a", "b", 9, 0),), (Comparison("a on vdb", "on vdc", 9, 0),))
KEPT = SetFull(Verdict.CLEAN, "all there", dict.fromkeys(Fate, 0), {}, 0, 0, 0, {})
KILLED_S, TAKEN_S, BACK_S, END_S = 20.0, 30.0, 60.0, 80.0


class Story:
    """The history of a crash of node a: killed at 20 s, node b serves from 30 s, node a boots from 60 s."""

    def __init__(self, *, leave_out: str = "") -> None:
        self.history = History()
        self.leave_out = leave_out
        self._tell()

    def add(self, t_s: float, source: str, kind: str, **fields: object) -> None:
        """One record, unless it is of the kind that is left out."""
        if kind != self.leave_out:
            self.history.record_at(t_s, source, kind, **fields)

    def _tell(self) -> None:
        for node in ("a", "b"):
            self.add(0.0, f"machine.{node}", "started")
        self.add(0.1, "switch", "watching")
        self.add(0.1, "switch", "counting")
        for second in range(1, int(END_S) + 1):
            self.second(float(second))
        self.add(END_S, "switch", "counting")

    def second(self, t_s: float) -> None:
        """What is seen in one second."""
        if t_s == KILLED_S:
            self.add(t_s, "machine.a", "killed")
            self.add(t_s, "fault", "injected", name="node.kill", target="a")
        if t_s == BACK_S:
            self.add(t_s, "machine.a", "started")
            self.add(t_s + 10.0, "fault", "healed", name="node.kill", target="a")
        owner = "a" if t_s < KILLED_S else "b" if t_s >= TAKEN_S else ""
        for node in ("a", "b"):
            if node == "b" or not KILLED_S <= t_s < BACK_S + 15:
                self.listed(t_s, node, [1 if node == "a" else 5] if node == owner else [])
        if owner:
            self.seen(t_s, owner)
            self.add(t_s, "boots", "ok", boot=owner, intended_s=t_s - 0.02)
        self.multicast(t_s, 2)

    def listed(self, t_s: float, node: str, numbers: list[int]) -> None:
        """What dom0 of a node lists."""
        domains = [{"name": "web", "id": number, "state": "-b----"} for number in numbers]
        self.add(t_s, "guests", "domains", node=node, asked_s=t_s - 0.1, domains=domains)

    def seen(self, t_s: float, node: str) -> None:
        """The VM's address at a node's port."""
        self.add(t_s, "switch", "seen", mac=VM, port=f"{node}.biz0", first_s=t_s - 0.5, last_s=t_s, cut=False)

    def multicast(self, t_s: float, peak: int) -> None:
        """A count at node b's port."""
        fields = {"port": "b.biz0", "mac": NODE_B, "first_s": t_s, "last_s": t_s, "frames": peak, "cut": 0}
        self.add(t_s, "switch", "multicast", **fields, peak=peak, peak_from_s=t_s)

    def judged(
        self, *, replicas: ReplicaReport | str = EQUAL, writes: SetFull | str = KEPT, overlap_allowed_s: float = 0.0
    ) -> dict[str, Finding]:
        """All findings by oracle."""
        found = judge_history(
            tuple(self.history), bed_scene(), since_s=1.0, until_s=END_S, overlap_allowed_s=overlap_allowed_s,
            replicas=replicas, writes=writes,
        )  # fmt: skip
        return {finding.oracle: finding for finding in found}


def not_holding(found: dict[str, Finding]) -> dict[str, State]:
    """The oracles that do not say `holds`."""
    return {name: finding.state for name, finding in found.items() if finding.state is not State.HOLDS}


def test_the_story_of_a_clean_takeover_holds_everywhere() -> None:
    """Every oracle saw enough, and none of them found anything."""
    found = Story().judged()
    assert not_holding(found) == {}
    assert worst(found.values()) is State.HOLDS
    assert len(found) == 8


def test_a_second_boot_of_the_vm_on_the_other_node_is_caught() -> None:
    """Planted: dom0 of node b lists a running domain of the VM while node a's runs."""
    story = Story()
    story.listed(10.05, "b", [2])
    found = story.judged()
    assert not_holding(found) == {"vm_twice.domains": State.VIOLATED}
    assert "domain 1 of node a" in found["vm_twice.domains"].text


def test_two_boots_that_answer_in_turns_are_caught() -> None:
    """Planted: the boot of node a answers again after that of node b."""
    story = Story()
    story.add(50.0, "boots", "ok", boot="a", intended_s=49.9)
    assert not_holding(story.judged()) == {"vm_twice.boots": State.VIOLATED}


def test_two_nodes_that_use_one_address_are_caught() -> None:
    """Planted: a frame of the VM from node a while node b has it."""
    story = Story()
    story.seen(75.0, "a")
    found = story.judged()
    assert not_holding(found) == {"dual_active": State.VIOLATED}
    assert f"both used {VM}" in found["dual_active"].text


def test_overlap_that_is_allowed_is_told() -> None:
    """A row may allow a short overlap; what there was of it stands in the finding."""
    story = Story()
    story.seen(75.0, "a")
    found = story.judged(overlap_allowed_s=1.0)["dual_active"]
    assert found.state is State.HOLDS
    assert found.text.endswith("the longest time was 0.500 s")
    assert found.evidence["allowed"] == [[VM, "a", "b", 74.5, 75.0, True]]


def test_eleven_multicasts_in_a_second_are_caught() -> None:
    """Planted: one more than allowed."""
    story = Story()
    story.multicast(40.5, 11)
    assert not_holding(story.judged()) == {"multicasts": State.VIOLATED}


def test_an_address_that_only_its_first_user_had_before_is_known_to_have_moved() -> None:
    """The service address is claimed once for each owner: the first time may be before what is judged."""
    story = Story()
    for t_s, port in ((0.5, "a.biz0"), (10.0, "b.biz0")):
        story.add(t_s, "switch", "claim", ip="10.77.0.10", port=port)
    assert not_holding(story.judged()) == {"failovers": State.VIOLATED}


def test_a_burst_that_is_told_after_the_end_still_counts() -> None:
    """An aggregate is stamped with its last frame, which may come after what is judged."""
    story = Story()
    fields = {"port": "b.biz0", "mac": NODE_B, "first_s": END_S - 0.5, "last_s": END_S + 0.1, "frames": 12, "cut": 0}
    story.add(END_S + 0.1, "switch", "multicast", **fields, peak=11, peak_from_s=END_S - 0.5)
    assert not_holding(story.judged()) == {"multicasts": State.VIOLATED}


def test_two_failovers_for_one_fault_are_caught() -> None:
    """Planted: a third boot answers, for which there was no fault."""
    story = Story()
    story.add(END_S, "boots", "ok", boot="c", intended_s=END_S - 0.01)
    found = story.judged()
    assert not_holding(found) == {"failovers": State.VIOLATED}
    assert "boot c of the VM" in found["failovers"].text


@pytest.mark.parametrize(
    ("missing", "blind"),
    [
        ("watching", {"dual_active", "failovers"}),
        ("seen", {"dual_active", "failovers"}),
        ("counting", {"multicasts"}),
        ("domains", {"vm_twice.domains"}),
        ("ok", {"vm_twice.boots"}),
    ],
)
def test_an_oracle_without_its_source_is_blind(missing: str, blind: set[str]) -> None:
    """Never silently green."""
    assert not_holding(Story(leave_out=missing).judged()) == dict.fromkeys(blind, State.BLIND)


@pytest.mark.parametrize("kind", ["lost", "ended"])
def test_a_switch_that_lost_events_or_ended_is_blind(kind: str) -> None:
    """The absence of a record proves nothing then."""
    story = Story()
    story.add(40.0, "switch", kind)
    assert not_holding(story.judged()) == dict.fromkeys(("dual_active", "failovers", "multicasts"), State.BLIND)


def test_without_replicas_or_writes_their_oracles_are_blind() -> None:
    """With the caller's own sentence."""
    found = Story().judged(replicas="node a was off", writes="no client wrote")
    assert {name: found[name].text for name in not_holding(found)} == {
        "replicas_equal": "node a was off", "mirror_halves_equal": "node a was off", "writes": "no client wrote",
    }  # fmt: skip


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


def unequal(**changes: object) -> ReplicaReport:
    """A report on two replicas that differ in one block."""
    fields = {"sha256": {"a": "x", "b": "y"}, "nodes": (Comparison("a", "b", 9, 1, ((0, 9),)),), "halves": ()}
    return ReplicaReport(**{**fields, **changes})  # type: ignore[arg-type]


def test_unequal_replicas_are_a_violation_with_their_places() -> None:
    """The caller said that they must be equal."""
    found = judge_replicas(unequal())
    assert (found.state, found.evidence["ranges"]) == (State.VIOLATED, {"a, b": ((0, 9),)})
    assert found.evidence["sha256"] == {"a": "x", "b": "y"}


def test_one_replica_alone_is_blind() -> None:
    """There is nothing to compare it with."""
    assert judge_replicas(unequal(nodes=())).state is State.BLIND


def test_unequal_halves_count_while_the_mirror_says_that_it_is_clean() -> None:
    """While it is written they may differ; a missing half leaves nothing to compare."""
    halves = (Comparison("a on vdb", "on vdc", 9, 1, ((0, 9),)),)
    assert judge_halves(unequal(halves=halves)).state is State.VIOLATED
    busy = judge_halves(unequal(halves=halves, dirty=("a",)))
    assert (busy.state, "not a quiet point" in busy.text) == (State.BLIND, True)
    assert judge_halves(unequal(problems=("disk vdb of node a is behind",))).state is State.BLIND
    assert judge_halves(unequal()).text == "no node has a second half"


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.CLEAN, State.HOLDS),
        (Verdict.VIOLATED, State.VIOLATED),
        (Verdict.INCONCLUSIVE, State.BLIND),
    ],
)
def test_the_book_is_judged_as_the_set_says(verdict: Verdict, state: State) -> None:
    """With its numbers as evidence."""
    found = judge_writes(SetFull(verdict, "because", dict.fromkeys(Fate, 0), {}, 0, 0, 0, {}))
    assert (found.state, found.text, found.evidence["lost"]) == (state, "because", 0)

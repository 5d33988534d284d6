"""Tests of testbed.judge.panel: a whole history that passes, one planted violation for each oracle, and blind ones.

And what makes the list safe: an oracle that raises is blind with the reason, one that is passed over is noticed, and a
new one needs no more than its file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from testbed.client.ledger import Entry
from testbed.client.outage import AttemptOutcome
from testbed.history import History
from testbed.judge import oracles, panel
from testbed.judge.finding import Finding, as_fields, passed
from testbed.judge.oracle import Oracle
from testbed.judge.panel import ORACLES, ask, found_in, names
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.result import FaultResult, Result, judge
from testbed.judge.verdict import Verdict
from testbed.replica.compare import Comparison, ReplicaReport
from testbed.replica.reading import Reading
from testbed.topology import Topology
from tests.mutants.mutant import Edit

VM, NODE_B = "00:16:3e:77:00:20", "52:54:00:77:00:02"
EQUAL = ReplicaReport({"a": "x", "b": "x"}, (Comparison("a", "b", 9, 0),), (Comparison("a on vdb", "on vdc", 9, 0),))
BOOK = (Entry("w0", 5.0, AttemptOutcome.OK, 0, acknowledged_at_s=5.1),)
KILLED_S, TAKEN_S, BACK_S, END_S = 20.0, 30.0, 60.0, 80.0
KEPT = (Reading("the service", END_S, ("w0",)),)
# The oracles for which the story below has a source; a new one has its own test.
TOLD = (
    "dual_active", "failovers", "mirror_halves_equal", "multicasts", "replicas_equal", "vm_twice.boots",
    "vm_twice.domains", "writes",
)  # fmt: skip
LISTED = tuple(oracle for oracle in ORACLES if oracle.name in TOLD)


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
        domains = [{"name": "avance-web", "id": number, "state": "-b----"} for number in numbers]
        self.add(t_s, "guests", "domains", node=node, asked_s=t_s - 0.1, domains=domains)

    def seen(self, t_s: float, node: str) -> None:
        """The VM's address at a node's port."""
        self.add(t_s, "switch", "seen", mac=VM, port=f"{node}.biz0", first_s=t_s - 0.5, last_s=t_s, cut=False)

    def multicast(self, t_s: float, peak: int) -> None:
        """A count at node b's port."""
        fields = {"port": "b.biz0", "mac": NODE_B, "first_s": t_s, "last_s": t_s, "frames": peak, "cut": 0}
        self.add(t_s, "switch", "multicast", **fields, peak=peak, peak_from_s=t_s)

    def recorded(
        self,
        *,
        replicas: ReplicaReport | str = EQUAL,
        readings: tuple[Reading, ...] | str = KEPT,
        overlap_allowed_s: float = 0.0,
    ) -> Recorded:
        """The whole run as its judges get it."""
        return Recorded(
            Scene(), since_s=1.0, until_s=END_S, replicas={"web": replicas},
            readings=readings if isinstance(readings, str) else {"web": readings},
            overlap_allowed_s=overlap_allowed_s, records=tuple(self.history), books={"web": BOOK},
        )  # fmt: skip

    def judged(
        self,
        *,
        replicas: ReplicaReport | str = EQUAL,
        readings: tuple[Reading, ...] | str = KEPT,
        overlap_allowed_s: float = 0.0,
    ) -> dict[str, Finding]:
        """All findings by oracle."""
        run = self.recorded(replicas=replicas, readings=readings, overlap_allowed_s=overlap_allowed_s)
        return {finding.oracle: finding for finding in ask(run, LISTED)}


def not_passing(found: dict[str, Finding]) -> dict[str, Verdict]:
    """The oracles that do not say `pass`."""
    return {name: finding.verdict for name, finding in found.items() if finding.verdict is not Verdict.PASS}


def test_the_story_of_a_clean_takeover_passes_everywhere() -> None:
    """Every oracle saw enough, and none of them found anything."""
    found = Story().judged()
    assert not_passing(found) == {}
    assert sorted(found) == sorted(TOLD)


def test_a_second_boot_of_the_vm_on_the_other_node_is_caught() -> None:
    """Planted: dom0 of node b lists a running domain of the VM while node a's runs."""
    story = Story()
    story.listed(10.05, "b", [2])
    found = story.judged()
    assert not_passing(found) == {"vm_twice.domains": Verdict.FAIL}
    assert "domain 1 of node a" in found["vm_twice.domains"].text


def test_two_boots_that_answer_in_turns_are_caught() -> None:
    """Planted: the boot of node a answers again after that of node b."""
    story = Story()
    story.add(50.0, "boots", "ok", boot="a", intended_s=49.9)
    assert not_passing(story.judged()) == {"vm_twice.boots": Verdict.FAIL}


def test_two_nodes_that_use_one_address_are_caught() -> None:
    """Planted: a frame of the VM from node a while node b has it."""
    story = Story()
    story.seen(75.0, "a")
    found = story.judged()
    assert not_passing(found) == {"dual_active": Verdict.FAIL}
    assert f"both used {VM}" in found["dual_active"].text


def test_overlap_that_is_allowed_is_told() -> None:
    """A row may allow a short overlap; what there was of it stands in the finding."""
    story = Story()
    story.seen(75.0, "a")
    found = story.judged(overlap_allowed_s=1.0)["dual_active"]
    assert found.verdict is Verdict.PASS
    assert found.text.endswith("the longest time was 0.500 s")
    assert found.evidence["allowed"] == [[VM, "a", "b", 74.5, 75.0, True]]


def test_eleven_multicasts_in_a_second_are_caught() -> None:
    """Planted: one more than allowed."""
    story = Story()
    story.multicast(40.5, 11)
    assert not_passing(story.judged()) == {"multicasts": Verdict.FAIL}


def test_an_address_that_only_its_first_user_had_before_is_known_to_have_moved() -> None:
    """The service address is claimed once for each owner: the first time may be before what is judged."""
    story = Story()
    for t_s, port in ((0.5, "a.biz0"), (10.0, "b.biz0")):
        story.add(t_s, "switch", "claim", ip="10.77.0.10", port=port)
    assert not_passing(story.judged()) == {"failovers": Verdict.FAIL}


def test_a_burst_that_is_told_after_the_end_still_counts() -> None:
    """An aggregate is stamped with its last frame, which may come after what is judged."""
    story = Story()
    fields = {"port": "b.biz0", "mac": NODE_B, "first_s": END_S - 0.5, "last_s": END_S + 0.1, "frames": 12, "cut": 0}
    story.add(END_S + 0.1, "switch", "multicast", **fields, peak=11, peak_from_s=END_S - 0.5)
    assert not_passing(story.judged()) == {"multicasts": Verdict.FAIL}


def test_two_failovers_for_one_fault_are_caught() -> None:
    """Planted: a third boot answers, for which there was no fault."""
    story = Story()
    story.add(END_S, "boots", "ok", boot="c", intended_s=END_S - 0.01)
    found = story.judged()
    assert not_passing(found) == {"failovers": Verdict.FAIL}
    assert "boot c of VM web" in found["failovers"].text


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
    assert not_passing(Story(leave_out=missing).judged()) == dict.fromkeys(blind, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("kind", ["lost", "ended"])
def test_a_switch_that_lost_events_or_ended_is_blind(kind: str) -> None:
    """The absence of a record proves nothing then."""
    story = Story()
    story.add(40.0, "switch", kind)
    blind = ("dual_active", "failovers", "multicasts")
    assert not_passing(story.judged()) == dict.fromkeys(blind, Verdict.INCONCLUSIVE)


def test_without_replicas_or_writes_their_oracles_are_blind() -> None:
    """With the caller's own sentence."""
    found = Story().judged(replicas="node a was off", readings="no client wrote")
    assert {name: found[name].text for name in not_passing(found)} == {
        "replicas_equal": "node a was off",
        "mirror_halves_equal": "node a was off",
        "writes": "no client wrote",
    }


class Raises:
    """An oracle with a mistake."""

    name = "mistaken"
    is_needed = False

    def judge(self, recorded: Recorded) -> Finding:
        """Look for what is not there."""
        return passed(self.name, str(recorded.records[0].fields["no such field"]))


class Answers:
    """An oracle that gives a chosen answer."""

    name = "chosen"
    is_needed = True

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def judge(self, _recorded: Recorded) -> Finding:
        """Give it."""
        return self.answer  # type: ignore[return-value]  # that is the point


def verdict_of(findings: list[Finding], listed: tuple[Oracle, ...]) -> tuple[Verdict, list[str]]:
    """The judgement over a run in which everything else was well."""
    run = Result("x", "tcg", 1.0, 1, "", is_redundant=True, host={"probe_lateness_p99_s": 0.0})
    run.faults = [FaultResult("node.kill", "a", "confirmed", 4.0, {})]
    run.findings = as_fields(findings)
    return judge(run, alerts_wanted=(), oracles=names(listed))


def promise(asking: Callable[[Recorded, Sequence[Oracle]], list[Finding]]) -> None:
    """An oracle that raises is blind with the reason; held against the panel, and against panels with a defect."""
    listed = (Raises(), *LISTED)
    found = asking(Story().recorded(), listed)
    assert [one.oracle for one in found] == names(listed), "the others speak all the same"
    assert {one.verdict for one in found[1:]} == {Verdict.PASS}
    assert (found[0].verdict, found[0].is_needed) == (Verdict.INCONCLUSIVE, True)
    assert found[0].text.startswith("it failed itself: KeyError: 'no such field' (test_panel.py, line ")
    verdict, reasons = verdict_of(found, listed)
    assert verdict is Verdict.INCONCLUSIVE
    assert reasons == [f"the oracle mistaken could not see: {found[0].text}"]


def test_an_oracle_that_raises_is_blind_with_the_reason() -> None:
    """It takes nothing from the others, and the run is never green, also when this oracle is not needed otherwise."""
    promise(ask)
    assert verdict_of(ask(Story().recorded(), LISTED), LISTED) == (Verdict.PASS, []), "without it the run passes"


ENDS = "return blind(name, text, traceback=traceback.format_exception(error))"
SWALLOWED = {
    "it passes": (ENDS, "return Finding(name, Verdict.PASS, text)"),
    "it is not needed": (ENDS, "return replace(blind(name, text), is_needed=False)"),
    "it is left out": (
        "[_asked(oracle, recorded) for oracle in listed]",
        "[_asked(oracle, recorded) for oracle in listed if oracle.is_needed]",
    ),
}


@pytest.mark.parametrize(("old", "new"), SWALLOWED.values(), ids=SWALLOWED)
def test_a_panel_that_swallows_a_judge_that_raises_is_noticed(old: str, new: str) -> None:
    """Seeded defects of the panel itself: the promise above does not hold for any of them."""
    path = Path(panel.__file__)
    mutated = ModuleType("mutated")
    source = (
        Edit(path.name, old, new)
        .applied(path.read_text(encoding="utf-8"))
        .replace("import Finding, blind\n", "import Finding, blind\nfrom testbed.judge.verdict import Verdict\n")
    )
    exec(compile(source, path, "exec"), vars(mutated))
    with pytest.raises(AssertionError):
        promise(mutated.ask)
    listed = (Raises(), *LISTED)
    left_out = len(mutated.ask(Story().recorded(), listed)) < len(listed)
    if left_out:  # then the judgement of the run notices it all the same
        assert verdict_of(mutated.ask(Story().recorded(), listed), listed)[0] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("answer", [None, passed("another", "fine"), "fine"])
def test_what_is_no_answer_of_an_oracle_is_blind(answer: object) -> None:
    """Nothing, a word for another oracle, or a text."""
    (found,) = ask(Story().recorded(), [Answers(answer)])
    assert (found.oracle, found.verdict, found.is_needed) == ("chosen", Verdict.INCONCLUSIVE, True)


def test_an_oracle_says_itself_whether_it_is_needed() -> None:
    """A finding carries that into the result."""
    needed = {one.oracle for one in ask(Story().recorded(), LISTED) if one.is_needed}
    assert needed == {"dual_active", "failovers", "multicasts", "replicas_equal", "writes"}


def test_every_oracle_is_blind_when_nothing_was_recorded() -> None:
    """Without its source none says that all is well, and none raises; also one that comes later."""
    nothing = Recorded(Scene(), 1.0, END_S, "nobody compared", {"web": ()})
    for found in ask(nothing, ORACLES):
        assert found.verdict is Verdict.INCONCLUSIVE, found
        assert not found.text.startswith("it failed itself"), found


NEW = """
from testbed.judge.finding import failed

class New:
    name = "new"
    is_needed = True

    def judge(self, recorded):
        return failed(self.name, f"{len(recorded.records)} records")

ORACLES = (New(),)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of oracles, as if its files stood beside the others."""
    monkeypatch.setattr(oracles, "__path__", [*oracles.__path__, str(tmp_path)])
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"{oracles.__name__}.{path.stem}", None)


def test_a_new_oracle_needs_its_file_and_nothing_else(folder: Path) -> None:
    """It is found, asked and in the result without being named anywhere."""
    (folder / "new.py").write_text(NEW, encoding="utf-8")
    listed = found_in(oracles)
    assert set(names(listed)) - set(names(ORACLES)) == {"new"}
    found = {one.oracle: one for one in ask(Story().recorded(), listed)}
    assert verdict_of(list(found.values()), listed)[0] is Verdict.FAIL
    assert found["new"].text.endswith(" records")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("ORACLES = 1 / 0\n", ZeroDivisionError),
        ("ORACLE = ()\n", AttributeError),
        (NEW.replace('"new"', '"writes"'), ValueError),
    ],
)
def test_a_file_that_gives_no_oracle_is_an_error_before_anything_is_run(
    folder: Path, text: str, error: type[Exception]
) -> None:
    """One that cannot be imported, has no list, or takes another oracle's name."""
    (folder / "new.py").write_text(text, encoding="utf-8")
    with pytest.raises(error):
        found_in(oracles)


class TwoVms(Story):
    """The same crash with a second VM, `web1`, on a second network."""

    topology = Topology(networks=2, vms=2)

    def second(self, t_s: float) -> None:
        """What is seen of both VMs in one second."""
        super().second(t_s)
        owner = "a" if t_s < KILLED_S else "b" if t_s >= TAKEN_S else ""
        if owner:
            mac = self.topology.vm("web1").mac
            self.add(t_s, "switch", "seen", mac=mac, port=f"{owner}.biz1", first_s=t_s - 0.5, last_s=t_s, cut=False)
            self.add(t_s, "boots@web1", "ok", boot=f"{owner}1", intended_s=t_s - 0.02)

    def listed(self, t_s: float, node: str, numbers: list[int]) -> None:
        """What dom0 of a node lists of both."""
        domains = [
            {"name": name, "id": number + more, "state": "-b----"}
            for number in numbers
            for name, more in (("avance-web", 0), ("avance-web1", 1))
        ]
        self.add(t_s, "guests", "domains", node=node, asked_s=t_s - 0.1, domains=domains)

    def told(self, **changes: object) -> dict[str, Finding]:
        """All findings by oracle, with these changes of what is recorded beside the history."""
        own = {
            "replicas": {"web": EQUAL, "web1": EQUAL},
            "readings": {"web": KEPT, "web1": (Reading("the service", END_S, ("w1-0",)),)},
            "books": {"web": BOOK, "web1": (Entry("w1-0", 5.0, AttemptOutcome.OK, 0, acknowledged_at_s=5.1),)},
        }
        fields = {**own, **changes}
        run = Recorded(Scene(self.topology), 1.0, END_S, records=tuple(self.history), **fields)  # type: ignore[arg-type]
        return {finding.oracle: finding for finding in ask(run, LISTED)}


def test_two_vms_that_move_together_pass() -> None:
    """Each is judged for itself, and the counts are of both."""
    found = TwoVms().told()
    assert not_passing(found) == {}
    assert (found["writes"].evidence["acknowledged"], found["writes"].evidence["lost"]) == (2, 0)
    assert (found["failovers"].evidence["vm_moves"], found["failovers"].evidence["vm_starts"]) == (2, 2)


def test_what_happens_to_the_second_vm_alone_is_found_and_named() -> None:
    """A lost write, unequal copies, a second copy that runs, a start without a fault."""
    unequal = ReplicaReport({}, (Comparison("a", "b", 9, 1, ((0, 9),)),), EQUAL.halves)
    lost = TwoVms().told(readings={"web": KEPT, "web1": (Reading("the service", END_S, ()),)})
    assert not_passing(lost) == {"writes": Verdict.FAIL}
    assert lost["writes"].text.startswith("VM web1: ")
    assert lost["writes"].evidence["lost"] == 1
    differ = TwoVms().told(replicas={"web": EQUAL, "web1": unequal})
    assert not_passing(differ) == {"replicas_equal": Verdict.FAIL}
    assert differ["replicas_equal"].text.startswith("VM web1: ")
    twice = TwoVms()
    twice.add(END_S, "boots@web1", "ok", boot="c", intended_s=END_S - 0.01)
    assert "boot c of VM web1" in twice.told()["failovers"].text
    running = TwoVms()
    for t_s in (70.0, 71.0, 72.0):
        domains = [{"name": "avance-web1", "id": 9, "state": "-b----"}]
        running.add(t_s, "guests", "domains", node="a", asked_s=t_s - 0.1, domains=domains)
    assert running.told()["vm_twice.domains"].text.startswith("VM web1: ")


def test_a_vm_that_nobody_saw_blinds_the_switch() -> None:
    """The other one was seen all the time."""
    story = TwoVms()
    mac = story.topology.vm("web1").mac
    kept = [entry for entry in story.history if entry.fields.get("mac") != mac]
    run = Recorded(Scene(story.topology), 1.0, END_S, "none", "none", records=tuple(kept))
    found = {finding.oracle: finding for finding in ask(run, LISTED)}
    assert found["dual_active"].text == "VM web1 did not send a single frame through any node's port"

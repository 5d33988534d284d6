"""Tests of testbed.judge.oracles.writes: each fate of a write, over several readers, and planted violations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from testbed.client.ledger import Ledger
from testbed.history import History
from testbed.judge.oracles.writes import Fate, SetFull, Writes, as_fields, classify
from testbed.judge.orders import Choice
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict
from testbed.replica.reading import Reading, from_replica, unreadable
from testbed.replica.worklog import make_record, read_log
from tests.unit.testbed.judge.test_orders import tells
from tests.unit.testbed.replica.captured_disks import RECORDS, Pair


def book(story: str) -> Ledger:
    """One write a second for each letter: o = acknowledged at the next index, x = unknown, e = refused, . = open."""
    ledger, index = Ledger(), 0
    for number, letter in enumerate(story):
        ledger.invoked(f"w{number}", float(number))
        if letter == "o":
            ledger.ok(f"w{number}", index, number + 0.5)
            index += 1
        elif letter == "x":
            ledger.info(f"w{number}", number + 0.5)
        elif letter == "e":
            ledger.fail(f"w{number}", "no", number + 0.5)
    return ledger


def told(story: str, *readings: Reading, duplicates_allowed: bool = False) -> SetFull:
    """The classes of a story."""
    return classify(book(story).entries(), readings, duplicates_allowed=duplicates_allowed)


def read(ids: str, *, reader: str = "survivor", at_s: float = 100.0) -> Reading:
    """A complete reading of writes by their numbers."""
    return Reading(reader, at_s, tuple(f"w{number}" for number in ids))


def test_what_is_there_at_its_place_for_every_reader_is_stable() -> None:
    """The survivor and both replicas agree."""
    found = told("ooo", *(read("012", reader=reader) for reader in ("survivor", "a", "b")))
    assert (found.verdict, found.counts[Fate.STABLE]) == (Verdict.PASS, 3)
    assert found.by_reader["b"] == {"stable": 3}
    assert "survivor, a, b" in found.reason


def test_a_write_that_one_replica_lacks_is_lost_there() -> None:
    """The other copies do not make it good: this one may be the next to serve."""
    found = told("ooo", read("012"), read("01", reader="b"))
    assert (found.verdict, found.counts[Fate.LOST], found.ids[Fate.LOST]) == (Verdict.FAIL, 1, ("w2",))
    assert "b: 1 lost" in found.reason


def test_a_write_at_another_place_is_stale() -> None:
    """The log was rolled back and written again."""
    found = told("oo", read("10"))
    assert (found.verdict, found.counts[Fate.STALE]) == (Verdict.FAIL, 2)


def test_a_write_that_was_missing_for_a_while_is_stale() -> None:
    """An earlier reading lacked it, a later one of the same reader has it again."""
    found = told("oo", read("0", at_s=50), read("01", at_s=60))
    assert (found.counts[Fate.STALE], found.counts[Fate.LOST], found.ids[Fate.STALE]) == (1, 0, ("w1",))


def test_a_write_that_is_there_twice_is_duplicated() -> None:
    """It breaks the promise unless the network was told to duplicate."""
    assert told("oo", read("010")).verdict is Verdict.FAIL
    allowed = told("oo", read("010"), duplicates_allowed=True)
    assert (allowed.verdict, allowed.counts[Fate.DUPLICATED]) == (Verdict.PASS, 1)


def test_an_unknown_write_that_nobody_ever_saw_is_never_read() -> None:
    """It counts neither way, as one that is still open."""
    found = told("ox.", read("0"))
    assert (found.verdict, found.counts[Fate.NEVER_READ], found.unread) == (Verdict.PASS, 2, 0)


def test_an_unknown_write_that_was_seen_once_must_stay() -> None:
    """Whoever read it may have acted on it."""
    assert told("ox", read("01", at_s=50), read("01", at_s=60, reader="b")).counts[Fate.STABLE] == 2
    found = told("ox", read("01", at_s=50), read("0", at_s=60, reader="b"))
    assert (found.verdict, found.ids[Fate.LOST]) == (Verdict.FAIL, ("w1",))


def test_a_reading_binds_only_what_was_acknowledged_before_it_began() -> None:
    """A write that was acknowledged later was no duty yet; if no later reading came, nobody saw it."""
    found = told("oo", read("0", at_s=1.0))
    assert (found.counts[Fate.STABLE], found.counts[Fate.NEVER_READ], found.unread) == (1, 1, 1)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_refused_write_is_in_no_class_and_one_that_is_there_is_told() -> None:
    """So are ids that nobody asked for."""
    found = told("oee", Reading("survivor", 9.0, ("w0", "w1", "earlier")))
    assert (sum(found.counts.values()), found.resurrected, found.foreign) == (1, 1, 1)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ((), "nobody read anything back"),
        ((unreadable("replica a", 9.0, "no disk"),), "replica a could not be read: no disk"),
        ((Reading("survivor", 9.0, ("w0",), False, "1 of 2"), read("0")), "survivor could not be read: 1 of 2"),
    ],
)
def test_a_reader_that_could_not_read_makes_it_inconclusive(readings: Sequence[Reading], reason: str) -> None:
    """Never silently clean."""
    found = told("o", *readings)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert reason in found.reason


def test_nothing_acknowledged_is_no_clean_bill() -> None:
    """Nothing could have been lost."""
    assert told("xx", read("")).verdict is Verdict.INCONCLUSIVE
    assert told("xx", read("01")).verdict is Verdict.INCONCLUSIVE


def test_a_violation_counts_more_than_a_blind_reader() -> None:
    """What one reader shows to be lost stays lost."""
    assert told("o", read(""), unreadable("b", 9.0, "no disk")).verdict is Verdict.FAIL


def judged(pair: Pair) -> SetFull:
    """The real pair's book against both of its replicas."""
    ledger = Ledger()
    for index, write_id in enumerate(ids_of(Pair(), "a")):
        ledger.invoked(write_id, float(index))
        ledger.ok(write_id, index, float(index))
    logs = {node: asyncio.run(read_log(pair.open(node), 1 << 20, f"replica {node}")) for node in ("a", "b")}
    readings = [from_replica(node, 1e6, log) for node, log in logs.items()]
    return classify(ledger.entries(), readings, duplicates_allowed=False)


def ids_of(pair: Pair, node: str) -> tuple[str, ...]:
    """The ids in the log of a replica."""
    return asyncio.run(read_log(pair.open(node), 1 << 20, node)).ids


def test_the_real_pair_lost_nothing() -> None:
    """Every acknowledged write of the captured run is in both replicas."""
    found = judged(Pair())
    assert (found.verdict, found.counts[Fate.STABLE]) == (Verdict.PASS, RECORDS)


def test_a_lost_acknowledged_write_on_a_real_replica_is_caught() -> None:
    """The planted violation: the last record is cut out of one node's copy."""
    pair = Pair()
    lost = ids_of(pair, "b")[-1]
    pair.write_record("b", RECORDS - 1, bytes(512))
    found = judged(pair)
    assert (found.verdict, found.ids[Fate.LOST]) == (Verdict.FAIL, (lost,))
    assert found.by_reader == {"a": {"stable": RECORDS}, "b": {"stable": RECORDS - 1, "lost": 1}}


def test_a_record_cut_out_of_the_middle_loses_all_behind_it() -> None:
    """The workload would serve none of them after the next start."""
    pair = Pair()
    pair.write_record("a", 400, bytes(512))
    assert judged(pair).counts[Fate.LOST] == RECORDS - 400


def test_a_stale_and_a_duplicated_write_on_a_real_replica_are_caught() -> None:
    """Planted: two records swap their ids, and one id is written a second time at the end."""
    pair = Pair()
    ids = ids_of(pair, "a")
    pair.write_record("a", 10, make_record(10, ids[11], "boot"))
    pair.write_record("a", 11, make_record(11, ids[10], "boot"))
    pair.write_record("b", RECORDS, make_record(RECORDS, ids[20], "boot"))
    found = judged(pair)
    assert found.verdict is Verdict.FAIL
    assert found.ids[Fate.STALE] == (ids[10], ids[11])
    assert found.ids[Fate.DUPLICATED] == (ids[20],)
    assert found.reason.endswith("a: 2 stale; b: 1 duplicated")


def test_what_an_incomplete_reading_shows_counts_and_what_it_lacks_does_not() -> None:
    """An id at another place is stale whatever was not read; nobody can say that nothing was lost."""
    found = told("ooo", Reading("survivor", 9.0, ("w1", "w0"), False, "2 of 3"))
    assert (found.verdict, found.stale, found.lost, found.unread) == (Verdict.FAIL, 2, None, 1)


@pytest.mark.parametrize("pongs", [[(1, 5), (2, 4)], [(2, 4), (1, 5)]])
def test_a_total_that_goes_back_is_stale(pongs: list[tuple[int, int]]) -> None:
    """A service that once had more than it has now went back in time, in whatever order the answers arrived."""
    found = classify(book("o").entries(), [read("0")], duplicates_allowed=False, pong_totals=pongs)
    assert (found.verdict, found.stale) == (Verdict.FAIL, 1)
    again = told("o", Reading("survivor", 9.0, ("w0",), totals=(2, 1)))
    assert (again.verdict, again.stale, again.counts[Fate.STALE]) == (Verdict.FAIL, 1, 0)
    assert "went back 1 times" in again.reason


def test_an_answer_after_the_time_limit_binds_the_service() -> None:
    """The client had given up, but the service did acknowledge."""
    ledger = book("x")
    ledger.ok("w0", 0, 9.0)
    assert classify(ledger.entries(), [read("")], duplicates_allowed=False).lost == 1


def asked(story: str, readings: tuple[Reading, ...] | str, *, duplicates_allowed: bool = False) -> tuple[str, object]:
    """The word of the oracle, and how many writes it calls lost."""
    run = Recorded(
        Scene(), 0.0, 9.0, "none", readings if isinstance(readings, str) else {"web": readings},
        duplicates_allowed=duplicates_allowed, books={"web": book(story).entries()},
    )  # fmt: skip
    found = Writes().judge(run)
    return str(found), found.evidence.get("lost")


def test_the_oracle_judges_the_book_by_the_readings() -> None:
    """A lost write fails with its number; nothing read is blind with the caller's reason, and not 0 lost."""
    assert asked("oo", (read("01"),)) == ("writes: pass: every write that must be there is at its place in survivor", 0)
    text, lost = asked("oo", (read("0"),))
    assert (text.startswith("writes: fail: "), lost) == (True, 1)
    assert asked("oo", "the run broke off") == ("writes: inconclusive: the run broke off", None)
    assert asked("oo", (read("010"),), duplicates_allowed=True)[0].startswith("writes: pass")


def test_the_numbers_go_into_the_result() -> None:
    """Each class has its key."""
    fields = as_fields(told("oox", read("0")))
    assert (fields["stable"], fields["lost"], fields["never_read"]) == (1, 1, 1)
    assert (fields["acknowledged"], fields["unknown"]) == (2, 1)
    assert fields["ids"] == {"lost": ["w1"], "stale": [], "duplicated": []}


# Node a was forced to run at 2 s, and its version was given up at 4 s: w2 and w3 may be in the copy of it only.
CHOICE = Choice("b", "a", forced_s=2.0, both_s=2.0, chosen_s=4.0)


def given_up(ids: str, *, node: str = "a", reader: str = "copy") -> Reading:
    """The copy of a version that was given up."""
    return Reading(reader, 90.0, tuple(f"w{number}" for number in ids), given_up_by=node)


def after_choice(*readings: Reading, choice: Choice | None = CHOICE, duplicated: bool = False) -> SetFull:
    """Two writes to both, two to node a alone, at their places in its version, and two to what was kept."""
    ledger = book("oooooo")
    for number, index in ((4, 2), (5, 3)):  # they follow on the kept version, which lacks w2 and w3
        ledger.ok(f"w{number}", index, number + 0.5)
    return classify(ledger.entries(), readings, duplicates_allowed=duplicated, choice=choice)


def test_a_write_of_the_version_that_was_given_up_has_to_be_in_its_copy() -> None:
    """It is there, so nothing that was acknowledged is nowhere."""
    found = after_choice(read("0145"), read("0145", reader="replica a"), given_up("0123"))
    assert (found.verdict, found.counts[Fate.GIVEN_UP], found.counts[Fate.STABLE]) == (Verdict.PASS, 2, 4)
    assert found.by_reader["copy"] == {"given up": 2}
    assert found.reason.endswith("survivor, replica a, copy; 2 of them in the version that was given up only")
    assert as_fields(found)["given_up"] == 2


def test_a_write_in_neither_version_is_lost() -> None:
    """Planted: the copy ends before it."""
    found = after_choice(read("0145"), given_up("012"))
    assert (found.verdict, found.ids[Fate.LOST]) == (Verdict.FAIL, ("w3",))


def test_without_the_copy_everything_that_was_given_up_is_lost() -> None:
    """Planted: nobody kept it, or the copy is of the other node, or no choice was made."""
    for readings in ((), (given_up("0123", node="b"),)):
        assert after_choice(read("0145"), *readings).ids[Fate.LOST] == ("w2", "w3")
    assert after_choice(read("0145"), given_up("0123"), choice=None).ids[Fate.LOST] == ("w2", "w3")


def test_a_write_that_the_kept_version_owes_is_excused_by_no_copy() -> None:
    """Planted: w1 came before node a could be alone, and w4 after the choice; both are in the copy."""
    assert after_choice(read("045"), given_up("0123")).ids[Fate.LOST] == ("w1",)
    assert after_choice(read("015"), given_up("01234")).ids[Fate.LOST] == ("w4",)


def test_a_pair_that_chose_the_other_side_loses_what_was_to_be_kept() -> None:
    """Planted: node b wrote w0 and w1 as well, and has the version of node a now; both versions are on node a only."""
    choice = Choice("a", "b", forced_s=0.0, both_s=2.0, chosen_s=4.0)  # the person said: keep node a
    assert after_choice(read("0145"), given_up("0123"), choice=choice).ids[Fate.LOST] == ("w2", "w3")


def test_a_write_that_one_reader_of_the_kept_version_has_is_owed_by_all() -> None:
    """Planted: a replica lacks what the other one has; the copy does not make it good."""
    found = after_choice(read("012345"), read("0145", reader="replica a"), given_up("0123"))
    assert found.by_reader["replica a"]["lost"] == 2


def test_a_write_at_another_place_in_the_copy_is_lost() -> None:
    """Planted: the copy is not what was written."""
    assert after_choice(read("0145"), given_up("0132")).ids[Fate.LOST] == ("w2", "w3")


def test_an_unknown_write_in_the_copy_only_is_not_owed() -> None:
    """Nobody was told that it was written, and nobody is served from the copy."""
    found = classify(
        book("ox").entries(), [read("0"), given_up("01")], duplicates_allowed=False,
        choice=Choice("b", "a", 0.0, 0.0, 9.0),
    )  # fmt: skip
    assert (found.verdict, found.counts[Fate.NEVER_READ]) == (Verdict.PASS, 1)


def test_a_copy_that_nobody_could_read_proves_nothing() -> None:
    """Whether the writes are in it is not known, so they are not called lost."""
    found = after_choice(read("0145"), unreadable("copy", 9.0, "no disk", given_up_by="a"))
    assert (found.verdict, found.unread, found.counts[Fate.LOST]) == (Verdict.INCONCLUSIVE, 2, 0)
    assert "copy could not be read: no disk" in found.reason


def test_the_oracle_takes_the_choice_from_the_history() -> None:
    """With the orders the copy counts; a choice that was to be made and was not excuses nothing."""
    history = History()
    orders = (
        (0.0, "b", "override", "a"),
        (2.0, "a", "override", "b"),
        (4.0, "a", "keep", "b"),
        (5.0, "b", "keep", "b"),
    )
    verdicts = []
    for order in orders:
        tells(history, *order)
        run = Recorded(
            Scene(), 0.0, 9.0, "none", {"web": (read("01"), given_up("0123"))},
            choice_expected=True, records=tuple(history), books={"web": book("oooo").entries()},
        )  # fmt: skip
        verdicts.append(Writes().judge(run).verdict)
    assert verdicts == [Verdict.FAIL] * 3 + [Verdict.PASS]

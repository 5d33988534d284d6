"""What is foreseen of a takeover: the answers of the real rule, each means with its seconds, each refusal with why."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from avance.core import arbiters
from avance.core import events as e
from avance.core.model import DiskRole, DiskState, DiskView, Forecast, Record, Timers, VmForecast, VmId
from avance.core.rehearsal import Expected, Lack, Own, foresee, in_words, is_equal, rehearse, usual
from avance.core.setup import Setup
from avance.core.takeover import Situation, TakeoverFacts
from tests.playbook import DB, GENERATIONS, WEB, A, B, Playbook, in_sync, paired, setup, spec

W1 = (arbiters.witness("w1"),)
ALL = Expected(("w1",), bmc=True, gateway=True)
GOOD = DiskView(disk=DiskState.UP_TO_DATE)
SAFE = {"policy": "safety"}


def foreseen(record: Record, site: Setup, expected: Expected = ALL) -> Forecast:
    """Foresee it on node b, whose copy is good."""
    facts = TakeoverFacts(B, record, Situation.LOST, 0.0, {WEB: GOOD}, site.policy)
    return foresee(facts, site, expected)


@pytest.mark.parametrize(
    ("names", "changes", "seconds", "off_s", "means"),
    [
        (W1, {"witnesses": ("w1",)}, 17.6, None, "witness w1"),
        (W1, {"witnesses": ("w1",), "power": True}, 9.8, 5.8, "witness w1"),
        ((), {}, 17.6, None, "policy availability"),
        ((), {"gateway": True}, 17.6, None, "policy availability"),
        ((), {"power": True}, 9.6, 5.6, "power fence"),
        ((), {"power": True, **SAFE}, 9.6, 5.6, "power fence"),
        ((arbiters.survivor(B),), {"witnesses": ("w1",), **SAFE}, 17.6, None, "survivor b"),
    ],
)
def test_each_means_has_its_seconds(
    names: tuple[str, ...], changes: dict[str, object], seconds: float, off_s: float | None, means: str
) -> None:
    """The waits of the rule, from the last word of the peer, and what the steps take."""
    found = foreseen(Record(3, A, arbiters=names), setup(B, **changes))
    assert (found.seconds, found.off_s, found.means, found.ready) == (seconds, off_s, means, True)


@pytest.mark.parametrize(
    ("names", "changes", "expected", "why"),
    [
        (W1, {"witnesses": ("w1",)}, replace(ALL, granting=()), "witness w1 is in office and does not answer"),
        ((arbiters.survivor(A),), {"witnesses": ("w1",)}, ALL, "node a is the pre-elected survivor"),
        ((), {"witnesses": ("w1",)}, ALL, "no witness is in office yet"),
        ((), SAFE, ALL, "site policy safety gives no right"),
        ((), {"power": True, **SAFE}, replace(ALL, bmc=False), "site policy safety gives no right"),
        ((), {"gateway": True}, replace(ALL, gateway=False), "no gateway answered"),
    ],
)
def test_each_refusal_says_why(
    names: tuple[str, ...], changes: dict[str, object], expected: Expected, why: str
) -> None:
    """It is the rule's own answer."""
    found = foreseen(Record(3, A, arbiters=names), setup(B, **changes), expected)
    assert found.seconds is None
    assert found.reasons[0].startswith(why)
    assert not found.ready


def test_a_bmc_that_does_not_answer_costs_time_only_where_something_else_gives_the_right() -> None:
    """With a witness the backup waits for lease and watchdog instead."""
    site = setup(B, witnesses=("w1",), power=True)
    found = foreseen(Record(3, A, arbiters=W1), site, replace(ALL, bmc=False))
    assert (found.seconds, found.off_s) == (17.6, None)


def test_all_seconds_are_dilated() -> None:
    """The site's times, and those of the steps."""
    slow = Timers(**{one.name: 3 * one.default for one in fields(Timers)})  # type: ignore[operator]  # all have a default
    found = foreseen(Record(3, A, arbiters=W1), setup(B, witnesses=("w1",), power=True, timers=slow))
    assert (found.seconds, found.off_s) == (29.4, 17.4)


def test_reasons_are_few_and_short() -> None:
    """They go into a heartbeat."""
    disks: dict[VmId, DiskView | None] = {VmId(f"vm-{'x' * 200}-{n}"): GOOD for n in range(8)}
    facts = TakeoverFacts(B, Record(3, A), Situation.LOST, 0.0, disks, "availability", behind=frozenset(disks))
    found = foresee(facts, setup(B), ALL)
    assert len(found.reasons) == 3
    assert max(map(len, found.reasons)) == 120


# ---------------------------------------------------------------- VM by VM


def backup() -> Playbook:
    """Return the backup of a pair in full service."""
    return paired(B, owner=A)


def lacks(book: Playbook, own: Own | None = None) -> dict[VmId, str]:
    """Return what each VM lacks on the backup."""
    return {one.vm: one.lacks for one in said(book, own).vms}


def said(book: Playbook, own: Own | None = None) -> Forecast:
    """Rehearse on the backup."""
    sight = book.engine.sight
    peer = sight.agreeing(book.now)
    assert peer is not None
    return rehearse(sight, peer, ALL, own or Own(free_mib=4096))


def test_a_sound_pair_is_as_usual() -> None:
    """What both nodes foresee without a word."""
    book = backup()
    assert said(book) == usual(book.engine.sight, B) == Forecast(17.6, "policy availability")


def test_the_last_start_is_added() -> None:
    """By the node that made it."""
    found = said(backup(), Own(4096, starts_s={WEB: 4.2}))
    assert found.vms == (VmForecast(WEB, "", 4.2),)
    assert found.ready


VIEW = in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)


@pytest.mark.parametrize(
    ("view", "lack"),
    [
        (VIEW, None),
        (replace(VIEW, connection="Connecting", peer_disk=DiskState.UNKNOWN), Lack.BEHIND),
        (replace(VIEW, peer_disk=DiskState.DISKLESS), None),
        (replace(VIEW, disk=DiskState.INCONSISTENT, replication="SyncTarget"), Lack.FILLING),
        (replace(VIEW, disk=DiskState.OUTDATED), Lack.BEHIND),
        (replace(VIEW, out_of_sync_kib=4), Lack.BEHIND),
        (replace(VIEW, disk=DiskState.DISKLESS), Lack.BEHIND),
        (None, Lack.BEHIND),
    ],
)
def test_a_copy_has_to_be_good_and_equal_now(view: DiskView | None, lack: Lack | None) -> None:
    """It is UpToDate also when it is not connected any more, and lacks what was written since then."""
    book = backup()
    book.hears(e.DiskChanged(WEB, view))
    assert is_equal(book.engine.sight, WEB) is (lack is None)
    assert lacks(book) == ({} if lack is None else {WEB: lack})
    assert (said(book).seconds is None) is (lack is not None)


def test_a_volume_that_is_being_made_is_no_fault() -> None:
    """It takes its time, as a copy that is being filled."""
    book = backup()
    book.hears(e.VmAdded(spec(DB, 1), "c0ffee"))
    assert lacks(book) == {DB: Lack.FILLING}


def test_a_copy_that_is_behind_is_not_good() -> None:
    """Whatever DRBD says."""
    book = backup()
    book.engine.sight.durable.record = replace(book.engine.record, behind=(WEB,))
    assert lacks(book) == {WEB: Lack.BEHIND}
    assert "behind" in said(book).reasons[0]


def test_a_node_in_quarantine_is_no_target() -> None:
    """The owner says so."""
    book = backup()
    book.peer_says(record=replace(book.peer.record, quarantined=True))
    assert lacks(book) == {WEB: Lack.QUARANTINE}


def test_vms_that_fail_here_would_fail_again() -> None:
    """They were left, or could not be made."""
    book = backup()
    assert lacks(book, Own(4096, left=frozenset({WEB}))) == {WEB: Lack.LEFT}
    assert lacks(book, Own(4096, unmade=frozenset({WEB}))) == {WEB: Lack.UNMADE}


@pytest.mark.parametrize(
    ("free_mib", "found"),
    [(None, {}), (196, {}), (195, {DB: "memory"}), (98, {DB: "memory"}), (97, {WEB: "memory", DB: "memory"})],
)
def test_memory_is_given_in_the_order_of_the_definitions(free_mib: int | None, found: dict[VmId, str]) -> None:
    """What does not fit is named; memory that nobody knows of refuses nothing, and is said to be unknown."""
    book = backup()
    book.hears(e.VmAdded(spec(DB, 1), "c0ffee"))
    book.hears(e.DiskChanged(DB, VIEW))
    book.engine.units[DB].has_generations(GENERATIONS)
    assert lacks(book, Own(free_mib)) == found
    assert said(book, Own(free_mib)).memory is (free_mib is not None)


@pytest.mark.parametrize("lack", Lack)
def test_every_lack_has_words(lack: Lack) -> None:
    """Why, and what to do."""
    why, action = in_words(lack)
    assert why
    assert action[0].isupper()
    assert in_words("of a later version")[0] == "of a later version"

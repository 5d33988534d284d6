"""Tests of testbed.client.ledger: the judge on hand-made books, and the reading back of a stand-in service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.client.ledger import Datagram, Ledger, ReadBack, Verdict, as_fields, judge, load, parse_ids, read_back
from testbed.lan.packets import Udp


def book(story: str) -> Ledger:
    """One write for each letter: o = acknowledged at the next index, x = unknown, e = refused, . = no answer yet."""
    ledger, index = Ledger(), 0
    for number, letter in enumerate(story):
        ledger.invoked(f"w{number}", 0.0)
        if letter == "o":
            ledger.ok(f"w{number}", index, 1.0)
            index += 1
        elif letter == "x":
            ledger.info(f"w{number}", 1.0)
        elif letter == "e":
            ledger.fail(f"w{number}", "no", 1.0)
    return ledger


def held(*ids: str) -> ReadBack:
    """A completed read back."""
    return ReadBack(True, ids, (len(ids),), "")


def test_a_complete_log_is_clean() -> None:
    """Everything acknowledged is there at its place."""
    verdict = judge(book("ooo").entries(), held("w0", "w1", "w2"))
    assert (verdict.verdict, verdict.acknowledged, verdict.lost, verdict.stale) == (Verdict.CLEAN, 3, 0, 0)


def test_a_lost_acknowledged_write_is_found() -> None:
    """The planted violation: one acknowledged id is gone, and named."""
    verdict = judge(book("ooo").entries(), held("w0", "w1"))
    assert (verdict.verdict, verdict.lost, verdict.lost_ids) == (Verdict.VIOLATED, 1, ("w2",))


def test_a_write_at_another_place_is_stale() -> None:
    """A log that was rolled back and overwritten has acknowledged ids at wrong indexes."""
    verdict = judge(book("ooo").entries(), held("w0", "w2", "w1"))
    assert (verdict.verdict, verdict.lost, verdict.stale) == (Verdict.VIOLATED, 0, 2)


def test_an_unknown_write_counts_neither_way() -> None:
    """It may be there or not."""
    for log in (("w0", "w2"), ("w0", "w2", "w1")):
        verdict = judge(book("oxo").entries(), held(*log))
        assert (verdict.verdict, verdict.lost, verdict.unknown) == (Verdict.CLEAN, 0, 1)


def test_a_write_without_any_answer_is_unknown() -> None:
    """A request still in flight at the end is unknown."""
    assert judge(book("o.").entries(), held("w0")).unknown == 1


def test_an_answer_after_the_time_limit_binds_the_service() -> None:
    """The client had given up, but the service did acknowledge."""
    ledger = book("x")
    ledger.ok("w0", 0, 9.0)
    assert ledger.entries()[0].is_late
    assert judge(ledger.entries(), held()).lost == 1


def test_duplicates_resurrections_and_foreign_ids_are_counted() -> None:
    """A write that is there twice, one that was refused and is there, and one that nobody here asked for."""
    verdict = judge(book("oe").entries(), held("w0", "w0", "w1", "earlier-run"))
    assert (verdict.duplicated, verdict.resurrected, verdict.foreign) == (1, 1, 1)


def test_a_read_back_that_was_not_completed_is_inconclusive_and_never_zero_lost() -> None:
    """Nobody can say that nothing was lost."""
    verdict = judge(book("oo").entries(), ReadBack(False, ("w0",), (2,), "1 of 2 ids were read"))
    assert (verdict.verdict, verdict.lost) == (Verdict.INCONCLUSIVE, None)
    assert "1 of 2" in verdict.reason
    assert as_fields(verdict)["lost"] is None


@pytest.mark.parametrize("pongs", [[(1, 5), (2, 4)], [(2, 4), (1, 5)]])
def test_a_total_that_goes_back_is_stale(pongs: list[tuple[int, int]]) -> None:
    """A service that once had more than it has now went back in time, in whatever order the answers arrived."""
    assert judge(book("o").entries(), held("w0"), pong_totals=pongs).stale == 1
    assert judge(book("o").entries(), ReadBack(True, ("w0",), (2, 1), "")).verdict is Verdict.VIOLATED


def test_the_book_on_disk_is_the_book(tmp_path: Path) -> None:
    """An earlier run can be judged from its file, also when a crash cut its last line."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        for number in range(4):
            ledger.invoked(f"w{number}", 1.0)
        ledger.ok("w0", 0, 2.0)
        ledger.fail("w1", "disk is gone", 2.0)
        ledger.info("w2", 3.0)
        ledger.ok("w2", 1, 4.0)
        entries = ledger.entries()
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"t_s": 5, "ki')
    assert load(tmp_path / "ledger.jsonl").entries() == entries


def test_an_id_cannot_be_used_twice() -> None:
    """The judge could not tell the two writes apart."""
    with pytest.raises(AssertionError, match="twice"):
        book("o").invoked("w0", 2.0)


@pytest.mark.parametrize("reply", [b"", b"IDS", b"IDS 1", b"IDS x 0", b"OK a 1", b"\xff\xfe\xfd"])
def test_what_is_no_ids_reply_is_passed_over(reply: bytes) -> None:
    """Garbage is not a page."""
    assert parse_ids(reply) is None


class Client:
    """An endpoint whose service answers at once from a list; some answers are lost or changed on request."""

    def __init__(self, log: list[str], *, lose: int = 0, claim: int | None = None) -> None:
        self.log, self.lose, self.claim = log, lose, claim
        self.asked = 0
        self.handlers: dict[int, Callable[[Datagram, float], None]] = {}

    def free_port(self) -> int:
        """A port."""
        return 40_000

    def listen(self, port: int, handler: Callable[[Datagram, float], None]) -> None:
        """Keep the handler."""
        self.handlers[port] = handler

    def stop_listening(self, port: int) -> None:
        """Forget it."""
        del self.handlers[port]

    def udp_send(self, dst_ip: str, dst_port: int, src_port: int, payload: bytes) -> None:
        """Answer a GET."""
        self.asked += 1
        if self.asked <= self.lose:
            return
        _, first, count = payload.decode().split()
        total = len(self.log) if self.claim is None else self.claim
        page = self.log[int(first) : int(first) + int(count)]
        reply = " ".join(["IDS", str(total), first, *page]).encode()
        stray = Udp("", "", "", 7000, src_port, b"IDS 99 77 stray")
        for datagram in (stray, Udp("", "", "", 7000, src_port, reply)):
            self.handlers[src_port](datagram, 0.0)


def read(client: Client, timeout_s: float) -> ReadBack:
    """Read back with short retries."""
    return asyncio.run(read_back(client, "10.77.0.20", 7000, timeout_s=timeout_s, page_timeout_s=0.02))


def test_all_pages_are_read_in_spite_of_lost_and_stray_replies() -> None:
    """The read back ends when the total is reached, with every id in its order."""
    ids = [f"w{number}" for number in range(60)]
    client = Client(ids, lose=2)
    found = read(client, 30)
    assert (found.complete, list(found.ids), found.totals) == (True, ids, (60, 60, 60))
    assert client.handlers == {}


def test_an_empty_log_is_complete() -> None:
    """Nothing to read is an answer."""
    assert read(Client([]), 30) == ReadBack(True, (), (0,), "")


def test_a_silent_service_leaves_the_read_back_incomplete() -> None:
    """At the deadline it says that no reply came."""
    found = read(Client([], lose=10**6), 0.1)
    assert (found.complete, "no reply came" in found.reason) == (False, True)


def test_a_service_that_gives_less_than_it_names_leaves_it_incomplete() -> None:
    """The total is not believed without the ids."""
    found = read(Client(["w0"], claim=3), 0.1)
    assert (found.complete, found.ids) == (False, ("w0",))
    assert "1 of 3" in found.reason


def test_a_total_that_falls_below_what_was_read_is_not_complete() -> None:
    """A log that shrinks while it is read proves nothing."""
    found = read(Client(["w0", "w1"], claim=1), 30)
    assert (found.complete, "fell to 1" in found.reason) == (False, True)

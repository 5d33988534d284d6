"""Tests of testbed.client.ledger: the book, its file, and the reading back of a stand-in service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.client.ledger import Datagram, Entry, Ledger, ReadBack, load, parse_ids, read_back
from testbed.client.outage import AttemptOutcome
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


def test_an_answer_after_the_time_limit_is_late_and_acknowledged() -> None:
    """The client had given up, but the service did acknowledge."""
    ledger = book("x")
    ledger.ok("w0", 0, 9.0)
    assert ledger.entries() == (Entry("w0", 0.0, AttemptOutcome.OK, 0, is_late=True, acknowledged_at_s=9.0),)


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

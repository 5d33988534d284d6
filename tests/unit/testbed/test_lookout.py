"""Tests of testbed.lookout: what it records of nodes and service, and that a node which hangs holds up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from testbed import lookout
from testbed.errors import GuestCommandError
from testbed.history import History, Record
from testbed.ledger import Datagram
from testbed.lookout import Lookout
from testbed.oracle_twice import boots_of, domains_of
from testbed.packets import Udp
from testbed.wait import wait_for_record


@dataclass(frozen=True)
class Domain:
    """One line of `xl list`."""

    name: str
    id: int
    flags: str


class Client:
    """An endpoint whose service answers each PING at once, with the boots in turn, and now and then with rubbish."""

    def __init__(self, boots: Sequence[str]) -> None:
        self.boots = boots
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
        """Answer."""
        verb, token = payload.decode().split()
        assert (verb, dst_ip, dst_port) == ("PING", "10.77.0.20", 7000)
        stray = [b"PONG elsewhere beef 1", b"ERR no", b"\xff"]
        for text in (*stray, *(f"PONG {token} {boot} 7".encode() for boot in self.boots)):
            self.handlers[src_port](Udp("", "", "", 7000, src_port, text), 1e9)


def seen(history: History, source: str) -> list[Record]:
    """What a source has recorded."""
    return [record for record in history if record.source == source]


async def _looked(
    client: Client, ask: Callable[[str], object], history: History, done: Callable[[], bool] | None = None
) -> None:
    """Look until each node was looked at three times, or as said."""
    enough = done or (lambda: all(len([r for r in history if r.fields.get("node") == n]) > 2 for n in ("a", "b")))

    async def asked(node: str) -> Sequence[Domain]:
        answer = ask(node)
        if answer is None:
            await asyncio.Event().wait()
        assert isinstance(answer, list)
        return answer

    nodes = {"a": "a", "b": "b"}
    async with Lookout(
        nodes, asked, client, ("10.77.0.20", 7000), history=history, domains_period_s=0.005, boot_period_s=0.005
    ):
        await wait_for_record(
            history, lambda entry: entry.kind == "domains" and enough(), what="looks", timeout_s=20
        )


def test_domains_and_boots_reach_the_history_as_the_oracle_reads_them() -> None:
    """Each list with the time of its question, each answer with its boot; strays are passed over."""
    history, client = History(), Client(["beef"])
    answer = [Domain("Domain-0", 0, "r-----"), Domain("web", 3, "-b----")]
    asyncio.run(_looked(client, lambda _node: answer, history))
    lists = domains_of(history, "web")
    assert {look.node for look in lists} == {"a", "b"}
    assert all(look.running == (3,) and look.asked_s <= look.answered_s for look in lists)
    assert {answer.instance for answer in boots_of(history)} == {"boot beef"}
    assert client.handlers == {}


def test_two_vms_that_answer_one_question_are_both_recorded() -> None:
    """The second answer is what the oracle looks for."""
    history = History()
    asyncio.run(_looked(Client(["beef", "cafe"]), lambda _node: [], history))
    assert [answer.instance for answer in boots_of(history)][:2] == ["boot beef", "boot cafe"]


def test_a_node_that_cannot_be_asked_leaves_a_gap_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, or a question that is never answered, is no record; the other node is looked at all the same."""
    monkeypatch.setattr(lookout, "DOMAINS_TIMEOUT_S", 0.01)
    asked: list[str] = []

    def ask(node: str) -> list[Domain] | None:
        asked.append(node)
        if node == "b":
            return []
        if asked.count("a") % 2:
            raise GuestCommandError("node a is off")
        return None

    history = History()
    asyncio.run(_looked(Client([]), ask, history, lambda: asked.count("a") >= 4))
    assert {record.fields["node"] for record in seen(history, "guests")} == {"b"}


def test_open_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is silent for hours costs no memory."""
    monkeypatch.setattr(lookout, "WAITING_MAX", 3)
    history, client = History(), Client([])
    made: list[Lookout[str]] = []

    async def run() -> None:
        async def ask(_node: str) -> Sequence[Domain]:
            return []

        async with Lookout(
            {"a": "a"}, ask, client, ("10.77.0.20", 7000), history=history, domains_period_s=0.01, boot_period_s=0.001
        ) as one:
            made.append(one)
            await wait_for_record(
                history, lambda _entry: len(seen(history, "guests")) >= 5, what="looks", timeout_s=20
            )

    asyncio.run(run())
    assert len(made[0]._waiting) <= 3

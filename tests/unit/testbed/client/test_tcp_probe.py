"""Tests of testbed.client.tcp_probe: what it makes of the reports of its program."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from pathlib import Path

import pytest

from testbed.client.levels import tcp_orders
from testbed.client.outage import AttemptOutcome
from testbed.client.tcp_host import TcpOrders
from testbed.client.tcp_probe import TcpProbe
from testbed.history import History
from testbed.wait import OwnedTask


def orders(directory: Path) -> TcpOrders:
    """Orders for a target that is not there."""
    return tcp_orders(
        directory, "tcp.biz0", mac="02:77:00:00:01:01", ip="10.77.0.101", prefix=24, target="10.77.0.20", port=7000
    )


def test_reports_become_attempts_and_reasons(tmp_path: Path) -> None:
    """White-box: lines as the program writes them."""
    probe = TcpProbe(orders(tmp_path), log=tmp_path / "log", changes={})
    probe._take({"ready": True})
    for number in range(2):
        probe._take({"level": "tcp_new", "number": number, "intended_s": 1.0 + number, "sent_s": 1.0 + number})
    probe._take({"level": "tcp_new", "number": 0, "outcome": "ok", "done_s": 1.1})
    probe._take({"level": "tcp_new", "number": 1, "outcome": "fail", "why": "connection refused"})
    assert probe.problem is None
    assert [attempt.outcome for attempt in probe.attempts["tcp_new"].all] == [AttemptOutcome.OK, AttemptOutcome.FAIL]
    assert dict(probe.reasons["tcp_new"]) == {"connection refused": 1}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (b'{"ready": true}\n', "its process ended during the run; "),
        (b'{"ready": true}\n{"conn', r"its report broke off during the run \(.* after 6 bytes\); "),
        (b'{"ready": true}\njunk\n', r"broke off during the run \(a line came that is no JSON"),
        (b'{"ready": true}\n' + b"x" * 10_000_000, "more than 1048576 bytes"),
    ],
    ids=["ended", "cut", "junk", "endless"],
)
def test_a_report_that_breaks_off_is_a_problem(tmp_path: Path, report: bytes, words: str) -> None:
    """White-box: what was reported before counts, and nothing after it is taken for measured."""
    probe = TcpProbe(orders(tmp_path), log=tmp_path / "log", changes={})

    async def story() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            async with OwnedTask(probe._read(listener), name="reports") as reading:
                _, writer = await asyncio.open_unix_connection(tmp_path / "s")
                with contextlib.suppress(ConnectionError):
                    writer.write(report)
                    await writer.drain()
                writer.close()
                assert await reading.finish(100)

    asyncio.run(story())
    assert probe.problem is not None
    assert re.search(words, probe.problem)


def test_the_fate_of_the_connection_that_met_the_fault(tmp_path: Path) -> None:
    """White-box: survived, or how and when it ended, and when the client had another one."""
    history = History()
    probe = TcpProbe(orders(tmp_path), log=tmp_path / "log", changes={}, history=history)
    assert probe.connection_fields(10.0, 10.0) == {"fate": "there was none"}
    probe._take({"level": "tcp_long", "connection": "opened", "t_s": 5.0})
    assert probe.connection_fields(10.0, 10.0) == {"fate": "survived"}
    probe._take({"level": "tcp_long", "connection": "ended", "t_s": 35.0, "how": "reset"})
    probe._take({"level": "tcp_long", "connection": "not opened", "t_s": 36.0, "how": "connection refused"})
    lost = {"fate": "reset", "ended_s": 25.0, "reconnected_s": None, "tries_in_vain": 1}
    assert probe.connection_fields(10.0, 10.0) == lost
    probe._take({"level": "tcp_long", "connection": "opened", "t_s": 37.0})
    assert probe.connection_fields(10.0, 10.0) == {**lost, "reconnected_s": 27.0}
    assert [record.kind for record in history] == [
        "connection_opened",
        "connection_ended",
        "connection_not_opened",
        "connection_opened",
    ]

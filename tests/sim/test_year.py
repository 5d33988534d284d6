"""A year with a flapping cable, a dead service centre and a noisy stranger: files and memory stay bounded, and the one
critical alert arrives.

The engines live through some minutes of it. What they tell in these minutes is then told to the real queue again and
again, hour after hour by its clock. The middle of the year is skipped: the hours before it show that one more hour
changes nothing in the queue but counts and numbers, so only the clock has to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avance import deliver as courier
from avance.adapters import callhome
from avance.adapters.callhome import QUEUE_MAX, AlertQueue, Delivery, Reception, waiting
from avance.core import alerts
from avance.core import commands as c
from avance.core import events as e
from avance.core.grouping import STORIES_MAX
from avance.core.model import Alert
from avance.wire.callhome import told
from tests.playbook import PRIV, A, B
from tests.sim.rows import WITNESS, Row

HOUR_S = 3600.0
HOURS = 365 * 24
LIVED = 40  # hours at each end of the year that are told one by one


def an_hour() -> list[Alert]:
    """Return what both engines tell while the cable comes and goes and a stranger sends junk."""
    row = Row(WITNESS)
    for number in range(6):
        cut = row.breaks("link.cut", "a.priv0")
        row.passes(4.0)
        row.heals(cut)
        for machine in row.world.machines.values():
            if machine.daemon is not None:
                machine.daemon.deliver(e.DatagramsRefused(PRIV, "not a heartbeat", 1000, (f"10.9.0.{number}",)))
        row.passes(56.0)
    row.recovers()
    return [command.alert for _, _, command in row.world.commands if isinstance(command, c.SendAlert)]


def stories(directory: Path) -> set[tuple[str, str]]:
    """Return what the alerts that wait are about."""
    return {told((directory / name).read_bytes())[0] for name in waiting(directory)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the queue, and a disk that is as fast as memory."""
    now = [0.0]
    monkeypatch.setattr(callhome, "now_s", lambda: now[0])
    monkeypatch.setattr(callhome, "write_durably", lambda path, raw: path.write_bytes(raw))
    return now


def test_a_year_of_trouble_ends_with_one_file_a_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """The centre is dead all year; when it is back it hears of each story once, with its count, and of the split."""
    hour, queue = an_hour(), AlertQueue(tmp_path, A)
    assert len(hour) > 20

    def live(hours: int) -> None:
        for _ in range(hours):
            for alert in hour:
                queue._write(alert, 3, "then")
            clock[0] += HOUR_S

    live(LIVED)
    first = stories(tmp_path)
    queue._write(alerts.split("both nodes claim epoch 3"), 3, "in the middle")
    clock[0] += (HOURS - 2 * LIVED) * HOUR_S
    live(LIVED)
    assert stories(tmp_path) == first | {("split", "")}
    assert len(waiting(tmp_path)) == len(first) + 1
    assert queue.queued < QUEUE_MAX / 10
    assert queue.dropped == 0
    assert len(queue._groups.stories) < STORIES_MAX
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000
    taken = _delivered(tmp_path, monkeypatch)
    assert sorted(taken) == sorted((*first, ("split", "")))
    assert waiting(tmp_path) == []


def test_a_centre_that_listens_is_not_flooded(tmp_path: Path, clock: list[float]) -> None:
    """Each story is told three times in an hour at most, whatever happens; the rest is counted and comes later."""
    queue, sent = AlertQueue(tmp_path, B), 0
    for _ in range(24 * 60):
        queue._write(alerts.link_down(PRIV), 3, "then")
        queue._tell_held()
        for name in waiting(tmp_path):
            (tmp_path / name).unlink()
            sent += 1
        clock[0] += 60.0
    assert 24 * 2 <= sent <= 24 * 3
    assert queue.queued <= 1


def _delivered(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Let the centre be away a while longer, then take everything; returns the stories as they arrive."""
    taken: list[tuple[str, str]] = []
    away = [Reception.AWAY] * 20

    def deliver(_: object, path: Path) -> Delivery:
        if away:
            return Delivery(away.pop(), "nobody answers")
        taken.append(told(path.read_bytes())[0])
        path.unlink()
        return Delivery(Reception.TAKEN)

    monkeypatch.setattr(courier, "QUEUE_DIR", directory)
    monkeypatch.setattr(courier, "deliver", deliver)
    monkeypatch.setattr(courier, "_target", lambda _: object())
    left = _turns(200)
    courier.deliver_all(left)
    return taken


def _turns(number: int) -> Callable[[float], bool]:
    """Return a wait that ends after so many turns."""
    turns = iter(range(number))
    return lambda _: next(turns, None) is None

"""The deliverer empties the queue, backs off while the service centre is away, and is blocked by no single alert."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avance import deliver as module
from avance.adapters.callhome import DEAD_LETTERS, AlertQueue, Delivery, Reception, waiting
from avance.adapters.callhome import deliver as really_deliver
from avance.config import CallHome
from avance.core import alerts
from avance.parsed import Json
from tests.playbook import A
from tests.unit.avance.site import site

Answer = Callable[[str], Reception]
NAMES = [f"{number:012}.json" for number in (1, 2)]


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two alerts."""
    directory = tmp_path / "queue"
    directory.mkdir()
    for name in NAMES:
        (directory / name).write_text("{}")
    monkeypatch.setattr(module, "QUEUE_DIR", directory)
    return directory


def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Json) -> None:
    """Write the configuration of a paired node."""
    path = tmp_path / "config"
    path.write_text(json.dumps({"node": "a", "site": site(**changes), "vms": [{"any": "thing"}]}))
    monkeypatch.setattr(module, "CONFIG_PATH", path)


def run(monkeypatch: pytest.MonkeyPatch, answer: Answer, limit: int) -> tuple[list[float], list[str]]:
    """Run the process with a service centre that answers so; returns how long it paused, and what it tried."""
    pauses: list[float] = []
    tries: list[str] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) >= limit

    def deliver(target: CallHome, path: Path) -> Delivery:
        assert target.token == "t0ken-of-the-tests"
        tries.append(path.name)
        said = answer(path.name)
        if said is Reception.TAKEN:
            path.unlink()
        return Delivery(said, str(said))

    monkeypatch.setattr(module, "deliver", deliver)
    assert module.deliver_all(wait) == 0
    return pauses, tries


def test_queue_is_emptied_without_pauses(tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the service centre answers, one alert follows the other, the oldest first."""
    configure(tmp_path, monkeypatch)
    assert run(monkeypatch, lambda _: Reception.TAKEN, 4) == ([2.0, 0.0, 0.0, 2.0], NAMES)
    assert waiting(queue) == []


def test_failures_back_off_to_a_bound(tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service centre that is away is asked ever more rarely, at least once a minute, and for the oldest alert."""
    configure(tmp_path, monkeypatch)
    pauses, tries = run(monkeypatch, lambda _: Reception.AWAY, 10)
    assert pauses[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert {*tries} == {NAMES[0]}


def test_an_alert_that_is_refused_blocks_nobody(tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a dead letter with the reason, and the next one is delivered at once."""
    configure(tmp_path, monkeypatch)
    pauses, tries = run(monkeypatch, lambda name: Reception.REFUSED if name == NAMES[0] else Reception.TAKEN, 4)
    assert (pauses, tries) == ([2.0, 0.0, 0.0, 2.0], NAMES)
    assert waiting(queue) == []
    assert json.loads((queue / DEAD_LETTERS).read_text())["name"] == NAMES[0]


def test_an_alert_that_the_centre_chokes_on_blocks_nobody(
    tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a clear answer the next one is tried; when others are taken all the time, it is a dead letter at last."""
    configure(tmp_path, monkeypatch)
    pauses, tries = run(monkeypatch, lambda name: Reception.UNCLEAR if name == NAMES[0] else Reception.TAKEN, 14)
    assert tries[:2] == NAMES
    assert tries.count(NAMES[0]) == 10
    assert sum(pauses[:3]) <= 4.0, "the sound one waited for no more than one failure"
    assert json.loads((queue / DEAD_LETTERS).read_text())["name"] == NAMES[0]


def test_a_centre_that_takes_nothing_makes_no_dead_letters(
    tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it answers everything with an error, the fault is the centre's: every alert stays."""
    configure(tmp_path, monkeypatch)
    pauses, tries = run(monkeypatch, lambda _: Reception.UNCLEAR, 60)
    assert waiting(queue) == NAMES
    assert tries[:4] == NAMES * 2
    assert max(pauses) == 60.0


def test_an_alert_that_cannot_be_put_aside_is_tried_again_later(
    tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses the dead letters does not make the process spin, nor end."""
    configure(tmp_path, monkeypatch)
    (queue / DEAD_LETTERS).mkdir()
    pauses, _ = run(monkeypatch, lambda _: Reception.REFUSED, 4)
    assert pauses == [2.0, 60.0, 60.0, 60.0]


def test_the_log_says_the_same_once_an_hour(
    tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A centre that is away for a year does not fill the log; another reason is told at once."""
    configure(tmp_path, monkeypatch)
    clock = [0.0]
    monkeypatch.setattr(module, "now_s", lambda: clock[0])
    said = [Reception.AWAY] * 500 + [Reception.UNCLEAR] * 500

    def answer(_: str) -> Reception:
        clock[0] += 60.0
        return said.pop(0)

    run(monkeypatch, answer, 1000)
    lines = capsys.readouterr().out.splitlines()
    assert 15 <= len(lines) <= 18, "1000 failures within 16.7 hours"


def test_site_without_call_home_keeps_its_alerts(tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that refuses Call Home sends nothing."""
    configure(tmp_path, monkeypatch, call_home=None)
    assert run(monkeypatch, lambda _: Reception.TAKEN, 3)[1] == []
    assert waiting(queue) == NAMES


def test_a_site_that_cannot_be_read_keeps_its_alerts(
    tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged configuration is told, and does not end the process."""
    path = tmp_path / "config"
    path.write_text("{")
    monkeypatch.setattr(module, "CONFIG_PATH", path)
    assert run(monkeypatch, lambda _: Reception.TAKEN, 3) == ([2.0, 60.0, 60.0], [])


def test_no_queue_yet_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deliverer may start before the daemon."""
    monkeypatch.setattr(module, "QUEUE_DIR", tmp_path / "later")
    assert run(monkeypatch, lambda _: Reception.TAKEN, 3)[0] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("how", ["bytes", "other digits", "endless", "directory", "loop", "fifo", "cannot be read"])
def test_a_file_that_nobody_gave_blocks_nobody(
    tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whatever lies in the directory, and is first there: the alerts behind it are delivered, and new ones are kept."""
    configure(tmp_path, monkeypatch)
    first = queue / "000000000000.json"
    match how:
        case "bytes":
            (queue / "\udcff\udcfe.json").touch()
        case "other digits":
            (queue / ("\u0663" * 12 + ".json")).write_text("{}")
        case "endless":
            (queue / f"{'9' * 200}.json").write_text("{}")
        case "directory":
            first.mkdir()
        case "loop":
            first.symlink_to(first.name)
        case "fifo":
            os.mkfifo(first)
        case _:
            first.symlink_to("/proc/self/mem")  # whose read is an EIO

    def deliver(target: CallHome, path: Path) -> Delivery:
        if path.name not in NAMES:
            return really_deliver(target, path)
        path.unlink()
        return Delivery(Reception.TAKEN)

    turns = iter(range(40))
    monkeypatch.setattr(module, "deliver", deliver)
    module.deliver_all(lambda _: next(turns, None) is None)
    assert not any((queue / name).exists() for name in NAMES)
    assert asyncio.run(AlertQueue(queue, A).keep(alerts.protected(), 3))

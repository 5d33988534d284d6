"""The deliverer empties the queue in order and backs off while the service centre is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avance import deliver as module
from avance.config import CallHome
from avance.parsed import Json
from tests.unit.avance.site import site


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two alerts."""
    for number in (1, 2):
        (tmp_path / f"{number:012}.json").write_text("{}")
    monkeypatch.setattr(module, "QUEUE_DIR", tmp_path)
    return tmp_path


def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Json) -> None:
    """Write the configuration of a paired node."""
    path = tmp_path / "config"
    path.write_text(json.dumps({"node": "a", "site": site(**changes), "vms": [{"any": "thing"}]}))
    monkeypatch.setattr(module, "CONFIG_PATH", path)


def pauses_of(monkeypatch: pytest.MonkeyPatch, failures: int, limit: int) -> list[float]:
    """Run the process with a service centre that fails some times; returns how long it paused each time."""
    pauses: list[float] = []
    tries: list[Path] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) >= limit

    def deliver(target: CallHome, path: Path) -> str | None:
        assert target.token == "t0ken-of-the-tests"
        tries.append(path)
        if len(tries) <= failures:
            return "away"
        path.unlink()
        return None

    monkeypatch.setattr(module, "deliver", deliver)
    assert module.deliver_all(wait) == 0
    assert tries == sorted(tries)
    return pauses


def test_queue_is_emptied_without_pauses(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the service centre answers, one alert follows the other."""
    configure(queue, monkeypatch)
    assert pauses_of(monkeypatch, failures=0, limit=4) == [2.0, 0.0, 0.0, 2.0]
    assert list(queue.glob("*.json")) == []


def test_failures_back_off_to_a_bound(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service centre that is away is asked ever more rarely, but at least once a minute."""
    configure(queue, monkeypatch)
    pauses = pauses_of(monkeypatch, failures=99, limit=10)
    assert pauses[1:] == sorted(pauses[1:])
    assert max(pauses) == 60.0


def test_site_without_call_home_keeps_its_alerts(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that refuses Call Home sends nothing."""
    configure(queue, monkeypatch, call_home=None)
    pauses_of(monkeypatch, failures=0, limit=3)
    assert len(list(queue.glob("*.json"))) == 2


def test_no_queue_yet_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deliverer may start before the daemon."""
    monkeypatch.setattr(module, "QUEUE_DIR", tmp_path / "later")
    assert pauses_of(monkeypatch, failures=0, limit=3) == [2.0, 2.0, 2.0]


def test_the_log_holds_no_token(
    queue: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service centre that answers with what it was sent does not get the token into the log."""
    configure(queue, monkeypatch)
    monkeypatch.setattr(module, "deliver", lambda target, _path: f"status 401, answer not '{target.token}'")
    waits = iter((False, True))
    assert module.deliver_all(lambda _: next(waits)) == 0
    assert "status 401, answer not '(secret)'" in capsys.readouterr().out

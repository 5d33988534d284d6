"""`avance timers` tells of the site in use, of a file or of the defaults, and refuses what the daemon would refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avance import show_timers as module
from avance.parsed import Json
from tests.unit.avance.site import site, vm


def test_defaults_without_a_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unpaired node shows what it would do, and says that these are the defaults."""
    monkeypatch.setattr(module, "CONFIG_PATH", tmp_path / "none.json")
    assert module.main(None) == 0
    assert "not paired" in capsys.readouterr().out


def test_site_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A paired node shows its own timers with its dilation."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"node": "b", "site": site(dilation=4.0), "vms": [vm()]}))
    monkeypatch.setattr(module, "CONFIG_PATH", path)
    assert module.main(None) == 0
    assert "68 s = peer_lost 20 + takeover_wait 48" in capsys.readouterr().out


def test_unsafe_file_is_refused_with_its_inequality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unsafe set ends with 2, and the inequality that it breaks is printed with its numbers."""
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site(timers={"takeover_wait_s": 10})))
    assert module.main(path) == 2
    said = capsys.readouterr()
    assert "peer_lost 5 + takeover_wait 10 = 15 s is shorter than lease 6 + watchdog 10 + margin 1 = 17 s" in said.err
    assert said.out == ""


@pytest.mark.parametrize(("content", "code"), [("nonsense", 1), (None, 1), ("[]", 2), ("{}", 2), ({"nodes": 3}, 2)])
def test_bad_file_has_its_own_code(
    tmp_path: Path, content: Json, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read ends with 1, one that is no site with 2, each with a sentence."""
    path = tmp_path / "site.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(site(**content)))
    assert module.main(path) == code
    assert capsys.readouterr().err.startswith("avance: ")

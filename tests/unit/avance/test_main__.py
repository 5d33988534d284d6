"""The command line puts the right request, and says in words and code how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avance import __main__ as module
from avance.status import unpaired
from tests.unit.avance.site import site, vm


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The requests that reach the daemon, which says ok."""
    requests: list[dict[str, Any]] = []

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        return unpaired(0.0) if request["op"] == "status" else {"ok": "done"}

    monkeypatch.setattr(module, "ask", ask)
    return requests


def test_pair_sends_the_site(asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`avance pair` hands the file over as it is."""
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site()))
    assert module.main(["pair", "--node", "a", "--site", str(path)]) == 0
    assert asked == [{"op": "pair", "node": "a", "site": site()}]
    assert capsys.readouterr().out == "done\n"


def test_protect_sends_the_definition(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    """`avance vm protect` hands the definition over as it is."""
    path = tmp_path / "vm.json"
    path.write_text(json.dumps(vm()))
    assert module.main(["vm", "protect", "--file", str(path)]) == 0
    assert asked == [{"op": "protect", "vm": vm()}]


def test_status_for_programs_is_json(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """`avance status --json` prints one JSON document."""
    assert module.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "avance.status/1"


def test_status_for_people_begins_with_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    """The first word says whether the site is protected."""
    status = unpaired(0.0) | {
        "pair": "PAIRED", "node": "a", "role": "primary", "epoch": 3, "dilation": 2.0, "links": {"priv0": "UP"},
        "service_address": {"address": "10.77.0.10/24", "held": True}, "vms": {"web": {"state": "RUNNING"}},
        "quarantined": True, "rejected": {"not a heartbeat": 3},
        "arbitration": {"policy": "availability", "arbiters": [], "solo": False, "lease_s": 4.25, "hole": "open"},
        "watchdog": {"configured": True, "armed": True, "problem": None, "feeds": 9},
    }  # fmt: skip
    assert module.status_text(status).startswith("NOT PROTECTED: node a is primary")
    text = module.status_text(status | {"protected": True})
    assert text.startswith("PROTECTED")
    for word in ("priv0 UP", "10.77.0.10/24 (here)", "vm web: RUNNING", "multiplied by 2", "QUARANTINED",
                 "3 not a heartbeat", "policy availability, lease 4.2 s, HOLE OPEN", "watchdog:        armed",
                 "gate:            in place"):
        assert word in text
    assert "avance pair" in module.status_text(unpaired(0.0))


@pytest.mark.parametrize(
    ("mirror", "text"),
    [({"state": "CURRENT", "halves": 2, "detail": ""}, "2 of 2 halves"),
     ({"state": "CURRENT", "halves": 1, "detail": "vdb is out"}, "1 of 2 halves: vdb is out"),
     ({"state": "OLD", "halves": 0, "detail": "vdb is old"}, "OLD, 0 of 2 halves: vdb is old")],
)  # fmt: skip
def test_the_data_disks_are_said_in_words(mirror: dict[str, Any], text: str) -> None:
    """A degraded mirror is no secret, and one that is not used is told with its reason."""
    known = unpaired(0.0) | {"pair": "PAIRED", "mirror": {"of": 2, **mirror}}
    assert f"data disks:      {text}" in module.status_text(known).splitlines()


def test_closed_hole_and_lone_right_are_said() -> None:
    """With an arbiter in office no hole is named; a node that may write alone needs no lease; a problem is named."""
    arbitration = {"policy": "availability", "arbiters": ["witness:w1"], "solo": True, "lease_s": 0.0, "hole": "closed"}
    watchdog = {"configured": True, "armed": False, "problem": "/dev/watchdog: no such device", "feeds": 0}
    known = {"pair": "ALONE", "arbitration": arbitration, "watchdog": watchdog, "gate": {"problem": "biz0: no clsact"}}
    text = module.status_text(unpaired(0.0) | known)
    assert "witness:w1, this node may write alone\n" in text
    assert "/dev/watchdog: no such device" in text
    assert "gate:            biz0: no clsact" in text
    assert "refused" not in text


@pytest.mark.parametrize("verb", ["override", "reset-device", "keep"])
def test_operator_verbs_send_the_typed_name(asked: list[dict[str, Any]], verb: str) -> None:
    """What only a person may decide goes to the daemon with the name that was typed, and needs one."""
    assert module.main([verb, "b"]) == 0
    assert asked == [{"op": verb, "node": "b"}]
    with pytest.raises(SystemExit):
        module.main([verb])


def test_timers_of_a_site_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`avance timers --site` needs no daemon."""
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site()))
    assert module.main(["timers", "--site", str(path)]) == 0
    assert "17 s" in capsys.readouterr().out


def test_refusal_is_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the daemon refuses ends with 2 and its reason."""
    monkeypatch.setattr(module, "ask", lambda _: {"error": "this node is paired already"})
    path = tmp_path / "vm.json"
    path.write_text("{}")
    assert module.main(["vm", "protect", "--file", str(path)]) == 2
    assert "paired already" in capsys.readouterr().err


def test_bad_file_changes_nothing(
    asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing or no JSON ends with 1, and the daemon is not asked."""
    path = tmp_path / "site.json"
    assert module.main(["pair", "--node", "a", "--site", str(path)]) == 1
    path.write_text("nonsense")
    assert module.main(["pair", "--node", "a", "--site", str(path)]) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert asked == []


def test_the_witness_needs_no_daemon(
    asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`avance witness` runs by itself; what it refuses ends with 2 and one sentence."""
    given: list[object] = []

    def run(*arguments: object) -> int:
        given.extend(arguments)
        return 0

    argv = ["witness", "--listen", "127.0.0.1:x", "--state", str(tmp_path / "s"), "--secret-file", str(tmp_path / "k")]
    assert module.main(argv) == 2
    assert capsys.readouterr().err.startswith("avance: --listen has the port 'x'")
    monkeypatch.setattr("avance.witness.main", run)
    assert module.main([*argv, "--dilation", "2.5"]) == 0
    assert given == ["127.0.0.1:x", tmp_path / "s", tmp_path / "k", 2.5]
    assert asked == []

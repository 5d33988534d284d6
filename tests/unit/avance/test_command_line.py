"""The command line puts the right request, and says in words and code how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avance import command_line as module
from tests.unit.avance.site import site, vm


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The requests that reach the daemon, which says ok."""
    requests: list[dict[str, Any]] = []

    def ask(request: dict[str, Any], *, answer_s: float) -> dict[str, Any]:
        requests.append(request)
        return {"ok": "done"}

    monkeypatch.setattr(module, "ask", ask)
    return requests


def test_pair_sends_the_site(asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`avance pair` hands the file over as it is."""
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site()))
    assert module.main(["pair", "--node", "a", "--site", str(path)]) == 0
    assert asked == [{"op": "pair", "node": "a", "site": site()}]
    assert capsys.readouterr().out == "done\n"


@pytest.mark.parametrize(
    ("words", "op"),
    [(["vm", "add"], "vm-add"), (["vm", "change"], "vm-change"), (["site", "change"], "site-change")],
)
@pytest.mark.parametrize("alone", [False, True])
def test_changes_send_the_file(
    asked: list[dict[str, Any]], tmp_path: Path, words: list[str], op: str, *, alone: bool
) -> None:
    """A verb that changes definitions hands the file over as it is."""
    path = tmp_path / "given.json"
    path.write_text(json.dumps(vm()))
    option, key = ("--site", "site") if words[0] == "site" else ("--file", "vm")
    assert module.main([*words, option, str(path), *(["--one-node"] if alone else [])]) == 0
    assert asked == [{"op": op, key: vm(), "one_node": alone}]


def test_a_removal_says_whether_data_may_be_deleted(asked: list[dict[str, Any]]) -> None:
    """The daemon refuses one that does not."""
    assert module.main(["vm", "remove", "web"]) == 0
    assert module.main(["vm", "remove", "web", "--delete-volume", "--one-node"]) == 0
    assert [(one["delete_volume"], one["one_node"]) for one in asked] == [(False, False), (True, True)]
    assert {one["name"] for one in asked} == {"web"}


@pytest.mark.parametrize(
    ("words", "op", "now"),
    [("start", "vm-start", False), ("stop", "vm-stop", False), ("stop --now", "vm-stop", True),
     ("power-off", "vm-stop", True), ("restart", "vm-restart", False), ("restart --now", "vm-restart", True)],
)  # fmt: skip
@pytest.mark.parametrize("alone", [False, True])
def test_life_of_a_vm(asked: list[dict[str, Any]], words: str, op: str, *, now: bool, alone: bool) -> None:
    """Each verb names the VM; a power-off is a stop that does not ask the guest."""
    assert module.main(["vm", *words.split(), "web", *(["--one-node"] if alone else [])]) == 0
    assert asked == [{"op": op, "name": "web", "now": now, "one_node": alone}]


def test_vms_are_listed(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """In words for people, and as a document for programs."""
    assert [module.main(["vm", "list"]), module.main(["vm", "list", "--json"])] == [0, 0]
    assert asked == [{"op": "vm-list", "words": True}, {"op": "vm-list", "words": False}]
    assert capsys.readouterr().out == 'done\n{"ok": "done"}\n'


def test_definitions_are_shown_and_taken(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """In words for people, as a document for programs, and those of the other node instead of ours."""
    for words in (["definitions"], ["definitions", "--json"], ["definitions", "take"]):
        assert module.main(words) == 0
    assert asked == [
        {"op": "definitions", "words": True}, {"op": "definitions", "words": False}, {"op": "definitions-take"},
    ]  # fmt: skip
    assert capsys.readouterr().out == 'done\n{"ok": "done"}\ndone\n'


@pytest.mark.parametrize("verb", ["health", "readiness"])
def test_parts_of_the_status_are_shown(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """In words for people, and as a document for programs."""
    assert [module.main([verb]), module.main([verb, "--json"])] == [0, 0]
    assert asked == [{"op": verb, "words": True}, {"op": verb, "words": False}]
    assert capsys.readouterr().out == 'done\n{"ok": "done"}\n'


def test_status_in_another_spelling_is_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abbreviated option comes to the same status as the whole one."""
    shown: list[bool] = []

    def show(*, for_programs: bool) -> int:
        shown.append(for_programs)
        return 0

    monkeypatch.setattr(module, "show_status", show)
    assert [module.main(["status", "--js"]), module.main(["status"])] == [0, 0]
    assert shown == [True, False]


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


def test_refusal_is_code_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the daemon refuses ends with 2 and its reason."""
    monkeypatch.setattr(module, "ask", lambda _, **__: {"error": "this node is paired already"})
    path = tmp_path / "vm.json"
    path.write_text("{}")
    assert module.main(["vm", "add", "--file", str(path)]) == 2
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

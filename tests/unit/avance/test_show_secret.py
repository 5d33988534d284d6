"""`avance secret` tells what a witness or a BMC is given, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avance import show_secret as module
from avance.command_line import main
from avance.parsed import Json
from avance.wire import derived
from tests.unit.avance.site import SECRET, full_site, vm

WHOLE = bytes.fromhex(SECRET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A site file in which node b's BMC has no password of its own."""
    site = full_site()
    del site["nodes"]["b"]["bmc"]["password"]
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site))
    return path


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("witness", "w2", derived.of_witness(WHOLE, "w2").hex()),
        ("bmc", "b", derived.of_bmc(WHOLE, "b")),
        ("bmc", "a", "pass-of-a"),
    ],
)
def test_it_prints_that_one_secret(
    file: Path, kind: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, fit for the file of a witness; the site's secret is not in it."""
    assert main(["secret", kind, name, "--site", str(file)]) == 0
    assert capsys.readouterr().out == f"{said}\n"
    assert said != SECRET


def test_site_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A paired node needs no file."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"node": "b", "site": full_site(), "vms": [vm()]}))
    monkeypatch.setattr(module, "CONFIG_PATH", path)
    assert module.main("witness", "w1", None) == 0
    assert capsys.readouterr().out == f"{derived.of_witness(WHOLE, 'w1').hex()}\n"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [("witness", "w3", "no witness 'w3'; possible are w1, w2"), ("bmc", "c", "no bmc 'c'; possible are a, b")],
)
def test_unknown_name_is_refused(
    file: Path, kind: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names that are possible are told."""
    assert module.main(kind, name, file) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("content", "code"), [("nonsense", 1), (None, 1), ("[]", 2), ({"nodes": 3}, 2)])
def test_bad_file_has_its_own_code(
    tmp_path: Path, content: Json, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read ends with 1, one that is no site with 2, each with a sentence and no secret."""
    path = tmp_path / "site.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(full_site(**content)))
    assert module.main("witness", "w1", path) == code
    told = capsys.readouterr()
    assert told.err.startswith("avance: ")
    assert told.out == ""


def test_unpaired_node_asks_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a site in use and without a file there is nothing to derive from."""
    monkeypatch.setattr(module, "CONFIG_PATH", tmp_path / "none.json")
    assert module.main("witness", "w1", None) == 2
    assert "--site" in capsys.readouterr().err

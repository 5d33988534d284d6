"""The configuration is kept twice, and a node that cannot read what it keeps says so instead of ending."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from avance import daemon as module
from avance.configuration import TWIN, Configuration
from avance.daemon import Daemon
from avance.errors import ConfigError, StoreError
from tests.schema_check import complaints
from tests.unit.avance.site import kept_of, site

RAW = {"node": "a", "site": {"any": "thing"}, "vms": [], "number": 1, "history": [], "proposal": None}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All paths of the daemon in a temporary directory."""
    monkeypatch.setattr(module, "STATE_DIR", tmp_path)
    monkeypatch.setattr(module, "CONFIG_PATH", tmp_path / "config.json")
    return tmp_path


def kept(directory: Path) -> Configuration:
    """Return what is kept there."""
    return Configuration(directory / "config.json", directory / TWIN.name)


def answers(daemon: Daemon, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Start a daemon as far as its files go, and put requests to it one after the other."""

    async def story() -> list[dict[str, Any]]:
        daemon._start()
        return [await daemon._request(request) for request in requests]

    return asyncio.run(story())


def test_either_copy_is_enough(directory: Path) -> None:
    """Whichever copy is lost, the node knows its site, and has two copies again."""
    kept(directory).save(RAW)
    for name in ("config.json", TWIN.name):
        (directory / name).write_bytes(b"{")
        again = kept(directory)
        assert again.load(mend=True) == RAW
        assert "is damaged (it is no JSON" in again.found


def test_file_of_an_earlier_release_is_read(directory: Path) -> None:
    """It has neither a number nor a checksum; from then on there are two copies."""
    (directory / "config.json").write_text(json.dumps(RAW))
    assert kept(directory).load(mend=True) == RAW
    (directory / "config.json").unlink()
    assert kept(directory).load(mend=True) == RAW


def test_rotten_copy_is_not_believed(directory: Path) -> None:
    """One that is still JSON, with another value in it, has the wrong checksum."""
    kept(directory).save(RAW)
    path = directory / "config.json"
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    assert kept(directory).load(mend=True) == RAW
    for name in ("config.json", TWIN.name):
        (directory / name).write_bytes(b"[" * 100_000)
    with pytest.raises(StoreError, match="does not know its site and serves nothing"):
        kept(directory).load(mend=True)


def test_disk_that_refuses_it_is_told(directory: Path) -> None:
    """Whoever asked for the change hears what is true now, and what to do."""
    for name in ("config.json", TWIN.name):
        (directory / f"{name}.part").mkdir()
    with pytest.raises(ConfigError, match=r"could not be written: .* goes on with the one that it has\. Make room"):
        kept(directory).save(RAW)
    assert kept(directory).load(mend=True) is None


def test_request_meets_a_disk_that_refuses(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon answers with the sentence, and the node stays as it is."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])
    for name in ("config.json", TWIN.name):
        (directory / f"{name}.part").mkdir()
    given = answers(Daemon(), {"op": "pair", "node": "a", "site": site()}, {"op": "status"})
    assert "the configuration could not be written" in given[0]["error"]
    assert given[1]["pair"] == "UNPAIRED"


@pytest.mark.parametrize("name", ["config.json", "record.a"])
def test_node_that_cannot_read_what_it_keeps_says_so(directory: Path, name: str) -> None:
    """The daemon does not end: it answers, serves nothing, and says what to do."""
    if name == "record.a":
        kept(directory).save(kept_of())
    (directory / name).write_text("{")
    requests: list[dict[str, Any]] = [
        {"op": "status"}, {"op": "status", "words": True}, {"op": "pair", "node": "a", "site": site()},
        {"op": "fence-peer", "resource": "web"},
    ]  # fmt: skip
    told = answers(Daemon(), *requests)
    assert f"{name} is damaged" in told[0]["waits"]
    assert complaints("status", told[0]) == []
    assert told[1]["ok"].startswith("NOT SERVING: ")
    assert told[2]["error"].endswith("nothing was changed")
    assert f"{name} is damaged" in told[3]["error"]


def test_missing_device_is_refused(directory: Path) -> None:
    """A site that names a device which this node lacks is refused before anything is kept."""
    request = {"op": "pair", "node": "a", "site": site()}
    absent = json.loads(json.dumps(request).replace('"eth0"', '"no-such-dev0"'))
    assert "no-such-dev0" in answers(Daemon(), absent)[0]["error"]

"""A site whose every secret is a canary, and programs that print them: none is kept or sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avance import daemon as module
from avance.adapters import drbd, power
from avance.adapters.mirror import DataMirror
from avance.clock import now_s
from avance.config import parse
from avance.configuration import TWIN, Configuration
from avance.core import commands as c
from avance.core.events import CommandDone, Event, MirrorChanged
from avance.core.model import MirrorState, MirrorView, Outcome, PeerView
from avance.core.results import Done
from avance.daemon import PairedNode
from avance.wire import derived
from avance.wire.masked import MARK
from tests.playbook import WEB
from tests.unit.avance.adapters.tools import Tools
from tests.unit.avance.site import CERTIFICATE, full_site, kept_of, vm

PIECE = 8


def site() -> dict[str, Any]:
    """A site of canaries; the BMC of node b has the password that is derived for it."""
    given: dict[str, Any] = full_site(secret="ca9a71e5" * 8)
    given["call_home"] = {"url": "https://10.77.0.4/v1/alerts", "ca_pem": CERTIFICATE, "token": "canary-of-call-home"}
    given["nodes"]["a"]["bmc"]["password"] = "Canary-Of-Bmc-a"
    del given["nodes"]["b"]["bmc"]["password"]
    return given


SECRETS = derived.every(site())
# What a program prints of them: as they are, in capitals, and cut by a line end.
PRINTED = "\n".join(f"{text} {text.upper()} {text[:7]}\n   {text[7:]}" for text in SECRETS)


class Around:
    """Stands for a network that is up, and for the channel of the heartbeats."""

    async def wait_up(self) -> Done:
        """Return at once."""
        return Done(Outcome.OK)

    def heard(self, event: Event) -> None:
        """Take no notice."""

    def send(self, view: PeerView, *, echoing: bool) -> None:
        """Send nothing."""

    def send_document(self, datagram: bytes) -> None:
        """Send nothing."""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Programs that fail and print every secret; drbdadm prints the resource file, as drbdadm does with its lines."""
    for name, value in {
        "STATE_DIR": tmp_path / "state",
        "QUEUE_DIR": tmp_path / "kept" / "callhome",
        "JOURNAL_PATH": tmp_path / "kept" / "journal.jsonl",
    }.items():
        monkeypatch.setattr(module, name, value)
    for name in ("bin", "etc", "state", "kept"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(drbd, "RESOURCE_DIR", tmp_path / "etc")
    monkeypatch.setattr(drbd, "_LISTED_S", 0.01)
    if hasattr(power, "SCRIPT"):
        monkeypatch.setattr(power, "SCRIPT", tmp_path / "bin" / "script")
    names = ("lvs", "lvchange", "drbdmeta", "drbdsetup", "ipmitool", "stdbuf", "drbdadm")
    tools = Tools(tmp_path / "bin", monkeypatch, *names)
    for name in names:
        tools.says(name, PRINTED)
        tools.ends(name, 1)
    tools.ends("lvs", 0)
    tools.ends("lvchange", 0)
    script = f'#!/bin/sh\necho "drbdadm $*" >> {tmp_path}/bin/calls\ncat {tmp_path}/etc/avance-web.res >&2\nexit 10\n'
    (tmp_path / "bin" / "drbdadm").write_text(script)
    return tools


COMMANDS: list[c.Work] = [
    c.ConnectDisk(WEB, discard=False),
    c.PromoteDisk(WEB),
    c.DisconnectDisk(WEB),
    c.ReadPeerPower(),
    c.CutPeerPower(),
]


def searched(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield every file below a directory by name and text."""
    yield from ((str(path), path.read_text()) for path in sorted(directory.rglob("*")) if path.is_file())


def found(text: str) -> list[str]:
    """Return the secrets of which eight letters in a row stand in a text, whatever cuts them into lines."""
    joined = re.sub(r"\s|\\+[nrt]", "", text).lower()
    return [
        secret
        for secret in SECRETS
        if any(secret[at : at + PIECE].lower() in joined for at in range(len(secret) - PIECE + 1))
    ]


def test_no_canary_is_kept_or_sent(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Journal, inputs, alerts, status, logs and argument vectors tell of the failures, and of no secret."""
    raw = {**kept_of("a", vm()), "site": site()}

    async def story() -> dict[str, Any]:
        kept = Configuration(tmp_path / "config.json", tmp_path / TWIN.name)
        one = PairedNode(parse("a", raw["site"], raw["vms"]), raw, kept, DataMirror(tmp_path))
        one._network = one._channel = Around()  # type: ignore[assignment]  # what is used of them
        monkeypatch.setattr(one, "_start", lambda _: None)  # what follows is another story
        one._journal.begin(one.engine, now_s())
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            one._tasks, one._workers = tasks, asyncio.get_running_loop()
            writers = [tasks.create_task(forever) for forever in (one._journal.write(), one.alerts.write())]
            assert not (await one._disks.prepare(WEB)).ok  # it writes the file that drbdadm prints
            for command in COMMANDS:
                await one._perform(command)
                done = one._loop.waiting.popleft()
                assert isinstance(done, CommandDone)
                assert not done.result.ok, command
                assert MARK in done.result.detail, done
                if isinstance(command, c.VmCommand):
                    one.engine.units[WEB].busy = type(command).__name__
                one._turn(done)
            one._hear(MirrorChanged(MirrorView(MirrorState.NONE, 0, 2, "", "", PRINTED)))
            one._turn(one._loop.waiting.popleft())
            await asyncio.sleep(0.2)  # queued alerts are written
            for writer in writers:
                writer.cancel()
        return one.status()

    status = json.dumps(asyncio.run(story()))
    kept = [*searched(tmp_path / "kept"), ("status", status), ("calls", "\n".join(tools.calls)), *_printed(capfd)]
    assert [(name, found(text)) for name, text in kept if found(text)] == []
    assert {Path(name).suffix for name, _ in kept} >= {".jsonl", ".json"}
    assert "ConnectDisk for VM web did not succeed" in "".join(text for _, text in kept)
    assert found((tmp_path / "etc" / "avance-web.res").read_text()), "drbdadm has to know its secret"


def _printed(capfd: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    said = capfd.readouterr()
    return [("standard output", said.out), ("standard error", said.err)]

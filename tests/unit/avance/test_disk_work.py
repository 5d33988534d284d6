"""Every command about a disk reaches the port with all that it says."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from avance.core import commands as c
from avance.disk_work import DiskCommand, disk_work
from tests.playbook import WEB

CALLS: list[tuple[DiskCommand, str, tuple[object, ...], dict[str, object]]] = [
    (c.PrepareVolume(WEB), "prepare", (WEB,), {}),
    (c.AttachDisk(WEB), "attach", (WEB,), {}),
    (c.ConnectDisk(WEB, discard=True), "connect", (WEB,), {"discard": True}),
    (c.InitialiseDisk(WEB), "initialise", (WEB,), {}),
    (c.PromoteDisk(WEB, forced=True), "promote", (WEB,), {"forced": True}),
    (c.DemoteDisk(WEB), "demote", (WEB,), {}),
    (c.ResumeDisk(WEB), "resume", (WEB,), {}),
    (c.DisconnectDisk(WEB), "disconnect", (WEB,), {}),
    (c.OutdateDisk(WEB), "outdate", (WEB,), {}),
    (c.ResyncDisk(WEB), "resync", (WEB,), {}),
    (c.InvalidateDisk(WEB), "invalidate", (WEB,), {}),
    (c.ReadGeneration(WEB), "generations", (WEB,), {}),
    (c.ReadInFlight(WEB), "in_flight", (WEB,), {}),
    (c.KeepCopy(WEB, 4), "keep", (WEB, 4), {}),
]


class Disks:
    """Notes which method is called, and with what."""

    def __init__(self) -> None:
        self.called: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - any method of the port
        return lambda *words, **how: self.called.append((method, words, how))


@pytest.mark.parametrize(("command", "method", "words", "how"), CALLS)
def test_each_disk_command_calls_its_adapter(
    command: DiskCommand, method: str, words: tuple[object, ...], how: dict[str, object]
) -> None:
    """Exactly the method that is named for it is called, with the volume and all else that the command says."""
    disks = Disks()
    disk_work(disks, command)
    assert disks.called == [(method, words, how)]


def test_no_disk_command_is_left_out() -> None:
    """The calls above are all that there are."""
    assert {type(command) for command, *_ in CALLS} == {*get_args(DiskCommand)}

"""The list of VMs says the same on either node, in words and as a document of the published schema."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import Copy, DiskRole, DiskState, VmState, Wanted
from avance.vm_list import vms_document, vms_text
from tests import schema_check
from tests.playbook import DB, GENERATIONS, WEB, A, B, Playbook, ended, in_sync, paired, spec

BOTH = {"a": "UpToDate", "b": "UpToDate"}


def listed(book: Playbook) -> dict[str, Any]:
    """Return the one VM of the list, which keeps to the schema."""
    found = vms_document(book.engine, book.now)
    assert schema_check.complaints("vms", found) == []
    (vm,) = found["vms"]
    return dict(vm)


@pytest.mark.parametrize("me", ["a", "b"])
def test_a_vm_that_runs(me: str) -> None:
    """Where it runs is known on either node."""
    assert listed(paired(A if me == "a" else B)) == {
        "name": "web", "state": "running", "node": "a", "wanted": "running", "why_off": None, "memory_mib": 96,
        "volume_mib": 32, "copies": BOTH,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mine", "theirs", "role", "state", "node"),
    [
        (VmState.STANDBY, VmState.STANDBY, DiskRole.SECONDARY, "off", None),
        (VmState.STANDBY, VmState.STANDBY, DiskRole.PRIMARY, "stopping", None),
        (VmState.STOPPING, VmState.STANDBY, DiskRole.PRIMARY, "stopping", "a"),
        (VmState.DEMOTING, VmState.STANDBY, DiskRole.PRIMARY, "stopping", None),
        (VmState.PROMOTING, VmState.STANDBY, DiskRole.SECONDARY, "starting", "a"),
        (VmState.STANDBY, VmState.STARTING, DiskRole.SECONDARY, "starting", "b"),
        (VmState.SENDING, VmState.RECEIVING, DiskRole.PRIMARY, "moving", "a"),
        (VmState.STANDBY, VmState.RECEIVED, DiskRole.SECONDARY, "moving", None),
        (VmState.FAILED, VmState.STANDBY, DiskRole.SECONDARY, "failing", None),
        (VmState.RUNNING, VmState.FAILED, DiskRole.PRIMARY, "running", "a"),
        (VmState.CHECKING, VmState.STANDBY, DiskRole.SECONDARY, "unknown", None),
    ],
)
def test_what_a_vm_does(mine: VmState, theirs: VmState, role: DiskRole, state: str, node: str | None) -> None:
    """One word for what it does on both nodes; off only when nobody is a writer of its volume."""
    book = paired(A)
    book.peer_says(vms={WEB: theirs})
    book.engine.units[WEB].state, book.engine.units[WEB].disk = mine, in_sync(role)
    found = listed(book)
    assert (found["state"], found["node"]) == (state, node)


def test_a_peer_that_is_not_heard_is_not_believed() -> None:
    """What it said last is not shown as if it were so."""
    book = paired(B)
    assert listed(book)["node"] == "a"
    book.pass_time(6.0)
    found = listed(book)
    assert (found["node"], found["copies"]) == (None, {"a": "DUnknown", "b": "UpToDate"})


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted.SHUT_DOWN, "stopped by a person"),
        (Wanted.OFF, "stopped by a person"),
        (Wanted.OFF_BY_GUEST, "switched off by its guest"),
    ],
)
def test_a_table_for_people(wanted: Wanted, why: str) -> None:
    """One line for each VM, under a head; who wants it off stands there."""
    book = paired(A)
    book.hears(e.VmAdded(replace(spec(DB, 1), memory_mib=2048, wanted=wanted), "hash-2"))
    book.hears(e.DomainChanged(DB, running=False))
    book.hears(ended(c.ReadDomain(DB)))
    book.hears(e.DiskChanged(DB, in_sync(DiskRole.SECONDARY)))
    copies = {vm: Copy(DiskState.UP_TO_DATE, GENERATIONS) for vm in book.engine.units}
    book.peer_says(copies=copies)
    width = len(f"off ({why})")
    assert vms_text(vms_document(book.engine, book.now)).splitlines() == [
        f"NAME  STATE    NODE  {'WANTED':{width}}  MEMORY    VOLUME  COPIES",
        f"web   running  a     {'running':{width}}  96 MiB    32 MiB  a UpToDate, b UpToDate",
        f"db    off      -     off ({why})  2048 MiB  32 MiB  a UpToDate, b UpToDate",
    ]


def test_no_vm() -> None:
    """It says how one is added."""
    book = paired(A)
    book.hears(e.VmRemoved(WEB, "hash-2"))
    found = vms_document(book.engine, book.now)
    assert schema_check.complaints("vms", found) == []
    assert vms_text(found) == "there is no VM; `avance vm add` adds one"

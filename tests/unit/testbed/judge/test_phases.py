"""Proves that each phase is dated by its own source, on the surviving side, after the fault, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.history import History
from testbed.judge.phases import SOURCES, Recovery, stamp
from testbed.topology import Topology
from testbed.vocabulary import PHASES


def journal(node: str, milestone: object) -> dict[str, object]:
    """The fields of a line of a node's journal."""
    return {"entry": {"milestone": milestone, "node": node}}


VM_MAC, OTHER_MAC = (vm.mac for vm in Topology(vms=2).guests)
RECOVERY = Recovery("a", "b", 100.0, [VM_MAC])


def crash() -> History:
    """The records of a crash of node a at 100 s, with everything around it that must not be taken for it."""
    history = History()
    history.record_at(90.0, "switch", "claim", mac=VM_MAC, port="b.biz0")  # before the fault
    history.record_at(100.0, "machine.a", "killed")
    history.record_at(104.0, "journal.a", "entry", **journal("a", "peer_lost"))  # the wrong side
    history.record_at(105.0, "journal.b", "entry", **journal("b", "peer_lost"))
    history.record_at(106.0, "journal.b", "entry", **journal("b", "epoch_saved"))
    history.record_at(107.0, "journal.b", "entry", **journal("b", "disk_promoted"))
    history.record_at(108.0, "journal.b", "entry", **journal("b", "vm_start_commanded"))
    history.record_at(109.0, "switch", "claim", mac=VM_MAC, port="a.biz0")  # the old node is no new guest
    history.record_at(110.0, "switch", "claim", mac=VM_MAC, port="b.biz0")
    history.record_at(111.0, "journal.b", "entry", **journal("b", "peer_lost"))  # a second time dates nothing
    return history


def test_each_phase_is_the_first_stamp_of_its_source_after_the_fault() -> None:
    """Journal of the survivor, machine of the old node, and the VM's first frame at the new node's port."""
    assert stamp(crash(), RECOVERY) == {
        "fence": 100.0, "detect": 105.0, "decide": 106.0, "promote": 107.0, "vm_start": 108.0, "guest_up": 110.0,
    }  # fmt: skip


@pytest.mark.parametrize("event", ["RESET", "SHUTDOWN", "WATCHDOG"])
def test_a_reset_of_the_old_node_fences_it(event: str) -> None:
    """Its machine says so, whoever did it; a mere pause fences nothing."""
    history = History()
    history.record_at(101.0, "qmp.a", "event", event="STOP")
    history.record_at(103.0, "qmp.a", "event", event=event)
    assert stamp(history, RECOVERY) == {"fence": 103.0}


def test_without_records_there_are_no_phases_and_every_phase_names_its_source() -> None:
    """What nobody stamped is absent."""
    assert stamp(History(), RECOVERY) == {}
    assert set(SOURCES) == set(PHASES)


def test_the_guests_are_up_when_the_last_of_them_is() -> None:
    """With several VMs, one that never sends leaves the phase open."""
    both = replace(RECOVERY, vm_macs=[VM_MAC, OTHER_MAC])
    history = crash()
    assert "guest_up" not in stamp(history, both)
    history.record_at(118.0, "switch", "claim", mac=OTHER_MAC, port="b.biz0")
    assert stamp(history, both)["guest_up"] == 118.0

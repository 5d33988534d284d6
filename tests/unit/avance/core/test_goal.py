"""The goal of a VM follows the pair, and what a VM must know of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.circumstances import Goal
from avance.core.engine import Engine
from avance.core.model import DiskRole, PairState, Record, VmState
from avance.core.unit import VmUnit
from tests.playbook import BIZ, WEB, A, B, paired, peer_gone, setup, spec


@pytest.mark.parametrize(
    ("pair", "owner", "goal"),
    [
        (PairState.PAIRED, A, Goal.RUN),
        (PairState.PAIRED, B, Goal.STOP),
        (PairState.ALONE, A, Goal.RUN),
        (PairState.WAITING, A, Goal.HOLD),
        (PairState.WAITING, B, Goal.HOLD),
        (PairState.STARTING, A, Goal.HOLD),
        (PairState.FENCED, A, Goal.STOP),
        (PairState.SPLIT, A, Goal.STOP),
    ],
)
def test_goal_follows_the_pair(pair: PairState, owner: str, goal: Goal) -> None:
    """VMs run on the owner of an agreed epoch, stop where they have no place, and are left alone in between."""
    book = paired(A)
    book.engine.sight.pairing.pair = pair
    book.engine.sight.durable.record = replace(book.engine.record, owner=A if owner == A else B)
    assert book.engine.around(WEB, book.now).goal is goal


def test_nothing_is_started_before_service_is_noted() -> None:
    """An owner whose record is of an earlier boot of the machine starts nothing: nobody would know that it had."""
    book = paired(A)
    book.engine.sight.durable.record = replace(book.engine.record, boot="a-machine-0")
    assert book.engine.around(WEB, book.now).goal is Goal.HOLD


def test_nothing_is_started_while_the_vms_stand_still() -> None:
    """A node whose right has ended for the moment starts no VM."""
    book = paired(A)
    book.engine.guard.paused = True
    assert book.engine.around(WEB, book.now).goal is Goal.HOLD


def test_definitions_are_compared_in_each_heartbeat() -> None:
    """A VM that was given on one node only ends the agreement, until the other node has it too."""
    book = paired(A)
    assert book.engine.around(WEB, book.now).agreed
    book.peer_says(config_hash="another")
    assert not book.engine.around(WEB, book.now).agreed
    book.peer_says(config_hash=book.engine.setup.config_hash)
    assert book.engine.around(WEB, book.now).agreed
    unheard = Engine(setup(), Record())
    assert not unheard.sight.is_agreed, "a peer that was never heard agrees to nothing"


def test_disks_meet_only_while_the_definitions_are_equal() -> None:
    """Two nodes that number their VMs otherwise would connect one VM to another (docs/safety.md, S42)."""
    apart, around = replace(peer_gone(DiskRole.SECONDARY), connection="StandAlone"), paired(B).engine.around(WEB, 100.0)
    one = VmUnit(spec(), state=VmState.STANDBY, disk=apart, disk_known=True, prepared=True)
    assert one.next_command(replace(around, agreed=False), 0.0) is None
    assert one.next_command(replace(around, agreed=True), 0.0) == c.ConnectDisk(WEB)


def test_link_that_is_down_is_not_replicated_over() -> None:
    """A disk is connected only while the private link carries."""
    book = paired(A)
    assert book.engine.around(WEB, book.now).replicate
    book.pass_time(4.0, links=(BIZ,))
    around = book.engine.around(WEB, book.now)
    assert not around.replicate
    assert around.cut


def test_late_echo_starts_nothing() -> None:
    """An echo that was under way for long pairs a node whose lease has ended: its VM stays down until a fresh one."""
    book = paired(A)
    book.engine.units[WEB].state = VmState.STANDBY
    sent_s, book.now = book.now, book.now + 20.0
    book.hears(e.HeartbeatSeen(BIZ, book.peer, sent_s))
    assert book.engine.around(WEB, book.now).goal is Goal.HOLD
    book.peer_says()
    assert book.engine.around(WEB, book.now).goal is Goal.RUN


def test_nothing_runs_beside_a_newer_owner() -> None:
    """A node that cannot take in the peer's newer epoch, because its record cannot be written, starts nothing."""
    book = paired(A)
    book.engine.sight.partner.view = replace(book.peer, record=Record(4, B, peer_outdated=True))
    assert book.engine.around(WEB, book.now).goal is Goal.STOP


def test_replication_that_breaks_again_and_again_is_held() -> None:
    """For a while nobody is met."""
    book = paired(A)
    unit = book.engine.units[WEB]
    unit.steadiness.falls, unit.steadiness.fell_at = 2, book.now
    around = book.engine.around(WEB, book.now)
    assert (around.held, around.replicate) == (True, False)
    assert not book.engine.around(WEB, book.now + 41.0).held

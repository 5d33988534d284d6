"""What may be done with a copy, as DRBD describes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core.circumstances import Circumstances, Goal
from avance.core.model import DiskRole, DiskState, DiskView, PairState
from avance.core.usable import has_data, is_marked, may_meet, usable
from tests.playbook import in_sync

GOOD = in_sync(DiskRole.SECONDARY)
ALONE = DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)
AROUND = Circumstances(
    goal=Goal.RUN, pair=PairState.PAIRED, both_fresh=False, i_am_owner=True, retry_s=2.0, solo=False, consenting=False,
    replicate=True, cut=False, keep=0, discard=False, leaving=False, behind=False, peer_good=True, accepted=True,
    peer_read=True, target=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("view", "solo", "may"),
    [
        (GOOD, False, True),
        (replace(GOOD, peer_role=DiskRole.PRIMARY), False, False),  # the peer writes
        (replace(GOOD, peer_role=DiskRole.PRIMARY), True, False),
        (replace(GOOD, peer_disk=DiskState.OUTDATED), False, False),
        (ALONE, False, False),
        (ALONE, True, True),
        (replace(ALONE, disk=DiskState.CONSISTENT), True, True),
        (replace(ALONE, disk=DiskState.OUTDATED), True, True),  # the peer gave the right back
        (replace(ALONE, disk=DiskState.INCONSISTENT), True, False),
    ],
)
def test_one_of_two_good_copies_or_one_with_the_lone_right(view: DiskView, solo: bool, may: bool) -> None:
    """May be promoted (docs/safety.md, S8), and one that is behind never."""
    assert usable(view, replace(AROUND, solo=solo)) is may
    assert not usable(view, replace(AROUND, solo=solo, behind=True))


def test_data_are_here_or_at_the_other_end() -> None:
    """A VM can read its volume over the connection, too."""
    lost = replace(GOOD, disk=DiskState.DISKLESS)
    assert has_data(ALONE)
    assert has_data(lost)
    assert not has_data(replace(lost, connection="Connecting"))
    assert not has_data(None)


def test_an_outdated_copy_that_is_connected_is_left_alone() -> None:
    """It takes the peer's data; one that stands alone may be promoted by force."""
    outdated = replace(ALONE, disk=DiskState.OUTDATED)
    assert is_marked(outdated)
    assert not is_marked(replace(outdated, connection="Connected"))


def test_an_outdated_copy_meets_only_a_writer_that_has_one() -> None:
    """DRBD would call it good beside a writer without a disk (decision 0020)."""
    backup, outdated = replace(AROUND, i_am_owner=False, outdated=True), replace(ALONE, disk=DiskState.OUTDATED)
    assert may_meet(outdated, replace(backup, peer_attached=True))
    assert not may_meet(outdated, replace(backup, peer_attached=False))
    assert may_meet(replace(ALONE, disk=DiskState.INCONSISTENT), replace(backup, peer_attached=False))
    assert not may_meet(replace(ALONE, disk=DiskState.DISKLESS), backup)
    assert not may_meet(outdated, replace(AROUND, solo=True))

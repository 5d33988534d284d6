"""A VM with one copy only is told after a while, whatever the reason; an only copy on the last disk sooner."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskRole, DiskState, DiskView, MirrorState, MirrorView
from tests.playbook import WEB, A, B, Playbook, alerts, in_sync, paired, peer_gone

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
WHOLE, HALF = MirrorView(MirrorState.CURRENT, 2), MirrorView(MirrorState.CURRENT, 1, detail="vdb is out of it")
GOOD = in_sync(P)
FILLED = replace(GOOD, peer_disk=DiskState.INCONSISTENT, replication="SyncSource", out_of_sync_kib=512)


def told(book: Playbook, seconds: float) -> list[str]:
    """Return the alerts about copies while time passes and the peer is heard."""
    commands = book.pass_time(seconds, peer_alive=True, tick_s=0.5)
    return [code for code in alerts(commands) if code in ("one_copy", "two_copies", "last_disk")]


def text(book: Playbook, code: str) -> str:
    """Return the text of the last alert with this code."""
    given = [command for decision in book.said for command in decision.commands]
    return next(one.alert.text for one in reversed(given) if isinstance(one, c.SendAlert) and one.alert.code == code)


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (FILLED, "still being filled (SyncSource)"),
        (replace(GOOD, peer_disk=DiskState.DISKLESS), "the copy of the other node is Diskless"),
        (peer_gone(P), "heard, but the copies are not connected (Connecting)"),
        (replace(GOOD, disk=DiskState.DISKLESS), "the copy of this node is Diskless"),
    ],
)
def test_one_copy_is_told_once_with_what_is_known(view: DiskView, why: str) -> None:
    """Not at once, because a restart of the backup is no news; and its end is told."""
    book = paired(A, stays_without_disk=True)
    book.hears(e.DiskChanged(WEB, view))
    assert told(book, 59.0) == []
    assert told(book, 120.0) == ["one_copy"]
    assert why in text(book, "one_copy")
    assert "two_copies" in alerts(book.hears(e.DiskChanged(WEB, GOOD)))


def test_a_short_time_on_one_copy_is_not_told() -> None:
    """The clock starts anew each time, and no end is told of what was not told."""
    book = paired(A)
    for _ in range(3):
        book.hears(e.DiskChanged(WEB, FILLED))
        assert told(book, 40.0) == []
        assert "two_copies" not in alerts(book.hears(e.DiskChanged(WEB, GOOD)))


def test_the_backup_leaves_it_to_the_owner() -> None:
    """Each matter is told by one node: the one on which the VM runs."""
    book = paired(B)
    book.hears(e.DiskChanged(WEB, replace(in_sync(S, peer_role=P), disk=DiskState.INCONSISTENT)))
    assert told(book, 90.0) == []


def test_the_only_copy_on_the_last_disk_is_told() -> None:
    """The peer is gone and half of the mirror as well: one more lost disk loses the data."""
    book = paired(A)
    book.hears(e.MirrorChanged(WHOLE))
    book.hears(e.DiskChanged(WEB, FILLED))
    assert told(book, 20.0) == []
    assert alerts(book.hears(e.MirrorChanged(HALF))) == ["mirror_degraded", "last_disk"]
    assert told(book, 5.0) == []
    book.hears(e.DiskChanged(WEB, GOOD))
    book.hears(e.DiskChanged(WEB, FILLED))
    assert told(book, 9.0) == []
    assert told(book, 2.0) == ["last_disk"], "it was in order between"


def test_a_copy_that_is_on_the_peer_has_not_its_last_disk_here() -> None:
    """The VM writes over the link, so this node's mirror does not matter."""
    book = paired(A)
    book.hears(e.MirrorChanged(HALF))
    book.hears(e.DiskChanged(WEB, replace(GOOD, disk=DiskState.DISKLESS)))
    assert "last_disk" not in told(book, 50.0)

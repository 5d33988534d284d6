"""Consent: when an owner needs it, when a backup is asked for it, and what the backup must have let go of first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import consent
from avance.core.model import DiskRole, DiskState, DiskView, LinkState, PairState, PeerView, Record
from tests.playbook import A, B, in_sync, peer_gone

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
ASKING = PeerView(A, "boot", "c0ffee", 1.0, PairState.PAIRED, Record(3, A), wants=4)


@pytest.mark.parametrize(
    ("view", "link", "lost"),
    [
        (in_sync(P), LinkState.UP, False),
        (in_sync(P), LinkState.SUSPECT, False),
        (in_sync(P), LinkState.DOWN, True),
        (peer_gone(P), LinkState.UP, True),
        (replace(in_sync(P), connection="StandAlone"), LinkState.UP, True),
        (replace(in_sync(P), peer_disk=DiskState.DISKLESS), LinkState.UP, True),
        (replace(in_sync(P), peer_disk=DiskState.FAILED), LinkState.UP, True),
        (replace(in_sync(P), peer_disk=DiskState.OUTDATED), LinkState.UP, True),
        # DRBD does not freeze a primary whose connected peer is behind: the right must be there before it is lost.
        (replace(in_sync(P), peer_disk=DiskState.INCONSISTENT, replication="SyncSource"), LinkState.UP, True),
        (replace(in_sync(P), disk=DiskState.DISKLESS, peer_disk=DiskState.UP_TO_DATE), LinkState.UP, False),
        # A fresh pair of volumes has no good copy yet: there is nothing to go on with alone.
        (DiskView(S, DiskState.INCONSISTENT, "Connected", S, DiskState.INCONSISTENT), LinkState.UP, False),
        (peer_gone(S, disk=DiskState.OUTDATED), LinkState.DOWN, False),
        (peer_gone(S), LinkState.UP, False),
        (None, LinkState.DOWN, False),
    ],
)
def test_when_an_owner_is_not_replicated(view: DiskView | None, link: LinkState, lost: bool) -> None:
    """An owner with a good copy needs consent when link, connection or a good copy of the peer is missing."""
    assert (consent.replication_lost(view, link) is not None) is lost


def test_consent_is_asked_by_the_living_owner_for_the_next_epoch() -> None:
    """A backup is asked only by the owner that both records name, and only for the very next epoch."""
    record = Record(3, A)
    assert consent.asked(record, ASKING, PairState.PAIRED, may_write=False)
    assert consent.asked(record, ASKING, PairState.WAITING, may_write=False)
    assert not consent.asked(record, None, PairState.PAIRED, may_write=False)
    assert not consent.asked(record, replace(ASKING, wants=0), PairState.PAIRED, may_write=False)
    assert not consent.asked(record, replace(ASKING, wants=5), PairState.PAIRED, may_write=False)
    assert not consent.asked(Record(4, A), ASKING, PairState.PAIRED, may_write=False)
    assert not consent.asked(Record(3, B), ASKING, PairState.PAIRED, may_write=False)


def test_writer_is_never_asked() -> None:
    """A node on which a VM may be writing does not consent."""
    assert not consent.asked(Record(3, A), ASKING, PairState.PAIRED, may_write=True)


@pytest.mark.parametrize("pair", [PairState.STARTING, PairState.ALONE, PairState.FENCED, PairState.SPLIT])
def test_only_a_pair_consents(pair: PairState) -> None:
    """A node that is not, or was not just now, in a pair with the asker does not consent."""
    assert not consent.asked(Record(3, A), ASKING, pair, may_write=False)


@pytest.mark.parametrize("state", list(DiskState))
@pytest.mark.parametrize("connection", ["StandAlone", "Connecting", "Connected"])
def test_copy_that_is_apart_stays_as_it_is(state: DiskState, connection: str) -> None:
    """A copy is apart when it is gone, or has left the replication: one that may meet its peer can still change."""
    view = DiskView(S, state, connection)
    gone = state in (DiskState.DISKLESS, DiskState.FAILED)
    assert consent.apart(view) is (gone or connection == "StandAlone")
    assert consent.must_disconnect(view) is (connection != "StandAlone")
    assert consent.apart(None)


@pytest.mark.parametrize("state", list(DiskState))
@pytest.mark.parametrize("connection", ["StandAlone", "Connecting", "Connected"])
def test_marked_copy_cannot_be_promoted(state: DiskState, connection: str) -> None:
    """Only a disk that is there and says so itself is marked: one that is away may come back as it was."""
    bad = state in (DiskState.OUTDATED, DiskState.INCONSISTENT)
    assert consent.marked(DiskView(S, state, connection)) is (bad and connection == "StandAlone")
    assert not consent.marked(None)


def test_consent_is_the_next_epoch_of_the_owner() -> None:
    """What a backup makes durable names the owner, the next epoch, and its own copy as outdated."""
    given = consent.given(Record(3, A, arbiters=("witness:w1",), boot="m"), A)
    assert given == Record(4, A, peer_outdated=True, arbiters=("witness:w1",), boot="m")
    assert given.solo(A)
    assert not given.solo(B)


def test_generation_of_a_copy_that_may_still_write_does_not_stay() -> None:
    """A connected copy takes the writes of its peer; a frozen one begins another generation when it goes on."""
    left = DiskView(S, DiskState.UP_TO_DATE)
    assert consent.stays(left)
    assert not consent.stays(in_sync(S))
    assert not consent.stays(peer_gone(P, suspended=True))
    assert consent.stays(peer_gone(S, suspended=True))
    assert not consent.stays(None)

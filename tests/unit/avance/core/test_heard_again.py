"""A backup that waits hears the old primary again: its clock starts anew, and what it found out is judged anew.

Row B16 of the fault catalogue: openings cross, and every receipt can have renewed the primary's lease by its echo.
"""

from __future__ import annotations

import pytest

from avance.core import arbiters
from avance.core import commands as c
from avance.core import events as e
from avance.core.model import LinkName, Outcome, PairState, Record
from avance.core.takeover import Power
from tests.playbook import BIZ, PRIV, A, B, Playbook, acts, ended, paired

W1 = arbiters.witness("w1")


def names(commands: list[c.Command]) -> list[str]:
    """Return the class names of commands."""
    return [type(command).__name__ for command in acts(commands)]


def waiting_with_a_grant() -> Playbook:
    """Return a backup that waits, and whose witness has granted it the next epoch; 8.5 s of silence have passed."""
    book = paired(B, witnesses=("w1",), record=Record(3, A, arbiters=(W1,)))
    asked = next(one for one in book.pass_time(8.5) if isinstance(one, c.AskWitness))
    book.hears(ended(asked, Outcome.OK, "granted 4 b"))
    assert book.engine.pair is PairState.WAITING
    return book


def power_of(book: Playbook) -> Power:
    """Return what the backup knows of its peer's power."""
    return book.engine.right.arbitration.power


def unheard(book: Playbook, link: LinkName) -> e.Event:
    """Return a heartbeat of a peer that does not hear this node."""
    return e.HeartbeatSeen(link, book.peer, None)


@pytest.mark.parametrize("how", ["private", "public", "unproven"])
def test_backup_waits_anew_from_each_receipt(how: str) -> None:
    """Any receipt can have been echoed and have renewed the old primary's lease: 17 s from it, the grant stays."""
    book = waiting_with_a_grant()
    book.pass_time(7.0)
    event = e.HeartbeatUnproven(BIZ) if how == "unproven" else unheard(book, PRIV if how == "private" else BIZ)
    heard_at = book.now
    assert names(book.hears(event)) == []
    commands = book.pass_time(16.9)
    assert not {"SaveRecord", "AskWitness"} & {*names(commands)}
    assert "SaveRecord" in names(book.pass_time(0.1))
    assert book.now == pytest.approx(heard_at + 17.0)


def test_own_delay_does_not_put_off_the_takeover() -> None:
    """A daemon that is late while it waits has echoed nothing meanwhile, so the wait is not begun again."""
    book = waiting_with_a_grant()
    book.pass_time(4.0)
    book.now += 3.0
    assert "SaveRecord" not in names(book.hears(e.Tick()))
    assert "SaveRecord" in names(book.pass_time(1.6))


def test_daemon_that_was_late_reads_first_what_waits() -> None:
    """The wait ended while the daemon stood still: for one heartbeat it takes in what came before it acts."""
    book = waiting_with_a_grant()
    book.now += 60.0
    assert "SaveRecord" not in names(book.hears(e.Tick()))
    assert "SaveRecord" not in names(book.pass_time(0.5))
    assert "SaveRecord" in names(book.pass_time(0.2))


def test_nothing_is_echoed_while_the_right_is_taken() -> None:
    """Until its record is durable an echo would renew a lease beside the right; then the heartbeat tells of it."""
    book = waiting_with_a_grant()

    def echoes(event: e.Event) -> list[bool]:
        book.now += 0.5
        commands = book.engine.handle(event, book.now).commands
        return [one.echoing for one in commands if isinstance(one, c.SendHeartbeat)]

    assert echoes(e.Tick()) == [True]
    saved = next(one for one in book.pass_time(9.0) if isinstance(one, c.SaveRecord))
    assert echoes(unheard(book, PRIV)) == [False]
    book.hears(ended(saved, Outcome.UNKNOWN, "no answer"))
    assert echoes(e.Tick()) == [False], "it may be on the disk"
    again = next(one for one in book.pass_time(18.0) if isinstance(one, c.SaveRecord))
    assert echoes(e.Tick()) == [False]
    assert again == saved
    book.hears(ended(again))
    assert echoes(e.Tick()) == [True]
    assert book.engine.view(book.now).record.epoch == 4


def test_power_that_read_off_proves_nothing_once_the_peer_is_heard() -> None:
    """The peer's power was read as off, then a heartbeat of it came: it is on, and the wait is needed again."""
    book = paired(B, power=True)
    asked = book.pass_time(2.1)
    assert "ReadPeerPower" in names(asked)
    book.hears(ended(c.ReadPeerPower(), Outcome.OK, "off"))
    assert power_of(book) is Power.OFF_EARLY
    book.now += 0.1
    book.hears(unheard(book, BIZ))
    assert power_of(book) is Power.NOT_CUT
    assert "SaveRecord" not in names(book.pass_time(7.9))


def test_proof_by_power_counts_from_the_peers_lease() -> None:
    """The peer hears us and answers, but nothing of it was echoed for seconds: it can be alone already. Off is late."""
    book = paired(B, power=True)
    contact_s = book.engine.liveness.contact_s
    for _ in range(6):
        book.now += 0.5
        book.hears(e.Tick())
    book.peer_says()
    assert book.engine.liveness.lease_from_s == book.now
    assert book.engine.liveness.contact_s is not None
    assert contact_s is not None
    assert book.engine.liveness.contact_s <= contact_s + 0.5
    book.pass_time(2.1)
    assert book.engine.right.arbitration.watch_power(0.0, book.now) == []
    book.hears(ended(c.ReadPeerPower(), Outcome.OK, "off"))
    assert book.engine.right.arbitration.power is not Power.OFF_EARLY


def test_receipt_does_not_undo_that_this_node_was_cut_off() -> None:
    """No gateway answered, then one heartbeat came one way: the owner may be alone by then, so the no stays."""
    book = paired(B, gateway=True)
    book.pass_time(2.6)
    book.hears(e.NeighboursSeen(gateway=False, claimed=()))
    book.hears(ended(c.ProbeNeighbours()))
    book.pass_time(3.0)
    book.hears(unheard(book, PRIV))
    assert "SaveRecord" not in names(book.pass_time(60.0))

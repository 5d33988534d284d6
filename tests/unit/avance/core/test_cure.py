"""One restart in the hope of a cure: planned, durable, and told when it was in vain."""

from __future__ import annotations

from dataclasses import replace

from avance.core import commands as c
from avance.core.model import DiskRole, PairState, Record
from tests.playbook import (
    BIZ,
    WEB,
    B,
    acts,
    alerts,
    ended,
    served,
)
from tests.unit.avance.core.letting_go import CONSENT, cut_off, names, releasing

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY


def test_consent_is_durable_before_anything_else() -> None:
    """Its record is the consent; only then a backup marks its copy, and restarts for a cure when the owner follows."""
    book = releasing()
    given = served(B, CONSENT)
    assert not {"ResetNode", "OutdateDisk"} & {*names(book.pass_time(1.0, links=(BIZ,)))}
    book.done(c.SaveRecord(given), c.OutdateDisk(WEB))
    assert "ResetNode" not in names(book.pass_time(1.0, links=(BIZ,))), "the owner has not taken the right yet"
    commands = book.peer_says(links=(BIZ,), record=replace(CONSENT, boot="x"), wants=0)
    assert acts(commands) == [c.SaveRecord(replace(given, cure=4))]
    commands = book.hears(ended(c.SaveRecord(given)))
    assert "ResetNode" in names(commands)
    assert "resets_itself" in alerts(commands)


def test_backup_restarts_once_only() -> None:
    """A backup that was restarted for a cure already consents, but does not restart again."""
    book = releasing(cure=2)
    book.hears(ended(c.SaveRecord(Record())))
    assert "ResetNode" not in names(book.peer_says(links=(BIZ,), record=CONSENT, wants=0))
    assert "ResetNode" not in names(book.pass_time(30.0, links=(BIZ,)))


def test_consent_over_a_good_link_needs_no_restart() -> None:
    """A backup whose private link is up consents and stays: there is nothing to cure."""
    book = releasing(link_down=False)
    book.done(c.SaveRecord(served(B, CONSENT)), c.ConnectDisk(WEB))
    assert "ResetNode" not in names(book.peer_says(record=CONSENT, wants=0))


def test_failed_cure_is_told_after_the_restart() -> None:
    """The alert that the link is dead in spite of the restart comes after the restart, not with the consent."""
    book = cut_off()
    book.pass_time(4.0, links=(BIZ,))
    consent = replace(CONSENT, cure=4)
    commands = book.peer_says(links=(BIZ,), record=consent)
    commands += book.hears(ended(c.SaveRecord(Record())))
    commands += book.pass_time(0.5, links=(BIZ,))
    assert "backup_down" not in alerts(commands)
    book.pass_time(10.0)
    commands = book.peer_says(links=(BIZ,), pair=PairState.STARTING, machine="b-machine-2", boot="b-boot-2")
    commands += book.peer_says(links=(BIZ,), pair=PairState.PAIRED)
    assert "backup_down" not in alerts(commands), "the link may come up a moment after its nodes"
    assert "backup_down" in alerts(book.pass_time(11.0, links=(BIZ,)))

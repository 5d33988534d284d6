"""One restart in the hope of a cure: planned, durable, and told when it was in vain."""

from __future__ import annotations

from dataclasses import replace

from avance.core import commands as c
from avance.core import events as e
from avance.core.cure import CURES_MAX
from avance.core.model import DiskRole, LinkState, PairState, Record
from tests.playbook import BIZ, PRIV, WEB, A, B, Playbook, acts, alerts, ended, paired, served
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
    assert acts(commands) == [c.SaveRecord(replace(given, cure=4, cures=1))]
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


def test_link_that_is_good_again_needs_no_restart() -> None:
    """The private link works, and only its hold is not over: a restart could cure nothing."""
    book = releasing()
    book.done(c.SaveRecord(served(B, CONSENT)), c.OutdateDisk(WEB))
    book.pass_time(1.0, links=(BIZ, PRIV))
    assert book.engine.liveness.state(PRIV) is LinkState.DOWN, "it is held back"
    commands = book.peer_says(links=(BIZ, PRIV), record=replace(CONSENT, boot="x"), wants=0)
    commands += book.pass_time(10.0, links=(BIZ, PRIV))
    assert not [one for one in acts(commands) if isinstance(one, c.SaveRecord) and one.record.cure]
    assert book.engine.liveness.state(PRIV) is LinkState.UP


def test_a_backup_whose_owner_dies_does_not_restart_for_its_link() -> None:
    """All links fall silent, the private one a moment before the other: there is nothing to cure (row F1)."""
    book = releasing(link_down=False)
    book.done(c.SaveRecord(served(B, CONSENT)), c.ConnectDisk(WEB))
    book.peer_says(record=CONSENT, wants=0)
    book.now += 0.2
    book.peer_says(links=(BIZ,))
    commands = book.pass_time(6.0)
    assert "peer_lost" in alerts(commands)
    assert "ResetNode" not in names(commands)
    assert not [one for one in commands if isinstance(one, c.SaveRecord) and one.record.cures]


def test_a_backup_whose_owner_comes_back_gives_its_links_time() -> None:
    """The private link is heard a moment after the other one; it is cured only when it stays away (row F1)."""
    book = releasing(link_down=False)
    book.done(c.SaveRecord(served(B, CONSENT)), c.ConnectDisk(WEB))
    book.peer_says(record=CONSENT, wants=0)
    assert "peer_lost" in alerts(book.pass_time(20.0))
    book.peer_says(links=(BIZ,), pair=PairState.STARTING, machine="a-machine-2", boot="a-boot-2")
    book.peer_says(links=(BIZ,), pair=PairState.PAIRED)
    assert book.engine.pair is PairState.PAIRED
    cures = [one for one in book.pass_time(9.0, links=(BIZ,)) if isinstance(one, c.SaveRecord) and one.record.cures]
    assert not cures
    cures = [one for one in book.pass_time(12.0, links=(BIZ,)) if isinstance(one, c.SaveRecord) and one.record.cures]
    assert cures


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


def consented(cures: int) -> tuple[Playbook, Record]:
    """Return a backup that has consented after earlier restarts for a cure, and the record that says so."""
    book = releasing(cures=cures)
    given = served(B, replace(CONSENT, cures=cures))
    book.done(c.SaveRecord(given), c.OutdateDisk(WEB))
    return book, given


def test_a_backup_restarts_three_times_and_no_more() -> None:
    """The third restart is the last one; the next time one alert says what to change, and this backup stays up."""
    book, given = consented(CURES_MAX - 1)
    commands = book.peer_says(links=(BIZ,), record=replace(CONSENT, boot="x"), wants=0)
    assert acts(commands) == [c.SaveRecord(replace(given, cure=4, cures=CURES_MAX))]
    book, _ = consented(CURES_MAX)
    commands = book.peer_says(links=(BIZ,), record=replace(CONSENT, boot="x"), wants=0)
    commands += book.pass_time(30.0, links=(BIZ,))
    assert not {"SaveRecord", "ResetNode"} & {*names(commands)}
    assert alerts(commands) == ["cures_used_up"]


def running_for(seconds: float) -> Playbook:
    """Return a backup with three restarts behind it, and whose daemon has run for so long since."""
    book = paired(B, record=Record(3, A, cures=CURES_MAX))
    started_at = book.engine.sight.liveness.started_at
    assert started_at is not None
    book.engine.sight.liveness.started_at = started_at - seconds
    return book


def test_restarts_are_forgotten_after_an_hour_that_needed_none() -> None:
    """The hour counts from the start of this run."""
    book = running_for(3595.0)
    assert "SaveRecord" not in names(book.pass_time(3.0, peer_alive=True))
    commands = acts(book.pass_time(3.0, peer_alive=True))
    assert commands == [c.SaveRecord(replace(book.engine.record, cures=0))]


def test_a_fault_that_comes_again_within_the_hour_keeps_the_count() -> None:
    """A cable that goes on to fall is the same story, however long it takes."""
    book = running_for(3590.0)
    book.pass_time(4.0, links=(BIZ,))
    assert "SaveRecord" not in names(book.pass_time(20.0, peer_alive=True))


def test_a_person_may_allow_restarts_again() -> None:
    """`reset-device` with the name of the node itself forgets the earlier restarts at once, durably."""
    book = paired(B, record=Record(3, A, cures=CURES_MAX))
    commands = book.hears(e.OperatorAsked("reset-device", B, 1))
    assert c.SaveRecord(replace(book.engine.record, cures=0)) in commands
    assert "operator_reset_device" in alerts(commands)

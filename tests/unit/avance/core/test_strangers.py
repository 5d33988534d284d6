"""Junk from strangers is one alert an hour for each link, with the addresses that it named; nothing else follows."""

from __future__ import annotations

from avance.core import commands as c
from avance.core import events as e
from tests.playbook import BIZ, PRIV, A, Playbook, acts, alerts, paired

JUNK = e.DatagramsRefused(PRIV, "not a heartbeat", 9, ("10.9.0.7",))


def texts(commands: list[c.Command]) -> list[str]:
    """Return what the alerts among commands say."""
    return [command.alert.text for command in commands if isinstance(command, c.SendAlert)]


def flood(book: Playbook, seconds: int, event: e.DatagramsRefused = JUNK) -> list[tuple[int, str]]:
    """Let the same junk be told each minute; returns when which alert followed."""
    told = []
    for second in range(0, seconds, 60):
        commands = book.hears(event)
        assert acts(commands) == []
        told += [(second, text) for text in texts(commands)]
        book.now += 60.0
        book.peer_says()
    return told


def test_a_flood_is_one_alert_an_hour() -> None:
    """At once at first, then once an hour with all that came since; the journal has no other line."""
    book = paired(A)
    told = flood(book, 3 * 3600)
    assert [second for second, _ in told] == [0, 3600, 7200]
    assert "10.9.0.7 (9 times: not a heartbeat)" in told[0][1]
    assert "(540 times: not a heartbeat)" in told[1][1]
    assert sum("no heartbeats of the peer" in reason for reason in book.reasons.splitlines()) == 3


def test_each_link_has_its_own_hour() -> None:
    """Junk on one link does not hide that on another."""
    book = paired(A)
    book.hears(JUNK)
    assert alerts(book.hears(JUNK)) == []
    assert alerts(book.hears(e.DatagramsRefused(BIZ, "replayed or out of order", 1))) == ["datagrams_refused"]


def test_other_reasons_are_told_together() -> None:
    """Within the hour nothing more is said, and then every reason and sender has its place."""
    book = paired(A)
    book.hears(JUNK)
    book.hears(e.DatagramsRefused(PRIV, "wrong authentication code", 2, ("10.9.0.8",)))
    book.now += 3600.0
    text = texts(book.hears(JUNK))[0]
    assert "10.9.0.8, 10.9.0.7 (9 times: not a heartbeat, 2 times: wrong authentication code)" in text


def test_forged_senders_are_bounded() -> None:
    """However many addresses a stranger makes up, the alert names a few."""
    book = paired(A)
    book.hears(JUNK)
    for number in range(100):
        book.hears(e.DatagramsRefused(PRIV, "not a heartbeat", 1, (f"10.9.0.{number}",)))
    book.now += 3600.0
    assert texts(book.hears(JUNK))[0].count("10.9.0.") == 4


def test_a_loose_plug_does_not_fill_the_journal() -> None:
    """Sixty lines an hour about carriers, the last one says that no more come; after the hour they come again."""
    book = paired(A)
    for number in range(1000):
        book.hears(e.LinkChanged(PRIV, carrier=bool(number % 2)))
    assert book.reasons.count("carrier of priv0") == 60
    assert book.reasons.count("no more is said for a while") == 1
    book.now += 3600.0
    book.hears(e.LinkChanged(PRIV, carrier=True))
    assert book.reasons.count("carrier of priv0") == 61

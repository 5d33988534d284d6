"""Links, the state of the pair, and what a pair notes durably: asked of the rules and done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core.crashloop import Policy
from avance.core.engine import Engine
from avance.core.model import DiskRole, DiskState, DiskView, LinkState, PairState, Record
from tests.playbook import BIZ, WEB, A, B, Playbook, acts, alerts, ended, paired, peer_gone, served, setup

P = DiskRole.PRIMARY


def state(book: Playbook) -> PairState:
    """Return the state of the pair now."""
    return book.engine.pair


def alone() -> Playbook:
    """Return an owner that goes on alone in epoch 4; its peer is gone."""
    book = paired(A)
    book.hears(e.DiskChanged(WEB, peer_gone(P, suspended=True)))
    book.hears(ended(c.SaveRecord(Record())))  # it can be written, so the peer is asked for its consent
    book.pass_time(5.2)
    book.hears(e.NeighboursSeen(True, ()))
    book.hears(ended(c.ProbeNeighbours()))
    book.hears(ended(c.SaveRecord(Record())))
    assert state(book) is PairState.ALONE
    return book


def returns(book: Playbook, machine: str, cure: int = 0) -> list[c.Command]:
    """Let the peer come back after a restart of its machine."""
    known = replace(book.engine.record, boot="", cure=cure, quarantined=False)
    commands = book.peer_says(record=known, pair=PairState.STARTING, machine=machine, boot=f"boot of {machine}")
    commands += book.peer_says(pair=PairState.PAIRED)
    for one in commands:
        if isinstance(one, c.SaveRecord):
            commands = [*commands, *book.hears(ended(one))]
    return commands


def crashes(book: Playbook, times: int, between_s: float) -> list[c.Command]:
    """Let the peer's machine fail again and again; returns all commands."""
    commands: list[c.Command] = []
    for number in range(times):
        for _ in range(round(between_s / 1.5)):
            book.now += 1.5
            commands += book.hears(e.Tick())
        commands += returns(book, f"b-machine-{book.now:.0f}-{number}")
    return commands


def test_link_alerts_come_in_pairs() -> None:
    """A link that falls is told, and told again when it is back; the first rise of a link is no news."""
    book = paired(A)
    assert alerts(book.pass_time(3.5, links=(BIZ,))) == ["link_down"]
    assert alerts(book.pass_time(11.0, peer_alive=True)).count("link_up") == 1
    assert book.engine.sight.private_link() is LinkState.UP


def test_nothing_is_judged_while_a_record_is_on_its_way() -> None:
    """The next judgement builds on what is durable: a silence during a save is judged after it."""
    book = paired(B)
    book.peer_says(record=replace(book.peer.record, peer_outdated=True))
    assert book.engine.sight.durable.saving is not None
    book.pass_time(20.0)
    assert state(book) is PairState.PAIRED
    book.hears(ended(c.SaveRecord(Record())))
    assert state(book) is PairState.WAITING


def test_owner_loses_its_peer_by_the_lease_clock() -> None:
    """An owner that hears its peer but is not heard has lost it 5 s after its last echoed heartbeat."""
    book = paired(A)
    for _ in range(49):
        book.now = round(book.now + 0.1, 6)
        book.hears(e.HeartbeatSeen(BIZ, book.peer, None))
    assert state(book) is PairState.PAIRED
    book.now = round(book.now + 0.2, 6)
    book.hears(e.HeartbeatSeen(BIZ, book.peer, None))
    assert state(book) is PairState.WAITING


def test_backup_loses_its_peer_by_the_receipt_clock() -> None:
    """A backup that hears its peer has not lost it, though it is not heard itself."""
    book = paired(B)
    for _ in range(200):
        book.now = round(book.now + 0.1, 6)
        book.hears(e.HeartbeatSeen(BIZ, book.peer, None))
    assert state(book) is PairState.PAIRED


def test_restarted_daemon_keeps_the_lone_right() -> None:
    """A daemon that starts again in the same boot of the machine goes on alone; after a boot it waits first."""
    solo = Record(4, A, peer_outdated=True)
    again = Playbook(Engine(setup(A), served(A, solo)))
    again.hears(e.Tick())
    assert state(again) is PairState.ALONE
    booted = Playbook(Engine(setup(A), solo))
    booted.hears(e.Tick())
    assert state(booted) is PairState.STARTING


def test_peer_that_returns_is_told_and_forgiven() -> None:
    """A restarted peer is a recovery, and its links are used at once: they fell with the machine."""
    book = alone()
    assert "peer_returned" in alerts(returns(book, "b-machine-2"))
    book.peer_says()
    assert book.engine.sight.private_link() is LinkState.UP


def test_restart_of_the_peers_daemon_is_forgiven_too() -> None:
    """The links fell with the daemon: they are used at once, and no backup restarts for their sake."""
    book = paired(B)
    book.pass_time(6.0)
    assert state(book) is PairState.WAITING
    book.peer_says(boot="a-boot-2")
    book.peer_says()
    assert state(book) is PairState.PAIRED
    assert book.engine.sight.private_link() is LinkState.UP


def told(book: Playbook) -> list[str]:
    """Return the codes of all alerts so far."""
    return [code for decision in book.said for code in alerts(decision.commands)]


def test_lasting_mismatch_is_told_once() -> None:
    """Different configurations are told after 5 s, once, and again only after they had been in order."""
    book = Playbook(Engine(setup(A), Record(3, A)))
    book.peer_says(config_hash="other")
    assert "pair_mismatch" not in told(book)
    book.pass_time(30.0, peer_alive=True)
    assert told(book).count("pair_mismatch") == 1


def test_what_is_in_order_with_the_peer_is_told_anew() -> None:
    """A peer that is back needs no fence and no right: the next time people hear of all that again."""
    book = paired(A)
    book.engine.told.update({"fence_failed", "refused", "waits"})
    book.pass_time(6.0)
    book.peer_says()
    assert state(book) is PairState.PAIRED
    assert not book.engine.told & {"fence_failed", "refused", "waits"}


def test_sixth_quick_failure_puts_the_peer_into_quarantine() -> None:
    """A backup that fails six times within minutes is quarantined, durably, and told; its disk is connected no more."""
    book = alone()
    commands = crashes(book, 6, 60.0)
    assert "quarantined" in alerts(commands)
    assert any(isinstance(one, c.SaveRecord) and one.record.quarantined for one in commands)


def test_five_failures_are_no_quarantine() -> None:
    """Five failures are not enough, and neither are six that are far apart."""
    assert "quarantined" not in alerts(crashes(alone(), 5, 60.0))
    assert "quarantined" not in alerts(crashes(alone(), 7, 1500.0))


def test_policy_of_the_site_decides() -> None:
    """With policy `never` one failure is enough, with `always` none is."""
    for policy, expected in ((Policy.NEVER, True), (Policy.ALWAYS, False)):
        book = alone()
        book.engine.sight.partner.crashes.policy = policy
        assert ("quarantined" in alerts(crashes(book, 8, 30.0))) is expected


def test_restart_for_a_cure_is_no_failure() -> None:
    """A backup that restarted in the hope of a cure is not counted as failing."""
    book = alone()
    for number in range(8):
        book.pass_time(20.0)
        commands = returns(book, f"b-machine-{number}", cure=book.engine.record.epoch)
        assert "quarantined" not in alerts(commands)
    assert book.engine.sight.partner.crashes.recent(book.now) == 0


def test_quarantine_survives_a_restart_of_the_daemon() -> None:
    """The record keeps the quarantine; it ends when a person resets the device."""
    book = paired(A, record=Record(3, A, quarantined=True))
    assert book.engine.sight.partner.crashes.tripped
    book.hears(e.OperatorAsked("reset-device", B, 1))
    assert book.engine.sight.durable.saving == served(A, Record(3, A))


@pytest.mark.parametrize(("falls", "wait_s"), [(1, 0.0), (2, 10.0 * 2), (3, 10.0 * 4), (6, 160.0)])
def test_unstable_peer_is_synchronised_later_and_later(falls: int, wait_s: float) -> None:
    """After a second failure within the threshold the owner waits before it connects: 20 s, 40 s, at most 160 s."""
    book = alone()
    book.engine.sight.partner.crashes.policy = Policy.ALWAYS
    crashes(book, falls, 30.0)
    assert book.engine.sight.partner.stable_at - book.now == pytest.approx(wait_s)


def test_quarantined_backup_is_not_connected() -> None:
    """While the peer is in quarantine, its copy is not updated."""
    book = paired(A, record=Record(3, A, quarantined=True))
    assert acts(book.hears(e.DiskChanged(WEB, DiskView(P, DiskState.UP_TO_DATE)))) == []

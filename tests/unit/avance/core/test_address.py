"""The service address is held where the VMs belong."""

from __future__ import annotations

from avance.core import commands as c
from avance.core import events as e
from avance.core.address import Address
from avance.core.decision import Draft
from avance.core.engine import Engine
from avance.core.model import Outcome, PairState, Record
from avance.core.results import Done
from tests.playbook import A, B, Playbook, acts, alerts, ended, paired, served, setup


def test_address_follows_the_vms() -> None:
    """The owner holds the address; a backup takes it down once, also when an earlier run may have left it up."""
    assert paired(A).engine.address.held
    backup = Playbook(Engine(setup(B), served(B, Record(3, A))))
    assert c.ReleaseAddress() in backup.peer_says(record=Record(3, A))
    backup.done(c.ReleaseAddress())
    assert not any(isinstance(one, c.ReleaseAddress) for one in backup.pass_time(5.0, peer_alive=True))


def test_waiting_owner_keeps_its_address_until_it_is_judged() -> None:
    """A node that looks for a right neither raises nor drops the address: its reset, or its right, decides."""
    book = paired(A, policy="safety")
    said = book.pass_time(7.0)
    assert not any(isinstance(one, c.HoldAddress | c.ReleaseAddress) for one in said)


def test_failed_address_is_tried_after_a_pause() -> None:
    """An address that could not be brought up is tried again 2 s later."""
    book = paired(A)
    book.engine.address.held = False
    assert acts(book.hears(e.Tick())) == [c.HoldAddress()]
    book.done(c.HoldAddress(), outcome=Outcome.UNKNOWN)
    assert acts(book.pass_time(1.8, peer_alive=True)) == []
    assert acts(book.pass_time(0.4, peer_alive=True)) == [c.HoldAddress()]


def test_address_that_was_taken_away_is_put_back_and_told() -> None:
    """The owner holds it again in the same turn; the service centre hears of the loss, and of its end."""
    book = paired(A)
    said = book.hears(e.AddressSeen(present=False))
    assert acts(said) == [c.HoldAddress()]
    assert alerts(said) == ["address_failed"]
    assert acts(book.hears(e.AddressSeen(present=False))) == [], "one command at a time"
    assert alerts(book.hears(ended(c.HoldAddress()))) == ["address_restored"]
    assert acts(book.hears(e.AddressSeen(present=True))) == [], "it is where it belongs"


def test_address_that_cannot_be_held_is_told_once() -> None:
    """The reason reaches a person, and the tries go on in silence."""
    book = paired(A)
    book.hears(e.AddressSeen(present=False))
    told = alerts(book.hears(ended(c.HoldAddress(), Outcome.FAILED, "there is no network device biz0")))
    assert told == [], "its loss was told already"
    book = paired(A)
    book.engine.address.held = False
    book.hears(e.Tick())
    said = book.hears(ended(c.HoldAddress(), Outcome.FAILED, "there is no network device biz0"))
    assert alerts(said) == ["address_failed"]


def test_address_that_appears_on_the_backup_is_taken_down() -> None:
    """Somebody added it by hand: two nodes must not answer for it."""
    backup = Playbook(Engine(setup(B), served(B, Record(3, A))))
    backup.peer_says(record=Record(3, A))
    backup.done(c.ReleaseAddress())
    assert acts(backup.hears(e.AddressSeen(present=True))) == [c.ReleaseAddress()]


def test_pauses_between_tries_grow_but_not_for_a_release() -> None:
    """An address that cannot be held for a year is no line in the journal each 2 s; a release is never put off."""
    holding, releasing = Address(2.0), Address(2.0)
    draft = Draft(3, PairState.PAIRED, set())
    pauses = []
    for _ in range(7):
        holding.done(c.HoldAddress(), Done(Outcome.FAILED, "no device"), draft, 100.0)
        releasing.done(c.ReleaseAddress(), Done(Outcome.FAILED, "no tool"), draft, 100.0)
        pauses.append(holding.retry_at - 100.0)
        assert releasing.retry_at == 102.0
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]
    holding.done(c.HoldAddress(), Done(Outcome.OK), draft, 200.0)
    holding.done(c.HoldAddress(), Done(Outcome.FAILED, "no device"), draft, 300.0)
    assert holding.retry_at == 302.0

"""A pair that loses its replication, as the tests of consent and of the cure need it: whose link fell, who lets go."""

from __future__ import annotations

from dataclasses import replace

from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskRole, DiskState, DiskView, Record
from tests.playbook import BIZ, GENERATIONS, WEB, A, B, Playbook, acts, paired, peer_gone, served

P, S = DiskRole.PRIMARY, DiskRole.SECONDARY
CONSENT = Record(4, A, peer_outdated=True)
LEFT = DiskView(S, DiskState.UP_TO_DATE)


def names(commands: list[c.Command]) -> list[str]:
    """Return the class names of commands."""
    return [type(command).__name__ for command in acts(commands)]


def cut_off() -> Playbook:
    """Return an owner whose private link has just gone down; the public one carries."""
    book = paired(A)
    book.expect(e.DiskChanged(WEB, peer_gone(P, suspended=True)), c.SaveRecord(book.engine.record))
    book.done(c.SaveRecord(book.engine.record))  # it can be written, so the consent is asked for
    book.pass_time(0.1, links=(BIZ,))
    return book


def releasing(*, link_down: bool = True, cure: int = 0, cures: int = 0) -> Playbook:
    """Return a backup that was asked for consent and has left the replication; it saves its consent now."""
    book = paired(B)
    if link_down:
        book.pass_time(10.0, peer_alive=True)  # all links have had their time to come up
        book.pass_time(4.0, links=(BIZ,))
    links = (BIZ,) if link_down else ()
    assert acts(book.peer_says(links=links, wants=4)) == [c.DisconnectDisk(WEB)]
    book.done(c.DisconnectDisk(WEB))
    book.expect(e.DiskChanged(WEB, LEFT), c.ReadGeneration(WEB))
    book.engine.sight.durable.record = replace(book.engine.record, cure=cure, cures=cures)
    given = served(B, replace(CONSENT, cure=cure, cures=cures))
    book.done(c.ReadGeneration(WEB), c.SaveRecord(given), detail=" ".join(GENERATIONS))
    return book

"""What is foreseen, for programs and for people, the same on both nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from avance.core import events as e
from avance.core.model import Forecast, NodePart, Record, VmForecast
from avance.readiness_text import readiness_of, readiness_text
from avance.status import Around, document
from avance.status_text import status_text
from tests.playbook import WEB, A, B, Playbook, paired
from tests.schema_check import complaints
from tests.unit.avance.site import config


def both(*, power: bool = False, policy: str = "availability") -> tuple[Playbook, Playbook]:
    """Return owner and backup of one pair."""
    owner = paired(A, power=power, policy=policy)
    backup = paired(B, owner=A, power=power, policy=policy)
    backup.hears(e.MemorySeen(4096))
    return owner, backup


def seen(owner: Playbook, backup: Playbook) -> dict[str, Any]:
    """Return the document, which both have to show alike."""
    owner.peer_says(forecast=backup.engine.view(backup.now).forecast)
    found = [readiness_of(one.engine, one.now) for one in (owner, backup)]
    assert found[0] == found[1]
    assert found[0] is not None
    return found[0]


def test_a_sound_pair_is_ready() -> None:
    """With the seconds, and what is not known yet."""
    found = seen(*both())
    assert found["vms"] == {WEB: {"ready": True, "seconds": None, "lacks": None, "text": None, "action": None}}
    assert readiness_text(found) == (
        "READY: if node a died now, node b would order its VMs to start after 17.6 s, by policy availability\n"
        "vm web: would start; how long its start takes there is not known yet"
    )


def test_a_bmc_makes_two_figures() -> None:
    """The power may be gone as well."""
    owner, backup = both(power=True)
    backup.hears(e.PartSeen(NodePart.BMC, ""))
    assert "after 9.6 s, by power fence; after 5.6 s if its power is gone, too" in readiness_text(seen(owner, backup))


def test_a_vm_that_is_not_ready_says_why_and_what_to_do() -> None:
    """On both nodes."""
    owner, backup = both()
    backup.hears(e.MemorySeen(10))
    found = seen(owner, backup)
    assert not found["ready"]
    assert found["seconds"] == 17.6
    text = readiness_text(found)
    assert text.startswith("NOT READY: if node a died now")
    assert "vm web: would not start: the free memory there does not hold it" in text
    assert "Give that node more memory" in text


def test_a_refusal_stands_first() -> None:
    """No VM would start."""
    found = seen(*both(policy="safety"))
    assert readiness_text(found) == (
        "NOT READY: if node a died now, node b would not take over: site policy safety gives no right without consent,"
        " witness or power fence\nvm web: would not start, for the node would not take over"
    )


def test_the_last_start_and_unknown_memory_are_shown() -> None:
    """The seconds until it runs, and what nobody knows."""
    owner = paired(A)
    owner.peer_says(forecast=Forecast(17.6, "witness w1", vms=(VmForecast(WEB, "", 4.2),), memory=False))
    text = readiness_text(readiness_of(owner.engine, owner.now))
    assert "vm web: would run after 21.8 s" in text
    assert "how much memory is free on node b is not known" in text


def test_without_a_backup_nobody_is_ready() -> None:
    """It says so."""
    book = paired(A)
    book.pass_time(4.0)
    assert readiness_of(book.engine, book.now) is None
    assert readiness_text(None).startswith("NOT READY: no backup stands by")


def test_it_is_a_part_of_the_status() -> None:
    """As published."""
    owner, backup = both()
    for free_mib in (4096, 10, None):
        backup.hears(e.MemorySeen(free_mib))
        found = seen(owner, backup)
        for book in (owner, backup):
            status = json.loads(json.dumps(document(config(), book.engine, Around("boot"), book.now)))
            assert status["readiness"] == json.loads(json.dumps(found))
            assert complaints("status", status) == []
            told = "NOT READY for the loss of node a: web; see `avance readiness`" in status_text(status)
            assert told is (free_mib == 10)


def test_a_word_of_a_later_version_is_shown() -> None:
    """As it came."""
    owner = paired(A, record=replace(Record(3, A)))
    owner.peer_says(forecast=Forecast(17.6, "x", vms=(VmForecast(WEB, "moonlight"),)))
    assert "would not start: moonlight." in readiness_text(readiness_of(owner.engine, owner.now))

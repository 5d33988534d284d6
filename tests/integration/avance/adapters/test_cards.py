"""Cards that are missing, flushed or made anew: what vanished is put back, and told."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from typing import Any

import pytest

from avance.adapters.process import run
from tests.integration.avance.adapters.netns_lan import IMPOSSIBLE

LINKS = ("priv0", "biz0")


@functools.cache
def cards() -> dict[str, Any]:
    """Return what the adapters did in a private network; a host without one skips the test."""
    argv = [sys.executable, "-m", "tests.integration.avance.adapters.netns_cards"]
    completed = asyncio.run(run(argv, timeout_s=300.0))
    if completed.code == IMPOSSIBLE:
        pytest.skip(reason=completed.detail)
    assert not completed.detail, completed.detail
    found: dict[str, Any] = json.loads(completed.stdout)
    return found


def test_missing_card_is_told() -> None:
    """Each card that is not there is named, and no heartbeat is lost unseen."""
    told, unsent = cards()["no card"]
    assert [one[:3] for one in told if one[0] == "LinkChanged"] == [["LinkChanged", x, "False"] for x in LINKS]
    assert [(one[1], one[3]) for one in told if one[0] == "PartSeen"] == [("device", name) for name in LINKS]
    assert unsent == {"priv0": 1, "biz0": 1}


def test_address_of_the_private_link_is_here_without_its_card() -> None:
    """On the loopback meanwhile, and only there: DRBD's tool finds this host by it (row H23)."""
    assert cards()["no card, addresses"] == [True, False]
    assert cards()["no card, is up"] == "OK"
    assert cards()["cards come, addresses"] == ["eth0"]
    assert cards()["gone, addresses"] == [True, ["lo"]]
    assert cards()["anew, addresses"] == ["eth0"]


def test_card_that_comes_later_is_used() -> None:
    """It gets its address, and carries heartbeats."""
    assert cards()["cards come"] is True
    assert cards()["is up"] == "OK"
    assert cards()["sent"][0] >= 1


def test_the_service_address_is_announced_while_it_is_here() -> None:
    """Four times within ten seconds, for those who are just starting; never again once it is released."""
    assert cards()["announced"] == 4
    assert cards()["announced, then released"] == 1


def test_address_that_was_flushed_is_put_back() -> None:
    """That of the link by the adapter at once; that of the service when the core says so, for it hears of it."""
    assert cards()["held"] == ["OK", True]
    assert cards()["flushed"] is True
    assert ["AddressSeen", "False"] in cards()["flushed, told"]
    assert cards()["flushed, back"] == [True, False]
    assert cards()["held again"] == ["OK", True]


def test_card_that_was_made_anew_is_used_again() -> None:
    """The address is there again, that is told, and the old socket's place is taken by a new one."""
    assert cards()["anew"] is True
    assert cards()["anew, told"] == [["PartSeen", "device", "", "priv0"]]
    before, after = cards()["anew, sent"]
    assert after - before >= 1, "the first one met the card that is gone"


def test_carrier_of_a_public_network_is_that_of_its_card() -> None:
    """The wire to a VM of this node keeps the bridge up in the kernel's eyes, when the card has none any more."""
    assert cards()["bridge"] == [True, "1"]
    assert cards()["bridge, card dead"] == [True, "1"]


def test_gate_that_vanished_is_put_back() -> None:
    """A filter that somebody took away, and a card that was made anew."""
    assert cards()["gate"] == [None, True]
    assert cards()["gate again"] == [False, None, True]
    assert cards()["anew, gate"] == [None, True]

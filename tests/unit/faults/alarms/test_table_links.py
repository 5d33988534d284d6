"""Proves which alerts a cut of each kind of cable must bring."""

from __future__ import annotations

import pytest

from faults.alarms.fits import case_of
from faults.alarms.table import BY_FAULT
from tests.unit.faults.alarms.planted import fault, run


@pytest.mark.parametrize("name", ["link.cut", "link.cut_one_way", "link.carrier_loss"])
@pytest.mark.parametrize(
    ("port", "codes"),
    [
        ("a.priv0", {"link_down"}),
        ("witness1.biz0", {"witness_failed"}),
        ("bmc-b.biz0", {"bmc_failed"}),
        ("tcp.biz0", set()),
    ],
)
def test_what_a_cable_brings(name: str, port: str, codes: set[str]) -> None:
    """A link of the pair, the way to a witness, the way to a BMC, and what is no business of the pair."""
    one = fault(name, port)
    assert {due.codes[0] for due in case_of(BY_FAULT[name], one, run([one], power=True)).must} == codes


@pytest.mark.parametrize(
    ("name", "codes"), [("link.cut", {"link_down"}), ("link.carrier_loss", {"link_down", "network_lost"})]
)
def test_only_a_card_that_says_so_tells_of_the_network(name: str, codes: set[str]) -> None:
    """A silent cut of a public link is seen by the heartbeats alone."""
    one = fault(name, "a.biz0")
    assert {due.codes[0] for due in case_of(BY_FAULT[name], one, run([one])).must} == codes

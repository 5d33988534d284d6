"""The status in words begins with the one fact that matters, and names every problem."""

from __future__ import annotations

from typing import Any

import pytest

from avance.status import unpaired
from avance.status_text import definitions_text, status_text


def test_status_for_people_begins_with_what_matters() -> None:
    """The first word says whether the site is protected."""
    status = unpaired(0.0) | {
        "pair": "PAIRED", "node": "a", "role": "primary", "epoch": 3, "dilation": 2.0, "links": {"priv0": "UP"},
        "service_address": {"address": "10.77.0.10/24", "held": True},
        "vms": {"web": {"state": "RUNNING", "wanted": "running"}},
        "quarantined": True, "rejected": {"not a heartbeat": 3},
        "arbitration": {"policy": "availability", "arbiters": [], "solo": False, "lease_s": 4.25, "hole": "open"},
        "watchdog": {"configured": True, "armed": True, "problem": None, "feeds": 9},
    }  # fmt: skip
    assert status_text(status).startswith("NOT PROTECTED: node a is primary")
    text = status_text(status | {"protected": True})
    assert text.startswith("PROTECTED")
    for word in (
        "priv0 UP",
        "10.77.0.10/24 (here)",
        "vm web: RUNNING",
        "multiplied by 2",
        "QUARANTINED",
        "3 not a heartbeat",
        "policy availability, lease 4.2 s, HOLE OPEN",
        "watchdog:        armed",
        "gate:            in place",
    ):
        assert word in text
    assert "avance pair" in status_text(unpaired(0.0))


@pytest.mark.parametrize(
    ("mirror", "text"),
    [
        ({"state": "CURRENT", "halves": 2, "detail": ""}, "2 of 2 halves"),
        ({"state": "CURRENT", "halves": 1, "detail": "vdb is out"}, "1 of 2 halves: vdb is out"),
        ({"state": "OLD", "halves": 0, "detail": "vdb is old"}, "OLD, 0 of 2 halves: vdb is old"),
    ],
)
def test_the_data_disks_are_said_in_words(mirror: dict[str, Any], text: str) -> None:
    """A degraded mirror is no secret, and one that is not used is told with its reason."""
    known = unpaired(0.0) | {"pair": "PAIRED", "mirror": {"of": 2, **mirror}}
    assert f"data disks:      {text}" in status_text(known).splitlines()


def test_a_node_without_its_guards_is_named() -> None:
    """Also the other one: whoever asks one node hears why the pair is not protected."""
    known = unpaired(0.0) | {"pair": "PAIRED", "unguarded": {"b": ["gate", "watchdog"]}}
    line = status_text(known).splitlines()[1]
    assert line == "NOT GUARDED: the gate and the watchdog of node b would not stop it when it hangs"


@pytest.mark.parametrize(
    ("drbd", "text"),
    [
        ({"version": None, "problem": None}, "not loaded yet"),
        ({"version": "8.4.11+avance", "problem": None}, "8.4.11+avance"),
        ({"version": "8.4.11", "problem": "it is 8.4.11, without the patch"}, "it is 8.4.11, without the patch"),
    ],
)
def test_the_module_of_drbd_is_said(drbd: dict[str, Any], text: str) -> None:
    """One line says which module runs, and what is missing in Debian's own."""
    known = unpaired(0.0) | {"pair": "PAIRED", "drbd": drbd}
    assert f"drbd module:     {text}" in status_text(known).splitlines()


def test_closed_hole_and_lone_right_are_said() -> None:
    """With an arbiter in office no hole is named; a node that may write alone needs no lease; a problem is named."""
    arbitration = {"policy": "availability", "arbiters": ["witness:w1"], "solo": True, "lease_s": 0.0, "hole": "closed"}
    watchdog = {"configured": True, "armed": False, "problem": "/dev/watchdog: no such device", "feeds": 0}
    known = {"pair": "ALONE", "arbitration": arbitration, "watchdog": watchdog, "gate": {"problem": "biz0: no clsact"}}
    text = status_text(unpaired(0.0) | known)
    assert "witness:w1, this node may write alone\n" in text
    assert "/dev/watchdog: no such device" in text
    assert "gate:            biz0: no clsact" in text
    assert "refused" not in text


DEFINITIONS = {"hash": "1a", "peer_hash": "1a", "number": 3, "peer_number": 3, "proposal": None, "waits": None}


def test_what_an_agreement_waits_for_is_said() -> None:
    """In the status, and with the contents where a person compares two nodes."""
    found = DEFINITIONS | {"waits": "node b has to hold number 4, which was proposed here"}
    known = unpaired(0.0) | {"pair": "PAIRED", "definitions": found}
    assert "definitions wait: node b has to hold number 4" in status_text(known)
    text = definitions_text(found | {"site": {"policy": "safety"}, "vms": []})
    assert text.startswith("definitions number 3, 1a\ndefinitions wait: node b has to hold number 4")
    assert '"policy": "safety"' in text


@pytest.mark.parametrize(("mine", "peers", "told"), [("1a", "2b", True), ("1a", "1a", False), ("1a", None, False)])
def test_definitions_that_differ_are_said_in_words(mine: str, peers: str | None, told: bool) -> None:
    """Nothing is said while they are equal, or the peer has not been heard."""
    known = unpaired(0.0) | {"pair": "PAIRED", "definitions": DEFINITIONS | {"hash": mine, "peer_hash": peers}}
    assert ("DEFINITIONS DIFFER: 1a here, 2b on the peer" in status_text(known)) is told

"""The health of both nodes, for programs and for people."""

from __future__ import annotations

from avance.core import events as e
from avance.core.model import Ailment, AilmentSeverity
from avance.health_text import health_of, health_text, unknown_health
from tests.playbook import BIZ, A, B, paired

FAN = Ailment(AilmentSeverity.DEGRADED, "fan_failed", "Fan 1")
NEW = Ailment(AilmentSeverity.POTENTIAL, "of a later version")


def test_both_nodes_are_shown() -> None:
    """Each with its score and its ailments; what this version does not know is shown, too."""
    book = paired(A)
    book.hears(e.LinkChanged(BIZ, carrier=False))
    book.pass_time(4.0, peer_alive=True)
    book.peer_says(ailments=(FAN, NEW))
    found = health_of(book.engine)
    assert found["moves"] is None
    assert {node: one["score"] for node, one in found["nodes"].items()} == {A: [0, 1, 0], B: [0, 1, 1]}
    assert found["nodes"][A]["ailments"][0]["part"] == "network card, cable or switch port"
    text = health_text(found)
    assert "node a: 1 degraded\n" in text
    assert "degraded: network_lost biz0. The public network biz0 has no carrier on this node" in text
    assert "Look at the cable" in text
    assert "node b: 1 degraded, 1 potential\n" in text
    assert "potential: of a later version. This node does not know what that means." in text


def test_a_move_stands_first() -> None:
    """Why the VMs are on their way."""
    book = paired(A)
    book.hears(e.LinkChanged(BIZ, carrier=False))
    book.pass_time(40.0, peer_alive=True)
    assert health_text(health_of(book.engine)).startswith("the VMs move: network_lost biz0: node b is in better health")


def test_a_sound_pair_says_so() -> None:
    """One line for each node."""
    assert health_text(health_of(paired(A).engine)) == "node a: nothing is wrong\nnode b: nothing is wrong"


def test_nothing_is_known_of_a_node_without_a_site() -> None:
    """It says so."""
    assert health_text(unknown_health()) == "nothing is known of any node's health: this node is not paired"

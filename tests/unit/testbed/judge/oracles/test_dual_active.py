"""Tests of testbed.judge.oracles.dual_active: planted double use of an address, and takeovers that are none."""

from __future__ import annotations

import pytest

from testbed.judge.oracles.dual_active import dual_active
from testbed.judge.sightings import Sighting

NODE_PORTS = {"a": ["a.biz0"], "b": ["b.biz0"]}
VM = "00:16:3e:77:00:20"


def used(port: str, first_s: float, last_s: float, *, address: str = VM, is_cut: bool = False) -> Sighting:
    """An address in use at a port."""
    return Sighting(address, port, first_s, last_s, is_cut)


def test_a_clean_takeover_is_no_violation() -> None:
    """One node falls silent, the other begins: nothing to report, however short the break."""
    claims = [used("a.biz0", 0, 10), used("b.biz0", 10.01, 20)]
    assert dual_active(claims, NODE_PORTS, 0.0) == []


def test_two_nodes_at_once_are_one_violation() -> None:
    """An overlap is counted once, with its nodes and times, however many frames it had."""
    claims = [used("a.biz0", at / 10, at / 10 + 0.05) for at in range(100)] + [used("b.biz0", 8.0, 12.0)]
    (overlap,) = dual_active(claims, NODE_PORTS, 0.0)
    assert overlap.nodes == ("a", "b")
    assert overlap.from_s == 8.0
    assert overlap.to_s == pytest.approx(9.95)
    assert overlap.reached_network


def test_a_single_claim_in_the_middle_of_the_others_use_counts() -> None:
    """One gratuitous ARP of the wrong node is enough, although it has no duration."""
    assert len(dual_active([used("a.biz0", 0, 10), used("b.biz0", 5, 5)], NODE_PORTS, 0.0)) == 1


def test_alternating_claims_are_one_overlap() -> None:
    """Two nodes that fight for an address are active all the time, not in turns."""
    turns = [("a.biz0", 0.0), ("b.biz0", 0.5)]
    claims = [used(port, at + shift, at + shift) for at in range(5) for port, shift in turns]
    assert len(dual_active(claims, NODE_PORTS, 0.0)) == 1


def test_each_separate_overlap_counts() -> None:
    """A second collision after a silence is a second violation."""
    claims = [used("a.biz0", 0, 20), used("b.biz0", 5, 6), used("b.biz0", 10, 11)]
    assert len(dual_active(claims, NODE_PORTS, 0.0)) == 2


def test_an_overlap_within_the_tolerance_is_allowed() -> None:
    """A planned move may overlap for as long as the caller states."""
    claims = [used("a.biz0", 0, 10), used("b.biz0", 9.8, 20)]
    assert dual_active(claims, NODE_PORTS, 0.5) == []
    assert len(dual_active(claims, NODE_PORTS, 0.1)) == 1


def test_different_addresses_do_not_collide() -> None:
    """Each node may use its own."""
    assert dual_active([used("a.biz0", 0, 9, address="x"), used("b.biz0", 0, 9, address="y")], NODE_PORTS, 0.0) == []


def test_ports_of_one_node_are_one_node() -> None:
    """A node may use an address on both of its ports; a client's port is no node."""
    ports = {"a": ["a.biz0", "a.biz1"], "b": ["b.biz0"]}
    claims = [used("a.biz0", 0, 9), used("a.biz1", 0, 9), used("client.biz0", 0, 9)]
    assert dual_active(claims, ports, 0.0) == []


def test_a_collision_behind_a_cut_is_found_and_marked() -> None:
    """A node that goes on behind a cut is a violation that clients did not see."""
    (overlap,) = dual_active([used("a.biz0", 0, 9, is_cut=True), used("b.biz0", 5, 9)], NODE_PORTS, 0.0)
    assert not overlap.reached_network

"""The gate of the lease on a real bridge in a private network, with the kernel's own program and clock."""

from __future__ import annotations

from tests.integration.avance.adapters.lan import lan

VMS = ["vm ipv4", "vm ipv6", "vm arp"]
SERVICE = ["service ipv4", "service arp"]
OWN = ["own ipv4", "own arp", "own probe", "own ipv6"]


def test_everything_passes_while_the_right_lasts() -> None:
    """Without an end, and before it, no frame is held back."""
    assert lan()["gate"]["absent"] == lan()["gate"]["no end"] == lan()["gate"]["later"] == VMS + SERVICE + OWN


def test_only_the_nodes_own_traffic_passes_afterwards() -> None:
    """What VMs and the service address send stays here; heartbeats and the node's own questions go out."""
    assert lan()["gate"]["never"] == OWN


def test_it_closes_by_itself() -> None:
    """Nobody has to do anything at the end of the lease: the next frame is held back."""
    assert lan()["gate"]["in time"] == ["vm ipv4"]
    assert lan()["gate"]["too late"] == []


def test_it_is_on_the_uplink_only_and_replaces_itself() -> None:
    """The outside port of the bridge is guarded, not the domain's; a second daemon takes it over."""
    assert lan()["gate"]["guarded"] == ["eth1"]
    assert lan()["gate"]["problem"] is None


def test_it_is_not_put_in_place_without_an_end() -> None:
    """A gate that has never heard of a lease would hold everything back; it says so instead."""
    assert lan()["gate"]["no end yet"] == "the lease has no end to compare with yet"

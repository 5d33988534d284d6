"""Proves that names and addresses follow from the counts without a clash, and what the default and the limits are."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from testbed.errors import UsageError
from testbed.topology import NODES, PREFIX, PRIVATE, Host, Topology

SHAPES = [Topology(networks=networks, vms=vms) for networks, vms in itertools.product((1, 2, 5), (1, 3, 8))]
SMALL, LARGE = SHAPES[0], Topology(networks=5, vms=8, witnesses=2, memory_mib=2048, processors=2)


def hosts_of(bed: Topology) -> list[Host]:
    """Every machine at the switch but the nodes."""
    worlds = [bed.tcp_client, *bed.bmcs.values(), *bed.witness_hosts.values()]
    return worlds + [host for network in bed.public for host in (network.client, network.gateway)]


def test_the_default_is_what_schedules_snapshots_and_pictures_know() -> None:
    """One VM on one network, written down here a second time: a saved pair must meet the same addresses."""
    (web,) = SMALL.guests
    assert (web.name, web.mac, web.address, web.network.name) == ("web", "00:16:3e:77:00:20", "10.77.0.20", "biz0")
    assert SMALL.segments == {
        "priv0": ["a.priv0", "b.priv0"],
        "biz0": [
            "a.biz0", "b.biz0", "client.biz0", "tcp.biz0", "outside.biz0", "bmc-a.biz0", "bmc-b.biz0",
            "witness1.biz0", "witness2.biz0",
        ],
    }  # fmt: skip
    assert SMALL.node_addresses == {
        "a": {"priv0": "10.9.0.1/24", "biz0": "10.77.0.11/24"},
        "b": {"priv0": "10.9.0.2/24", "biz0": "10.77.0.12/24"},
    }
    assert SMALL.node_macs == {
        "a": {"priv0": "52:54:00:09:00:01", "biz0": "52:54:00:77:00:01"},
        "b": {"priv0": "52:54:00:09:00:02", "biz0": "52:54:00:77:00:02"},
    }
    assert (SMALL.service, SMALL.centre, SMALL.observers) == ("10.77.0.10", "10.77.0.4", "10.77.0.200")
    assert SMALL.devices == {"priv0": "eth0", "biz0": "biz0"}
    assert SMALL.public[0].client == Host("client.biz0", "02:77:00:00:01:00", "10.77.0.100")
    assert SMALL.public[0].gateway.address == "10.77.0.2"
    assert SMALL.tcp_client == Host("tcp.biz0", "02:77:00:00:01:01", "10.77.0.101")
    assert SMALL.bmcs["b"] == Host("bmc-b.biz0", "02:77:00:00:01:32", "10.77.0.32")
    assert SMALL.witness_hosts == {"w1": Host("witness1.biz0", "02:77:00:00:01:05", "10.77.0.5")}


def test_several_vms_are_dealt_over_the_networks() -> None:
    """In turn, each with a name, an address and a card of its own; records of the first one have plain names."""
    made = Topology(networks=2, vms=3)
    assert [(vm.name, vm.address, vm.mac) for vm in made.guests] == [
        ("web", "10.77.0.20", "00:16:3e:77:00:20"),
        ("web1", "10.77.1.21", "00:16:3e:77:01:21"),
        ("web2", "10.77.0.22", "00:16:3e:77:00:22"),
    ]
    assert [vm.of("probe") for vm in made.guests] == ["probe", "probe@web1", "probe@web2"]
    assert made.vm("web1") is not None
    with pytest.raises(UsageError, match="There is no VM 'db'; there is: web, web1, web2"):
        made.vm("db")


@pytest.mark.parametrize("bed", [*SHAPES, LARGE], ids=str)
def test_no_two_machines_share_a_port_an_address_or_a_card(bed: Topology) -> None:
    """Also not with the addresses that nobody has on purpose; each address lies in its network."""
    nodes = [ipaddress.ip_interface(own) for links in bed.node_addresses.values() for own in links.values()]
    others = [bed.service, bed.centre, bed.observers, *(vm.address for vm in bed.guests)]
    others += [host.address for host in hosts_of(bed)]
    addresses = [str(own.ip) for own in nodes] + others
    assert len(set(addresses)) == len(addresses)
    nets = {str(own.network) for own in nodes}
    assert {str(ipaddress.ip_network(f"{one}/{PREFIX}", strict=False)) for one in others} <= nets
    assert len(nets) == 1 + bed.networks
    macs = [mac for cards in bed.node_macs.values() for mac in cards.values()] + [vm.mac for vm in bed.guests]
    macs += [host.mac for host in hosts_of(bed)]
    assert len(set(macs)) == len(macs)


@pytest.mark.parametrize("bed", [*SHAPES, LARGE], ids=str)
def test_every_machine_is_at_the_switch(bed: Topology) -> None:
    """Each link of a node and each host has a port on its segment, and no port is there twice."""
    ports = [port for names in bed.segments.values() for port in names]
    assert len(set(ports)) == len(ports)
    assert {host.port for host in hosts_of(bed)} <= set(ports)
    for node in NODES:
        assert bed.ports(node) == [f"{node}.{PRIVATE}", *bed.client_ports(node)]
        assert list(bed.node_macs[node]) == list(bed.node_addresses[node]) == list(bed.devices) == list(bed.links)
        assert set(bed.ports(node)) <= set(ports)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"networks": 6}, "networks is 6; a site has 1 to 5 of them."),
        ({"networks": 0}, "networks is 0; a site has 1 to 5 of them."),
        ({"vms": 9}, "vms is 9; a site has 1 to 8 of them."),
        ({"witnesses": 3}, "witnesses is 3; a site has 0 to 2 of them."),
        ({"processors": 0}, "processors is 0; a site has 1 to 4 of them."),
        ({"memory_mib": 100}, "memory_mib is 100; a node has 512 to 32768 MiB."),
    ],
)
def test_what_the_bed_has_not_is_refused(fields: dict[str, int], said: str) -> None:
    """With a sentence that says what is possible."""
    with pytest.raises(UsageError) as refused:
        Topology(**fields)
    assert str(refused.value) == said


def test_a_node_is_large_enough_for_its_vms() -> None:
    """One VM takes the image as it is, more of them add to it, and a size that is too small is refused."""
    assert SMALL.node_memory_mib(1024, 96) == 1024
    assert Topology(vms=8).node_memory_mib(1024, 96) == 1024 + 7 * (96 + 16)
    assert LARGE.node_memory_mib(1024, 96) == 2048
    with pytest.raises(UsageError, match="memory_mib is 1024; a node that runs 8 VMs needs 1808 MiB"):
        Topology(vms=8, memory_mib=1024).node_memory_mib(1024, 96)

"""Proves the world of a bed, with its real processes, while no node runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.bed import Bed, world
from testbed.bmc.client import IpmiClient
from testbed.errors import HostError
from testbed.site import SiteOptions
from testbed.topology import Topology
from tests.unit.testbed.small_image import own_host, with_bed

BED = Topology(witnesses=2)


@pytest.fixture(autouse=True)
def host(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A host lock of the test's own."""
    with own_host(tmp_path) as patch:
        yield patch


def test_the_world_comes_up_and_goes_away(tmp_path: Path, credentials_cache: Path) -> None:
    """Switch, outside world, service centre and client work together while no node runs, and end together."""

    async def scenario(bed: Bed) -> None:
        await bed.client.ping(BED.public[0].gateway.address, timeout_s=100)
        ports = await bed.switch.ports()
        assert ports[BED.public[0].client.port].inward.frames > 0
        assert {port.segment for port in ports.values()} == set(BED.links)
        assert (bed.sockets / "centre").is_socket()
        assert bed.peak_memory_mib() > 0
        assert not any(node.is_on for node in bed.nodes.values())

    with_bed(tmp_path, credentials_cache, scenario)


def test_each_network_has_a_client_and_a_gateway(tmp_path: Path, credentials_cache: Path) -> None:
    """They reach each other on their own segment, and every VM's addresses are watched."""

    async def scenario(bed: Bed) -> None:
        assert list(bed.clients) == ["biz0", "biz1"]
        assert bed.client is bed.clients["biz0"]
        for network in bed.topology.public:
            await bed.clients[network.name].ping(network.gateway.address, timeout_s=100)
        ports = await bed.switch.ports()
        assert {port.segment for port in ports.values()} == {"priv0", "biz0", "biz1"}
        watched = next(entry.fields for entry in bed.history if entry.kind == "watching")
        assert watched["macs"] == [vm.mac for vm in bed.topology.guests]
        assert watched["ips"] == [bed.topology.service, *(vm.address for vm in bed.topology.guests)]

    with_bed(tmp_path, credentials_cache, scenario, options=SiteOptions(networks=2, vms=3))


def test_each_node_has_a_bmc_that_the_client_reaches(tmp_path: Path, credentials_cache: Path) -> None:
    """Both answer at their own address while the nodes are off."""

    async def scenario(bed: Bed) -> None:
        for name, bmc in bed.bmcs.items():
            async with IpmiClient(bed.client, bmc.address, user=bmc.user, password=bmc.password) as client:
                assert await client.ping(10) is not None
                assert bmc.address == BED.bmcs[name].address
                assert await bmc.chassis(["get", "power"]) == "ok power:0"
        assert set(bed.bmcs) == set(bed.nodes)

    with_bed(tmp_path, credentials_cache, scenario)


def test_a_host_without_ipmi_sim_has_nodes_without_bmcs(
    tmp_path: Path, credentials_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bed comes up and says so."""
    monkeypatch.setattr(world, "BMC_PROGRAM", "no-such-program")

    async def scenario(bed: Bed) -> None:
        assert bed.bmcs == {}

    with_bed(tmp_path, credentials_cache, scenario)


def test_the_site_has_its_witnesses(tmp_path: Path, credentials_cache: Path) -> None:
    """Each answers at its own address, knows nothing yet, and leaves its log; without a command there is none."""

    async def scenario(bed: Bed) -> None:
        for name, witness in bed.witnesses.items():
            view = await witness.look(bed.client, timeout_s=100)
            assert view is not None
            assert (witness.address, view.taught, view.epoch) == (BED.witness_hosts[name].address, False, 0)
        assert list(bed.witnesses) == ["w1", "w2"]

    async def nobody(bed: Bed) -> None:
        assert bed.witnesses == {}
        assert bed.options.site.witnesses == 0

    with_bed(tmp_path, credentials_cache, scenario, options=SiteOptions(witnesses=2))
    assert "ended" in (tmp_path / "run" / "witness-w2" / "witness.log").read_text(encoding="utf-8")
    with_bed(tmp_path, credentials_cache, nobody)


def test_a_site_with_power_control_needs_bmcs(
    tmp_path: Path, credentials_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its nodes would be told of addresses at which nobody is."""
    monkeypatch.setattr(world, "BMC_PROGRAM", "no-such-program")

    async def scenario(_bed: Bed) -> None:
        pytest.fail("the bed came up")

    with pytest.raises(HostError, match="a site with power control needs the BMCs"):
        with_bed(tmp_path, credentials_cache, scenario, options=SiteOptions(power=True))

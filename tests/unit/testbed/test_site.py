"""Proves that the bed's documents fit the product's published schema and the bed's own wires."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from testbed import site
from testbed.errors import UsageError
from testbed.site import SiteOptions
from testbed.world import outside, tls
from tests.schema_check import complaints


def document(options: SiteOptions | None = None) -> dict[str, Any]:
    """A site document with invented secrets."""
    return site.avance_site(options or SiteOptions(), secret="ab" * 32, token="t0ken", authority_pem="-----PEM")


@pytest.mark.parametrize(
    "options",
    [SiteOptions(), SiteOptions(policy="safety", dilation=3.0, witnesses=2, power=True, integrity=True)],
    ids=["default", "changed"],
)
def test_the_site_fits_the_published_schema(options: SiteOptions) -> None:
    """The product's own schema finds nothing to complain about."""
    assert complaints("site", document(options)) == []


def test_options_reach_the_documents() -> None:
    """Policy, dilation and the guest's arguments are those of the run."""
    options = SiteOptions(policy="safety", dilation=2.5, workload_args="nosync=1")
    made = document(options)
    vm = site.avance_vm(options, kernel="/k", ramdisk="/r", memory_mib=96, volume_mib=32)
    assert (made["policy"], made["dilation"]) == ("safety", 2.5)
    assert vm["cmdline"].endswith("ip=10.77.0.20/24 gw=10.77.0.2 nosync=1")
    assert (vm["kernel"], vm["ramdisk"], vm["memory_mib"], vm["volume_mib"]) == ("/k", "/r", 96, 32)


def test_a_site_names_its_witnesses_gateway_and_bmcs() -> None:
    """As many witnesses as wanted, the gateway always, and the BMCs with power control only."""
    named = [[entry["address"] for entry in document(SiteOptions(witnesses=count))["witnesses"]] for count in range(3)]
    assert named == [[], ["10.77.0.5:7790"], ["10.77.0.5:7790", "10.77.0.6:7790"]]
    assert document()["gateways"] == {"biz0": site.GATEWAY}
    assert not any("bmc" in node for node in document()["nodes"].values())
    for name, node in document(SiteOptions(power=True))["nodes"].items():
        user, password = site.bmc_credentials("ab" * 32, name)
        assert node["bmc"] == {"address": site.BMC_ADDRESSES[name], "user": user, "password": password}
    with pytest.raises(UsageError, match="witnesses is 3; a site has 0 to 2"):
        SiteOptions(witnesses=3)


def test_credentials_of_a_bmc_follow_from_the_secret() -> None:
    """The same for the same secret, as a snapshot needs it; others for another one; short enough for IPMI."""
    known = {site.bmc_credentials(secret, node) for secret in ("ab" * 32, "cd" * 32) for node in site.NODES}
    assert len(known) == 4
    assert site.bmc_credentials("ab" * 32, "a") == site.bmc_credentials("ab" * 32, "a")
    assert all(len(user) <= 16 and len(password) == 16 for user, password in known)


def test_no_document_tells_the_nodes_apart() -> None:
    """The site names both nodes in full and nothing else depends on the node, so one file serves both."""
    made = document()
    assert set(made["nodes"]) == set(site.NODES)
    assert document() == made
    assert "name" not in made


def test_addresses_of_a_network_are_all_different() -> None:
    """Nodes, their BMCs, service, VM, gateway, service centre and client share one network without a clash."""
    public = [ipaddress.ip_interface(links[site.PUBLIC]) for links in site.NODE_ADDRESSES.values()]
    others = [*site.BMC_ADDRESSES.values(), *site.WITNESS_ADDRESSES.values()]
    others += [site.SERVICE, site.VM_ADDRESS, site.GATEWAY, site.CENTRE, site.CLIENT]
    hosts = [interface.ip for interface in public] + [ipaddress.ip_address(text) for text in others]
    assert len(set(hosts)) == len(hosts) == 11
    assert all(host in public[0].network for host in hosts)
    macs = [mac for links in site.NODE_MACS.values() for mac in links.values()] + [site.CLIENT_MAC, site.VM_MAC]
    macs += [*site.BMC_MACS.values(), *site.WITNESS_MACS.values()]
    assert len(set(macs)) == len(macs) == 10


def test_the_outside_world_has_the_addresses_that_the_nodes_are_told() -> None:
    """Gateway and service centre are where the site document says."""
    assert outside.GATEWAY_ADDRESS == site.GATEWAY
    assert tls.CENTRE_ADDRESS == site.CENTRE
    assert document()["call_home"]["url"] == f"https://{tls.CENTRE_ADDRESS}/v1/alerts"


def test_every_link_of_a_node_has_a_port_on_the_switch() -> None:
    """The wires of the bed are those of the site."""
    ports = {port for names in site.SEGMENTS.values() for port in names}
    for node, links in site.NODE_ADDRESSES.items():
        assert {f"{node}.{link}" for link in links} <= ports
    hosts = {site.CLIENT_PORT, site.OUTSIDE_PORT, *site.BMC_PORTS.values(), *site.WITNESS_PORTS.values()}
    assert hosts <= set(site.SEGMENTS[site.PUBLIC])


def test_an_unknown_site_schema_is_refused() -> None:
    """A product that wants another document is told apart before anything starts."""
    site.check_schema("avance.site/1")
    with pytest.raises(UsageError, match=r"'other/2'; this bed writes avance\.site/1 only"):
        site.check_schema("other/2")

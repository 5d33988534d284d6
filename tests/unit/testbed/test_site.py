"""Proves that the bed's documents fit the product's published schema and the bed's own wires."""

from __future__ import annotations

from typing import Any

import pytest

from avance.config import parse
from avance.wire import derived
from testbed import site
from testbed.errors import UsageError
from testbed.site import SiteOptions
from testbed.topology import NODES, Topology
from testbed.world import outside, tls
from tests.schema_check import complaints
from tests.unit.avance.site import CERTIFICATE

SECRET = "5e8f2b90" * 8


def document(options: SiteOptions | None = None) -> dict[str, Any]:
    """A site document with invented secrets."""
    return site.avance_site(options or SiteOptions(), secret=SECRET, token="t0ken-of-a-pair", authority_pem=CERTIFICATE)


@pytest.mark.parametrize(
    "options",
    [
        SiteOptions(),
        SiteOptions(policy="safety", dilation=3.0, witnesses=2, power=True, integrity=True),
        SiteOptions(networks=5, vms=8, witnesses=2, power=True),
    ],
    ids=["default", "changed", "large"],
)
def test_the_site_fits_the_published_schema(options: SiteOptions) -> None:
    """The product's own schema finds nothing to complain about."""
    assert complaints("site", document(options)) == []


def test_options_reach_the_documents() -> None:
    """Policy, dilation and the guest's arguments are those of the run."""
    options = SiteOptions(policy="safety", dilation=2.5, workload_args="nosync=1")
    made = document(options)
    vm = site.avance_vm(options, options.guests[0], kernel="/k", ramdisk="/r", memory_mib=96, volume_mib=32)
    assert (made["policy"], made["dilation"]) == ("safety", 2.5)
    assert vm["cmdline"].endswith("ip=10.77.0.20/24 gw=10.77.0.2 nosync=1")
    assert (vm["kernel"], vm["ramdisk"], vm["memory_mib"], vm["volume_mib"]) == ("/k", "/r", 96, 32)


def test_a_site_names_its_witnesses_gateway_and_bmcs() -> None:
    """As many witnesses as wanted, the gateway always, and the BMCs with power control only."""
    named = [[entry["address"] for entry in document(SiteOptions(witnesses=count))["witnesses"]] for count in range(3)]
    assert named == [[], ["10.77.0.5:7790"], ["10.77.0.5:7790", "10.77.0.6:7790"]]
    assert document()["gateways"] == {"biz0": "10.77.0.2"}
    assert not any("bmc" in node for node in document()["nodes"].values())
    for name, node in document(SiteOptions(power=True))["nodes"].items():
        user, _ = site.bmc_credentials(SECRET, name)
        assert node["bmc"] == {"address": SiteOptions().bmcs[name].address, "user": user}
    with pytest.raises(UsageError, match="witnesses is 3; a site has 0 to 2"):
        SiteOptions(witnesses=3)


def test_credentials_of_a_bmc_follow_from_the_secret() -> None:
    """The same for the same secret, as a snapshot needs it; others for another one; short enough for IPMI."""
    known = {site.bmc_credentials(secret, node) for secret in ("ab" * 32, "cd" * 32) for node in NODES}
    assert len(known) == 4
    assert site.bmc_credentials("ab" * 32, "a") == site.bmc_credentials("ab" * 32, "a")
    assert all(len(user) <= 16 and len(password) == 16 for user, password in known)


def test_what_others_are_told_is_derived_by_the_rule_of_the_product() -> None:
    """Witnesses and BMCs of the bed get what the product expects them to have, and each one something else."""
    whole = bytes.fromhex(SECRET)
    assert site.witness_secret(SECRET, "w1") == derived.of_witness(whole, "w1").hex()
    assert site.witness_secret(SECRET, "w1") != site.witness_secret(SECRET, "w2")
    for node in NODES:
        assert site.bmc_credentials(SECRET, node)[1] == derived.of_bmc(whole, node)


def test_no_document_tells_the_nodes_apart() -> None:
    """The site names both nodes in full and nothing else depends on the node, so one file serves both."""
    made = document()
    assert set(made["nodes"]) == set(NODES)
    assert document() == made
    assert "name" not in made


def test_the_outside_world_has_the_addresses_that_the_nodes_are_told() -> None:
    """Gateway and service centre are where the site document says."""
    assert document()["gateways"] == {"biz0": outside.GATEWAY_ADDRESS}
    assert document()["call_home"]["url"] == f"https://{tls.CENTRE_ADDRESS}/v1/alerts"


def test_each_vm_and_network_is_in_the_documents() -> None:
    """Every network is a link with its gateway, and each VM is on its own network with its own name and address."""
    options = SiteOptions(networks=2, vms=3)
    made = document(options)
    vms = [
        site.avance_vm(options, vm, kernel="/k", ramdisk="/r", memory_mib=96, volume_mib=32) for vm in options.guests
    ]
    assert list(made["nodes"]["a"]["links"]) == ["priv0", "biz0", "biz1"]
    assert made["nodes"]["b"]["links"]["biz1"] == {"device": "biz1", "address": "10.77.1.12/24"}
    assert made["gateways"] == {"biz0": "10.77.0.2", "biz1": "10.77.1.2"}
    assert [(vm["name"], vm["network"], vm["address"]) for vm in vms] == [
        ("web", "biz0", "10.77.0.20"), ("web1", "biz1", "10.77.1.21"), ("web2", "biz0", "10.77.0.22"),
    ]  # fmt: skip
    assert vms[1]["cmdline"].endswith("ip=10.77.1.21/24 gw=10.77.1.2")


def test_the_product_takes_the_largest_site() -> None:
    """Its own parser finds eight VMs on five networks with nothing to complain about."""
    options = SiteOptions(networks=5, vms=8, witnesses=2, power=True)
    vms = [
        site.avance_vm(options, vm, kernel="/k", ramdisk="/r", memory_mib=96, volume_mib=32) for vm in options.guests
    ]
    for node in NODES:
        config = parse(node, document(options), vms)
        assert [str(spec.name) for spec in config.vms] == [vm.name for vm in options.guests]
        assert config.public_devices == ("biz0", "biz1", "biz2", "biz3", "biz4")


def test_options_are_a_topology_and_more() -> None:
    """What the bed is made of can be had alone, as results and records keep it."""
    assert SiteOptions(policy="safety", vms=2, memory_mib=2048).topology == Topology(vms=2, memory_mib=2048)
    assert SiteOptions().topology == Topology()


def test_an_unknown_site_schema_is_refused() -> None:
    """A product that wants another document is told apart before anything starts."""
    site.check_schema("avance.site/1")
    with pytest.raises(UsageError, match=r"'other/2'; this bed writes avance\.site/1 only"):
        site.check_schema("other/2")

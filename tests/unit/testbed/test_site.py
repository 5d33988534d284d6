"""Proves that the bed's documents fit the product's published schema and the bed's own wires."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest

from testbed import site
from testbed.errors import UsageError
from testbed.site import SiteOptions
from testbed.world import outside, tls

SCHEMA = Path(__file__).resolve().parents[3] / "avance" / "schema" / "site.json"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "string": (str,), "number": (int, float), "array": (list,), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip


def document(options: SiteOptions | None = None) -> dict[str, Any]:
    """A site document with invented secrets."""
    return site.avance_site(options or SiteOptions(), secret="ab" * 32, token="t0ken", authority_pem="-----PEM")


def complaints(value: object, schema: dict[str, Any], root: dict[str, Any], place: str = "site") -> list[str]:
    """What a document breaks of a JSON schema; knows the keywords that the product's schemas use."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return [f"{place} is no {kinds}"]
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{place} is not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place} is none of {schema['enum']}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{place} does not match {schema['pattern']}")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{place} is out of range")
    if isinstance(value, dict):
        found += object_complaints(value, schema, root, place)
    return found


def object_complaints(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], place: str) -> list[str]:
    """What an object breaks: missing, unknown and wrong members."""
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{place}.{key} is missing" for key in schema.get("required", []) if key not in value]
    for key, item in value.items():
        inner = known.get(key, more)
        if inner is False:
            found.append(f"{place}.{key} is not known")
        elif isinstance(inner, dict):
            found += complaints(item, inner, root, f"{place}.{key}")
    return found


@pytest.mark.parametrize(
    "options",
    [SiteOptions(), SiteOptions(policy="safety", dilation=3.0, witnesses=2, power=True, integrity=True)],
    ids=["default", "changed"],
)
def test_the_site_fits_the_published_schema(options: SiteOptions) -> None:
    """The product's own schema finds nothing to complain about."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert complaints(document(options), schema, schema) == []


def test_the_schema_check_finds_what_is_wrong() -> None:
    """A missing, an unknown and an ill-formed member are each found, so that silence means something."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    broken = {**document(), "secret": "xyz", "colour": "red"}
    del broken["nodes"]
    found = complaints(broken, schema, schema)
    assert [text.split()[0] for text in found] == ["site.nodes", "site.secret", "site.colour"]


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

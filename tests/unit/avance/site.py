"""The site and the VM that the tests of the product share; the same shape as a real site file."""

from __future__ import annotations

import base64
import copy

from avance.config import Config, parse
from avance.parsed import Json


def pem(der: str) -> str:
    """Return as a certificate in PEM what is given as hexadecimal digits."""
    body = base64.b64encode(bytes.fromhex(der)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


CERTIFICATE = pem("3081d2 3003020101 3000 0381c8" + "00" * 200)  # the form of one; nobody connects with it
SECRET = "5e8f2b90c1d7463a" * 4
_SITE = {
    "schema": "avance.site/1",
    "secret": SECRET,
    "nodes": {
        "a": {
            "links": {
                "priv0": {"device": "eth0", "address": "10.9.0.1/24"},
                "biz0": {"device": "biz0", "address": "10.77.0.11/24"},
            }
        },
        "b": {
            "links": {
                "priv0": {"device": "eth0", "address": "10.9.0.2/24"},
                "biz0": {"device": "biz0", "address": "10.77.0.12/24"},
            }
        },
    },
    "service_address": {"network": "biz0", "address": "10.77.0.10/24"},
    "replication_link": "priv0",
    "policy": "availability",
    "dilation": 1.0,
    "timers": {},
    "call_home": {"url": "https://10.77.0.4/v1/alerts", "ca_pem": CERTIFICATE, "token": "t0ken-of-the-tests"},
}
_VM = {
    "name": "web",
    "kernel": "/usr/lib/workload/vmlinux",
    "ramdisk": "/usr/lib/workload/initrd",
    "cmdline": "ip=10.77.0.20/24 gw=10.77.0.2",
    "mac": "00:16:3e:77:00:20",
    "network": "biz0",
    "address": "10.77.0.20",
    "memory_mib": 96,
    "volume_mib": 32,
}


def site(**changes: Json) -> Json:
    """Return a site file as parsed JSON; `changes` replace single keys."""
    return copy.deepcopy(_SITE) | changes


def vm(**changes: Json) -> Json:
    """Return the definition of a VM as parsed JSON."""
    return copy.deepcopy(_VM) | changes


def kept_of(node: str = "a", *vms: Json, **changes: Json) -> dict[str, Json]:
    """Return what a node keeps of that site with these VMs; `changes` replace single keys of the site."""
    return {"node": node, "site": site(**changes), "vms": list(vms), "number": 1, "history": [], "proposal": None}


def config(node: str = "a", **changes: Json) -> Config:
    """Return the configuration of one node of that site with that VM."""
    return parse(node, site(**changes), [vm()])


W1, W2 = {"name": "w1", "address": "10.77.0.5:7790"}, {"name": "w2", "address": "10.77.0.6:7790"}


def full_site(**changes: Json) -> Json:
    """Return a site with everything that a site may have; `changes` replace single keys."""
    raw = site(witnesses=[W1, W2], gateways={"biz0": "10.77.0.2"}, watchdog=False, timers={"retry_s": 2.0})
    raw["quarantine"] = {"policy": "always", "samples": 4}
    for name, number in (("a", 31), ("b", 32)):
        raw["nodes"][name]["bmc"] = {"address": f"10.77.0.{number}", "user": f"u-{name}", "password": f"pass-of-{name}"}
    return raw | changes


def with_bmc(**changes: Json) -> Json:
    """Return the nodes of a site whose node b has a changed BMC."""
    nodes: Json = full_site()["nodes"]
    nodes["b"]["bmc"] |= changes
    return nodes


def with_links(**changes: Json) -> Json:
    """Return the nodes of a site with changed links: for each node the links that differ, and what of them."""
    nodes: Json = full_site()["nodes"]
    for node, links in changes.items():
        for name, change in links.items():
            usual = nodes[node]["links"].get(name, {"device": "eth5", "address": "10.5.0.1/24"})
            nodes[node]["links"][name] = usual | change
    return nodes

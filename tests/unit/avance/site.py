"""The site and the VM that the tests of the product share; the same shape as a real site file."""

from __future__ import annotations

import copy

from avance.config import Config, parse
from avance.parsed import Json

_SITE = {
    "schema": "avance.site/1",
    "secret": "5e" * 32,
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
    "call_home": {"url": "https://10.77.0.4/v1/alerts", "ca_pem": "-", "token": "t0ken"},
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


def config(node: str = "a", **changes: Json) -> Config:
    """Return the configuration of one node of that site with that VM."""
    return parse(node, site(**changes), [vm()])

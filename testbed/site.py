"""The addresses of the bed and the documents that tell the product about them (schema avance.site/1); pure.

It also knows where the checkout is, for what is started or read in it.

A product with another site schema gets a builder of its own beside `avance_site`, chosen by the image manifest.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent  # of the checkout
NODES = ("a", "b")
PRIVATE, PUBLIC = "priv0", "biz0"
CLIENT_PORT, OUTSIDE_PORT = "client.biz0", "outside.biz0"
TCP_CLIENT_PORT = "tcp.biz0"  # a client with the TCP of this machine's kernel; silent while no such probe runs
GATEWAY, CENTRE, CLIENT = "10.77.0.2", "10.77.0.4", "10.77.0.100"
CLIENT_MAC = "02:77:00:00:01:00"
FIRST_OBSERVER = "10.77.0.200"  # this and the next ones belong to nobody: ARP is asked for under them
TCP_CLIENT, TCP_CLIENT_MAC = "10.77.0.101", "02:77:00:00:01:01"
SERVICE, VM_ADDRESS, VM_MAC, VM_NAME = "10.77.0.10", "10.77.0.20", "00:16:3e:77:00:20", "web"
PREFIX = 24
# The BMC of each node: a host of its own on the public segment, for whoever fences the node.
BMC_PORTS = {node: f"bmc-{node}.{PUBLIC}" for node in NODES}
BMC_ADDRESSES = {"a": "10.77.0.31", "b": "10.77.0.32"}
BMC_MACS = {"a": "02:77:00:00:01:31", "b": "02:77:00:00:01:32"}
# The witnesses: third machines on the public segment, the preferred one first.
WITNESSES = ("w1", "w2")
WITNESS_PORTS = {"w1": f"witness1.{PUBLIC}", "w2": f"witness2.{PUBLIC}"}
WITNESS_ADDRESSES = {"w1": "10.77.0.5", "w2": "10.77.0.6"}
WITNESS_MACS = {"w1": "02:77:00:00:01:05", "w2": "02:77:00:00:01:06"}
WITNESS_UDP_PORT = 7790
# Kernel work that the tiny guest does without; each of these costs seconds under emulation.
QUICK_BOOT = "rodata=off mitigations=off cryptomgr.notests ipv6.disable=1"

SEGMENTS = {
    PRIVATE: [f"{node}.{PRIVATE}" for node in NODES],
    PUBLIC: [
        *(f"{node}.{PUBLIC}" for node in NODES),
        CLIENT_PORT,
        TCP_CLIENT_PORT,
        OUTSIDE_PORT,
        *BMC_PORTS.values(),
        *WITNESS_PORTS.values(),
    ],
}
NODE_ADDRESSES = {
    "a": {PRIVATE: "10.9.0.1/24", PUBLIC: "10.77.0.11/24"},
    "b": {PRIVATE: "10.9.0.2/24", PUBLIC: "10.77.0.12/24"},
}
NODE_MACS = {
    "a": {PRIVATE: "52:54:00:09:00:01", PUBLIC: "52:54:00:77:00:01"},
    "b": {PRIVATE: "52:54:00:09:00:02", PUBLIC: "52:54:00:77:00:02"},
}
DEVICES = {PRIVATE: "eth0", PUBLIC: "biz0"}  # the public NIC eth1 is a port of the node's bridge biz0


AUTO = 0.0  # in place of a dilation
DILATION_MAX = 40.0  # the product refuses a larger one


@dataclass(frozen=True)
class SiteOptions:
    """What a run may want to be different; the policy is the product's own by default.

    `dilation`: 1 to 40 by hand, or `AUTO`: the session measures the host and chooses. `witnesses` is how many the site
    has, 0 to 2; `power`: each node is told how to switch the other one off; `integrity`: the replication compares
    digests; `stay`: VMs whose local disk is lost go on over the private link.
    """

    policy: str = "availability"
    dilation: float = AUTO
    workload_args: str = ""
    witnesses: int = 1
    power: bool = False
    integrity: bool = False
    stay: bool = False

    def __post_init__(self) -> None:
        """Refuse what the bed has not."""
        if self.dilation != AUTO and not 1 <= self.dilation <= DILATION_MAX:
            raise UsageError(f"dilation is {self.dilation:g}; possible is 1 to {DILATION_MAX:g}, or {AUTO:g}: auto.")
        if not 0 <= self.witnesses <= len(WITNESSES):
            raise UsageError(f"witnesses is {self.witnesses}; a site has 0 to {len(WITNESSES)} of them.")


def bmc_credentials(secret: str, node: str) -> tuple[str, str]:
    """Return user and password of a node's BMC: they follow from the site's secret, as a snapshot keeps that."""
    word = hmac.new(secret.encode(), f"bmc of node {node}".encode(), hashlib.sha256).hexdigest()
    return f"u{word[:14]}", word[14:30]


def avance_site(options: SiteOptions, *, secret: str, token: str, authority_pem: str) -> dict[str, Any]:
    """Return the site document; the same for both nodes."""
    nodes: dict[str, dict[str, Any]] = {
        node: {"links": {link: {"device": DEVICES[link], "address": address} for link, address in links.items()}}
        for node, links in NODE_ADDRESSES.items()
    }
    if options.power:
        for node, entry in nodes.items():
            user, password = bmc_credentials(secret, node)
            entry["bmc"] = {"address": BMC_ADDRESSES[node], "user": user, "password": password}
    site = {
        "schema": "avance.site/1",
        "secret": secret,
        "nodes": nodes,
        "service_address": {"network": PUBLIC, "address": f"{SERVICE}/{PREFIX}"},
        "replication_link": PRIVATE,
        "policy": options.policy,
        "dilation": max(options.dilation, 1.0),  # AUTO, where nobody has chosen
        "witnesses": [
            {"name": name, "address": f"{WITNESS_ADDRESSES[name]}:{WITNESS_UDP_PORT}"}
            for name in WITNESSES[: options.witnesses]
        ],
        "gateways": {PUBLIC: GATEWAY},
        "call_home": {"url": f"https://{CENTRE}/v1/alerts", "ca_pem": authority_pem, "token": token},
    }
    more = {"data_integrity": options.integrity, "stay_without_disk": options.stay}
    return site | {key: True for key, wanted in more.items() if wanted}


def avance_vm(options: SiteOptions, *, kernel: str, ramdisk: str, memory_mib: int, volume_mib: int) -> dict[str, Any]:
    """Return the definition of the workload VM; the same for both nodes."""
    address = f"ip={VM_ADDRESS}/{PREFIX} gw={GATEWAY}"
    cmdline = f"console=hvc0 quiet {QUICK_BOOT} {address} {options.workload_args}".strip()
    return {
        "name": VM_NAME,
        "memory_mib": memory_mib,
        "volume_mib": volume_mib,
        "kernel": kernel,
        "ramdisk": ramdisk,
        "cmdline": cmdline,
        "mac": VM_MAC,
        "network": PUBLIC,
        "address": VM_ADDRESS,
    }


def check_schema(schema: str) -> None:
    """Refuse a product whose site schema this bed cannot write."""
    if schema != "avance.site/1":
        raise UsageError(f"The image's product wants a site of schema {schema!r}; this bed writes avance.site/1 only.")

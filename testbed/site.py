"""What a run may want of a site, and the documents that tell the product of it (schema avance.site/1); pure.

It also knows where the checkout is, for what is started or read in it.

A product with another site schema gets a builder of its own beside `avance_site`, chosen by the image manifest.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.topology import PREFIX, PRIVATE, WITNESS_UDP_PORT, Topology, Vm

ROOT = Path(__file__).resolve().parent.parent  # of the checkout
# Kernel work that the tiny guest does without; each of these costs seconds under emulation.
QUICK_BOOT = "rodata=off mitigations=off cryptomgr.notests ipv6.disable=1"
AUTO = 0.0  # in place of a dilation
DILATION_MAX = 40.0  # the product refuses a larger one


@dataclass(frozen=True)
class SiteOptions(Topology):
    """What a run may want to be different: the topology and the site; the policy is the product's own by default.

    `dilation`: 1 to 40 by hand, or `AUTO`: the session measures the host and chooses. `power`: each node is told how to
    switch the other one off; `integrity`: the replication compares digests; `stay`: VMs whose local disk is lost go on
    over the private link.
    """

    policy: str = "availability"
    dilation: float = AUTO
    workload_args: str = ""
    power: bool = False
    integrity: bool = False
    stay: bool = False

    def __post_init__(self) -> None:
        """Refuse what the bed does not have."""
        super().__post_init__()
        if self.dilation != AUTO and not 1 <= self.dilation <= DILATION_MAX:
            raise UsageError(f"dilation is {self.dilation:g}; possible is 1 to {DILATION_MAX:g}, or {AUTO:g}: auto.")

    @property
    def topology(self) -> Topology:
        """What the bed is made of, without what the product is told."""
        return Topology(**{item.name: getattr(self, item.name) for item in fields(Topology)})


def bmc_credentials(secret: str, node: str) -> tuple[str, str]:
    """Return user and password of a node's BMC: they follow from the site's secret, as a snapshot keeps that.

    The password is the one that the product derives where a site names none.
    """
    user = _derived(secret, f"user of the bmc of node {node}").hex()[:14]
    return f"u{user}", base64.b32encode(_derived(secret, f"avance bmc 1 {node}")).decode().lower()[:16]


def witness_secret(secret: str, witness: str) -> str:
    """Return what a witness is given; it follows from the site's secret, which the witness never sees."""
    return _derived(secret, f"avance witness 2 {witness}").hex()


def _derived(secret: str, label: str) -> bytes:
    """The rule of the product's site schema."""
    return hmac.digest(bytes.fromhex(secret), label.encode(), hashlib.sha256)


def avance_site(options: SiteOptions, *, secret: str, token: str, authority_pem: str) -> dict[str, Any]:
    """Return the site document; the same for both nodes."""
    nodes: dict[str, dict[str, Any]] = {
        node: {"links": {link: {"device": options.devices[link], "address": own} for link, own in links.items()}}
        for node, links in options.node_addresses.items()
    }
    if options.power:
        for node, entry in nodes.items():
            user, _ = bmc_credentials(secret, node)
            entry["bmc"] = {"address": options.bmcs[node].address, "user": user}
    site = {
        "schema": "avance.site/1",
        "secret": secret,
        "nodes": nodes,
        "service_address": {"network": options.public[0].name, "address": f"{options.service}/{PREFIX}"},
        "replication_link": PRIVATE,
        "policy": options.policy,
        "dilation": max(options.dilation, 1.0),  # AUTO, where nobody has chosen
        "witnesses": [
            {"name": name, "address": f"{host.address}:{WITNESS_UDP_PORT}"}
            for name, host in options.witness_hosts.items()
        ],
        "gateways": {network.name: network.gateway.address for network in options.public},
        "call_home": {"url": f"https://{options.centre}/v1/alerts", "ca_pem": authority_pem, "token": token},
    }
    more = {"data_integrity": options.integrity, "stay_without_disk": options.stay}
    return site | {key: True for key, wanted in more.items() if wanted}


def avance_vm(
    options: SiteOptions, vm: Vm, *, kernel: str, ramdisk: str, memory_mib: int, volume_mib: int
) -> dict[str, Any]:
    """Return the definition of a workload VM; the same for both nodes."""
    address = f"ip={vm.address}/{PREFIX} gw={vm.network.gateway.address}"
    cmdline = f"console=hvc0 quiet {QUICK_BOOT} {address} {options.workload_args}".strip()
    return {
        "name": vm.name,
        "memory_mib": memory_mib,
        "volume_mib": volume_mib,
        "kernel": kernel,
        "ramdisk": ramdisk,
        "cmdline": cmdline,
        "mac": vm.mac,
        "network": vm.network.name,
        "address": vm.address,
    }


def check_schema(schema: str) -> None:
    """Refuse a product whose site schema this bed cannot write."""
    if schema != "avance.site/1":
        raise UsageError(f"The image's product wants a site of schema {schema!r}; this bed writes avance.site/1 only.")

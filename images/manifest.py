"""Describe a finished image to those who boot it; this module must never refer to a file outside its directory."""

import json
from collections.abc import Mapping

from images.cache import Layer

SCHEMA = "testbed.image/1"
FILE = "manifest.json"
FILES = {"hypervisor": "xen", "kernel": "vmlinux", "initrd": "initrd", "root": "root.img"}
MEMORY_MIB = 1024
NODE_MEMORY_MIB = 640
NETWORKS = 5  # public ones; `node/etc/runit/1` makes a bridge for each interface that is there
HYPERVISOR_ARGS = (
    f"console=com1 com1=115200,8n1 dom0_mem={NODE_MEMORY_MIB}M,max:{NODE_MEMORY_MIB}M dom0_max_vcpus=1 "
    "loglvl=warning guest_loglvl=none spec-ctrl=no xpti=no"
)
KERNEL_ARGS = (
    "console=hvc0 root=/dev/vda quiet loglevel=4 panic=5 mitigations=off random.trust_cpu=on "
    "cryptomgr.notests ipv6.disable=1 tsc=reliable"
)
PRODUCT = {
    "status": ["avance", "status", "--json"],
    "pair": ["avance", "pair", "--node", "{node}", "--site", "{file}"],
    "protect": ["avance", "vm", "add", "--file", "{file}"],
    "journal": "/var/log/avance/journal.jsonl",
    "inputs": "/var/log/avance/inputs.jsonl",
    "daemon": "/run/avance/daemon.pid",
    "witness": [
        "{python}", "-m", "avance", "witness", "--listen", "{listen}", "--state", "{state}",
        "--secret-file", "{secret}", "--dilation", "{dilation}",
    ],
    "site_schema": "avance.site/1",
}  # fmt: skip
QUESTIONS = {"status": '{"op": "status"}', "domains": "domains"}  # lines that node/usr/lib/node/control-port answers
GUEST_KERNEL = "/usr/lib/workload/vmlinux"
GUEST_RAMDISK = "/usr/lib/workload/initrd"
WORKLOAD = {
    "kernel": GUEST_KERNEL,
    "ramdisk": GUEST_RAMDISK,
    "memory_mib": 96,
    "volume_mib": 32,
    "udp_port": 7000,
    "tcp_port": 7000,
}


def write(
    layer: Layer, name: str, inputs: Mapping[str, str], versions: Mapping[str, str | bool], product_version: str
) -> None:
    """Write the manifest of a finished image into its directory."""
    files = {
        role: {"path": path, "sha256": layer.files[path].sha256, "size": layer.files[path].size}
        for role, path in FILES.items()
    }
    content = {
        "schema": SCHEMA,
        "hash": name,
        "inputs": dict(inputs),
        "files": files,
        "hypervisor_args": HYPERVISOR_ARGS,
        "kernel_args": KERNEL_ARGS,
        "memory_mib": MEMORY_MIB,
        "networks": NETWORKS,
        "versions": dict(versions),
        "product": {"name": "avance", "version": product_version, **PRODUCT},
        "workload": WORKLOAD,
        "questions": QUESTIONS,
    }
    (layer.directory / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

"""The node image: resolve its manifest, verify the files behind it, read the product's contract in it.

The manifest is all that the bed knows of the image and of the product inside; another product only needs another
manifest. This module must never build anything itself: `python -m images` does.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.errors import ImageError, UsageError
from testbed.node.spec import DirectBoot
from testbed.process import run
from testbed.site import ROOT
from testbed.topology import Topology

SCHEMA = "testbed.image/1"
BUILD_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Product:
    """How the bed speaks to the product: argument vectors with `{node}` and `{file}` to fill in.

    `daemon` is the file in the node that holds the number of the daemon's process, if there is one. `witness` starts a
    witness on this host, in the checkout; to fill in are `{python}`, `{listen}`, `{state}`, `{secret}` (both
    files) and `{dilation}`. `inputs` is a file in the node from which its journal can be replayed.
    """

    name: str
    version: str
    status: tuple[str, ...]
    pair: tuple[str, ...]
    protect: tuple[str, ...]
    journal: str
    site_schema: str
    daemon: str | None = None
    witness: tuple[str, ...] = ()
    inputs: str = ""


@dataclass(frozen=True)
class Workload:
    """The service guest inside the image."""

    kernel: str
    ramdisk: str
    memory_mib: int
    volume_mib: int
    udp_port: int
    tcp_port: int


@dataclass(frozen=True)
class Image:
    """One built image; `questions` are the lines that a node answers on its control port, by what they ask for.

    A question that is not there is put by starting a program in the node. `networks` is for how many public networks
    the node has bridges; its memory is for one VM.
    """

    hash: str
    boot: DirectBoot
    root: Path
    memory_mib: int
    versions: dict[str, Any]
    product: Product
    workload: Workload
    questions: dict[str, str] = field(default_factory=dict)
    networks: int = 1

    def memory_mib_for(self, topology: Topology) -> int:
        """The memory of a node; raises UsageError when the image is not made for such a topology."""
        if topology.networks > self.networks:
            raise UsageError(f"networks is {topology.networks}; the node image has bridges for {self.networks}.")
        return topology.node_memory_mib(self.memory_mib, self.workload.memory_mib)


def load(manifest: Path) -> Image:
    """Read a manifest and check that every file behind it is there and whole by size; raises ImageError."""
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ImageError(f"{manifest} has schema {document['schema']!r}, not {SCHEMA}. Run `make image`.")
        paths = {name: _file(manifest.parent, name, entry) for name, entry in document["files"].items()}
        boot = DirectBoot(
            hypervisor=paths["hypervisor"],
            hypervisor_args=document["hypervisor_args"],
            kernel=paths["kernel"],
            kernel_args=document["kernel_args"],
            initrd=paths["initrd"],
        )
        product: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document["product"].items()}
        return Image(
            hash=document["hash"],
            boot=boot,
            root=paths["root"],
            memory_mib=document["memory_mib"],
            versions=document["versions"],
            product=Product(**product),
            workload=Workload(**document["workload"]),
            questions=dict(document.get("questions", {})),
            networks=int(document.get("networks", 1)),
        )
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ImageError(f"The image manifest {manifest} cannot be used ({error!r}). Run `make image`.") from error


def _file(directory: Path, name: str, entry: dict[str, Any]) -> Path:
    path = (directory / str(entry["path"])).resolve()
    size = path.stat().st_size if path.exists() else None
    if size != int(entry["size"]):
        raise ImageError(
            f"The cached image is damaged: {name} ({path}) should have {entry['size']} bytes and has {size}. "
            "Run `make image`, which builds it again."
        )
    return path


async def ensure() -> Image:
    """Build what is missing (nothing, usually) and return the image of this checkout; raises ImageError."""
    argv = [sys.executable, "-m", "images", "build"]
    done = await run(argv, timeout_s=BUILD_TIMEOUT_S, cwd=ROOT, error=ImageError)
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise ImageError("The image build ended well but named no manifest. Run `make image` and read what it says.")
    return load(Path(lines[-1]))

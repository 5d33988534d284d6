"""Put the layers together: which one is built when, from what, and the final image.

A finished image is never changed: a changed input gives another directory. This module must never delete a layer or
an image that was used recently, because a running bed may stand on it.
"""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from images import base, bytecode, debian, drbd, ext4, guest, hypervisor, manifest, process, product
from images.cache import Cache, Layer, combined_hash, hash_paths
from images.errors import BuildError
from images.progress import Progress

KEPT_IMAGES = 8
_FINAL_CODE = ("build.py", "guest.py", "drbd.py", "cpio.py", "product.py", "bytecode.py", "ext4.py", "manifest.py")


class Builder:
    """One build in one cache directory."""

    def __init__(self, cache: Cache, progress: Progress, *, digests: bool = False) -> None:
        """Use the cache; with `digests` every stored file is read again and compared with its digest."""
        self._cache = cache
        self._progress = progress
        self._digests = digests

    def build(self) -> Path:
        """Return the manifest of the image of the current sources, building what is missing."""
        with self._cache.locked():
            path = self._final()
            self._prune(path.parent.name)
            return path

    def manifest_path(self) -> Path | None:
        """Return the manifest of the current sources' image when it is there and whole, building nothing."""
        directory = self._cache.root / combined_hash(final_inputs())
        if not (directory / manifest.FILE).is_file():
            return None
        return directory / manifest.FILE

    def clean(self) -> None:
        """Remove every finished layer and image."""
        with self._cache.locked():
            for name in self._cache.names():
                self._cache.remove(name)

    def _final(self) -> Path:
        inputs = final_inputs()
        name = combined_hash(inputs)
        found = self._cache.get(name, digests=self._digests)
        if found is None:
            layers = self._layers()
            found = self._cache.make(
                name,
                inputs,
                lambda directory: self._assemble(directory, layers),
                lambda layer: manifest.write(layer, name, inputs, versions(layers), product.version()),
            )
            self._progress.say(f"image {name} is finished")
        else:
            self._progress.say(f"image {name} is up to date")
        return found.directory / manifest.FILE

    def _layers(self) -> "Layers":
        process.require((*debian.TOOLS, *ext4.TOOLS, process.Tool("unshare", "util-linux")))
        with ThreadPoolExecutor(max_workers=3) as workers:
            root = workers.submit(self._root)
            xen = workers.submit(self._layer, xen_name(), hypervisor.inputs(), hypervisor.fill)
            service = workers.submit(self._layer, service_name(), guest.inputs(), guest.fill)
            try:
                jobs: list[Future[Any]] = [xen, root, service]
                for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                    job.result()
            except BaseException:
                self._progress.cancel()
                raise
            return Layers(xen.result(), *root.result(), service.result())

    def _root(self) -> tuple[Layer, Layer]:
        """The node's root, and then DRBD's module, which is made for the kernel in it."""
        root = self._layer(base_name(), base.inputs(), base.fill)
        kernel, name = drbd.kernel_of(root), drbd_name()
        found = self._cache.peek(name)
        if found is not None and not drbd.fits(found, kernel):
            self._progress.say(f"{name} was made for another kernel than {kernel.version}; it is made again")
            self._cache.remove(name)
        return root, self._layer(name, drbd.inputs(), lambda directory, say: drbd.fill(directory, kernel, say))

    def _layer(self, name: str, inputs: dict[str, str], fill: Callable[[Path, Progress], dict[str, str]]) -> Layer:
        found = self._cache.get(name, digests=self._digests)
        if found is not None:
            return found
        return self._cache.make(name, inputs, lambda directory: fill(directory, self._progress))

    def _assemble(self, directory: Path, layers: "Layers") -> dict[str, str]:
        self._progress.say("image: the product and the node's files are written into a copy of the root")
        root = layers.root
        for layer, name in ((layers.xen, "xen"), (root, "vmlinux"), (root, "initrd")):
            os.link(layer.path(name), directory / name)
        base.copy_sparse(root.path("root.img"), directory / "root.img")
        work = directory / "work"
        work.mkdir()
        ramdisk = work / "guest-initrd"
        ramdisk.write_bytes(
            guest.ramdisk(layers.workload.path("workload").read_bytes(), root.directory / "guest-modules")
        )
        module = drbd.placed(layers.module, drbd.kernel_of(root))
        items = [*product.placed(work), *module, ext4.Placed(ramdisk, PurePosixPath(manifest.GUEST_RAMDISK))]
        existing = ext4.parse_listing(root.path("listing").read_text(encoding="utf-8"))
        ext4.put(directory / "root.img", items, existing, work / "debugfs.log")
        shutil.rmtree(work)
        return {name: layer.directory.name for name, layer in vars(layers).items()}

    def _prune(self, current: str) -> None:
        names = self._cache.names()
        images = [name for name in names if "-" not in name and name != current]
        old = images[KEPT_IMAGES - 1 :]
        kept = [layer for name in (current, *images[: KEPT_IMAGES - 1]) if (layer := self._cache.peek(name))]
        needed = {layer for image in kept for layer in image.info.values()}
        for name in (*old, *(name for name in names if "-" in name and name not in needed)):
            self._progress.say(f"removing {name}: none of the {KEPT_IMAGES} most recently used images needs it")
            self._cache.remove(name)


@dataclass(frozen=True)
class Layers:
    """The finished layers that an image is put together from."""

    xen: Layer
    root: Layer
    module: Layer
    workload: Layer


def xen_name() -> str:
    """Return the name of the current hypervisor layer."""
    return f"xen-{combined_hash(hypervisor.inputs())}"


def base_name() -> str:
    """Return the name of the current base layer."""
    return f"base-{combined_hash(base.inputs())}"


def drbd_name() -> str:
    """Return the name of the current layer of DRBD's module; the one that is there may be for another kernel."""
    return f"drbd-{combined_hash(drbd.inputs())}"


def service_name() -> str:
    """Return the name of the current workload layer."""
    return f"workload-{combined_hash(guest.inputs())}"


def final_inputs() -> dict[str, str]:
    """Return the digests of everything that the image is made from."""
    here = Path(__file__).parent
    code = hash_paths({f"images/{name}": here / name for name in _FINAL_CODE})
    layers = {"xen": xen_name(), "base": base_name(), "drbd": drbd_name(), "workload": service_name()}
    return (
        code
        | {f"layer/{name}": layer for name, layer in layers.items()}
        | hash_paths(product.sources())
        | {"python": bytecode.TAG}
    )


def versions(layers: Layers) -> dict[str, str | bool]:
    """Return what the image holds, for reports; `drbd_mended`: DRBD's module is not Debian's own."""
    xen, root = layers.xen, layers.root
    packages = dict(
        line.split(" ", 1) for line in root.path("packages").read_text(encoding="utf-8").splitlines() if " " in line
    )
    try:
        tools = packages["xen-utils-4.17"]
        utilities = packages["drbd-utils"]
    except KeyError as error:
        raise BuildError(f"the node root has no package {error}; see images/recipes/base-packages.txt") from error
    return {
        "xen": xen.info["xen"],
        "xen_tools": tools,
        "kernel": root.info["kernel"],
        "drbd": root.info["drbd"],
        "drbd_mended": drbd.is_mended(layers.module),
        "drbd_utils": utilities,
        "live_migration": xen.info["live_migration"] == "true",
    }

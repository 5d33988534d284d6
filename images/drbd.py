"""Make the module layer: DRBD's module of the node's kernel, built again with `recipes/drbd.patch`.

Why: docs/decisions/0022-a-mended-drbd.md. When the source of exactly the node's kernel cannot be had, Debian's own
module stays in the node and the layer says so; this module must never hide that.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from images import cache, debian, ext4
from images.cache import Layer
from images.errors import BuildError
from images.progress import Progress

RECIPES = Path(__file__).parent / "recipes"
PACKAGES = ("make", "patch", "xz-utils", "kmod", "ca-certificates")  # the compiler comes with the kernel's headers
FILE = "drbd.ko"
KEPT = ".dist"  # the end of the name under which Debian's own module stays in the node
_RECIPE_FILES = ("drbd-build.sh", "drbd.patch")


@dataclass(frozen=True)
class Kernel:
    """The node's kernel: its release, as `uname -r` prints it, and the version of Debian's package."""

    release: str
    version: str

    @property
    def module(self) -> PurePosixPath:
        """Where DRBD's module is in the node."""
        return PurePosixPath(f"/usr/lib/modules/{self.release}/kernel/drivers/block/drbd/{FILE}")


def inputs() -> dict[str, str]:
    """Return the digests of everything that the layer is made from, apart from the kernel."""
    recipes = cache.hash_paths({name: RECIPES / name for name in _RECIPE_FILES})
    return recipes | {"packages": cache.hash_text(" ".join(PACKAGES))}


def kernel_of(root: Layer) -> Kernel:
    """Return the kernel of a base layer; raises BuildError when its list of packages does not name it."""
    release = root.info["kernel"]
    lines = root.path("packages").read_text(encoding="utf-8").splitlines()
    versions = [line.split(" ")[1] for line in lines if line.startswith(f"linux-image-{release} ")]
    if not versions:
        raise BuildError(f"the node root has no package linux-image-{release}; see images/recipes/base-packages.txt")
    return Kernel(release, versions[0])


def fits(layer: Layer, kernel: Kernel) -> bool:
    """Say whether the layer was made for this kernel: a module loads into no other one."""
    return layer.info["kernel"] == kernel.version


def fill(directory: Path, kernel: Kernel, progress: Progress) -> dict[str, str]:
    """Build the module in a Debian tree and leave it in `directory`."""
    hooks = (
        *(f"upload '{RECIPES / name}' /root/{name}" for name in _RECIPE_FILES),
        f'chroot "$1" sh /root/drbd-build.sh {kernel.release} {kernel.version}',
        f"copy-out /out '{directory}'",
    )
    tree = debian.Tree("minbase", PACKAGES, hooks)
    debian.build(tree, directory, directory / "build.log", "DRBD's module", progress)
    return take(directory, kernel, progress)


def take(directory: Path, kernel: Kernel, progress: Progress) -> dict[str, str]:
    """Move the module to its place, or say why there is none, and return what it is."""
    out = directory / "out"
    mended = (out / FILE).exists()
    if mended:
        (out / FILE).rename(directory / FILE)
    else:
        why = (out / "why").read_text(encoding="utf-8").strip()
        progress.say(f"DRBD's module: {why}; Debian's own is used, which can LOSE A FLUSH of a VM")
    for path in out.iterdir():
        path.unlink()
    out.rmdir()
    return {"kernel": kernel.version, "mended": "true" if mended else "false"}


def placed(layer: Layer, kernel: Kernel) -> list[ext4.Placed]:
    """Return what is written into the node's root: the mended module in place of Debian's, which is kept beside it."""
    return [ext4.Placed(layer.path(FILE), kernel.module, kept=KEPT)] if is_mended(layer) else []


def is_mended(layer: Layer) -> bool:
    """Say whether the node gets the mended module."""
    return layer.info["mended"] == "true"

"""Make the hypervisor layer: Debian's Xen built again with shadow paging, which live migration of PV guests needs.

When the source cannot be had, Debian's own hypervisor is taken and the layer says that live migration is not
available; this module must never hide that.
"""

import gzip
from pathlib import Path

from images import cache, debian
from images.errors import BuildError
from images.progress import Progress

RECIPES = Path(__file__).parent / "recipes"
PACKAGES = (
    *("gcc", "libc6-dev", "make", "bison", "flex", "bc", "dpkg-dev"),
    *("python3-minimal", "libpython3-stdlib", "xz-utils", "ca-certificates"),
)
ELF_MAGIC = b"\x7fELF"


def inputs() -> dict[str, str]:
    """Return the digests of everything that the layer is made from."""
    return cache.hash_paths({"recipe": RECIPES / "xen-build.sh"}) | {"packages": cache.hash_text(" ".join(PACKAGES))}


def fill(directory: Path, progress: Progress) -> dict[str, str]:
    """Build the hypervisor in a Debian tree and leave the ELF file in `directory`."""
    log = directory / "build.log"
    hooks = (
        f"upload '{RECIPES / 'xen-build.sh'}' /root/xen-build.sh",
        'chroot "$1" sh /root/xen-build.sh',
        f"copy-out /out '{directory}'",
    )
    tree = debian.Tree("minbase", PACKAGES, hooks)
    debian.build(tree, directory, log, "hypervisor", progress)
    return take(directory, progress)


def take(directory: Path, progress: Progress) -> dict[str, str]:
    """Move the built or packaged hypervisor to its place and return what it is."""
    out = directory / "out"
    version = (out / "version").read_text(encoding="utf-8").strip()
    migration = (out / "xen").exists()
    content = (out / "xen").read_bytes() if migration else gzip.decompress((out / "xen-packaged.gz").read_bytes())
    if not content.startswith(ELF_MAGIC):
        raise BuildError(f"the hypervisor in {out} is no ELF file; nothing was kept; see its log")
    (directory / "xen").write_bytes(content)
    if not migration:
        progress.say("hypervisor: no Xen source could be fetched or built; Debian's own is used: NO live migration")
    for path in out.iterdir():
        path.unlink()
    out.rmdir()
    return {"xen": version, "live_migration": "true" if migration else "false"}

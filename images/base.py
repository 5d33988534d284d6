"""Make the base layer: the node's Debian root as an ext4 image, its kernel, its small initial RAM disk.

The product and the node's own files are added later, in the final image, so that a change of them costs seconds;
this module must never read them.
"""

from pathlib import Path, PurePosixPath

from images import cache, cpio, debian, ext4, vmlinux
from images.errors import BuildError
from images.progress import Progress

RECIPES = Path(__file__).parent / "recipes"
FREE_MIB = 160
GUEST_KERNEL = PurePosixPath("/usr/lib/workload/vmlinux")
_RECIPE_FILES = ("base-packages.txt", "base-excludes.txt", "base-prepare.sh", "base-image.sh", "initrd-init.sh")
_CODE_FILES = ("base.py", "cpio.py", "vmlinux.py")


def inputs() -> dict[str, str]:
    """Return the digests of everything that the layer is made from."""
    here = Path(__file__).parent
    return cache.hash_paths(
        {name: RECIPES / name for name in _RECIPE_FILES} | {name: here / name for name in _CODE_FILES}
    )


def fill(directory: Path, progress: Progress) -> dict[str, str]:
    """Build the root image, the kernel and the initial RAM disk in `directory`."""
    log = directory / "build.log"
    image_hook = RECIPES / "base-image.sh"
    hooks = (
        f"upload '{RECIPES / 'base-prepare.sh'}' /root/prepare.sh",
        'chroot "$1" sh /root/prepare.sh',
        'rm "$1/root/prepare.sh"',
        f"sh '{image_hook}' \"$1\" {FREE_MIB}",
        f"copy-out /out '{directory}'",
    )
    tree = debian.Tree("minbase", lines_of("base-packages.txt"), hooks, lines_of("base-excludes.txt"))
    debian.build(tree, directory, log, "node root", progress)
    return assemble(directory, log)


def lines_of(name: str) -> tuple[str, ...]:
    """Return the lines of a recipe list without comments and empty lines."""
    lines = (RECIPES / name).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def assemble(directory: Path, log: Path) -> dict[str, str]:
    """Turn what came out of the Debian tree into the layer's files."""
    out = directory / "out"
    image = directory / "root.img"
    copy_sparse(out / "root.img", image)
    (directory / "vmlinux").write_bytes(vmlinux.extract((out / "vmlinuz").read_bytes()))
    (directory / "initrd").write_bytes(initrd(out))
    (out / "packages").rename(directory / "packages")
    (out / "listing").rename(directory / "listing")
    (out / "guest-modules").rename(directory / "guest-modules")
    existing = ext4.parse_listing((directory / "listing").read_text(encoding="utf-8"))
    ext4.put(image, [ext4.Placed(directory / "vmlinux", GUEST_KERNEL)], existing, log)
    info = {name: (out / name).read_text(encoding="utf-8").strip() for name in ("kernel", "drbd", "used_mib")}
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    out.rmdir()
    return info


def initrd(out: Path) -> bytes:
    """Return the RAM disk that loads the modules of the root disk and hands over to the root."""
    modules = out / "initrd-modules"
    names = (modules / "order").read_text(encoding="utf-8").split()
    if not names:
        raise BuildError("no kernel module for the root disk was found in the Debian tree; see recipes/base-prepare.sh")
    init = (RECIPES / "initrd-init.sh").read_text(encoding="utf-8").replace("@MODULES@", " ".join(names))
    entries = [cpio.directory(name) for name in ("bin", "dev", "modules", "proc", "root")]
    entries.append(cpio.file("bin/busybox", (out / "busybox").read_bytes(), executable=True))
    entries += [cpio.file(f"modules/{name}", (modules / name).read_bytes()) for name in names]
    entries.append(cpio.file("init", init.encode(), executable=True))
    return cpio.archive(entries)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving holes where it holds only zeros."""
    block_bytes = 1 << 16
    zeros = bytes(block_bytes)
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(block_bytes):
            if block == zeros:
                writer.seek(len(block), 1)
            else:
                writer.write(block)
        writer.truncate(source.stat().st_size)

"""Make the workload layer (the static service), and the RAM disk that makes it the first process of a guest.

The kernel and its modules are the node's own, so the RAM disk is made with the final image. This module must never
take a compiler from the host, so that every host gives the same program.
"""

from pathlib import Path

from images import cache, cpio, debian
from images.progress import Progress

SOURCES = Path(__file__).parent / "workload"
SOURCE_NAMES = ("workload.c", "guest.c", "stream.c", "guest.h", "record.h", "stream.h")
COMPILE = ("gcc", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Wno-format-truncation")
PACKAGES = ("gcc", "libc6-dev")
_UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def inputs() -> dict[str, str]:
    """Return the digests of everything that the program is made from."""
    paths = {name: SOURCES / name for name in SOURCE_NAMES}
    return cache.hash_paths(paths) | {"recipe": cache.hash_text(" ".join((*COMPILE, *PACKAGES)))}


def fill(directory: Path, progress: Progress) -> dict[str, str]:
    """Compile the service in a throw-away Debian tree and leave the program in `directory`."""
    sources = " ".join(f"'{SOURCES / name}'" for name in SOURCE_NAMES)
    programs = [f"/out/{name}" for name in SOURCE_NAMES if name.endswith(".c")]
    command = " ".join((*COMPILE, "-o", "/out/workload", *programs))
    hooks = (
        'mkdir "$1/out"',
        f"copy-in {sources} /out",
        f'chroot "$1" {command}',
        f"download /out/workload '{directory / 'workload'}'",
    )
    tree = debian.Tree("essential", PACKAGES, hooks, _UNREAD)
    debian.build(tree, directory, directory / "build.log", "workload service", progress)
    (directory / "workload").chmod(0o755)
    return {}


def ramdisk(program: bytes, modules: Path) -> bytes:
    """Return the guest's RAM disk: the program as /init and the front-end drivers."""
    entries = [cpio.directory(name) for name in ("dev", "modules", "proc", "sbin")]
    entries.append(cpio.file("init", program, executable=True))
    # The kernel runs these when Xen asks the guest to stop.
    entries += [cpio.link(name, "/init") for name in ("sbin/poweroff", "sbin/reboot")]
    entries += [cpio.file(f"modules/{path.name}", path.read_bytes()) for path in sorted(modules.glob("*.ko"))]
    return cpio.archive(entries)

"""Write files into an ext4 image without mounting it, through debugfs, which needs no root.

Everything that is written belongs to root. This module must never leave an image whose file system is inconsistent
without saying so.
"""

import stat
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from images import process
from images.errors import BuildError

TOOLS = (
    process.Tool("mke2fs", "e2fsprogs"),
    process.Tool("debugfs", "e2fsprogs"),
    process.Tool("e2fsck", "e2fsprogs"),
)
_HARMLESS = ("debugfs 1.", "debugfs: ", "Allocated inode: ")


@dataclass(frozen=True)
class Placed:
    """A host file and its place and permission bits in the image.

    With `kept`, a file that is there already stays beside it, under its name and this ending.
    """

    source: Path
    target: PurePosixPath
    mode: int = 0o644
    kept: str = ""


@dataclass(frozen=True)
class Link:
    """A symbolic link in the image."""

    target: PurePosixPath
    text: str


@dataclass(frozen=True)
class Listing:
    """The paths that exist in an image: the build must know them, because debugfs overwrites nothing."""

    directories: AbstractSet[str]
    files: AbstractSet[str]


def parse_listing(text: str) -> Listing:
    """Read a listing with lines `d /path` and `f /path`."""
    lines = [(line[:1], line[2:]) for line in text.splitlines()]
    return Listing({path for kind, path in lines if kind == "d"}, {path for kind, path in lines if kind == "f"})


def script(items: Iterable[Placed | Link], existing: Listing) -> str:
    """Return the debugfs commands that put the items into an image with the given content."""
    lines: list[str] = []
    made: set[str] = set(existing.directories)
    for item in sorted(items, key=lambda item: str(item.target)):
        for parent in reversed(item.target.parents):
            if str(parent) not in made:
                made.add(str(parent))
                lines += [f"mkdir {parent}", *_owned(parent, stat.S_IFDIR | 0o755)]
        if str(item.target) in existing.files:
            kept = item.kept if isinstance(item, Placed) else ""
            # debugfs renames nothing; a second name, and the first one taken away, leave the count of names right.
            away = [f"ln {item.target} {item.target}{kept}", f"unlink {item.target}"]
            lines += away if kept else [f"rm {item.target}"]
        if isinstance(item, Link):
            lines.append(f"symlink {item.target} {item.text}")
        else:
            lines += [f'write "{item.source}" {item.target}', *_owned(item.target, stat.S_IFREG | item.mode)]
    return "\n".join(lines) + "\n"


def put(image: Path, items: Iterable[Placed | Link], existing: Listing, log: Path) -> None:
    """Write the items into the image and check the image's file system."""
    commands = log.with_suffix(".debugfs")
    commands.write_text(script(items, existing), encoding="utf-8")
    _debugfs(image, commands, log)
    commands.unlink()


def _debugfs(image: Path, commands: Path, log: Path) -> None:
    said = process.combined_output(["debugfs", "-w", "-f", str(commands), str(image)])
    with log.open("a", encoding="utf-8") as sink:
        sink.write(said)
    wrong = [line for line in said.splitlines() if line.strip() and not line.startswith(_HARMLESS)]
    if wrong:
        raise BuildError(f"writing into {image.name} failed, and the image is thrown away: {wrong[0]}")
    process.output_of(["e2fsck", "-f", "-n", str(image)])


def _owned(target: PurePosixPath, mode: int) -> list[str]:
    return [f"sif {target} {name} {value}" for name, value in (("mode", f"0{mode:o}"), ("uid", "0"), ("gid", "0"))]

"""Make Debian trees with mmdebstrap from the package sources that the host itself uses.

No mirror is named here: the host's apt configuration says where Debian is. This module must never change that
configuration, and needs no root (mmdebstrap then works in a user namespace).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images import process
from images.errors import BuildError
from images.progress import Progress

RELEASE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TOOLS = (process.Tool("mmdebstrap", "mmdebstrap"), process.Tool("apt-get", "apt"))
_TARGETS = (
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI) $(RELEASE) $(COMPONENT)",
    "Created-By: Packages",
    "Origin: Debian",
)


@dataclass(frozen=True)
class Tree:
    """What goes into a Debian tree and which hooks run before it is thrown away."""

    variant: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...]
    excludes: tuple[str, ...] = ()


def sources(targets: str) -> str:
    """Return the sources list for the image, from apt's list of `uri release component` lines."""
    lines = []
    for line in targets.splitlines():
        uri, release, component = line.split()
        if release.split("-")[0] == RELEASE:
            lines.append(f"deb [signed-by={KEYRING}] {uri} {release} {component}")
    if not lines:
        raise BuildError(
            f"the host's apt knows no Debian {RELEASE} source, so nothing was built; "
            f"add one to its sources and see that `apt-get update` succeeds"
        )
    return "\n".join(dict.fromkeys(lines)) + "\n"


def build(tree: Tree, work: Path, log: Path, label: str, progress: Progress) -> None:
    """Make the tree, run its hooks and throw the tree away; the hooks take out of it what is wanted."""
    listing = work / "sources.list"
    targets = process.output_of(_TARGETS) or _targets_without_lists(work, log, label, progress)
    listing.write_text(sources(targets), encoding="utf-8")
    process.run(arguments(tree, listing), log, label, progress, {"LC_ALL": "C.UTF-8"})


def _targets_without_lists(work: Path, log: Path, label: str, progress: Progress) -> str:
    """Ask apt again with lists fetched for this build alone: it names no source whose lists the host removed."""
    lists = work / "apt-lists"
    (lists / "partial").mkdir(parents=True)
    private = ("-o", f"Dir::State::Lists={lists}", "-o", "APT::Sandbox::User=")
    process.run(["apt-get", "update", "-q", *private], log, f"{label}: package lists", progress)
    targets = process.output_of([*_TARGETS, *private])
    shutil.rmtree(lists)
    return targets


def arguments(tree: Tree, listing: Path) -> Sequence[str]:
    """Return mmdebstrap's command line for a tree."""
    return [
        "mmdebstrap",
        f"--variant={tree.variant}",
        "--format=null",
        # The tree is thrown away, and a hook has taken what is wanted: nothing is left to clean.
        "--skip=cleanup",
        "--aptopt=APT::Install-Recommends false",
        f"--include={','.join(tree.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in tree.excludes),
        *(f"--customize-hook={hook}" for hook in tree.hooks),
        RELEASE,
        "/dev/null",
        str(listing),
    ]

"""Say which files of the repository go into a node, and where; this module must never import the product."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from images import bytecode, ext4

REPOSITORY = Path(__file__).parent.parent
PRODUCT = REPOSITORY / "avance"
NODE_FILES = Path(__file__).parent / "node"
PACKAGE = PurePosixPath("/usr/lib/python3/dist-packages/avance")
_VERSION = re.compile(r"^__version__(?:\s*:\s*[\w.\[\]]+)?\s*=\s*[\"']([^\"']+)[\"']", re.MULTILINE)
_LEFT_OUT = {"__pycache__"}


def files_below(directory: Path) -> Iterator[Path]:
    """Yield the files of a tree in a fixed order, without caches and hidden files."""
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.is_file() and not any(part in _LEFT_OUT or part.startswith(".") for part in relative.parts):
            yield path


def sources() -> dict[str, Path]:
    """Return every repository file that the final image is made from, by a name for the manifest."""
    found = {f"avance/{path.relative_to(PRODUCT)}": path for path in files_below(PRODUCT)}
    return found | {f"node/{path.relative_to(NODE_FILES)}": path for path in files_below(NODE_FILES)}


def version() -> str:
    """Return the product's version as its package states it."""
    stated = PRODUCT / "__init__.py"
    match = _VERSION.search(stated.read_text(encoding="utf-8")) if stated.is_file() else None
    return match.group(1) if match else "0"


def placed(work: Path) -> list[ext4.Placed | ext4.Link]:
    """Return what is written into the node's root; bytecode is made below `work`."""
    items: list[ext4.Placed | ext4.Link] = []
    for path in files_below(NODE_FILES):
        mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
        items.append(ext4.Placed(path, PurePosixPath("/") / path.relative_to(NODE_FILES).as_posix(), mode))
    for path in files_below(PRODUCT):
        target = PACKAGE / path.relative_to(PRODUCT).as_posix()
        items.append(ext4.Placed(path, target))
        if path.suffix == ".py":
            compiled = bytecode.compiled_name(path.name)
            made = work / path.relative_to(PRODUCT).parent / compiled
            bytecode.compile_file(path, made, str(target))
            items.append(ext4.Placed(made, target.parent / compiled))
    return items

"""Keep finished build results by the hash of what they were made from.

A directory with its final name is complete: it is filled under a name that ends in `.partial-<pid>` and renamed
as the last step. This module must never hand out a directory that was not finished or whose files have changed size.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from images.errors import BuildError
from images.progress import Progress

LAYER_FILE = "layer.json"
SCHEMA = "testbed.layer/1"
_PARTIAL = re.compile(r".*\.partial-\d+")
_BLOCK_BYTES = 1 << 20


def default_root() -> Path:
    """Return the cache directory of images for this user."""
    explicit = os.environ.get("AVANCE_CACHE")
    base = Path(explicit) if explicit else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avance"
    return base.expanduser().absolute() / "images"


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def combined_hash(inputs: Mapping[str, str]) -> str:
    """Return one short name for a set of named input digests."""
    text = json.dumps(dict(inputs), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def hash_paths(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the digest of every named file; a file's executable bit is part of its digest."""
    return {
        name: hashlib.sha256(f"{os.access(path, os.X_OK)}:{sha256_of(path)}".encode()).hexdigest()
        for name, path in sorted(paths.items())
    }


def hash_text(text: str) -> str:
    """Return the digest of a recipe that stands in the code, such as a package list."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class StoredFile:
    """The size and digest that a file had when it was finished."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Layer:
    """A finished directory of the cache."""

    directory: Path
    files: dict[str, StoredFile]
    info: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Return the path of one of the layer's files."""
        if name not in self.files:
            raise BuildError(f"{self.directory} has no file {name}; remove the directory and build again")
        return self.directory / name

    def problem(self, *, digests: bool = False) -> str | None:
        """Return what is wrong with the stored files, or nothing when they are as they were finished."""
        for name, stored in self.files.items():
            path = self.directory / name
            if not path.is_file():
                return f"{path} is missing"
            size = path.stat().st_size
            if size != stored.size:
                return f"{path} has {size} bytes instead of {stored.size}"
            if digests and sha256_of(path) != stored.sha256:
                return f"the content of {path} has changed since it was built (sha256 differs)"
        return None


Fill = Callable[[Path], dict[str, str]]
Describe = Callable[[Layer], None]


class Cache:
    """The directory of layers, with the lock that lets one build at a time write in it."""

    def __init__(self, root: Path, progress: Progress) -> None:
        """Use `root`, which is created when it is first locked."""
        self.root = root
        self._progress = progress

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cache against other builds; wait, with a message, while another build holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._progress.say(f"another build works in {self.root}; waiting for it to end")
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._sweep()
            yield

    def get(self, name: str, *, digests: bool = False) -> Layer | None:
        """Return a finished layer; a damaged one is reported, removed and not returned."""
        directory = self.root / name
        if not directory.exists():
            return None
        try:
            layer = load(directory)
            problem = layer.problem(digests=digests)
        except BuildError as error:
            problem = str(error)
        else:
            if problem is None:
                os.utime(directory)
                return layer
        self._progress.say(f"damaged: {problem}; it is removed and built again")
        shutil.rmtree(directory)
        return None

    def make(self, name: str, inputs: Mapping[str, str], fill: Fill, describe: Describe | None = None) -> Layer:
        """Fill a new layer, let `describe` add its own description of the files, and finish it."""
        partial = self.root / f"{name}.partial-{os.getpid()}"
        partial.mkdir()
        try:
            info = fill(partial)
        except BaseException:
            self._keep_log(name, partial)
            shutil.rmtree(partial, ignore_errors=True)
            raise
        files = {
            str(path.relative_to(partial)): StoredFile(sha256_of(path), path.stat().st_size)
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        }
        if describe is not None:
            describe(Layer(partial, files, info))
        stored = {path: {"sha256": file.sha256, "size": file.size} for path, file in files.items()}
        text = json.dumps({"schema": SCHEMA, "inputs": dict(inputs), "files": stored, "info": info}, indent=1)
        (partial / LAYER_FILE).write_text(text + "\n", encoding="utf-8")
        partial.rename(self.root / name)
        return load(self.root / name)

    def peek(self, name: str) -> Layer | None:
        """Return a finished layer without marking it as used, or nothing when it cannot be read."""
        try:
            return load(self.root / name)
        except BuildError:
            return None

    def names(self) -> list[str]:
        """Return the names of the finished directories, the most recently used first."""
        found = [path for path in self.root.iterdir() if path.is_dir() and not _PARTIAL.fullmatch(path.name)]
        return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]

    def remove(self, name: str) -> None:
        """Remove one finished directory."""
        shutil.rmtree(self.root / name)

    def _sweep(self) -> None:
        for path in self.root.iterdir():
            if _PARTIAL.fullmatch(path.name):
                self._progress.say(f"removing {path.name}, left by a build that was interrupted")
                shutil.rmtree(path)

    def _keep_log(self, name: str, partial: Path) -> None:
        log = partial / "build.log"
        if log.is_file():
            kept = self.root / f"{name}.failed.log"
            shutil.copyfile(log, kept)
            self._progress.say(f"the whole log of the failed step: {kept}")


def load(directory: Path) -> Layer:
    """Read a finished directory's own description."""
    path = directory / LAYER_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {name: StoredFile(entry["sha256"], entry["size"]) for name, entry in content["files"].items()}
        return Layer(directory, files, dict(content["info"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"{path} cannot be read ({error}); the directory is not usable: build again") from error

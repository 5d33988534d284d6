"""Tests of the cache of finished layers; they must never touch the user's own cache."""

import json
import os
from pathlib import Path

import pytest

from images.cache import LAYER_FILE, Cache, Layer, combined_hash, default_root, hash_paths, load
from images.errors import BuildError
from images.progress import Progress


@pytest.fixture
def said() -> list[str]:
    """The progress lines of a test."""
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "images", Progress(said.append))


def make(cache: Cache, name: str = "base-1", content: bytes = b"content") -> Layer:
    """Make a layer of one file."""

    def fill(directory: Path) -> dict[str, str]:
        (directory / "file").write_bytes(content)
        return {"fact": "yes"}

    with cache.locked():
        return cache.make(name, {"input": "digest"}, fill)


def test_a_finished_layer_is_found_again(cache: Cache) -> None:
    """What was made under a name is returned with its files and facts."""
    made = make(cache)
    found = cache.get("base-1")
    assert found == made
    assert found.path("file").read_bytes() == b"content"
    assert found.info == {"fact": "yes"}


def test_an_interrupted_layer_is_never_found(cache: Cache) -> None:
    """A fill that fails leaves neither the final nor the partial directory."""

    def fill(directory: Path) -> dict[str, str]:
        (directory / "file").write_bytes(b"half")
        raise BuildError("no")

    with cache.locked(), pytest.raises(BuildError):
        cache.make("base-1", {}, fill)
    assert cache.get("base-1") is None
    assert [path.name for path in cache.root.iterdir()] == ["lock"]


def test_leftovers_of_a_killed_build_are_swept(cache: Cache, said: list[str]) -> None:
    """A partial directory of another process is removed when the lock is next taken."""
    left = cache.root / "base-1.partial-99999"
    left.mkdir(parents=True)
    with cache.locked():
        assert not left.exists()
    assert "interrupted" in said[0]


@pytest.mark.parametrize("damage", ["shorter", "missing", "description"])
def test_a_damaged_layer_is_reported_and_not_returned(cache: Cache, said: list[str], damage: str) -> None:
    """Damage that changes a size or a description is seen at every build."""
    made = make(cache)
    if damage == "shorter":
        (made.directory / "file").write_bytes(b"con")
    elif damage == "missing":
        (made.directory / "file").unlink()
    else:
        (made.directory / LAYER_FILE).write_text("{")
    assert cache.get("base-1") is None
    assert not made.directory.exists()
    assert "damaged" in said[-1]


def test_damage_of_the_same_size_needs_the_digests(cache: Cache) -> None:
    """A changed byte is found when digests are compared, and only then."""
    made = make(cache)
    (made.directory / "file").write_bytes(b"cOntent")
    assert made.problem() is None
    problem = made.problem(digests=True)
    assert problem is not None
    assert "sha256" in problem


def test_the_description_names_inputs_and_digests(cache: Cache) -> None:
    """The layer's own file tells what it was made from."""
    content = json.loads((make(cache).directory / LAYER_FILE).read_text())
    assert content["inputs"] == {"input": "digest"}
    assert content["files"]["file"]["size"] == 7


def test_names_are_ordered_by_use(cache: Cache) -> None:
    """The most recently used directory comes first."""
    for name, age in (("base-1", 30), ("base-2", 20), ("base-3", 10)):
        directory = make(cache, name).directory
        os.utime(directory, (1_000_000 - age, 1_000_000 - age))
    cache.get("base-1")
    assert cache.names() == ["base-1", "base-3", "base-2"]


def test_an_unknown_file_of_a_layer_is_an_error(cache: Cache) -> None:
    """A layer never returns a path that it does not hold."""
    with pytest.raises(BuildError, match="no file other"):
        make(cache).path("other")


def test_a_directory_without_description_cannot_be_loaded(tmp_path: Path) -> None:
    """Loading something that is no layer says so."""
    with pytest.raises(BuildError, match="cannot be read"):
        load(tmp_path)


def test_hashes_depend_on_names_content_and_mode(tmp_path: Path) -> None:
    """Each of name, content and executable bit gives another hash."""
    file = tmp_path / "file"
    file.write_text("a")
    first = combined_hash(hash_paths({"x": file}))
    assert combined_hash(hash_paths({"y": file})) != first
    file.chmod(0o755)
    changed = combined_hash(hash_paths({"x": file}))
    assert changed != first
    file.write_text("b")
    assert combined_hash(hash_paths({"x": file})) not in {first, changed}


def test_the_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AVANCE_CACHE wins over XDG_CACHE_HOME."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("AVANCE_CACHE", raising=False)
    assert default_root() == tmp_path / "xdg" / "avance" / "images"
    monkeypatch.setenv("AVANCE_CACHE", str(tmp_path / "own"))
    assert default_root() == tmp_path / "own" / "images"

"""Tests of putting layers together; they must never run a build tool."""

from pathlib import Path

import pytest

from images import base, build, drbd, manifest
from images.build import Builder, Layers
from images.cache import Cache, Layer, StoredFile, combined_hash
from images.errors import BuildError
from images.progress import Progress


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "images", Progress(print))


def layers(directory: Path) -> Layers:
    """The layers of an image; what the packages are stands in `directory`."""
    root = Layer(directory, {"packages": StoredFile("", 0)}, {"kernel": "6.1", "drbd": "8.4.11"})
    xen = Layer(directory, {}, {"xen": "4.17.5", "live_migration": "false"})
    return Layers(xen, root, Layer(directory, {}, {"kernel": "6.1-1", "mended": "true"}), Layer(directory, {}))


def finish(cache: Cache, name: str) -> None:
    """Put a finished image with the given name into the cache."""

    def fill(directory: Path) -> dict[str, str]:
        (directory / manifest.FILE).write_text("{}")
        return {"base": "base-needed"}

    cache.make(name, {}, fill)


def test_a_finished_image_is_not_built_again(cache: Cache) -> None:
    """With nothing changed a build returns the manifest that is there."""
    with cache.locked():
        finish(cache, combined_hash(build.final_inputs()))
    builder = Builder(cache, Progress(print))
    assert builder.build() == builder.manifest_path()


def test_without_an_image_there_is_no_path(cache: Cache) -> None:
    """Asking for the path builds nothing."""
    assert Builder(cache, Progress(print)).manifest_path() is None
    assert not cache.root.exists()


def test_old_images_and_unneeded_layers_are_removed(cache: Cache) -> None:
    """The most recently used images stay, with the layers that they were made from."""
    with cache.locked():
        for name in ("base-needed", "base-old", *(f"old{n}" for n in range(build.KEPT_IMAGES + 3))):
            finish(cache, name)
        finish(cache, combined_hash(build.final_inputs()))
    Builder(cache, Progress(print)).build()
    names = cache.names()
    assert "base-needed" in names
    assert "base-old" not in names
    assert len([name for name in names if "-" not in name]) == build.KEPT_IMAGES


def test_clean_removes_everything_finished(cache: Cache) -> None:
    """After it nothing is reused."""
    with cache.locked():
        finish(cache, "base-1")
    Builder(cache, Progress(print)).clean()
    assert cache.names() == []


def test_versions_come_from_the_layers(tmp_path: Path) -> None:
    """The manifest states whether live migration is there, and the versions of the tools."""
    (tmp_path / "packages").write_text("xen-utils-4.17 4.17.7\ndrbd-utils 9.22\n")
    assert build.versions(layers(tmp_path)) == {
        "xen": "4.17.5",
        "xen_tools": "4.17.7",
        "kernel": "6.1",
        "drbd": "8.4.11",
        "drbd_mended": True,
        "drbd_utils": "9.22",
        "live_migration": False,
    }


def test_a_root_without_the_tools_is_an_error(tmp_path: Path) -> None:
    """Such an image could not run a VM."""
    (tmp_path / "packages").write_text("bash 5\n")
    with pytest.raises(BuildError, match="xen-utils"):
        build.versions(layers(tmp_path))


def test_a_module_for_another_kernel_is_made_again(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that was built again can have a newer kernel than the module that is there."""
    kernels = iter(["6.1-1", "6.1-1", "6.1-2"])
    made: list[str] = []

    def root(directory: Path, _progress: Progress) -> dict[str, str]:
        (directory / "packages").write_text(f"linux-image-6.1 {next(kernels)}\n")
        return {"kernel": "6.1"}

    def module(_directory: Path, kernel: drbd.Kernel, _progress: Progress) -> dict[str, str]:
        made.append(kernel.version)
        return {"kernel": kernel.version, "mended": "false"}

    monkeypatch.setattr(base, "fill", root)
    monkeypatch.setattr(drbd, "fill", module)
    for version in ("6.1-1", "6.1-1", "6.1-2"):
        with cache.locked():
            if build.base_name() in cache.names():
                cache.remove(build.base_name())
            assert Builder(cache, Progress(print))._root()[1].info["kernel"] == version
    assert made == ["6.1-1", "6.1-2"]

"""Tests of taking DRBD's module; they must never build one."""

from pathlib import Path, PurePosixPath

import pytest

from images import drbd, ext4
from images.cache import Layer, StoredFile
from images.drbd import Kernel
from images.errors import BuildError
from images.progress import Progress

KERNEL = Kernel("6.1.0-9-amd64", "6.1.27-1")


def test_a_built_module_takes_the_place_of_debians(tmp_path: Path) -> None:
    """Debian's own stays beside it, so that both can be compared."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "drbd.ko").write_bytes(b"module")
    info = drbd.take(tmp_path, KERNEL, Progress(print))
    layer = Layer(tmp_path, {"drbd.ko": StoredFile("", 6)}, info)
    assert info == {"kernel": "6.1.27-1", "mended": "true"}
    place = PurePosixPath("/usr/lib/modules/6.1.0-9-amd64/kernel/drivers/block/drbd/drbd.ko")
    assert drbd.placed(layer, KERNEL) == [ext4.Placed(tmp_path / "drbd.ko", place, kept=".dist")]
    assert not (tmp_path / "out").exists()


def test_without_the_source_debians_module_stays_and_that_is_said(tmp_path: Path) -> None:
    """The fact is recorded, and the person who waits is told why."""
    said: list[str] = []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "why").write_text("no source of kernel 6.1.27-1\n")
    info = drbd.take(tmp_path, KERNEL, Progress(said.append))
    assert info["mended"] == "false"
    assert "no source of kernel 6.1.27-1" in said[0]
    assert drbd.placed(Layer(tmp_path, {}, info), KERNEL) == []


def test_the_kernel_is_the_one_in_the_root(tmp_path: Path) -> None:
    """Its package's version is looked up exactly: a module for another one does not load."""
    packages = tmp_path / "packages"
    packages.write_text("linux-image-6.1.0-90-amd64 7\nlinux-image-6.1.0-9-amd64 6.1.27-1\n")
    root = Layer(tmp_path, {"packages": StoredFile("", 0)}, {"kernel": "6.1.0-9-amd64"})
    assert drbd.kernel_of(root) == KERNEL
    packages.write_text("bash 5\n")
    with pytest.raises(BuildError, match=r"linux-image-6\.1\.0-9-amd64"):
        drbd.kernel_of(root)


def test_the_patch_and_its_recipe_are_part_of_the_hash() -> None:
    """A changed patch gives another image."""
    assert {"drbd.patch", "drbd-build.sh", "packages"} == drbd.inputs().keys()

"""Tests of the base layer's own steps; they must never build a Debian tree."""

from pathlib import Path

import pytest

from images import base
from images.errors import BuildError


def test_holes_stay_holes(tmp_path: Path) -> None:
    """A copy has the same bytes and takes less room where the source is zero."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x" * 10 + bytes(8 << 20) + b"y" + bytes(5))
    base.copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 1 << 20


def test_the_package_list_holds_names_only() -> None:
    """Comments do not reach apt."""
    packages = base.lines_of("base-packages.txt")
    assert {"linux-image-amd64", "xen-utils-4.17", "drbd-utils", "runit"} <= set(packages)
    assert not [name for name in packages if " " in name or "#" in name]


def test_the_ram_disk_loads_its_modules_in_order(tmp_path: Path) -> None:
    """The init script names the modules in the order that the Debian tree gave."""
    modules = tmp_path / "initrd-modules"
    modules.mkdir()
    (tmp_path / "busybox").write_bytes(b"box")
    (modules / "order").write_text("b.ko\na.ko\n")
    for name in ("a.ko", "b.ko"):
        (modules / name).write_bytes(name.encode())
    assert b"for module in b.ko a.ko; do" in base.initrd(tmp_path)


def test_a_ram_disk_without_modules_is_an_error(tmp_path: Path) -> None:
    """Such a node could not read its disk."""
    (tmp_path / "initrd-modules").mkdir()
    (tmp_path / "initrd-modules" / "order").write_text("")
    with pytest.raises(BuildError, match="no kernel module"):
        base.initrd(tmp_path)

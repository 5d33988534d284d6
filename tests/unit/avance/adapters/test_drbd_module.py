"""The loaded module of DRBD says which one it is; Debian's own is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from avance.adapters.drbd_module import DrbdModule

PATCH = Path(__file__).parents[4] / "images/recipes/drbd.patch"


def module(directory: Path, version: str) -> DrbdModule:
    """Return what stands for a loaded module of this version."""
    (directory / "version").write_text(version + "\n")
    return DrbdModule(directory / "version")


def test_the_mended_module_is_no_problem(tmp_path: Path) -> None:
    """The mark is the one that the patch makes."""
    made = [line for line in PATCH.read_text().splitlines() if line.startswith("+MODULE_VERSION(REL_VERSION")]
    version = "8.4.11" + made[0].split('"')[1]
    mended = module(tmp_path, version)
    assert mended.version == version
    assert mended.problem == ""


@pytest.mark.parametrize("version", ["8.4.11", "8.4.11+avance-not", "9.1.4", "x" * 3000])
def test_another_module_is_told(tmp_path: Path, version: str) -> None:
    """With its version, and with what follows from it."""
    problem = module(tmp_path, version).problem
    assert "only the reset of the node" in problem
    assert version[:100] in problem


def test_no_module_is_no_problem(tmp_path: Path) -> None:
    """A node without a VM has loaded none yet; what cannot be read is told as none."""
    assert DrbdModule(tmp_path / "version").problem == ""
    (tmp_path / "version").mkdir()
    assert DrbdModule(tmp_path / "version").version == ""

"""Tests of taking the hypervisor; they must never build one."""

import gzip
from pathlib import Path

import pytest

from images.errors import BuildError
from images.hypervisor import take
from images.progress import Progress

ELF = b"\x7fELF hypervisor"


def test_a_built_hypervisor_can_migrate(tmp_path: Path) -> None:
    """The one built with shadow paging is taken as it is."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "xen").write_bytes(ELF)
    (tmp_path / "out" / "version").write_text("4.17.5\n")
    assert take(tmp_path, Progress(print)) == {"xen": "4.17.5", "live_migration": "true"}
    assert (tmp_path / "xen").read_bytes() == ELF


def test_the_packaged_hypervisor_is_said_to_lack_migration(tmp_path: Path) -> None:
    """Without the source the fact is recorded, and the person who waits is told."""
    said: list[str] = []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "xen-packaged.gz").write_bytes(gzip.compress(ELF))
    (tmp_path / "out" / "version").write_text("4.17.7\n")
    assert take(tmp_path, Progress(said.append))["live_migration"] == "false"
    assert "NO live migration" in said[0]


def test_something_else_is_refused(tmp_path: Path) -> None:
    """A file that is no ELF file never becomes a hypervisor."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "xen").write_bytes(b"text")
    (tmp_path / "out" / "version").write_text("1")
    with pytest.raises(BuildError, match="no ELF file"):
        take(tmp_path, Progress(print))

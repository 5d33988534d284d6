"""Tests of the guest's RAM disk; they must never start a guest."""

from pathlib import Path

from images import guest


def test_the_ram_disk_holds_program_and_drivers(tmp_path: Path) -> None:
    """The service is the first process, and also what the kernel calls to stop."""
    (tmp_path / "xen-blkfront.ko").write_bytes(b"driver")
    (tmp_path / "order").write_text("")
    disk = guest.ramdisk(b"program", tmp_path)
    for name in (b"init\0", b"modules/xen-blkfront.ko\0", b"sbin/poweroff\0", b"sbin/reboot\0"):
        assert name in disk
    assert b"modules/order" not in disk


def test_inputs_cover_every_source() -> None:
    """A change of any source file gives another layer."""
    assert set(guest.SOURCE_NAMES) <= set(guest.inputs())
    assert {path.name for path in guest.SOURCES.iterdir()} == set(guest.SOURCE_NAMES)

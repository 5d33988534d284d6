"""Proves that a snapshot is complete or not there, that its key covers its inputs, and that old ones make room."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import site
from testbed.bed import snapshot
from testbed.bed.snapshot import KEPT, Building, SnapshotStore, snapshot_key
from testbed.errors import HostError, SnapshotError
from testbed.node.image import Image
from testbed.site import SiteOptions
from testbed.topology import NODES
from tests.unit.testbed.small_image import small_image

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"
)
DEAD_PID = 999_999_999  # above the kernel's limit of 2**22


def fill(building: Building, *, but: str = "") -> None:
    """Write every file of a snapshot, or all but one."""
    paths = [building.switch, *(file(node) for node in NODES for file in (building.memory, building.journal))]
    paths += [path / "cache.json" for node in NODES for path in building.disks(node).values()]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        if str(path.relative_to(building.directory)) != but:
            path.write_text("content", encoding="ascii")


def make(store: SnapshotStore, key: str, *, but: str = "") -> Path:
    """Make a snapshot of all files, or of all but one."""
    with store.new(key) as building:
        fill(building, but=but)
        return building.finish(secret="s3cret", token="t0ken").directory


@needs_qemu
def test_the_key_changes_with_every_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image, accelerator, each option of the site, certificate, workload, wires, ports and QEMU make another key."""
    image, options = small_image(tmp_path), SiteOptions()
    more = replace(image, workload=replace(image.workload, memory_mib=97))
    inputs: list[tuple[Image, str, SiteOptions, str]] = [
        (image, "tcg", options, "f1"),
        (replace(image, hash="other"), "tcg", options, "f1"),
        (image, "kvm", options, "f1"),
        (image, "tcg", SiteOptions(policy="safety"), "f1"),
        (image, "tcg", SiteOptions(dilation=2.0), "f1"),
        (image, "tcg", SiteOptions(workload_args="nosync=1"), "f1"),
        (image, "tcg", options, "f2"),
        (more, "tcg", options, "f1"),
    ]
    keys = [snapshot_key(*one) for one in inputs]
    assert snapshot_key(*inputs[0]) == keys[0]
    monkeypatch.setattr(site, "QUICK_BOOT", "quick")
    keys.append(snapshot_key(*inputs[0]))
    monkeypatch.setattr(snapshot, "PORTS", {})
    keys.append(snapshot_key(*inputs[0]))
    (tmp_path / "qemu-system-x86_64").write_text("#!/bin/sh\n", encoding="ascii")
    (tmp_path / "qemu-system-x86_64").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    keys.append(snapshot_key(*inputs[0]))
    assert len(set(keys)) == len(keys) == 11


def test_without_qemu_there_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SnapshotError, match="qemu-system-x86_64 is not installed"):
        snapshot_key(small_image(tmp_path), "tcg", SiteOptions(), "f")


def test_a_finished_snapshot_is_found_with_its_secrets(tmp_path: Path) -> None:
    """It has its final name, keeps its files, and nobody else can read it."""
    store = SnapshotStore(tmp_path)
    made = make(store, "k1")
    found = store.find("k1")
    assert found is not None
    assert (found.directory, found.secret, found.token) == (made, "s3cret", "t0ken")
    assert found.memory("a").read_text(encoding="ascii") == "content"
    assert made.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["k1"]
    assert store.find("k2") is None


@pytest.mark.parametrize(
    "missing", ["switch.json", "a.memory", "b.memory", "b.journal", "a-vda/cache.json", "b-vdc/cache.json"]
)
def test_an_incomplete_snapshot_is_refused_and_named(tmp_path: Path, missing: str) -> None:
    """Each file is needed, the missing one is named, and nothing is left."""
    store = SnapshotStore(tmp_path)
    with pytest.raises(SnapshotError, match=f"lacks {missing}; it is not used"):
        make(store, "k1", but=missing)
    assert store.find("k1") is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finished_is_not_found(tmp_path: Path) -> None:
    """A snapshot in the making is not there yet, and without `finish` it never will be."""
    store = SnapshotStore(tmp_path)
    with store.new("k1") as building:
        fill(building)
        assert store.find("k1") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"secret": "s"}'])
def test_a_damaged_mark_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    """A file that was cut off or is of another shape costs a cold boot and no traceback."""
    store = SnapshotStore(tmp_path)
    (make(store, "k1") / "meta.json").write_text(content, encoding="ascii")
    assert store.find("k1") is None


def test_an_error_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    """The error goes on as it is, and the half-made directory is removed."""

    def fail() -> None:
        with SnapshotStore(tmp_path).new("k1") as building:
            fill(building)
            raise HostError("in between")

    with pytest.raises(HostError, match="in between"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_snapshot_error(tmp_path: Path) -> None:
    """What the kernel says becomes a sentence that says what is now true."""
    store = SnapshotStore(tmp_path)
    with pytest.raises(SnapshotError, match=r"No space left.*nothing of it was kept"), store.new("k1"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_new_snapshot_replaces_the_one_of_the_same_key(tmp_path: Path) -> None:
    """The last one made is the one that is found."""
    store = SnapshotStore(tmp_path)
    old = make(store, "k1")
    (old / "old").touch()
    assert make(store, "k1") == old
    assert not (old / "old").exists()


def test_the_sweep_removes_what_dead_runs_left_and_nothing_else(tmp_path: Path) -> None:
    """Half-written directories of living processes stay, also when they are older than all complete ones."""
    living = tmp_path / f"k0.partial-{os.getppid()}"
    dead = tmp_path / f"k0.partial-{DEAD_PID}"
    for path in (living, dead):
        path.mkdir()
        (path / "meta.json").touch()
        os.utime(path, (0, 0))
    for number in range(KEPT + 1):
        make(SnapshotStore(tmp_path), f"k{number}")
    assert living.exists()
    assert not dead.exists()


def test_what_a_dead_run_with_the_same_pid_left_is_no_obstacle(tmp_path: Path) -> None:
    """In a new container the same pid comes again; the leftovers do not get into the new snapshot."""
    leftover = tmp_path / f"k1.partial-{os.getpid()}"
    leftover.mkdir()
    (leftover / "junk").touch()
    assert not (make(SnapshotStore(tmp_path), "k1") / "junk").exists()


def test_the_least_recently_used_snapshots_make_room(tmp_path: Path) -> None:
    """After a new one is made so many are kept as stated; being found counts as use."""
    store = SnapshotStore(tmp_path)
    for number in range(KEPT):
        os.utime(make(store, f"k{number}"), (1000 + number, 1000 + number))
    assert store.find("k0") is not None
    make(store, "new")
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == KEPT
    assert {"k0", "new"} <= kept
    assert "k1" not in kept


def test_a_discarded_snapshot_is_gone(tmp_path: Path) -> None:
    """One that failed its health gate is not tried again."""
    store = SnapshotStore(tmp_path)
    make(store, "k1")
    found = store.find("k1")
    assert found is not None
    store.discard(found)
    assert store.find("k1") is None
    assert list(tmp_path.iterdir()) == []

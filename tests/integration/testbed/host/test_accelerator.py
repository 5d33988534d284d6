"""Proves with a real QEMU that the accelerator is found by booting, and that the verdict is kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from testbed.host import accelerator
from testbed.host.accelerator import choose_accelerator, find_qemu, probe_kvm


def test_the_probe_passes_where_the_accelerator_works() -> None:
    """The boot sector comes up under TCG, which works everywhere: a failure under KVM is then KVM's."""

    async def scenario() -> accelerator.Accelerator:
        return await probe_kvm(await find_qemu(), None, accel="tcg")

    assert "a boot sector booted under TCG" in asyncio.run(scenario()).reason


def test_a_guest_that_hangs_fails_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sector that loops for ever is a verdict at the deadline, as is a kernel that hangs in the boot ROM."""
    monkeypatch.setattr(accelerator, "BOOT_SECTOR", bytes.fromhex("ebfe").ljust(510, b"\0") + b"\x55\xaa")
    monkeypatch.setattr(accelerator, "PROBE_TIMEOUT_S", 0.2)

    async def scenario() -> accelerator.Accelerator:
        return await probe_kvm(await find_qemu(), None, accel="tcg")

    assert "a boot sector did not come up" in asyncio.run(scenario()).reason


def test_the_verdict_is_cached_for_the_same_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second question is answered from the file; another image is probed anew."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    monkeypatch.setattr(accelerator, "PROBE_TIMEOUT_S", 3.0)
    asyncio.run(choose_accelerator(tmp_path, image_hash="one", device=Path("/dev/null")))
    path = tmp_path / "accel.json"
    (cached,) = json.loads(path.read_text(encoding="utf-8")).items()
    path.write_text(json.dumps({cached[0]: {**cached[1], "reason": "from the cache"}}), encoding="utf-8")
    same = asyncio.run(choose_accelerator(tmp_path, image_hash="one", device=Path("/dev/null")))
    other = asyncio.run(choose_accelerator(tmp_path, image_hash="two", device=Path("/dev/null")))
    assert same.reason == "from the cache"
    assert other.reason != "from the cache"
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 2


def test_a_damaged_cache_costs_only_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no JSON, or JSON of another shape, is replaced."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    monkeypatch.setattr(accelerator, "PROBE_TIMEOUT_S", 3.0)
    path = tmp_path / "accel.json"
    for content in ("{", "[1]", "{}"):
        path.write_text(content, encoding="utf-8")
        asyncio.run(choose_accelerator(tmp_path, device=Path("/dev/null")))
        assert len(json.loads(path.read_text(encoding="utf-8"))) == 1

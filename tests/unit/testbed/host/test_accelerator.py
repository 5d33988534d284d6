"""Proves the host facts: which QEMU will do, and that the accelerator is found by booting."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from testbed.errors import HostError, UsageError
from testbed.host import accelerator
from testbed.host.accelerator import choose_accelerator, find_qemu, probe_kvm

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"
)


def program(path: Path, text: str) -> str:
    """Make an executable that prints a text."""
    path.write_text(f"#!/bin/sh\necho '{text}'\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def test_a_new_enough_qemu_is_accepted(tmp_path: Path) -> None:
    """The version is read from QEMU itself."""
    qemu = asyncio.run(find_qemu(program(tmp_path / "qemu", "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)")))
    assert qemu.version == (7, 2, 22)
    assert qemu.text() == "7.2.22"


def test_an_old_qemu_is_refused_with_the_reason(tmp_path: Path) -> None:
    """The text names the version found and the one needed."""
    with pytest.raises(HostError, match=r"version 6\.2\.0; the bed needs 7\.2"):
        asyncio.run(find_qemu(program(tmp_path / "qemu", "QEMU emulator version 6.2.0")))


def test_a_missing_qemu_names_the_package(tmp_path: Path) -> None:
    """The way out stands in the error."""
    with pytest.raises(HostError, match=r"Install Debian's qemu-system-x86"):
        asyncio.run(find_qemu(str(tmp_path / "nothing")))


@needs_qemu
def test_the_probe_passes_where_the_accelerator_works() -> None:
    """The boot sector comes up under TCG, which works everywhere: a failure under KVM is then KVM's."""

    async def scenario() -> accelerator.Accelerator:
        return await probe_kvm(await find_qemu(), None, accel="tcg")

    assert "a boot sector booted under TCG" in asyncio.run(scenario()).reason


@needs_qemu
def test_a_guest_that_hangs_fails_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sector that loops for ever is a verdict at the deadline, as is a kernel that hangs in the boot ROM."""
    monkeypatch.setattr(accelerator, "BOOT_SECTOR", bytes.fromhex("ebfe").ljust(510, b"\0") + b"\x55\xaa")
    monkeypatch.setattr(accelerator, "PROBE_TIMEOUT_S", 0.2)

    async def scenario() -> accelerator.Accelerator:
        return await probe_kvm(await find_qemu(), None, accel="tcg")

    assert "a boot sector did not come up" in asyncio.run(scenario()).reason


@needs_qemu
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


@needs_qemu
def test_a_damaged_cache_costs_only_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no JSON, or JSON of another shape, is replaced."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    monkeypatch.setattr(accelerator, "PROBE_TIMEOUT_S", 3.0)
    path = tmp_path / "accel.json"
    for content in ("{", "[1]", "{}"):
        path.write_text(content, encoding="utf-8")
        asyncio.run(choose_accelerator(tmp_path, device=Path("/dev/null")))
        assert len(json.loads(path.read_text(encoding="utf-8"))) == 1


def test_without_the_device_it_is_tcg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is booted when KVM cannot even be opened."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    chosen = asyncio.run(choose_accelerator(tmp_path, device=tmp_path / "kvm"))
    assert (chosen.name, chosen.reason) == ("tcg", f"{tmp_path / 'kvm'} cannot be opened")


def test_tcg_can_be_demanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins without a probe."""
    monkeypatch.setenv("AVANCE_ACCEL", "tcg")
    assert asyncio.run(choose_accelerator(tmp_path)).reason == "demanded by AVANCE_ACCEL"
    assert not (tmp_path / "accel.json").exists()


def test_a_demand_for_kvm_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KVM that does not work is an error with the reason, not a silent fall-back."""
    monkeypatch.setenv("AVANCE_ACCEL", "kvm")
    with pytest.raises(HostError, match=r"demands KVM, which does not work here: .* cannot be opened"):
        asyncio.run(choose_accelerator(tmp_path, device=tmp_path / "kvm"))


def test_another_word_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error does not select an accelerator."""
    monkeypatch.setenv("AVANCE_ACCEL", "kmv")
    with pytest.raises(UsageError, match=r"AVANCE_ACCEL is 'kmv'"):
        asyncio.run(choose_accelerator(tmp_path))

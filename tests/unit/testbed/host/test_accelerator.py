"""Proves which QEMU will do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from testbed.errors import HostError, UsageError
from testbed.host.accelerator import choose_accelerator, find_qemu


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

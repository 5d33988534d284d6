"""Proves that each need of a fault gets an answer with its reason."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from faults.capability import Capability, capability, require
from testbed.errors import HostError


def look(*needs: str, questions: Mapping[str, tuple[tuple[str, ...], str]] | None = None) -> list[Capability]:
    """Ask for needs on this host."""
    return asyncio.run(capability(needs, questions=questions or {}))


def a_program(directory: Path, name: str, *, code: int) -> None:
    """Make a program that ends with this code."""
    program = directory / name
    program.write_text(f"#!{sys.executable}\nraise SystemExit({code})\n", encoding="utf-8")
    program.chmod(0o755)


def test_a_program_that_is_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer names the place, and a need that is named twice is answered once."""
    a_program(tmp_path, "helper", code=0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look("helper", "helper") == [Capability("helper", True, str(tmp_path / "helper"))]


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who reads the answer knows what to install, where that is known."""
    monkeypatch.setenv("PATH", str(tmp_path))
    known, unknown = look("chromium", "no-such-program")
    assert not known.there
    assert "install the package chromium" in known.reason
    assert unknown.reason == "the program no-such-program is not installed"


def test_a_device_is_looked_for(tmp_path: Path) -> None:
    """A path is a need as well."""
    there, missing = look(str(tmp_path), str(tmp_path / "x"))
    assert there.there
    assert not missing.there
    assert "is not there" in missing.reason


def test_a_program_that_lacks_a_part_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that answers its question with a failure is named with what it lacks."""
    a_program(tmp_path, "good", code=0)
    a_program(tmp_path, "bad", code=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    questions = {name: ((str(tmp_path / name),), "it has no teeth") for name in ("good", "bad")}
    good, bad = look("good", "bad", questions=questions)
    assert good.there
    assert not bad.there
    assert "bad is installed, but it has no teeth" in bad.reason


def test_a_step_that_the_host_cannot_do_is_refused(tmp_path: Path) -> None:
    """The sentence names the step and what is missing; steps that can be done are no trouble."""
    asyncio.run(require({"step cut1 (link.cut)": (), "step d (disk.gone)": (str(tmp_path),)}))
    with pytest.raises(HostError, match=r"step x \(y.z\) cannot be done on this host: the program no-such-program"):
        asyncio.run(require({"step d": (str(tmp_path),), "step x (y.z)": ("no-such-program",)}))

"""What has to start fast is told apart before anything else is imported, and everything else comes to its verb."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avance import __main__ as module
from avance.adapters.process import run

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = "import sys; sys.path += sys.argv[1:]; import avance.__main__ as m; m.main(['status']); print(*sys.modules)"


@pytest.mark.parametrize(
    ("words", "target"),
    [(["status"], "avance.show_status"), (["status", "--json"], "avance.show_status"), (["run"], "avance.daemon"),
     (["pair", "--help"], "avance.command_line"), (["status", "--js"], "avance.command_line"),
     (["run", "x"], "avance.command_line"), ([], "avance.command_line")],
)  # fmt: skip
def test_words_come_to_their_module(monkeypatch: pytest.MonkeyPatch, words: list[str], target: str) -> None:
    """Exactly one module gets the words, and its exit code is the command's."""
    called: list[str] = []

    def note(name: str) -> Callable[..., int]:
        def noted(*_: object, **__: object) -> int:
            called.append(name)
            return 7

        return noted

    for name in ("avance.show_status", "avance.daemon", "avance.command_line"):
        monkeypatch.setattr(f"{name}.main", note(name))
    monkeypatch.setattr(sys, "argv", ["avance", *words])
    assert module.main() == 7
    assert called == [target]


def test_status_imports_next_to_nothing() -> None:
    """Each import takes long under emulation: what the status does not need stays out."""
    done = asyncio.run(run([sys.executable, "-IS", "-c", SCRIPT, str(ROOT)], timeout_s=60.0))
    loaded = {*done.stdout.split()}
    assert "avance.show_status" in loaded
    assert not {"argparse", "json", "socket", "re", "enum", "typing", "asyncio", "pathlib"} & loaded


def test_no_core_file_is_written() -> None:
    """Whatever kills the daemon, or a program that it starts, leaves no memory with a secret on the disk."""
    script = (
        "import sys, resource; sys.path += sys.argv[1:]; import avance.__main__ as m, avance.command_line as c;"
        "c.main = lambda _: print(resource.getrlimit(resource.RLIMIT_CORE)); m.main(['callhome'])"
    )
    done = asyncio.run(run([sys.executable, "-IS", "-c", script, str(ROOT)], timeout_s=60.0))
    assert done.stdout == "(0, 0)\n"

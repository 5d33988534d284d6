"""What a unit test may not start: machines, and the servers around them. Such a test belongs into tests/integration.

It also trusts nobody whom only this computer knows: that list takes 40 ms to read, once for each connection.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVERS = ("qemu-system-x86_64", "nbdkit", "ipmi_sim")
PROGRAM = re.compile(r"(?:^|\s)-m ((?:testbed|avance)\S*)")  # of this project, also within the words of a shell
ASKED = ("--version", "--dump-plugin")  # a question, not a start

_started: list[str] = []


def forbidden(argv: list[str]) -> str:
    """The name of what this command line starts, when a unit test may not start it; otherwise the empty text."""
    name = Path(argv[0]).name
    if own := PROGRAM.search(" ".join(argv)):
        return own[1]
    return name if name in SERVERS and not set(ASKED) & set(argv) else ""


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen" and isinstance(arguments[1], list):
        _started.append(forbidden([str(word) for word in arguments[1]]))


os.environ["SSL_CERT_FILE"] = os.devnull
sys.addaudithook(_note)  # the interpreter tells it of each process that is started; it stays until its end


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget what tests of other places have started."""
    _started.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail a unit test that has started a server or a machine."""
    yield
    started = [name for name in _started if name]
    assert not started, f"it starts {', '.join(started)}: it belongs into tests/integration"

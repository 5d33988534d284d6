"""Whether this host can do what faults need: one answer for each need, with the reason; changes nothing.

A need is the name of a program, or the path of a device or file. For some programs being there is not enough; these
are asked.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import HostError
from testbed.host.setup import PACKAGES, TEST_PACKAGES
from testbed.process import run

ASK_TIMEOUT_S = 10.0
# What a program is asked, and what is missing when it fails.
QUESTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "nbdkit": (("nbdkit", "python", "--dump-plugin"), "it has no Python plugin (package nbdkit-plugin-python)"),
}


@dataclass(frozen=True)
class Capability:
    """Whether the host has what is needed, and the sentence that says why (not)."""

    need: str
    there: bool
    reason: str


async def capability(
    needs: Iterable[str], *, questions: Mapping[str, tuple[tuple[str, ...], str]] = QUESTIONS
) -> list[Capability]:
    """Return for each need whether this host has it; a need that is named twice is looked for once."""
    return [await _look(need, questions) for need in dict.fromkeys(needs)]


async def require(steps: Mapping[str, Iterable[str]]) -> None:
    """Raise HostError naming the first step (with its needs as values) that this host cannot do, and why."""
    for step, needs in steps.items():
        for found in await capability(needs):
            if not found.there:
                raise HostError(f"{step} cannot be done on this host: {found.reason}. `testbed list` shows what can.")


async def _look(need: str, questions: Mapping[str, tuple[tuple[str, ...], str]]) -> Capability:
    if need.startswith("/"):
        there = Path(need).exists()
        return Capability(need, there, f"{need} {'is there' if there else 'is not there on this host'}")
    # Debian keeps some tools in sbin, which is not in every user's path.
    found = shutil.which(need, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    if found is None:
        return Capability(need, False, f"the program {need} is not installed{_package(need)}")
    if need in questions:
        argv, lack = questions[need]
        try:
            await run(argv, timeout_s=ASK_TIMEOUT_S)
        except HostError as error:
            return Capability(need, False, f"{need} is installed, but {lack}: {error}")
    return Capability(need, True, found)


def _package(program: str) -> str:
    owner = next((item.name for item in (*PACKAGES, *TEST_PACKAGES) if program in item.commands), None)
    return "" if owner is None else f"; install the package {owner}, or run `make setup`"

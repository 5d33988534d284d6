"""The list of all oracles, and how they are asked: none is passed over, and one that raises is blind with the reason.

An oracle is on the list because its module stands in `testbed/judge/oracles`; nothing else has to name it.
"""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from testbed.judge import oracles
from testbed.judge.finding import Finding, blind
from testbed.judge.oracle import Oracle
from testbed.judge.recorded import Recorded

Answer = TypeVar("Answer")


def names(listed: Iterable[Oracle]) -> list[str]:
    """Return the name of each oracle."""
    return [oracle.name for oracle in listed]


def found_in(folder: ModuleType) -> tuple[Oracle, ...]:
    """Return the oracles of all modules of a package, in the order of the modules' names.

    Raises AttributeError when a module has no `ORACLES`, and ValueError when two oracles have one name.
    """
    files = [one.name for one in pkgutil.iter_modules(folder.__path__)]
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in files]
    listed: list[Oracle] = [oracle for module in modules for oracle in module.ORACLES]
    twice = sorted(name for name, count in Counter(names(listed)).items() if count > 1)
    if twice:
        raise ValueError(f"two oracles have one name: {', '.join(twice)}")
    return tuple(listed)


ORACLES = found_in(oracles)  # a module that cannot be used ends the program here, before anything is run


def ask(recorded: Recorded, listed: Iterable[Oracle]) -> list[Finding]:
    """Return one finding for each oracle."""
    return [_asked(oracle, recorded) for oracle in listed]


def _asked(oracle: Oracle, recorded: Recorded) -> Finding:
    def judged() -> Finding:
        found = oracle.judge(recorded)
        if found.oracle != oracle.name:
            raise ValueError(f"it answered for another oracle: {found}")
        return replace(found, is_needed=oracle.is_needed)

    return shielded(oracle.name, judged)


def shielded(name: str, judge: Callable[[], Answer]) -> Answer | Finding:
    """Return what a judge says; one that raises is blind with the reason, and needed: no run passes with it."""
    try:
        return judge()
    except Exception as error:  # noqa: BLE001 - a mistake in one judge must take nothing from the others
        at = traceback.extract_tb(error.__traceback__)[-1]
        text = f"it failed itself: {type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
        return blind(name, text, traceback=traceback.format_exception(error))

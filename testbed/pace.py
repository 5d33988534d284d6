"""The dilation of the bed that runs in this process: the one place from which every wait of the harness is scaled.

All limits, windows and intervals of testbed and faults are written for a host of speed 1. What waits multiplies them
by the dilation here, when it begins to wait: `scaled` for a number, `timeout` and `sleep` in place of asyncio's. There
is one bed in a process, so there is one number; `Bed` sets it, and it is 1 without a bed. What is scaled already, as
the times of a schedule, must not go through here again.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.errors import UsageError
from testbed.site import AUTO, DILATION_MAX

VARIABLE = "AVANCE_DILATION"  # in the environment: a number or `auto`; it goes before what a schedule says
_dilations = [1.0]


def dilation() -> float:
    """Return the dilation of the bed that runs, or 1."""
    return _dilations[-1]


def scaled(seconds: float) -> float:
    """Return a time for a host of speed 1 as it is here."""
    return seconds * dilation()


def timeout(seconds: float | None) -> asyncio.Timeout:
    """Return `asyncio.timeout` for a time on a host of speed 1; None is no limit."""
    return asyncio.timeout(None if seconds is None else scaled(seconds))


async def sleep(seconds: float) -> None:
    """Sleep for a time on a host of speed 1."""
    await asyncio.sleep(scaled(seconds))


@contextmanager
def use(factor: float) -> Iterator[None]:
    """Scale everything by this factor until the context is left."""
    assert factor >= 1, f"a dilation of {factor:g} would make waits shorter than they are meant"
    _dilations.append(factor)
    try:
        yield
    finally:
        _dilations.remove(factor)


def dilation_of(text: str) -> float:
    """Return the dilation that somebody wrote, `AUTO` for the word auto; raises UsageError."""
    if text == "auto":
        return AUTO
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 1 <= found <= DILATION_MAX:
        raise UsageError(f"The dilation is {text!r}; it may be auto, or a number from 1 to {DILATION_MAX:g}.")
    return found


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--dilation` to a verb that starts a bed."""
    parser.add_argument(
        "--dilation",
        metavar="auto|NUMBER",
        default=None,
        help="multiply every time by this; auto (the default): the smallest of 1, 2, 4, 8 that this host needs",
    )


def choose(args: argparse.Namespace) -> None:
    """Hand the option to every session of this process and of those that it starts; raises UsageError."""
    text = getattr(args, "dilation", None)
    if text is not None:
        dilation_of(text)
        os.environ[VARIABLE] = text

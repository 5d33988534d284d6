"""The figures of `netns_lan`, taken once for all tests that ask for them."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from typing import Any

import pytest

from avance.adapters.process import run
from tests.integration.avance.adapters.netns_lan import IMPOSSIBLE


@functools.cache
def _tried() -> tuple[str, str]:
    argv = [sys.executable, "-m", "tests.integration.avance.adapters.netns_lan"]
    completed = asyncio.run(run(argv, timeout_s=300.0))
    return completed.stdout, completed.detail


def lan() -> dict[str, Any]:
    """Return what the adapters did on a real bridge; a host without private networks skips the test."""
    stdout, detail = _tried()
    if f"ended with {IMPOSSIBLE}" in detail:
        pytest.skip(reason=detail)
    assert not detail, detail
    found: dict[str, Any] = json.loads(stdout)
    return found

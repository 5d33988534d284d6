"""Applies the order and the budget of worth.py to the system tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.by_hand.verbs import speed
from tests.budget import Plugin
from tests.system.worth import TESTS

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Begin with what the host's own speed says; later the tests themselves say it."""
    config.pluginmanager.register(Plugin(TESTS, HERE, slowness=lambda: 1 / speed()), "budget")

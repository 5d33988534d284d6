"""Settings of all tests: what is a system test, and the promise that every test states.

It must never start anything: fixtures of the bed come from testbed.fixtures.
"""

from __future__ import annotations

import gc
import importlib.util
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# The bed's fixtures belong to testbed; unit tests run without them as well.
pytest_plugins = ["tests.shuffled", *(["testbed.fixtures"] if importlib.util.find_spec("testbed.fixtures") else [])]


def pytest_configure() -> None:
    """Takes Ctrl-C as usual: a shell starts what runs in its background with SIGINT ignored, and that is inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Look for garbage more seldom, and never in what is there for the whole run: an eighth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks everything below tests/system as a system test; refuses parameters that no report can hold."""
    for item in items:
        if hasattr(item, "callspec"):
            refuse_half_characters(item.nodeid, item.callspec.params)
        if item.path.is_relative_to(HERE / "system"):
            item.add_marker("system")


def refuse_half_characters(test: str, params: Mapping[str, object]) -> None:
    """Refuses a parameter that is a text with half a character (a lone surrogate), whether a report is made or not.

    The run with a report writes each parameter into a file and would end in the middle.
    Raises pytest.UsageError.
    """
    for name, value in params.items():
        if isinstance(value, str) and not value.isascii() and value != value.encode(errors="replace").decode():
            raise pytest.UsageError(
                f"{test}: parameter {name} holds half a character, which no report can hold; make it inside the test"
            )


@pytest.fixture
def credentials_cache(tmp_path: Path) -> Path:
    """A cache directory of the test's own in which only the service centre's credentials exist."""
    from testbed.world.tls import ensure_credentials  # noqa: PLC0415 - cryptography takes long to import

    cache = tmp_path / "cache"
    ensure_credentials(cache, say=lambda _text: None)
    return cache

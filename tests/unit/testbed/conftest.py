"""Fixtures of the bed's unit tests. It must never start a process that a test does not ask for."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.world.tls import ensure_credentials


def _ignore(_text: str) -> None:
    pass


@pytest.fixture(scope="session")
def made_credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service centre's credentials, made once: openssl takes a third of a second."""
    cache = tmp_path_factory.mktemp("credentials")
    say: Callable[[str], None] = _ignore
    asyncio.run(ensure_credentials(cache, say=say))
    return cache


@pytest.fixture
def credentials_cache(made_credentials: Path, tmp_path: Path) -> Path:
    """A cache directory of the test's own in which only the credentials exist."""
    cache = tmp_path / "cache"
    shutil.copytree(made_credentials, cache)
    return cache

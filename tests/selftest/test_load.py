"""Each load is there, then gone, and a mismatch when its injector does nothing; on the real pair."""

from __future__ import annotations

import pytest

from faults.kinds.load import LoadCpu, LoadHost, LoadIo, LoadMemory
from tests.selftest.pair_story import Case, Told, check, tell

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(3600)]

CASES: dict[str, Case] = {
    "load.cpu": lambda: LoadCpu("b"),
    "load.memory": lambda: LoadMemory("b"),
    "load.io root": lambda: LoadIo("b"),
    "load.io data": lambda: LoadIo("b", disks="data"),
    "load.host": lambda: LoadHost("host"),
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """All loads in a row on one restored pair."""
    return tell(tmp_path_factory.mktemp("load") / "run", CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_load_is_there_and_then_gone(story: dict[str, Told], name: str) -> None:
    """The node's accounts and the host's view show it, and do not when the injector does nothing."""
    check(story[name])

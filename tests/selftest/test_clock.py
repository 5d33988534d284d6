"""Each clock fault is there, then gone, and a mismatch when its injector does nothing; on the real pair."""

from __future__ import annotations

import pytest

from faults.kinds.clock import ClockApart, ClockDrift, ClockJump
from tests.selftest.pair_story import Case, Told, check, tell

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(3600)]

CASES: dict[str, Case] = {
    "forward": lambda: ClockJump("a", by_s=3600.0),
    "back": lambda: ClockJump("b", by_s=-3600.0),
    "to 1970": lambda: ClockJump("b", to_1970=True),
    "fast": lambda: ClockDrift("a", ppm=80_000.0),
    "slow": lambda: ClockDrift("b", ppm=-80_000.0),
    "apart": lambda: ClockApart("a+b", apart_s=600.0),
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """All faults in a row on one restored pair."""
    return tell(tmp_path_factory.mktemp("clock") / "run", CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_clock_fault_is_there_and_then_gone(story: dict[str, Told], name: str) -> None:
    """The agent's own time against the host's shows it, and does not when the injector does nothing."""
    check(story[name])

"""Whatever happens to a pair, its recorded run is decided again bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.playbook import A, B
from tests.sim import history
from tests.sim.plan import draw
from tests.sim.site import SimSite
from tests.unit.avance.tape import Tape, recorded, said, unpacked

WITNESS = SimSite(witnesses=1)


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize(
    ("site", "fault", "target"),
    [
        (WITNESS, "power.cut", "a"),
        (SimSite(), "power.cut", "b"),
        (SimSite(policy="safety"), "power.cut", "a"),
        (SimSite(witnesses=2, power=True), "node.pause", "a"),
        (WITNESS, "link.cut", "a.priv0"),
    ],
)
def test_every_run_replays_exactly(tmp_path: Path, site: SimSite, fault: str, target: str, node: str) -> None:
    """Whatever happened to the pair, each run of each node gives the very same decisions again."""
    journal = unpacked(tmp_path, recorded(site, fault, target), node)
    assert "all are equal" in said(journal)
    assert "have no inputs" not in said(journal)


@pytest.mark.parametrize("seed", range(1, 9))
def test_random_histories_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Three faults of any kind at any moment: whatever the daemons did until they ended, they do it again."""
    history.begin(draw(seed))  # the pair comes into service once for all histories, off the tape
    tape = Tape(tmp_path)
    tape.over(monkeypatch)
    result = history.run(draw(seed))
    tape.end()
    monkeypatch.undo()
    assert result.violation is None
    for node in (A, B):
        assert "all are equal" in said(tape.journal(node))

"""Proves that what was reached is seen: lines, transitions and rare ones; and that random plans lean towards these."""

from __future__ import annotations

import json

import pytest

from avance.core import pair
from tests.sim import reach
from tests.sim.plan import LEANING, RARE, draw, fresh, leans
from tests.sim.reach import SAFETY, Line, Reached, in_histories, page, rare, rules, transitions

TEXT = """
### S7: A rule

It holds.

* Held by `decide` in [takeover.py](../avance/core/takeover.py), the codes in [fence.py](../avance/core/fence.py).

### S8: Another one

* Held by [gate.py](../avance/adapters/gate.py).
"""


def test_every_holder_that_the_document_names_is_there() -> None:
    """A rule of the core has lines, and the names in docs/safety.md are those of the code."""
    found = {rule.number: rule for rule in rules(SAFETY.read_text())}
    assert len(found) > 30
    assert all(rule.lines for rule in found.values())
    assert {file for file, _ in found["S36"].lines} == {"usable.py"}


def test_a_rule_is_the_lines_of_its_holders() -> None:
    """A function that is named stands for its own lines, a file without a name for all of its functions."""
    (rule,) = rules(TEXT)  # what only adapters hold is no matter of the core
    files = {file for file, _ in rule.lines}
    assert files == {"takeover.py", "fence.py"}
    of_takeover = [line for file, line in rule.lines if file == "takeover.py"]
    everything = [line for file, line in rules(TEXT.replace("`decide` in ", ""))[0].lines if file == "takeover.py"]
    assert 0 < len(of_takeover) < len(everything)


def test_a_holder_that_is_gone_is_refused() -> None:
    """A name that the code does not know any more is an error, not an empty row."""
    with pytest.raises(ValueError, match=r"decide_all, which is not in takeover\.py"):
        rules(TEXT.replace("`decide`", "`decide_all`"))


def test_histories_show_what_they_reached() -> None:
    """A history of a crash takes the owner's loss; the tables of the core are as before afterwards."""
    before = pair.ROWS
    reached = in_histories(range(3))
    assert pair.ROWS is before
    assert reached.runs == 3
    assert reached.by["pair: PAIRED + LOST"]
    assert ("pair.py", _line("pair.py", "return _with_peer(state, facts, facts.peer)")) in reached.lines
    assert reached.by.keys() <= set(transitions())


def _line(file: str, text: str) -> int:
    lines = (reach.CORE / file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_the_page_names_what_was_never_reached() -> None:
    """A rule of which no line was executed has 0 % and its lines; a transition has its share."""
    (rule,) = rules(TEXT)
    some: set[Line] = {min(rule.lines)}
    name = transitions()[0]
    histories = Reached(runs=4, lines=some, by={name: ["1"]})
    told = page(TEXT, histories, Reached())
    first = min(rule.lines)
    assert f"| {100 / len(rule.lines):.0f} % | 0 % |" in told
    assert f"{first[0]}:{first[1]}," not in told
    assert f"| {name} | 25.0 % | 0 |" in told


def test_rare_is_what_few_histories_took() -> None:
    """What no history or every history took is not rare; a plan that leans itself is no example."""
    first, second, third = transitions()[:3]
    leaning = next(seed for seed in range(100) if leans(seed))
    plain = [seed for seed in range(1000) if not leans(seed)]
    by = {first: [str(leaning), str(plain[0])], second: [str(seed) for seed in plain[:500]], third: []}
    assert rare(Reached(runs=1000, by=by)) == {first: [plain[0]]}


def test_plans_lean_towards_rare_transitions() -> None:
    """The list is of this code; a share of the plans is near one of it, and the same seed is the same plan."""
    noted = json.loads(RARE.read_text())
    assert noted.keys() <= set(transitions())
    assert all(seeds and not any(map(leans, seeds)) for seeds in noted.values())
    leaning = [seed for seed in range(2000) if leans(seed)]
    assert len(leaning) / 2000 == pytest.approx(LEANING, abs=0.05)
    assert all(draw(seed) == draw(seed) != fresh(seed) for seed in leaning[:50])
    others = [seed for seed in range(200) if seed not in leaning and not draw(seed).site.halves]
    beside = [(seed, fault) for seed in others for fault in draw(seed).faults if fault.name != "person.orders"]
    assert all(fault in fresh(seed).faults for seed, fault in beside), "moves have dice of their own"

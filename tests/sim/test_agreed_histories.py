"""Random histories in which persons change the definitions: what they were told is true when all is healed.

The plans are those of the other random histories; five changes come at random moments, on either node, some with
`--one-node`.
"""

from __future__ import annotations

import random

import pytest

from avance.core.model import NodeId, VmId, Wanted
from tests.playbook import A, B
from tests.sim import agreed
from tests.sim.history import begin, recover, split
from tests.sim.inject import heal_all
from tests.sim.plan import draw
from tests.sim.world import World

NEW = VmId("new")
CHANGES = 5
ALONE = 0.4
SEEDS = [seed for seed in range(30) if draw(seed).lasting is None]  # one whose fault stays ends otherwise


class Person:
    """Asks for something at a random moment, where a daemon listens."""

    def __init__(self, world: World, chance: random.Random, asks: list[int]) -> None:
        self.world, self.chance, self.asks = world, chance, asks

    def __call__(self) -> None:
        """Add, change or remove a VM, as it can be there now; stop the first one, or start it."""
        world, node = self.world, self.chance.choice((A, B))
        alone, what = self.chance.random() < ALONE, self.chance.choice(("change", "add", "remove", "wanted"))
        machine = world.machines[node]
        if machine.daemon is None or not machine.awake or machine.daemon.stopped:
            return
        there = NEW in agreed._counting(world, machine).vms
        made = NEW in world.resources and any(side.made for side in world.resources[NEW].sides.values())
        first = world.first_vms[0]
        if what == "wanted":
            running = first not in agreed._counting(world, machine).wanted
            wanted = self.chance.choice((Wanted.SHUT_DOWN, Wanted.OFF)) if running else Wanted.RUNNING
            self.asks.append(agreed.ask(world, node, wanted=(first, wanted), alone=alone))
        elif what == "add" and not there and not made:
            self.asks.append(agreed.ask(world, node, NEW, alone=alone))
        elif what == "remove" and there:
            self.asks.append(agreed.ask(world, node, remove=NEW, alone=alone))
        else:
            self.asks.append(agreed.ask(world, node, change=first, alone=alone))


def differ(world: World) -> bool:
    """Say whether both nodes know that neither of their definitions comes from the other, and have told it."""
    for name, machine in world.machines.items():
        engine = machine.engine
        if engine is None or not engine.sight.agreement.differs(engine.sight.agreement_facts(machine.mono())):
            return False
        if not any(code == "definitions_differ" and who == name for _, who, code in world.alerts):
            return False
    return True


def lineage(world: World, node: NodeId) -> set[str]:
    """Return what counts on a node, and all that it comes from."""
    stand = world.machines[node].stand
    return {version.hash for version in (*stand.history, stand.version)}


@pytest.mark.parametrize("seed", SEEDS)
def test_persons_hear_the_truth(seed: int) -> None:
    """Both nodes hold the same in the end, or tell that they do not; what was done counts, and nothing else."""
    plan = draw(seed)
    chance, asks = random.Random(seed), list[int]()
    world = begin(plan)
    for _ in range(CHANGES):
        world.after(chance.uniform(0.0, plan.end_s), Person(world, chance, asks))
    world.run(plan.end_s)
    heal_all(world)
    world.run(45.0)
    if differ(world):
        return
    recover(world)
    if split(world):
        return
    world.run_until(lambda: agreed.holds_the_same(world), 180.0)
    for number in asks:
        answer = agreed.answered(world, number)
        given = [known for known, offer in world.offers.items() if offer.number // 1000 == number]
        if answer is not None and given:
            assert (given[0] in lineage(world, A)) is answer.done, answer

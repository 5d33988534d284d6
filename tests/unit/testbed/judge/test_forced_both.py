"""All oracles on the story of a split that persons made and ended, and one planted violation after the other.

Node a serves and is cut off at 10 s. Node b is forced to run at 20 s and loses its clients at 40 s. Node a is forced at
50 s and has the clients. They meet at 80 s and stop. At 90 s the version of node b is chosen; it serves from 100 s on.
"""

from __future__ import annotations

import pytest

from testbed.client.ledger import Entry
from testbed.client.outage import AttemptOutcome
from testbed.history import History
from testbed.judge.finding import Finding
from testbed.judge.oracles.failovers import Failovers
from testbed.judge.panel import ORACLES, ask
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict
from testbed.replica.compare import Comparison, ReplicaReport
from testbed.replica.reading import Reading
from tests.unit.testbed.judge.test_orders import FORCED, KEPT, tells

VM, NODE_B = "00:16:3e:77:00:20", "52:54:00:77:00:02"
EQUAL = ReplicaReport({"a": "x", "b": "x"}, (Comparison("a", "b", 9, 0),), (Comparison("a on vdb", "on vdc", 9, 0),))
END_S = 130.0
SERVES = (("a", 1, 10, 1), ("b", 22, 40, 2), ("a", 52, 80, 3), ("b", 100, 130, 4))  # to clients: node, from, to, boot
RUNS = (("a", 1, 16, 1), ("b", 22, 81, 2), ("a", 52, 81, 3), ("b", 99, 131, 4))
FAULTS = (
    ("link.cut", "a.biz0", 10.0, 42.0), ("person.orders", "b", 20.0, 20.6), ("link.cut", "b.biz0", 40.0, 83.0),
    ("person.orders", "a", 50.0, 50.6), ("person.orders", "b", 90.0, 90.6), ("person.orders", "a", 92.0, 92.6),
)  # fmt: skip
# One write while each boot serves: what node a wrote alone stands at the place of the last one in the kept version.
BOOK = tuple(
    Entry(f"w{number}", at_s - 0.1, AttemptOutcome.OK, index, acknowledged_at_s=at_s)
    for number, (at_s, index) in enumerate(((5.0, 0), (30.0, 1), (60.0, 1), (110.0, 2)))
)
FINAL = tuple(Reading(reader, END_S, ("w0", "w1", "w3")) for reader in ("the service", "replica a", "replica b"))
COPY = Reading("avance-web.kept-2 of a", END_S, ("w0", "w2"), given_up_by="a")


def story() -> History:
    """What was seen of it."""
    history = History()
    for node in ("a", "b"):
        history.record_at(0.0, f"machine.{node}", "started")
    for kind in ("watching", "counting"):
        history.record_at(0.1, "switch", kind)
    for name, target, began_s, healed_s in FAULTS:
        history.record_at(began_s, "fault", "injecting", name=name, target=target, step=f"{began_s}")
        history.record_at(healed_s, "fault", "healed", name=name, target=target, step=f"{began_s}")
    for order in (*FORCED, *KEPT):
        tells(history, *order)
    for second in range(1, int(END_S) + 1):
        _second(history, second)
    history.record_at(END_S, "switch", "counting")
    return history


def _second(history: History, second: int) -> None:
    t_s = float(second)
    for node in ("a", "b"):
        listed = [
            {"name": "avance-web", "id": number, "state": "-b----"}
            for where, from_s, to_s, number in RUNS
            if where == node and from_s <= second < to_s
        ]
        history.record_at(t_s, "guests", "domains", node=node, asked_s=t_s - 0.1, domains=listed, roles={})
    for node, from_s, to_s, boot in SERVES:
        if from_s <= second < to_s:
            used(history, t_s, node)
            history.record_at(t_s, "boots", "ok", boot=str(boot), intended_s=t_s - 0.02)
    count = {"port": "b.biz0", "mac": NODE_B, "first_s": t_s, "last_s": t_s, "frames": 2, "cut": 0}
    history.record_at(t_s, "switch", "multicast", **count, peak=2, peak_from_s=t_s)


def used(history: History, t_s: float, node: str) -> None:
    """The VM's address at a node's port, for half a second."""
    history.record_at(t_s, "switch", "seen", mac=VM, port=f"{node}.biz0", first_s=t_s - 0.5, last_s=t_s, cut=False)


def judged(history: History, *readings: Reading) -> dict[str, Finding]:
    """The findings that are no pass."""
    run = Recorded(
        Scene(), since_s=1.0, until_s=END_S, replicas={"web": EQUAL}, readings={"web": readings},
        choice_expected=True, records=tuple(sorted(history, key=lambda one: one.t_s)), books={"web": BOOK},
    )  # fmt: skip
    return {one.oracle: one for one in ask(run, ORACLES) if one.verdict is not Verdict.PASS}


def test_a_split_that_persons_made_and_ended_passes_everywhere() -> None:
    """Three moves and three starts, each with an order of its own; what was given up is in the copy."""
    assert judged(story(), *FINAL, COPY) == {}


def test_a_start_that_nobody_ordered_is_no_consequence_of_the_orders() -> None:
    """Planted: the VM starts once more at the end; the orders have paid for the starts before."""
    history = story()
    history.record_at(END_S - 0.5, "boots", "ok", boot="5", intended_s=END_S - 0.6)
    assert judged(history, *FINAL, COPY)[Failovers.name].verdict is Verdict.FAIL


def test_two_active_nodes_that_clients_can_see_stay_a_violation() -> None:
    """Planted: node b uses the address while node a serves; the orders excuse domains, and no address."""
    history = story()
    used(history, 60.0, "b")
    assert {name: one.verdict for name, one in judged(history, *FINAL, COPY).items()} == {"dual_active": Verdict.FAIL}


def test_two_domains_after_the_choice_stay_a_violation() -> None:
    """Planted: the node that gave its version up runs the VM again."""
    history = story()
    for t_s in (110.5, 111.5):
        listed = [{"name": "avance-web", "id": 9, "state": "-b----"}]
        history.record_at(t_s, "guests", "domains", node="a", asked_s=t_s - 0.1, domains=listed, roles={})
    assert set(judged(history, *FINAL, COPY)) == {"vm_twice.domains"}


@pytest.mark.parametrize(
    ("final", "copies", "broken"),
    [
        (("w0", "w1", "w3"), (), {"choice", "writes"}),  # nothing was kept
        (("w0", "w1", "w3"), (Reading("copy", END_S, ("w0",), given_up_by="a"),), {"writes"}),  # w2 is nowhere
        (("w0", "w3"), (COPY,), {"writes"}),  # the kept version lacks what its own side acknowledged
        # The pair chose the other side, and kept the version of node b there, or that of node a all the same.
        (("w0", "w2", "w3"), (Reading("copy", END_S, ("w0", "w1"), given_up_by="b"),), {"choice", "writes"}),
        (("w0", "w2", "w3"), (COPY,), {"writes"}),
    ],
)
def test_what_is_missing_after_a_choice_is_noticed(
    final: tuple[str, ...], copies: tuple[Reading, ...], broken: set[str]
) -> None:
    """Planted: each way in which a choice can lose what was acknowledged."""
    assert set(judged(story(), Reading("the service", END_S, final), *copies)) == broken

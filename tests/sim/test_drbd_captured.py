"""The model of DRBD against what the real one was seen to do: the same story, the same states in the same order.

The captures are of DRBD 8.4.11 with drbd-utils 9.22. The model passes over words that last for milliseconds
(`Attaching`, `NetworkFailure`, `WFSyncUUID` ...), so these are left out of what was captured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avance.core.model import DiskState, DiskView, Outcome
from avance.wire import drbd
from tests.playbook import WEB, A, B
from tests.sim.test_drbd import Bare

EVENTS = Path(__file__).parents[1] / "unit" / "avance" / "wire" / "data"
CAPTURED = Path(__file__).parent / "captured"
STEADY = {"Off", "Established", "SyncSource", "SyncTarget"}
CONNECTIONS = {"StandAlone", "Connecting", "Connected"}
State = tuple[str, str, str, str, str, bool]


def _state(view: DiskView) -> State:
    replication = view.replication
    differs = view.out_of_sync_kib > 0
    return view.role.value, view.disk.value, view.peer_disk.value, view.connection, replication, differs


def _real(name: str) -> list[State]:
    """Return the lasting states of a capture, in order."""
    parser, seen, complete = drbd.EventsParser(), list[State](), False
    for line in (EVENTS / f"{name}.txt").read_text().splitlines():
        parser.feed(line)
        complete = complete or line.strip() == "exists -"
        for view in parser.views.values() if complete else ():
            if _lasts(view) and (not seen or seen[-1] != _state(view)):
                seen.append(_state(view))
    return seen


def _lasts(view: DiskView) -> bool:
    ends = view.replication in ("SyncSource", "SyncTarget") and view.disk is view.peer_disk is DiskState.UP_TO_DATE
    steady = view.replication in STEADY and view.connection in CONNECTIONS and not ends
    return steady and not (view.connection == "Connected" and view.replication == "Off")


def _model(bare: Bare, node: str, act: Callable[[], None], seconds: float) -> list[State]:
    """Return the states that the model reports on a node while something happens."""
    machine, seen = bare.row.world.machines[A if node == "a" else B], list[State]()

    def look() -> None:
        view = machine.view(WEB)
        if view is not None and (not seen or seen[-1] != _state(view)):
            seen.append(_state(view))

    machine.report = lambda vm: look()  # type: ignore[method-assign]
    look()
    act()
    bare.passes(seconds)
    return seen


def test_promotion_without_the_peer() -> None:
    """The peer dies, fence-peer says 5, and the copy is promoted: as captured, from equal copies on."""
    real = _real("events2-9.22-8.4.11-b-takeover")
    bare = Bare()
    machine, outcomes = bare.row.world.machines[B], list[Outcome]()

    machine.ask_fence = lambda _, take, *given: machine.after(0.2, take, *given, 5)  # type: ignore[method-assign]

    def act() -> None:
        bare.row.world.kill(A)
        bare.b.machine.after(7.0, bare.resource.promote, B, lambda outcome, _: outcomes.append(outcome))

    seen = _model(bare, "b", act, 9.0)
    assert outcomes == [Outcome.OK]
    assert seen == real[-len(seen) :]
    assert len(seen) == 4


def test_full_resynchronisation() -> None:
    """`invalidate-remote` of equal copies: the target is Inconsistent with everything marked, then both are equal."""
    for node, name in (("a", "source"), ("b", "target")):
        bare = Bare()
        seen = _model(bare, node, lambda bare=bare: bare.resource.resync(A) or None, 8.0)  # type: ignore[misc]
        assert seen == [state for state in _real(f"events2-statistics-9.22-8.4.11-resync-{name}") if _known(state)]
        assert len(seen) == 3


def _known(state: State) -> bool:
    return state[1] != "Outdated" and state[2] != "Consistent"  # between the order and the start, for milliseconds


def test_io_is_resumed_where_no_data_are() -> None:
    """Frozen without data, `resume-io` lets it go on all the same, into errors: the `s` becomes an `r`."""
    lines = (CAPTURED / "no-data-8.4.11.txt").read_text().splitlines()
    said = dict(line.split(": ", 1) for line in lines if line.startswith(("frozen", "resumed")))
    bare = Bare()
    bare.row.breaks("disk.gone", "a")
    bare.row.breaks("link.cut", "a.priv0")
    bare.passes(8.0)
    assert bare.a.suspended is (said["frozen"].split()[-1][0] == "s")
    assert bare.resource.resume(A)
    assert bare.a.suspended is (said["resumed"].split()[-1][0] == "s")
    view = bare.row.world.machines[A].view(WEB)
    assert view is not None
    assert f"ro:{view.role.value}/{view.peer_role.value} ds:{view.disk.value}/{view.peer_disk.value}" in said["resumed"]
    assert not bare.resource.demote(A), "the device is held open"


def test_generations_of_a_protected_pair() -> None:
    """One current generation on both nodes but for the bit of the role, no bitmap generation, no history."""
    real: dict[str, list[str]] = {}
    for line in (CAPTURED / "generations-8.4.11.txt").read_text().splitlines():
        if not line.startswith("#"):
            node, words = line.split()
            real[node] = words.split(":")[:4]
    masked = {node: [int(word, 16) & ~1 for word in words] for node, words in real.items()}
    assert masked["a"] == masked["b"]
    assert masked["a"][1:] == [0, 0, 0]
    bare = Bare()
    assert bare.a.generations() == bare.b.generations()
    assert bare.a.generations()[1:] == (0, 0, 0)

"""Every link fault proves itself between two devices: there while injected, gone after heal, found out."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from faults.fault import Fault, FaultVerdict
from faults.kinds.link import cut, frames, traffic
from faults.life import FaultFailed, Life
from testbed.bed import Bed
from testbed.errors import UsageError
from testbed.history import History
from testbed.lan import packets
from testbed.node.machine import Machine
from testbed.node.node import Node
from testbed.node.spec import MachineSpec, NicSpec
from testbed.switch.client import Direction, Switch
from tests.selftest.wire_pair import LEFT, LONG_BYTES, RIGHT, SEGMENTS, Heard, run_story, sabotaged

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(120)]
IN, OUT, BOTH = Direction.IN, Direction.OUT, Direction.BOTH
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is missing")
EDGE = 3  # frames that a phase's borders may cut off


def lost(heard: Heard) -> int:
    """How many of the sent frames the other side did not hear."""
    return (Counter(heard.sent) - Counter(heard.got)).total()


def strange(heard: Heard) -> list[bytes]:
    """What was heard without having been sent in this phase or before, by its text."""
    return [frame for frame in heard.got if b"priv0 " not in frame or packets.decode(frame) is None]


def damaged_but_sound(heard: Heard) -> int:
    """Frames that nobody sent and that every checksum calls good."""
    originals = set(heard.sent)
    borders = heard.got[:EDGE] + heard.got[-EDGE:]
    return sum(
        frame not in originals and frame not in borders and packets.decode(frame) is not None for frame in heard.got
    )


def twice(heard: Heard) -> int:
    """Frames that were heard more than once."""
    return sum(count > 1 for count in Counter(heard.got).values())


def mixed_up(heard: Heard) -> int:
    """How often a frame was heard behind a younger one, by its number (which wraps)."""
    numbers = [int(frame.split(b"priv0 ")[1][:5]) for frame in heard.got if b"priv0 " in frame]
    return sum(0 < before - after < 100 for before, after in pairwise(numbers))


def foreign(heard: Heard) -> int:
    """Frames of the foreign host."""
    mac = bytes.fromhex(frames.FOREIGN_MAC.replace(":", ""))
    return sum(frame[6:12] == mac for frame in heard.got)


def all_lost(heard: Heard) -> bool:
    """Nothing was heard but what was under way at the border."""
    return len(heard.sent) > 20 and len(heard.got) <= EDGE


@dataclass(frozen=True)
class Case:
    """A fault, and what the devices must see while it is there."""

    make: Callable[[], Fault]
    there: Callable[[dict[str, Heard]], bool]


W = 0.5
CASES = {
    "link.cut": Case(lambda: cut.Cut(LEFT, window_s=W), lambda seen: all_lost(seen[LEFT]) and all_lost(seen[RIGHT])),
    "link.cut_one_way": Case(
        lambda: cut.CutOneWay(LEFT, window_s=W), lambda seen: all_lost(seen[LEFT]) and lost(seen[RIGHT]) <= EDGE
    ),
    "link.loss": Case(
        lambda: traffic.Loss(LEFT, probability=0.3, window_s=W),
        lambda seen: min(lost(seen[LEFT]), lost(seen[RIGHT])) > EDGE,
    ),
    "link.burst_loss": Case(
        lambda: traffic.BurstLoss(LEFT, direction=IN, turns_bad=0.1, turns_good=0.3, window_s=W),
        lambda seen: lost(seen[LEFT]) > EDGE >= lost(seen[RIGHT]),
    ),
    "link.delay": Case(
        lambda: traffic.Delay(LEFT, direction=IN, delay_s=0.2, jitter_s=0.02, window_s=W),
        lambda seen: lost(seen[LEFT]) > 20 and lost(seen[RIGHT]) <= EDGE,  # those of the last 0.2 s are under way
    ),
    "link.duplicate": Case(
        lambda: traffic.Duplicate(LEFT, direction=OUT, window_s=W),
        lambda seen: twice(seen[RIGHT]) > EDGE and not twice(seen[LEFT]),
    ),
    "link.reorder": Case(
        lambda: traffic.Reorder(LEFT, direction=IN, gap_frames=2, window_s=W),
        lambda seen: mixed_up(seen[LEFT]) > EDGE and not mixed_up(seen[RIGHT]),
    ),
    "link.corrupt": Case(
        lambda: traffic.Corrupt(LEFT, direction=IN, window_s=W),
        lambda seen: len(strange(seen[LEFT])) > EDGE and not strange(seen[RIGHT]),
    ),
    "link.corrupt_valid_checksum": Case(
        lambda: traffic.CorruptValidChecksum(LEFT, direction=IN, window_s=W, match={"protocol": 17}),
        lambda seen: damaged_but_sound(seen[LEFT]) > EDGE and not damaged_but_sound(seen[RIGHT]),
    ),
    "link.rate_limit": Case(
        lambda: traffic.RateLimit(LEFT, direction=IN, bits_per_s=100_000, queue_frames=10, window_s=W),
        lambda seen: sum(map(len, seen[LEFT].got)) * 8 < 100_000 and lost(seen[LEFT]) > 20 > lost(seen[RIGHT]),
    ),
    "link.mtu_black_hole": Case(
        lambda: traffic.MtuBlackHole(LEFT, bytes_max=1_000, window_s=W),
        lambda seen: max(map(len, seen[LEFT].got[EDGE:])) < LONG_BYTES < max(map(len, seen[LEFT].sent)),
    ),
    "link.flap": Case(
        lambda: traffic.Flap(LEFT, direction=IN, down_s=0.1, up_s=0.1, window_s=W),
        lambda seen: lost(seen[LEFT]) > 20 and len(seen[LEFT].got) > 20 and lost(seen[RIGHT]) <= EDGE,
    ),
    "link.hold_and_release": Case(
        lambda: traffic.HoldAndRelease(LEFT, window_s=W), lambda seen: all_lost(seen[LEFT]) and all_lost(seen[RIGHT])
    ),
    "link.match_drop": Case(
        lambda: traffic.MatchDrop(LEFT, match={"protocol": 17, "port": 7_000}, direction=IN, window_s=W),
        lambda seen: all_lost(seen[LEFT]) and lost(seen[RIGHT]) <= EDGE,
    ),
    "link.foreign_host": Case(
        lambda: frames.ForeignHost(RIGHT, interval_s=0.02, window_s=W), lambda seen: foreign(seen[LEFT]) > EDGE
    ),
    "link.forged": Case(
        lambda: frames.Forged(RIGHT, port=7_000, record_s=0.2, interval_s=0.02, window_s=W),
        lambda seen: foreign(seen[LEFT]) > EDGE,
    ),
    "link.replay": Case(
        lambda: frames.Replay(LEFT, record_s=0.2, frames_max=16), lambda seen: mixed_up(seen[LEFT]) > 0
    ),
    "link.storm": Case(
        lambda: frames.Storm(LEFT, frames_per_s=1_000, window_s=W), lambda seen: foreign(seen[LEFT]) > 250
    ),
}
# These bring their own frames, so silence is no excuse; who forges must have heard something, and says so.
SPEAKING = {"link.mtu_black_hole"}  # they send frames of their own
CONDITIONAL = {"link.foreign_host", "link.storm", "link.forged"}


def quiet(seen: dict[str, Heard]) -> bool:
    """Both sides hear what the other sends, once, in order and undamaged."""
    return all(
        len(heard.sent) > 20 and lost(heard) <= EDGE and not (strange(heard) or mixed_up(heard) or foreign(heard))
        for heard in seen.values()
    )


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_there_while_injected_and_gone_after_heal(name: str) -> None:
    """Both devices hear each other before and after; meanwhile they see the fault, and it is confirmed."""
    fault = CASES[name].make()
    assert fault.name == name
    story = run_story(fault)
    assert quiet(story.before)
    assert CASES[name].there(story.during)
    assert story.proof.verdict is FaultVerdict.CONFIRMED, story.proof
    assert story.proof.injected_at_s is not None
    assert quiet(story.after)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_that_does_nothing_is_found_out(name: str) -> None:
    """The injection says nothing went wrong, but the frames tell: a mismatch."""
    story = run_story(sabotaged(CASES[name].make()))
    assert quiet(story.during)
    assert story.proof.verdict is FaultVerdict.MISMATCH, story.proof


@pytest.mark.parametrize("name", sorted(set(CASES) - CONDITIONAL - SPEAKING))
def test_silence_proves_nothing(name: str) -> None:
    """Without a single frame on the wire the verdict is inconclusive, though the fault is there."""
    fault = CASES[name].make()
    assert run_story(fault, window_s=0.1, silent=True).proof.verdict is FaultVerdict.INCONCLUSIVE


@pytest.mark.parametrize("name", sorted(SPEAKING))
def test_a_fault_that_speaks_proves_itself_in_silence(name: str) -> None:
    """Its own frames show it where nobody else sends any, and show its absence as well."""
    assert run_story(CASES[name].make(), window_s=0.1, silent=True).proof.verdict is FaultVerdict.CONFIRMED
    broken = sabotaged(CASES[name].make())
    assert run_story(broken, window_s=0.1, silent=True).proof.verdict is FaultVerdict.MISMATCH


def test_the_table_names_every_link_fault() -> None:
    """No fault of the family is without its self-test."""
    assert {str(kind.name) for kind in cut.FAULTS} == {*CASES, "link.carrier_loss"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_unknown_target_is_refused_with_what_is_possible(name: str) -> None:
    """Nothing is injected anywhere."""
    fault = CASES[name].make()
    fault.target = "nowhere"  # type: ignore[misc]
    with pytest.raises(UsageError, match=r"possible are \['a.priv0'"):
        run_story(fault, window_s=0.05)


@dataclass
class OneMachine:
    """What carrier loss sees of a bed: the switch and one machine without any guest."""

    switch: Switch
    history: History
    machine: Machine
    nodes: dict[str, Node] = field(default_factory=dict)


async def carrier(fault: cut.CarrierLoss) -> tuple[FaultVerdict, dict[str, object], bool]:
    """The life of a carrier loss on a real QEMU; the last value: heal was content."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
        directory = Path(name)
        async with Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch:
            local, remote = switch.device_sockets(LEFT)
            spec = MachineSpec(
                name="a", socket_dir=directory, artefact_dir=directory / "run", memory_mib=32, accel="tcg", boot=None,
                nics=(NicSpec("priv0", "52:54:00:09:00:01", local, remote),),
            )  # fmt: skip
            async with Machine(spec, history) as machine:
                await machine.cont()
                world = OneMachine(switch, history, machine)
                world.nodes["a"] = cast("Node", world)  # a node is asked for its machine only
                bed = cast("Bed", world)
                life = Life(fault, bed)
                proof = await life.prove()
                try:
                    await life.heal()
                    content = True
                except FaultFailed:
                    content = False
                return proof.verdict, dict(proof.evidence), content


@needs_qemu
def test_a_card_without_carrier_does_not_even_announce_itself() -> None:
    """QEMU itself sends the announcement, so silence means the link; after heal it comes again."""
    verdict, evidence, healed = asyncio.run(carrier(cut.CarrierLoss(LEFT, window_s=1.0)))
    assert verdict is FaultVerdict.CONFIRMED, evidence
    assert healed


@needs_qemu
def test_a_carrier_loss_that_does_nothing_is_found_out() -> None:
    """The card still announces itself: a mismatch."""
    verdict, evidence, _ = asyncio.run(carrier(cast("cut.CarrierLoss", sabotaged(cut.CarrierLoss(LEFT, window_s=1.0)))))
    assert verdict is FaultVerdict.MISMATCH, evidence

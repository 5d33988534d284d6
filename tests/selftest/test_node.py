"""Each fault of a node is there while injected, gone after its heal, and a mismatch when its injector does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds.evidence import silence
from faults.kinds.node import hypervisor
from faults.kinds.node.hypervisor import NodeHypervisorHang, NodeHypervisorPanic, NodeNmi, NodePanic
from faults.kinds.node.late import NodeSlow, NodeStaleBurst
from faults.kinds.node.whole import NodeFreeze, NodeKill, NodePause
from faults.life import Life
from testbed.bed import Bed
from testbed.switch.client import Direction, Switch
from testbed.wait import OwnedTask
from tests.selftest.tiny_node import LINKS, TinyBed, needs_qemu, tiny_bed
from tests.unit.testbed.wire import EVERYBODY, MAC_B, ether

pytestmark = [pytest.mark.selftest, *needs_qemu]

FAULTS: dict[str, Callable[[], Fault]] = {
    "node.kill": lambda: NodeKill("a"),
    "node.pause": lambda: NodePause("a"),
    "node.freeze": lambda: NodeFreeze("a"),
    "node.panic": lambda: NodePanic("a"),
    "node.hypervisor_panic": lambda: NodeHypervisorPanic("a"),
    "node.hypervisor_hang": lambda: NodeHypervisorHang("a"),
    "node.hypervisor_hang halted": lambda: NodeHypervisorHang("a", halted=True),
    "node.nmi": lambda: NodeNmi("a"),
    "node.slow": lambda: NodeSlow("a", share=0.3),
    "node.stale_burst": lambda: NodeStaleBurst("a", freeze_s=1.0),
}


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest is busier than a node, so that windows can be shorter."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.6)
    monkeypatch.setattr(hypervisor, "SAYS_TIMEOUT_S", 2.0)


async def _nothing(_bed: Bed) -> None:
    """Inject nothing: the sabotage."""


async def _talk_to_a(switch: Switch) -> None:
    """What the peer would send: a frame on each link, fifty times a second."""
    frame = ether(EVERYBODY, MAC_B)
    while True:
        for link in LINKS:
            await switch.inject(f"b.{link}", Direction.IN, [frame])
        await asyncio.sleep(0.02)


async def _frames(tiny: TinyBed) -> dict[str, int]:
    return await silence.PortSilence("a").count(tiny.bed)


async def _run(name: str, *, sabotaged: bool) -> tuple[Proof, dict[str, int]]:
    async with tiny_bed() as tiny, OwnedTask(_talk_to_a(tiny.switch), name="peer"):
        fault = FAULTS[name]()
        assert fault.name == name.partition(" ")[0]
        if sabotaged:
            vars(fault)["inject"] = _nothing
        life = Life(fault, tiny.bed)
        proof = await life.prove()
        await life.heal()
        await tiny.nodes["a"].wait_booted(20)
        return proof, await _frames(tiny)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_node_is_there_and_then_gone(name: str) -> None:
    """Console, ports and the kernel show the fault; after the heal the node answers and sends again."""
    proof, after = asyncio.run(_run(name, sabotaged=False))
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert all(after.values()), after


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_node_that_does_nothing_is_a_mismatch(name: str) -> None:
    """The order was given and nothing came of it: the evidence does not follow the order."""
    proof, after = asyncio.run(_run(name, sabotaged=True))
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.MISMATCH, None), proof.evidence
    assert all(after.values()), after


def test_a_slow_node_sends_less_in_proportion() -> None:
    """The guest sends at each tick of its timer, so its frames show the share that the kernel gave it."""

    async def scenario() -> tuple[Proof, dict[str, int], dict[str, int]]:
        async with tiny_bed() as tiny:
            fault = NodeSlow("a", share=0.2)
            life = Life(fault, tiny.bed)
            await life.prepare()
            before = await _frames(tiny)
            await life.inject()
            during = await _frames(tiny)
            proof = await life.confirm()
            await life.heal()
            return proof, before, during

    proof, before, during = asyncio.run(scenario())
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert all(during[port] < before[port] for port in before), (before, during)
    assert all(during.values()), "slow is not dead"


def test_a_burst_tells_how_many_frames_were_how_old() -> None:
    """The node's socket and the switch's queue both keep frames; the oldest is about as old as the freeze."""

    async def scenario() -> Proof:
        async with tiny_bed() as tiny, OwnedTask(_talk_to_a(tiny.switch), name="peer"):
            fault = NodeStaleBurst("a", freeze_s=1.0)
            return await Life(fault, tiny.bed).prove()

    proof = asyncio.run(scenario())
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    ports = proof.evidence["ports"]
    assert isinstance(ports, dict)
    for queues in ports.values():
        assert queues["in_node"] > 0
        assert queues["in_switch"] > 0
        assert queues["delivered"] >= queues["in_switch"]
        assert queues["in_node_oldest_s"] > queues["in_switch_oldest_s"] > 0


def test_a_burst_that_nobody_sent_for_is_inconclusive() -> None:
    """A frozen node to which nobody talks has nothing old to receive."""

    async def scenario() -> Proof:
        async with tiny_bed() as tiny:
            fault = NodeStaleBurst("a", freeze_s=0.3)
            return await Life(fault, tiny.bed).prove()

    proof = asyncio.run(scenario())
    assert (proof.verdict, proof.injected_at_s) == (FaultVerdict.INCONCLUSIVE, None), proof.evidence

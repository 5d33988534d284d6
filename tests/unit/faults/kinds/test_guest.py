"""A fault of a VM is believed only by Xen's list and the client port, and healed only when the VM serves again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults.fault import FaultVerdict, Proof
from faults.kinds import guest
from faults.kinds.guest import GuestCrash, GuestCrashLoop, GuestFault, GuestHang, GuestRefusesToDie, GuestShutdown
from faults.life import Life
from testbed.bed import Bed
from testbed.errors import TestbedError, UsageError
from testbed.history import History
from testbed.node.agent import ExecResult
from testbed.topology import Topology

HANG_LOAD = 100.0  # processor seconds that each listing of a spinning domain adds: far more than passes


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """This world answers at once."""
    for name in ("PING_S", "SEEN_TIMEOUT_S", "HANG_WINDOW_S"):
        monkeypatch.setattr(guest, name, 0.02)
    for name in ("POLL_S", "START_POLL_S"):
        monkeypatch.setattr(guest, name, 0.002)
    monkeypatch.setattr(guest, "SERVED_TIMEOUT_S", 0.1)


@dataclass
class World:
    """Node a with Xen, a product that starts the VM again (or does not), and its client."""

    restarts: int = 9
    also_on_b: bool = False
    id: int = 1
    cpu_s: float = 1.0
    hangs: bool = False
    stopped: bool = False
    runs: bool = True
    witness: list[str] = field(default_factory=list)
    mended: set[str] = field(default_factory=set)
    refusals: int = 1  # of a start, until both nodes hold that the VM is off
    is_off: bool = False
    reboots: bool = False  # the node starts anew before each next boot of the VM, and its watcher is gone
    watches: bool = False
    due: bool = False

    def line(self, flags: str = "-b----", reason: str = "-") -> str:
        """The VM's line of the list."""
        return f"avance-web {self.id} 96 1 {flags} {self.cpu_s} uuid {reason} -"

    def ends(self, flags: str, reason: str) -> None:
        """The domain ends, and the product starts another."""
        if self.watches:
            self.witness.append(self.line(flags, reason))
        self.is_off = reason == "0"
        self.runs, self.hangs = self.restarts > 0 and not self.is_off, False
        if self.runs:
            self.restarts -= 1
            self.id += 1
            self.due = self.reboots

    async def dom0(self, node: str, argv: Sequence[str]) -> ExecResult:
        """Do a command in dom0 of a node."""
        script = " ".join(argv)
        if "-STOP" in script or "-CONT" in script:
            self.stopped = "-STOP" in script
        elif self.stopped and "xl" in script:
            return ExecResult(124, "", "")
        elif "setsid" in script:
            self.watches = True
            self.witness.append(self.line())
        elif f"cat {guest.WATCH_LOG}" in script:
            return ExecResult(0, "\n".join(self.witness), "")
        elif "xl list" in script:
            self.cpu_s += HANG_LOAD if self.hangs else 0
            here = self.runs if node == "a" else self.also_on_b
            return ExecResult(0, "Domain-0 0 640 1 r----- 1.0 uuid - -\n" + (self.line() if here else ""), "")
        elif "echo" in script:
            self.told(script)
        elif script == f"avance reset-device {node}":
            self.mended.add(node)
            self.runs, self.id = True, self.id + 1
        elif script == "avance vm start web":
            self.refusals -= 1
            if not self.is_off or self.refusals >= 0 or self.restarts == 0:
                return ExecResult(2, "", "refused")
            self.runs, self.is_off, self.id = True, False, self.id + 1
        elif "xl destroy" in script:
            self.ends("--p--d", "-")
        return ExecResult(0, "", "")

    def told(self, script: str) -> None:
        """Hear a word on the guest's console."""
        if "echo crash" in script:
            self.ends("--psc-", "3")
        elif "echo shutdown" in script:
            self.ends("--ps--", "0")
        self.hangs = self.hangs or "echo hang" in script

    def answer(self, request: bytes) -> bytes | None:
        """Answer a datagram of the client, or do not."""
        if self.due:
            self.due, self.watches = False, False
            self.witness.clear()
        return f"PONG {request.split()[1].decode()} boot{self.id} 0".encode() if self.runs and not self.hangs else None


class Client:
    """The client port."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.handlers: dict[int, Callable[[Any, float], None]] = {}

    def free_port(self) -> int:
        """Give any port."""
        return 4000

    def listen(self, port: int, handler: Callable[[Any, float], None]) -> None:
        """Keep the handler."""
        self.handlers[port] = handler

    def stop_listening(self, port: int) -> None:
        """Forget it."""
        del self.handlers[port]

    def udp_send(self, _ip: str, _port: int, source: int, payload: bytes) -> None:
        """Answer at once."""
        if (reply := self.world.answer(payload)) is not None:
            self.handlers[source](SimpleNamespace(payload=reply), 0.0)


class Agent:
    """The out-of-band channel of one node."""

    def __init__(self, node: str, world: World) -> None:
        self.node, self.world = node, world

    async def run(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Run it."""
        assert timeout_s > 0
        return await self.world.dom0(self.node, argv)

    async def must_succeed(self, argv: Sequence[str], *, timeout_s: float) -> str:
        """Run it, and demand success."""
        done = await self.run(argv, timeout_s=timeout_s)
        if done.returncode:
            raise TestbedError(f"code {done.returncode}")
        return done.stdout


def bed_of(world: World) -> Bed:
    """A bed in this world."""
    image = SimpleNamespace(workload=SimpleNamespace(udp_port=7000), questions={})
    nodes = {
        name: SimpleNamespace(name=name, is_on=True, image=image, machine=SimpleNamespace(guest=Agent(name, world)))
        for name in ("a", "b")
    }
    clients = {"biz0": Client(world), "biz1": Client(World(runs=False))}
    topology = Topology(networks=2, vms=2)
    return cast("Bed", SimpleNamespace(nodes=nodes, image=image, clients=clients, history=History(), topology=topology))


async def nothing(_bed: Bed) -> None:
    """Injects nothing."""


def tell(fault: GuestFault, world: World, *, sabotage: bool = False) -> Proof:
    """Prepare, inject, confirm and heal."""

    async def story() -> Proof:
        if sabotage:
            vars(fault)["inject"] = nothing
        async with Life(fault, bed_of(world)) as life:
            return await life.prove()

    return asyncio.run(story())


KINDS = (GuestCrash, GuestShutdown, GuestHang, GuestCrashLoop, GuestRefusesToDie)


@pytest.mark.parametrize("kind", KINDS)
def test_what_xen_and_the_client_see_confirms_it(kind: type[GuestFault]) -> None:
    """The fault is confirmed with its time, and heal leaves a VM that serves and tools that answer."""
    world = World()
    proof = tell(kind("web"), world)
    assert proof.verdict is FaultVerdict.CONFIRMED, proof.evidence
    assert proof.injected_at_s is not None
    assert world.runs
    assert not world.hangs
    assert not world.stopped


@pytest.mark.parametrize("kind", KINDS)
def test_what_did_not_happen_is_a_mismatch(kind: type[GuestFault]) -> None:
    """A VM that goes on as before was not hit, and one that ends as told does not refuse."""
    assert tell(kind("web"), World(), sabotage=True).verdict is FaultVerdict.MISMATCH


@pytest.mark.parametrize("kind", KINDS)
def test_a_vm_that_did_not_answer_before_proves_nothing(kind: type[GuestFault]) -> None:
    """Without an answer before, none afterwards says nothing."""

    async def story() -> FaultVerdict:
        world = World(hangs=True)
        fault, bed = kind("web"), bed_of(world)
        return (await Life(fault, bed).prove()).verdict

    assert asyncio.run(story()) is FaultVerdict.INCONCLUSIVE


def test_a_crash_is_no_shutdown() -> None:
    """The reason that Xen gives decides, not the silence."""

    class Wrong(GuestShutdown):
        word = "crash"

    proof = tell(Wrong("web"), World())
    assert proof.verdict is FaultVerdict.MISMATCH
    assert proof.evidence["reason_seen_by_dom0"] == 3


def test_a_node_that_started_anew_is_watched_again() -> None:
    """Its watcher went with it, and each crash has to be seen."""
    proof = tell(GuestCrashLoop("web", crashes=3), World(reboots=True))
    assert (proof.verdict, proof.evidence["crashes_seen_by_dom0"]) == (FaultVerdict.CONFIRMED, 3)


def test_the_loop_goes_on_as_long_as_the_vm_comes_back() -> None:
    """Three crashes of three boots; and two are a loop even when nobody starts it a third time."""
    proof = tell(GuestCrashLoop("web", crashes=3), World())
    assert proof.evidence["boots"] == ["boot1", "boot2", "boot3"]
    bed = bed_of(World())
    asyncio.run(Life(GuestCrashLoop("web", crashes=3), bed).prove())
    assert [record.kind for record in bed.history if record.source == "fault"].count("again") == 2

    async def story() -> Proof:
        fault, bed = GuestCrashLoop("web", crashes=3, patience_s=0.1), bed_of(World(restarts=1))
        return await Life(fault, bed).prove()

    proof = asyncio.run(story())
    assert proof.verdict is FaultVerdict.CONFIRMED
    assert proof.evidence["stayed_down"] is True
    world = World(restarts=1)
    tell(GuestCrashLoop("web", crashes=3, patience_s=0.1), world)
    assert world.mended == {"a", "b"}, "what was left is started again when a person says that it is mended"
    assert not asyncio.run(mended_of(World()))


async def mended_of(world: World) -> set[str]:
    """Let a loop end by itself; returns where a person's word was given."""
    async with Life(GuestCrashLoop("web", crashes=3), bed_of(world)) as life:
        await life.prove()
    return world.mended


@pytest.mark.parametrize("kind", [GuestCrash, GuestShutdown])
def test_heal_says_that_a_vm_stays_down(kind: type[GuestFault]) -> None:
    """The testbed starts no VM, and does not call a dead one healed."""
    with pytest.raises(TestbedError, match="Healing needs the product"):
        tell(kind("web"), World(restarts=0))


def test_a_guest_that_has_shut_down_is_started_by_a_persons_word() -> None:
    """The product leaves it off; one that runs again already needs no word."""
    world = World(refusals=3)
    assert tell(GuestShutdown("web"), world).verdict is FaultVerdict.CONFIRMED
    assert (world.runs, world.refusals) == (True, -1)
    world = World(refusals=3)
    tell(GuestCrash("web"), world)
    assert world.refusals == 3


def test_each_vm_is_asked_on_its_own_network() -> None:
    """One that does not answer says nothing of the other."""
    bed = bed_of(World())
    assert asyncio.run(guest.ping(bed, "web")) is not None
    assert asyncio.run(guest.ping(bed, "web1")) is None


def test_a_fault_needs_one_vm_on_one_node() -> None:
    """An unknown name, nobody who runs it, and two who run it are refused before anything changes."""
    for fault, world, words in (
        (GuestCrash("mail"), World(), "no VM 'mail'; there is: web, web1"),
        (GuestCrash("web"), World(runs=False), "needs one node"),
        (GuestCrash("web"), World(also_on_b=True), "needs one node"),
    ):
        with pytest.raises(UsageError, match=words):
            asyncio.run(fault.prepare(bed_of(world)))
    with pytest.raises(UsageError, match="at least 2"):
        GuestCrashLoop("web", crashes=1)

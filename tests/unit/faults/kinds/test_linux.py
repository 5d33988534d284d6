"""Changes in a node's own Linux are believed by the kernel's notice, the switch and Xen's list, never by the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults.fault import Fault, FaultVerdict, Proof
from faults.kinds import linux
from faults.kinds.evidence import silence
from faults.kinds.linux import AddressDeleted, CardGone, ForeignDomain
from faults.life import FaultFailed, Life
from testbed.bed import Bed
from testbed.errors import UsageError
from testbed.history import History
from testbed.topology import Topology
from tests.unit.faults.kinds.inner_bed import HostAgent

NOTICE = "Deleted 5: biz0    inet 10.77.0.10/24 scope global biz0"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """This world answers at once."""
    monkeypatch.setattr(linux, "MENDED_S", 0.1)
    monkeypatch.setattr(linux, "POLL_S", 0.002)
    monkeypatch.setattr(silence, "WINDOW_S", 0.002)


@dataclass
class World:
    """Node a, whose Linux does what the scripts say, or nothing (`obeys`), and a product that mends, or does not."""

    obeys: bool = True
    mends: bool = True
    has_address: bool = True
    cards: set[str] = field(default_factory=lambda: {"eth0", "eth1", "lo"})
    listed: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    frames: int = 0

    def obey(self, argv: Sequence[str]) -> str:
        """Do what a script of the node would do."""
        script, arguments = argv[2], argv[4:]
        self.done.append(script)
        if script.startswith("ip -o -4 addr show"):
            return "5: biz0    inet 10.77.0.10/24 scope global biz0" if self.has_address else ""
        if script.startswith("ip addr del") and self.obeys:
            self.has_address = self.mends
            self.notices.append(NOTICE)
        elif script.startswith("ip addr add"):
            self.has_address = True
        elif script == f"cat {linux._LOG}":
            return "\n".join(self.notices)
        elif script == linux._DEVICE:
            return "virtio3\n" if "eth0" in self.cards else "\n"
        elif script.endswith("/unbind") and self.obeys:
            self.cards.discard("eth0")
        elif "/bind" in script:
            self.cards.add("eth0")
        elif script.startswith("ls "):
            return " ".join(sorted(self.cards))
        elif script == linux._CREATE and self.obeys:
            self.listed.append(arguments[0])
        elif script.startswith("xl destroy"):
            self.listed.remove(arguments[0])
        elif script == linux._LIST:
            return "\n".join(["Name ID", "Domain-0 0", *(f"{name} 7 16 1 --p---" for name in self.listed)])
        return ""

    async def ports(self) -> dict[str, Any]:
        """The switch hears the node while its card is there."""
        self.frames += 10 if "eth0" in self.cards else 0
        state = SimpleNamespace(inward=SimpleNamespace(frames=self.frames, offered=self.frames))
        return {"a.priv0": state, "a.biz0": state}

    @property
    def bed(self) -> Bed:
        """As the faults want it."""
        node = SimpleNamespace(is_on=True, machine=SimpleNamespace(guest=HostAgent(self.obey)))
        image = SimpleNamespace(workload=SimpleNamespace(kernel="/vmlinux", memory_mib=96))
        parts = {"nodes": {"a": node}, "switch": self, "topology": Topology(), "image": image, "history": History()}
        return cast("Bed", SimpleNamespace(**parts))


def story(world: World, make: Callable[[str], Fault]) -> Proof:
    """Let the fault live on node a, to its heal."""

    async def lives() -> Proof:
        async with Life(make("a"), world.bed) as life:
            proof = await life.prove()
            await life.heal()
            return proof

    return asyncio.run(lives())


@pytest.mark.parametrize("mends", [True, False])
def test_the_kernel_tells_of_a_deleted_address(mends: bool) -> None:
    """Also when the product has put it back already; where it does not, the heal does."""
    world = World(mends=mends)
    proof = story(world, AddressDeleted)
    assert (proof.verdict, proof.evidence["kernel"], world.has_address) == (FaultVerdict.CONFIRMED, [NOTICE], True)
    assert any(script.startswith("ip addr add") for script in world.done) is not mends
    assert world.done[-1] == linux._UNWATCH


def test_a_node_without_the_service_address_is_refused() -> None:
    """There is nothing to delete."""
    with pytest.raises(UsageError, match=r"does not hold the service address 10\.77\.0\.10"):
        story(World(has_address=False), AddressDeleted)


def test_a_card_that_is_gone_is_silent_and_comes_back() -> None:
    """The kernel lists it no more, and the switch hears nothing; the heal gives its driver back."""
    world = World()
    proof = story(world, CardGone)
    assert (proof.verdict, proof.evidence["cards"]) == (FaultVerdict.CONFIRMED, ["eth1", "lo"])
    assert "eth0" in world.cards
    with pytest.raises(UsageError, match="has no card eth0"):
        story(World(cards={"lo"}), CardGone)


def test_a_foreign_domain_is_in_the_list_by_its_whole_name() -> None:
    """Its name has a blank; afterwards it is gone."""
    world = World()
    proof = story(world, ForeignDomain)
    assert (proof.verdict, world.listed) == (FaultVerdict.CONFIRMED, [])
    assert proof.evidence["listed"] == ["Domain-0 0", "not ours 7 16 1 --p---"]


@pytest.mark.parametrize("make", [AddressDeleted, CardGone, ForeignDomain])
def test_an_order_that_did_nothing_is_a_mismatch(make: Callable[[str], Fault]) -> None:
    """The evidence does not follow the order."""
    assert story(World(obeys=False), make).verdict is FaultVerdict.MISMATCH


def test_a_card_that_does_not_come_back_is_told() -> None:
    """Heal raises when the driver does not take it."""
    world = World()
    bind = world.obey

    def deaf(argv: Sequence[str]) -> str:
        return "" if "/bind" in argv[2] else bind(argv)

    world.obey = deaf  # type: ignore[method-assign]
    with pytest.raises(FaultFailed, match="the card of node a"):
        story(world, CardGone)

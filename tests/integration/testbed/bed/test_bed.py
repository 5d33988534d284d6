"""Proves the bed with its real world and two machines without a product: it comes up as one and leaves nothing.

What needs the product (pairing, protection, the health gate) is proven by the system tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from testbed import site
from testbed.bed.bed import Bed, Stage
from testbed.bed.snapshot import SnapshotStore
from testbed.bmc.client import IpmiClient
from testbed.errors import (
    DiskServerError,
    GuestCommandError,
    HostError,
    MachineError,
    TestbedError,
    UsageError,
    WaitTimeout,
)
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.node.node import Node, Place
from testbed.process import Child
from testbed.site import SiteOptions
from testbed.switch.client import Switch
from testbed.topology import NODES
from testbed.wait import ForbiddenSeen, wait_until
from tests.unit.testbed.judge.test_phases import journal
from tests.unit.testbed.small_image import all_gone, cold_bed, own_host, with_bed

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def host(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A host lock of the test's own."""
    with own_host(tmp_path) as patch:
        yield patch


def test_a_second_bed_is_refused_with_the_name_of_the_holder(tmp_path: Path, credentials_cache: Path) -> None:
    """The first one goes on undisturbed."""

    async def scenario(bed: Bed) -> None:
        with pytest.raises(HostError, match=rf", pid {os.getpid()}, since .*Wait until it is done"):
            async with cold_bed(tmp_path / "second", credentials_cache, History()):
                pass
        await bed.client.ping(bed.topology.public[0].gateway.address, timeout_s=100)

    with_bed(tmp_path, credentials_cache, scenario)


def test_nodes_that_cannot_start_leave_nothing(tmp_path: Path, credentials_cache: Path) -> None:
    """A boot file that vanished is an error with QEMU's own words, and every process is gone."""

    async def scenario(bed: Bed) -> None:
        bed.image.boot.hypervisor.unlink()
        await bed.reach(Stage.BOOTED)

    with pytest.raises(MachineError, match=r"(?s)QEMU of node [ab] .*image/xen"):
        with_bed(tmp_path, credentials_cache, scenario)


def test_stages_are_reached_in_order_and_recorded(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    """Each stage includes those before it, none is skipped, and nothing beyond it is done."""
    done: list[str] = []
    for name in ("_boot", "_pair", "_protect"):

        async def step(_bed: Bed, name: str = name) -> None:
            done.append(name)

        host.setattr(Bed, name, step)
    history = History()
    bed = cold_bed(tmp_path, tmp_path, history)
    asyncio.run(bed.reach(Stage.PAIRED))
    assert done == ["_boot", "_pair"]
    assert bed.stage is Stage.PAIRED
    assert [entry.fields["stage"] for entry in history if entry.kind == "stage"] == ["BOOTED", "PAIRED"]
    with pytest.raises(AssertionError, match="make a new one"):
        asyncio.run(bed.reach(Stage.PROTECTED))


def test_a_stage_that_fails_is_not_reached(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    """The error is the step's own, and the bed does not claim the stage."""

    async def fails(_bed: Bed) -> None:
        raise WaitTimeout("node a booted")

    host.setattr(Bed, "_boot", fails)
    bed = cold_bed(tmp_path, tmp_path, History())
    with pytest.raises(WaitTimeout, match="node a booted"):
        asyncio.run(bed.reach(Stage.PROTECTED))
    assert bed.stage is Stage.COLD


def test_an_image_that_is_not_made_for_a_topology_is_refused(tmp_path: Path) -> None:
    """Before anything is started: too many networks, and nodes that are too small for their VMs."""
    with pytest.raises(UsageError, match="networks is 3; the node image has bridges for 2"):
        cold_bed(tmp_path, tmp_path, History(), site=SiteOptions(networks=3))
    with pytest.raises(UsageError, match="memory_mib is 512; a node that runs 8 VMs needs 816 MiB"):
        cold_bed(tmp_path, tmp_path, History(), site=SiteOptions(vms=8, memory_mib=512))


def test_vms_are_protected_one_after_the_other(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    """Each definition is given once, and the next one only when both nodes say that all so far are protected."""
    history = History()
    bed = cold_bed(tmp_path, tmp_path, history, site=SiteOptions(vms=3))
    given: list[tuple[str, str]] = []

    async def command(node: Node, _template: object, document: dict[str, str], *, timeout_s: float) -> None:
        assert timeout_s > 0
        given.append((node.name, document["name"]))
        for name in NODES:
            history.record(f"journal.{name}", "entry", **journal(name, "protected"))

    async def served(_bed: Bed, _timeout_s: float) -> None:
        given.append(("all", "served"))

    async def reach(_bed: Bed) -> None:
        pass

    host.setattr(Node, "command", command)
    for name in ("_boot", "_pair"):
        host.setattr(Bed, name, reach)
    host.setattr(Bed, "wait_served", served)
    bed.nodes = pair_without_world(tmp_path).nodes
    asyncio.run(bed.reach(Stage.PROTECTED))
    vms = [(NODES[0], vm) for vm in ("web", "web1", "web2")]
    assert given == [*vms, ("all", "served")]


def test_each_vm_is_asked_from_its_own_network_and_all_of_them_as_often_as_one(tmp_path: Path) -> None:
    """Names of records are plain for the first VM, so that those of a bed with one VM are as ever."""
    bed = cold_bed(tmp_path, tmp_path, History(), site=SiteOptions(networks=2, vms=2))
    bed.clients = {name: cast("Endpoint", name) for name in ("biz0", "biz1")}
    web, other = bed.topology.guests
    one = cold_bed(tmp_path / "one", tmp_path, History())
    one.clients = bed.clients
    made = [vars(bed.probe("w", ledger=None, vm=vm)) for vm in (None, web, other)]
    assert [(probe["_client"], probe["_ip"], probe["_source"]) for probe in made] == [
        ("biz0", "10.77.0.20", "probe"), ("biz0", "10.77.0.20", "probe"), ("biz1", "10.77.1.21", "probe@web1"),
    ]  # fmt: skip
    assert {probe["interval_s"] for probe in made} == {2 * one.probe("w", ledger=None).interval_s}
    assert vars(bed.boot_probe(other))["_source"] == "boots@web1"


def roles(host: pytest.MonkeyPatch, told: dict[str, str]) -> None:
    """Let each node's status say this role."""

    async def status(node: Node) -> dict[str, str]:
        return {"role": told[node.name]}

    host.setattr(Node, "status", status)


def pair_without_world(tmp_path: Path) -> Bed:
    """A bed that was not entered but has its nodes, which are off."""
    bed = cold_bed(tmp_path, tmp_path, History())
    switch = Switch(tmp_path, bed.topology.segments, history=bed.history, log=tmp_path / "log")
    place = Place(tmp_path, tmp_path, tmp_path)
    bed.nodes = {
        name: Node(name, bed.image, place, switch, bed.history, accel="tcg", topology=bed.topology) for name in NODES
    }
    return bed


def test_primary_and_backup_are_what_both_nodes_say(tmp_path: Path, host: pytest.MonkeyPatch) -> None:
    """The pair is returned in the order of its roles; contradictions are an error that shows both words."""
    bed = pair_without_world(tmp_path)

    async def scenario() -> None:
        roles(host, {"a": "backup", "b": "primary"})
        assert [node.name for node in await bed.primary()] == ["b", "a"]
        for word in ("primary", "none"):
            roles(host, {"a": "primary", "b": word})
            with pytest.raises(TestbedError, match=f"no primary and backup: the nodes say .*'b': '{word}'"):
                await bed.primary()

    asyncio.run(scenario())


def test_what_fails_on_one_node_is_the_error_of_both(tmp_path: Path) -> None:
    """The caller gets the typed error of the node itself and no group, and the other node's work is ended."""
    cancelled: list[str] = []

    async def act(node: Node) -> None:
        if node.name == "b":
            raise GuestCommandError("b failed")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(node.name)

    with pytest.raises(GuestCommandError, match="b failed"):
        asyncio.run(pair_without_world(tmp_path).each(act))
    assert cancelled == ["a"]


def test_a_milestone_is_the_one_of_the_node_after_the_mark(tmp_path: Path) -> None:
    """Older lines and those of the other node do not count; a forbidden milestone ends the wait."""

    async def scenario() -> None:
        history = History()
        bed = cold_bed(tmp_path, tmp_path, history)
        history.record("journal.a", "entry", **journal("a", "paired"))
        mark = history.mark()
        history.record("journal.b", "entry", **journal("b", "paired"))
        with pytest.raises(WaitTimeout, match="milestone 'paired' of node a"):
            await bed.wait_milestone("paired", node="a", after=mark, timeout_s=0.01)
        wanted = history.record("journal.a", "entry", **journal("a", "paired"))
        assert await bed.wait_milestone("paired", node="a", after=mark, timeout_s=1) is wanted
        history.record("journal.a", "entry", **journal("a", "peer_lost"))
        with pytest.raises(ForbiddenSeen, match="peer_lost"):
            await bed.wait_milestone("protected", node="a", after=mark, timeout_s=1, forbidden=["peer_lost"])

    asyncio.run(scenario())


def without_product(host: pytest.MonkeyPatch) -> None:
    """Leave out of the stages what only a product can do."""

    async def nothing(*_arguments: object) -> None:
        pass

    host.setattr(Node, "wait_booted", nothing)
    for name in ("_pair", "_protect", "_gate"):
        host.setattr(Bed, name, nothing)


async def is_holding(bed: Bed) -> bool:
    """Says whether the switch holds its frames."""
    await bed.switch.save(bed.sockets / "state")
    return bool(json.loads((bed.sockets / "state").read_text(encoding="utf-8"))["holding"])


def test_a_saved_pair_is_restored_and_a_damaged_snapshot_costs_a_cold_boot(
    tmp_path: Path, credentials_cache: Path, host: pytest.MonkeyPatch
) -> None:
    """Both nodes go on in fresh processes; with a damaged memory the pair is booted instead, and that is counted."""
    without_product(host)

    async def first(bed: Bed) -> None:
        await bed.reach(Stage.PROTECTED, use_snapshot=True)
        restored = {entry.fields["pid"] for entry in bed.history if entry.fields.get("incoming") is not None}
        assert restored == {node.machine.pid for node in bed.nodes.values()}
        assert [await node.machine.status() for node in bed.nodes.values()] == ["running", "running"]
        assert (bed.restore_failures, bed.stage, await is_holding(bed)) == (0, Stage.PROTECTED, False)
        assert bed.find_snapshot() is not None

    async def second(bed: Bed) -> None:
        snapshot = bed.find_snapshot()
        assert snapshot is not None
        snapshot.memory("b").write_bytes(b"this is no memory image")
        await bed.reach(Stage.PROTECTED, use_snapshot=True)
        assert (bed.restore_failures, bed.stage, await is_holding(bed)) == (1, Stage.PROTECTED, False)
        assert [await node.machine.status() for node in bed.nodes.values()] == ["running", "running"]
        assert any(entry.kind == "restore_failed" for entry in bed.history)
        assert bed.find_snapshot() is None

    with_bed(tmp_path, credentials_cache, first)
    with_bed(tmp_path, credentials_cache, second)


def test_witness_and_bmcs_belong_to_the_restored_pair(
    tmp_path: Path, credentials_cache: Path, host: pytest.MonkeyPatch
) -> None:
    """They have the secret of the snapshot; the witness knows nothing, whatever it knew before."""
    without_product(host)
    secrets = []

    async def scenario(bed: Bed) -> None:
        before = bed.world.keys.secret
        await bed.reach(Stage.PROTECTED, use_snapshot=True)
        secrets.append((before, bed.world.keys.secret))
        view = await bed.witnesses["w1"].look(bed.client, timeout_s=100)
        assert view is not None
        for name, bmc in bed.bmcs.items():
            assert (bmc.user, bmc.password) == site.bmc_credentials(bed.world.keys.secret, name)
            async with IpmiClient(bed.client, bmc.address, user=bmc.user, password=bmc.password) as client:
                assert await client.power_is_on()

    for _ in range(2):
        with_bed(tmp_path, credentials_cache, scenario, options=SiteOptions(power=True))
    assert secrets[0][0] == secrets[0][1] == secrets[1][1] != secrets[1][0]


def test_a_snapshot_that_cannot_be_saved_leaves_nothing_behind(
    tmp_path: Path, credentials_cache: Path, host: pytest.MonkeyPatch
) -> None:
    """A disk that vanished before the save is named, and no half of a snapshot is kept."""
    without_product(host)

    async def scenario(bed: Bed) -> None:
        await bed.reach(Stage.PROTECTED)
        bed.nodes["b"].disk("vdc").unlink()
        with pytest.raises(DiskServerError, match="Disk b-vdc refused `save`"):
            await bed.save(SnapshotStore(credentials_cache / "snapshots"), "key")
        assert list((credentials_cache / "snapshots").iterdir()) == []

    with_bed(tmp_path, credentials_cache, scenario)


PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from testbed import site
from testbed.bed.bed import Bed, Stage
from testbed.history import History
from testbed.node.node import Node
from tests.unit.testbed.judge.test_phases import journal
from tests.unit.testbed.small_image import cold_bed

async def booted(*_arguments):
    pass

async def main(directory, cache):
    Node.wait_booted = booted
    async with cold_bed(directory, cache, History()) as bed:
        await bed.reach(Stage.BOOTED)
        pids = [bed.switch.pid, bed.outside.pid, *(node.machine.pid for node in bed.nodes.values())]
        pids += [disk.pid for node in bed.nodes.values() for disk in node.storage.values()]
        (directory / "partial").write_text(" ".join(map(str, [bed.sockets, *pids])))
        (directory / "partial").rename(directory / "pids")
        await asyncio.Event().wait()

asyncio.run(main(*map(Path, sys.argv[1:])))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_bed_that_is_ended_takes_everything_with_it(
    tmp_path: Path, credentials_cache: Path, how: signal.Signals
) -> None:
    """After Ctrl-C, and also after SIGKILL, neither a node nor a wire of the bed is left running."""

    async def scenario() -> None:
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path), str(credentials_cache)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with Child(argv, name="bed", log=tmp_path / "log", env=environment, cwd=ROOT) as child:

            async def told() -> list[str]:
                assert child.alive, child.last_words()
                return (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []

            sockets, *pids = await wait_until(told, what="the pids of the bed", timeout_s=100, poll_s=0.02)
            assert all(Path(f"/proc/{pid}").exists() for pid in pids)
            os.kill(child.pid, how)
            async with asyncio.timeout(100):
                await child.wait()
            await all_gone([int(pid) for pid in pids])
            assert len(pids) == 10
            if how is signal.SIGINT:  # after SIGKILL the next start of any bed sweeps the directory
                assert not Path(sockets).exists()
            shutil.rmtree(sockets, ignore_errors=True)

    asyncio.run(scenario())

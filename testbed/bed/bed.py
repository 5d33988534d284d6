"""The bed: two nodes, their switch, their disks and the outside world, brought to a named stage.

`async with Bed(...)` starts the world around the nodes; `reach(stage)` boots, pairs and protects. Leaving the context
ends every process, whatever happened. The bed must never look into the product beyond its published contract (image
manifest, status, journal), and never repair it: a stage that is not reached is an error with the last thing seen.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import pace, site
from testbed.bed.snapshot import Snapshot, SnapshotStore, snapshot_key
from testbed.bed.world import Secrets, World, WorldParts
from testbed.client.ledger import Ledger
from testbed.client.levels import ProbeLevels, Targets, tcp_orders
from testbed.client.outage import PATIENCE_S
from testbed.client.probe import INTERVAL_S, Probe
from testbed.client.tcp_probe import TcpProbe
from testbed.errors import SnapshotError, TestbedError, first_error
from testbed.history import History, HistoryRecord
from testbed.host import speed
from testbed.host.accelerator import Accelerator
from testbed.host.places import host_lock, socket_dir, sweep_socket_dirs, this_command
from testbed.host.speedometer import Speedometer
from testbed.milestones import milestone_of
from testbed.node.image import Image
from testbed.node.node import Node, Place
from testbed.progress import Progress
from testbed.topology import PREFIX, Vm
from testbed.vocabulary import Milestone
from testbed.wait import wait_for_record, wait_until
from testbed.world.tls import Credentials, ensure_credentials

BOOT_TIMEOUT_S = 240.0
PAIR_TIMEOUT_S = 90.0
PROTECT_TIMEOUT_S = 120.0
RESTORE_GATE_S = 60.0
COMMAND_TIMEOUT_S = 60.0
BOOT_PROBE_INTERVAL_S = 0.5
KIB_PER_MIB = 1024


class Stage(IntEnum):
    """How far the bed has come; each stage includes the ones before it."""

    COLD = 0
    BOOTED = 1
    PAIRED = 2
    PROTECTED = 3


@dataclass(frozen=True)
class BedOptions:
    """What a run chooses."""

    artefacts: Path
    cache: Path
    site: site.SiteOptions = field(default_factory=site.SiteOptions)
    keep_disks: bool = False


class Bed(WorldParts):
    """The running bed as an async context manager; its parts are those of its world."""

    world: World
    credentials: Credentials

    def __init__(
        self, image: Image, options: BedOptions, *, accelerator: Accelerator, history: History, progress: Progress,
        speedometer: Speedometer | None = None,
    ) -> None:  # fmt: skip
        site.check_schema(image.product.site_schema)
        if not image.product.witness:
            options = replace(options, site=replace(options.site, witnesses=0))
        if options.site.dilation == site.AUTO:  # nobody has measured the host
            options = replace(options, site=replace(options.site, dilation=1.0))
        self.topology = options.site.topology
        image.memory_mib_for(self.topology)  # refuses a topology that the image is not made for
        self.image = image
        self.options = options
        self.accelerator = accelerator
        self.history = history
        self.progress = progress
        self.speedometer = speedometer
        self.stage = Stage.COLD
        self.restore_failures = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(host_lock(this_command()))
            stack.enter_context(pace.use(self.options.site.dilation))
            sweep_socket_dirs()
            self.sockets = stack.enter_context(socket_dir())
            self.options.artefacts.mkdir(parents=True, exist_ok=True)
            if not self.options.keep_disks:
                stack.callback(shutil.rmtree, self.options.artefacts / "disks", ignore_errors=True)
            self.credentials = ensure_credentials(self.options.cache, say=self.progress.say)
            artefacts = self.options.artefacts
            world = World(
                self.image, self.options.site, Place(self.sockets, artefacts, artefacts / "disks"),
                credentials=self.credentials, accel=self.accelerator.name, history=self.history, say=self.progress.say,
            )  # fmt: skip
            self.world = await stack.enter_async_context(world)
            self.take(world)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # ---------------------------------------------------------------- stages

    async def reach(self, stage: Stage, *, use_snapshot: bool = False) -> None:
        """Bring the bed from cold to a stage; with `use_snapshot`, `PROTECTED` is restored, or saved for the next time.

        A restore that fails its health gate falls back to a cold boot; it is counted in `restore_failures` and said.
        """
        assert self.stage is Stage.COLD, "a bed goes up once; make a new one"
        if stage is Stage.PROTECTED and use_snapshot:
            await self._reach_protected_by_snapshot()
        else:
            await self._boot_to(stage)

    async def _reach_protected_by_snapshot(self) -> None:
        store, key = self._snapshot_store(), self._snapshot_key()
        snapshot = store.find(key)
        if snapshot is None:
            await self._boot_to(Stage.PROTECTED)
        try:
            if snapshot is None:
                async with self.progress.step("save the snapshot of the protected pair"):
                    snapshot = await self.save(store, key)
            await self.restore(snapshot)
        except TestbedError as error:
            self.restore_failures += 1
            self.history.record("bed", "restore_failed", reason=str(error))
            self.progress.say(f"the snapshot could not be used, so the pair is booted cold: {error}")
            if snapshot is not None:
                store.discard(snapshot)
            await self._power_off()
            await self.world.start_witnesses()
            await self.switch.release()  # what failed half-way left it holding every frame
            await self._boot_to(Stage.PROTECTED)

    def find_snapshot(self) -> Snapshot | None:
        """Return the snapshot that `reach(PROTECTED, use_snapshot=True)` would use now, or None."""
        return self._snapshot_store().find(self._snapshot_key())

    def _snapshot_store(self) -> SnapshotStore:
        return SnapshotStore(self.options.cache / "snapshots")

    def _snapshot_key(self) -> str:
        return snapshot_key(self.image, self.accelerator.name, self.options.site, self.credentials.fingerprint)

    async def _boot_to(self, stage: Stage) -> None:
        steps: list[tuple[Stage, str, Callable[[], Awaitable[None]]]] = [
            (Stage.BOOTED, "boot both nodes", self._boot),
            (Stage.PAIRED, "pair the nodes", self._pair),
            (Stage.PROTECTED, f"protect {self._the_vms} and bring both disks in sync", self._protect),
        ]
        for reached, text, step in steps:
            if reached <= stage:
                async with self.progress.step(text):
                    await step()
                self.stage = reached
                self.history.record("bed", "stage", stage=reached.name)

    async def _boot(self) -> None:
        await self.each(Node.make_disks)
        await self.each(Node.power_on)
        await self.each(lambda node: node.wait_booted(BOOT_TIMEOUT_S))

    async def _pair(self) -> None:
        mark = self.history.mark()
        await self.each(self._tell_site)
        for name in self.nodes:
            await self.wait_milestone("paired", node=name, after=mark, timeout_s=PAIR_TIMEOUT_S)

    async def _tell_site(self, node: Node) -> None:
        document = site.avance_site(
            self.options.site,
            secret=self.world.keys.secret,
            token=self.world.keys.token,
            authority_pem=self.credentials.authority.read_text(encoding="ascii"),
        )
        await node.command(self.image.product.pair, document, timeout_s=COMMAND_TIMEOUT_S)

    async def tell_bare(self, node: Node) -> None:
        """Tell a machine that has just been put in a node's place its site, as a person would; VMs it takes over."""
        await self._tell_site(node)

    @property
    def _the_vms(self) -> str:
        return "the VM" if self.topology.vms == 1 else f"{self.topology.vms} VMs"

    async def _protect(self) -> None:
        for vm in self.topology.guests:  # one after the other: both nodes say "protected" anew for each
            await self._protect_vm(vm)
        await self.wait_served(PROTECT_TIMEOUT_S)

    async def _protect_vm(self, vm: Vm) -> None:
        mark = self.history.mark()
        workload = self.image.workload
        document = site.avance_vm(
            self.options.site,
            vm,
            kernel=workload.kernel,
            ramdisk=workload.ramdisk,
            memory_mib=workload.memory_mib,
            volume_mib=workload.volume_mib,
        )
        template = self.image.product.protect
        given_on = next(iter(self.nodes.values()))  # once: the nodes agree on it
        await given_on.command(template, document, timeout_s=COMMAND_TIMEOUT_S)
        for name in self.nodes:
            await self.wait_milestone("protected", node=name, after=mark, timeout_s=PROTECT_TIMEOUT_S)

    async def wait_served(self, timeout_s: float) -> None:
        """Wait until each VM answers the client."""

        async def served(vm: Vm) -> None:
            async with self.probe("gate", ledger=None, vm=vm) as probe:
                await probe.wait_first_ok(timeout_s)

        try:
            async with asyncio.TaskGroup() as tasks:
                for vm in self.topology.guests:
                    tasks.create_task(served(vm))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    def probe(self, run: str, *, ledger: Ledger | None, record: bool = False, vm: Vm | None = None) -> Probe:
        """Make a probe of a VM's service (the first one's by default) from the client port of its network.

        All VMs together are asked as often as a single one, so that neither this host nor the nodes have more to do.
        """
        vm = vm or self.topology.guests[0]
        return Probe(
            self.clients[vm.network.name], vm.address, self.image.workload.udp_port, run, ledger=ledger,
            history=self.history if record else None, source=vm.of("probe"),
            interval_s=INTERVAL_S * self.topology.vms,
        )  # fmt: skip

    def boot_probe(self, vm: Vm) -> Probe:
        """Make a slow probe that asks a VM which boot of it answers; its records (`boots`) are for the oracles."""
        return Probe(
            self.clients[vm.network.name], vm.address, self.image.workload.udp_port, "boots", ledger=None,
            history=self.history, source=vm.of("boots"), interval_s=BOOT_PROBE_INTERVAL_S * self.topology.vms,
        )  # fmt: skip

    def probe_levels(self, udp: Probe | None, *, record: bool = False) -> ProbeLevels:
        """Make the probe of the first VM's service on every other level, to run beside the UDP probe."""
        history = self.history if record else None
        vm, host = self.topology.guests[0], self.topology.tcp_client
        orders = tcp_orders(
            self.sockets, host.port, mac=host.mac, ip=host.address, prefix=PREFIX,
            target=vm.address, port=self.image.workload.tcp_port, scale=pace.dilation(),
            timeout_s=pace.scaled(PATIENCE_S),
        )  # fmt: skip
        log = self.options.artefacts / "tcp-probe.log"
        return ProbeLevels(
            self.client, Targets(vm.address, self.topology.service, self.topology.observers), udp=udp, history=history,
            tcp=lambda changes: TcpProbe(orders, log=log, changes=changes, history=history),
            timeout_s=pace.scaled(PATIENCE_S), scale=pace.dilation(),
        )  # fmt: skip

    async def wait_milestone(
        self, milestone: Milestone, *, node: str, after: int, timeout_s: float, forbidden: Iterable[Milestone] = ()
    ) -> HistoryRecord:
        """Wait for a milestone in the product's journal of a node."""
        source, bad = f"journal.{node}", frozenset(forbidden)
        return await wait_for_record(
            self.history,
            lambda entry: entry.source == source and milestone_of(entry) == milestone,
            what=f"milestone {milestone!r} of node {node}",
            timeout_s=timeout_s,
            after=after,
            forbidden=lambda entry: entry.source == source and milestone_of(entry) in bad,
            relevant=lambda entry: entry.source == source,
        )

    async def primary(self) -> tuple[Node, Node]:
        """Return (primary, backup) as both nodes' status documents say; raises when they do not agree."""
        roles = {name: (await node.status())["role"] for name, node in self.nodes.items()}
        if sorted(roles.values()) != ["backup", "primary"]:
            raise TestbedError(f"the pair has no primary and backup: the nodes say {roles}")
        first = next(name for name, role in roles.items() if role == "primary")
        second = next(name for name in self.nodes if name != first)
        return self.nodes[first], self.nodes[second]

    async def each(self, act: Callable[[Node], Awaitable[object]]) -> None:
        """Do the same on both nodes at the same time; the first error is the result."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for node in self.nodes.values():
                    tasks.create_task(_as_coroutine(act(node)))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    # ---------------------------------------------------------------- snapshots

    async def save(self, store: SnapshotStore, key: str) -> Snapshot:
        """Save the protected pair on one barrier, on which nothing runs; afterwards both nodes are off."""
        assert self.stage is Stage.PROTECTED
        with store.new(key) as building:
            await self.switch.hold()
            await self.each(lambda node: node.machine.stop())
            await self.each(lambda node: node.machine.save_memory(building.memory(node.name)))
            await self.switch.save(building.switch)
            for node in self.nodes.values():
                for name, path in building.disks(node.name).items():
                    await node.storage[name].save(path)
                shutil.copy(node.journal_log, building.journal(node.name))
            await self.each(lambda node: node.machine.quit())
            await self._power_off()
            snapshot = building.finish(secret=self.world.keys.secret, token=self.world.keys.token)
        await self.switch.release()
        return snapshot

    async def restore(self, snapshot: Snapshot) -> None:
        """Restore the pair in fresh QEMU processes and pass the health gate; raises SnapshotError or WaitTimeout."""
        async with self.progress.step("restore the protected pair from its snapshot"):
            await self.world.belong_to(Secrets(snapshot.secret, snapshot.token))
            self.take(self.world)
            await self.each(lambda node: node.make_disks(snapshot.disks(node.name)))
            for node in self.nodes.values():
                shutil.copy(snapshot.journal(node.name), node.journal_log)
            await self.switch.load(snapshot.switch)
            await self.each(lambda node: node.start(snapshot.memory(node.name)))
            await self.each(lambda node: node.machine.cont())
            await self.switch.release()
            await self._gate()
        self.stage = Stage.PROTECTED
        self.history.record("bed", "stage", stage="PROTECTED", restored=True)

    async def _gate(self) -> None:
        """The health gate: both nodes say that the VM is protected, and the client is answered."""

        async def healthy(node: Node) -> None:
            async def protected() -> bool:
                return bool((await node.status())["protected"])

            await wait_until(protected, what=f"node {node.name} protected", timeout_s=RESTORE_GATE_S, poll_s=0.2)

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.wait_served(RESTORE_GATE_S))
                for node in self.nodes.values():
                    tasks.create_task(healthy(node))
        except BaseExceptionGroup as errors:
            raise SnapshotError(f"The restored pair failed its health gate: {first_error(errors)}") from errors

    async def _power_off(self) -> None:
        for node in self.nodes.values():
            await node.close()
        self.stage = Stage.COLD

    # ---------------------------------------------------------------- figures

    def peak_memory_mib(self) -> int:
        """The highest resident memory so far of every process of the bed, added up (VmHWM of proc(5))."""
        return round(sum(_peak_kib(pid) for pid in self.pids()) / KIB_PER_MIB)

    def speed_fields(self, since_s: float) -> Mapping[str, object] | None:
        """The host's speed from a moment on, for `host` of a result; None when nobody measures it."""
        meter = self.speedometer
        if meter is None:
            return None
        return speed.as_fields(meter.since(since_s), meter.measured, self.options.site.dilation, since_s)

    def node_pids(self) -> list[int]:
        """The QEMU processes of the nodes that are on."""
        return [node.machine.pid for node in self.nodes.values() if node.is_on]

    def pids(self) -> list[int]:
        """Every process of the bed but this one."""
        pids = [*self.node_pids(), self.switch.pid]
        pids += [disk.pid for node in self.nodes.values() for disk in node.storage.values() if disk.alive]
        pids += [bmc.pid for bmc in self.bmcs.values() if bmc.pid is not None]
        pids += [witness.pid for witness in self.witnesses.values() if witness.pid is not None]
        if self.outside.alive:
            pids.append(self.outside.pid)
        return pids


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between open and read
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


async def _as_coroutine(work: Awaitable[object]) -> None:
    await work


__all__ = ["Bed", "BedOptions", "Stage"]

"""The judge of live moves (rule I14): two writers only for a move, and memory that goes on is the newest state.

An image is the memory of a domain that was suspended. It is stale as soon as something has happened that it does not
know: a write was acknowledged that it does not wait for, the VM was started from its disk, or it went on somewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core.model import NodeId, VmId
from tests.playbook import A, B
from tests.sim.drbd_side import CONNECTED
from tests.sim.hole import Hole
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from avance.core.model import Record
    from tests.sim.drbd_io import Io
    from tests.sim.drbd_side import Side
    from tests.sim.machine import Machine
    from tests.sim.moves import Image
    from tests.sim.world import World

WITHDRAWN_S = 45.0  # after the last word of a move, while both nodes can act: no second writer, and none is allowed


class MoveJudges(Hole):
    """What is kept of live moves, and judged of them."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.images: dict[VmId, list[Image]] = {}
        self.resumes: list[tuple[float, str, VmId]] = []
        self.longest_silence_s = 0.0
        self._moves_said_at = -1e9
        self._idle_from = -1e9
        self._saved_epochs: dict[NodeId, int] = {}

    def fail(self, rule: str, text: str) -> None:
        """Raise the violation."""
        raise NotImplementedError

    def missing(self, vm: VmId, data: dict[int, int], node: NodeId | None = None) -> list[int]:
        """Return the acknowledged writes that a copy lacks."""
        raise NotImplementedError

    # ------------------------------------------------------------ two writers

    def moves_said(self) -> None:
        """A node says in a heartbeat that it moves its VMs."""
        self._moves_said_at = self.world.now

    def two_write(self, resource: Io) -> None:
        """A second node becomes a writer, beside one that it is connected to."""
        if self.world.now - self._moves_said_at > WITHDRAWN_S:
            self.fail("I14", f"two nodes may write {resource.vm}, and no move is under way")

    def look_at_writers(self) -> None:
        """Two writers are allowed, and are there, no longer than a move needs, while both nodes can act."""
        world = self.world
        machines = world.machines.values()
        able = not world.trouble and all(
            one.awake and one.daemon is not None and not one.daemon.stopped and not one.cannot_look and not one.undead
            for one in machines
        )
        if not able or world.now - self._moves_said_at < 1.0:
            self._idle_from = world.now
        if world.now - self._idle_from < WITHDRAWN_S:
            return
        for vm, resource in world.resources.items():
            a, b = resource.sides[A], resource.sides[B]
            if a.primary and b.primary and a.connection == b.connection == CONNECTED:
                self.fail("I14", f"two nodes may write {vm}, and no move was under way for {WITHDRAWN_S:g} s")
            if a.two_writers and b.two_writers:
                self.fail("I14", f"DRBD lets two nodes write {vm}, {WITHDRAWN_S:g} s after the last move")

    def judge_gift(self, machine: Machine, record: Record) -> None:
        """A node gives the right to its peer: nothing of its VMs is left there."""
        for vm in machine.vms:
            if machine.holds(vm) or self.world.resources[vm].sides[machine.name].primary:
                self.fail("I14", f"{machine.name} gives epoch {record.epoch} away while {vm} is still there")

    def judge_taking(self, machine: Machine, record: Record) -> None:
        """A node owns a new epoch beside a good copy of its peer: only where the peer has durably given it."""
        before, theirs = self._saved_epochs.get(machine.name, record.epoch), self.world.machines[peer_of(machine.name)]
        self._saved_epochs[machine.name] = record.epoch
        new = record.epoch > max(before, 1) and record.owner == machine.name and not record.peer_outdated
        if new and theirs.store.record.epoch < record.epoch:
            self.fail("I14", f"{machine.name} owns epoch {record.epoch}, which {theirs.name} has not given: {record}")

    # ------------------------------------------------------------ memory

    def suspended(self, image: Image) -> None:
        """A domain stands still, and its memory is being copied."""
        self.images.setdefault(image.vm, []).append(image)
        self.placement_changed()

    def outdate_images(self, vm: VmId, why: str, number: int | None = None) -> None:
        """Something happened to a VM that is newer than what its images know; a write that one waits for is not."""
        for image in self.images.get(vm, ()):
            if not image.stale and (number is None or number not in image.waiting):
                image.stale = why

    def goes_on(self, image: Image, machine: Machine) -> None:
        """A domain that was suspended goes on where it was: whatever was copied of it is old.

        On a node that wakes, and that nothing can stop, it goes on as one does that was not suspended (rule I4).
        """
        if image.stale and not self.unaware(machine):
            self.fail("I14", f"{image.vm} goes on at {machine.name} with memory that is old: {image.stale}")
        self.outdate_images(image.vm, f"it went on at {machine.name}")
        self.placement_changed()

    def resumed(self, machine: Machine, vm: VmId, image: Image | None, side: Side) -> None:
        """A domain that was taken in goes on: it is complete, nothing is newer, and its disk has every write."""
        if image is None:
            self.fail("I14", f"{vm} goes on at {machine.name} with memory that is not complete")
            return
        if image.stale:
            self.fail("I14", f"{vm} goes on at {machine.name} with memory that is old: {image.stale}")
        record = machine.store.record
        if record.owner != machine.name:
            self.fail("I14", f"{vm} goes on at {machine.name} without the durable right: {record}")
        if not side.primary:
            self.fail("I14", f"{vm} goes on at {machine.name}, which is no writer")
        lost = self.missing(vm, self.world.resources[vm].data_of(machine.name), machine.name)
        if lost:
            self.fail("I2", f"{vm} goes on at {machine.name} without {len(lost)} acknowledged writes")
        self.outdate_images(vm, f"it went on at {machine.name}")
        self.resumes.append((self.world.now, machine.name, vm))
        self.moved(vm, machine)

    def moved(self, vm: VmId, machine: Machine) -> None:
        """A VM is on another node as somebody wanted."""
        raise NotImplementedError

    def unaware(self, machine: Machine) -> bool:
        """A node stood still, and cannot know yet what has become of its right."""
        raise NotImplementedError

    def placement_changed(self) -> None:
        """Something that runs began or ended."""
        raise NotImplementedError


__all__ = ["MoveJudges"]

"""The mirror below the volumes of one node: two halves, what md writes on them, and what adapters/mirror.py does.

A half that drops out keeps what it has. md writes the loss to the other half alone, before it acknowledges more
(kernel source, md.c). Which half may be assembled is decided by the product's own rules (core/halves.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core import halves
from avance.core.events import MirrorChanged
from avance.core.halves import HALVES, Found, Half, Note, Return, Slots
from avance.core.model import MirrorState, MirrorView, Outcome, VmId
from avance.wire.md import note_text, parse_note
from tests.sim.drbd_side import Content

if TYPE_CHECKING:
    from tests.sim.daemon import Daemon
    from tests.sim.drbd_side import Side
    from tests.sim.machine import Machine

DISKS = ("vdb", "vdc")
EVENTS = 10  # of a mirror that is in service
NOTICES_S = 0.02  # from the loss of a half to the look at it
SAVES_S = 0.05  # a note on the system disk
LOOK_S, RETRY_S = 5.0, 1.0  # as in adapters/mirror.py
REBUILD_S = 3.0
DEADLINE_S = 4.0
_RUNS = (MirrorState.CURRENT, MirrorState.UNPROVEN)


@dataclass
class Slot:
    """One data disk: its superblock (None: blank), and what lies on it unless it has what the volumes have now."""

    half: Half | None
    there: bool = True
    old: dict[VmId, Content] | None = None

    @property
    def found(self) -> Half | Found:
        """What a reader of the disk finds."""
        if not self.there:
            return Found.ABSENT
        return Found.BLANK if self.half is None else self.half


class Mirror:
    """Both halves of one node, the note about them, and the part of the daemon that looks after them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        array = f"{machine.name}0"
        self.slots = {disk: Slot(Half(array, f"{machine.name}-{disk}", EVENTS)) for disk in DISKS}
        self.used = list(DISKS)
        self.runs = True  # md has it, since the start of the machine
        self.broken = False  # its last half failed, too
        self._took = False  # ... and therefore the volumes' disks are gone
        names = tuple(f"{machine.name}-{disk}" for disk in DISKS)
        self.note: Note | None = halves.noted(None, array, names, EVENTS, doubt=False)
        self.kept = ""
        self.state, self.why = MirrorState.UNKNOWN, ""
        self._judged: Slots = {}
        self._told = MirrorView()
        self._arrays = 0
        self._rebuilding: set[str] = set()

    # ------------------------------------------------------------ disks and md

    def drop(self, disk: str) -> None:
        """Let a disk be gone."""
        slot = self.slots[disk]
        slot.there = False
        self._rebuilding.discard(disk)
        if not self.runs or disk not in self.used:
            return
        if len(self.used) == 1:
            self.broken = self._took = True
            for side in self._sides():
                side.gone += 1
                self.machine.world.resources[self._vm(side)].detach(side, side.turn)
        else:
            slot.old = {vm: one.sides[self.machine.name].take_out() for vm, one in self.machine.world.resources.items()}
            self.used.remove(disk)
            self._alone(self.used[0])
        self.machine.after(NOTICES_S, self._look)

    def back(self, disk: str) -> None:
        """Let it answer again; a mirror that is broken is used again only after a start."""
        self.slots[disk].there = True
        if self.broken and disk in self.used:
            self._whole_again()

    def died(self) -> None:
        """The machine is down: md and the daemon's memory are gone, the disks keep what they have."""
        self._whole_again()
        self.runs = self.broken = False
        self.state, self.why, self._told = MirrorState.UNKNOWN, "", MirrorView()
        self._rebuilding.clear()

    def _whole_again(self) -> None:
        """Volumes do not lack their disk for the mirror's sake any more; `runs` says whether they are there."""
        if self._took:
            self._took = False
            for side in self._sides():
                side.gone = max(0, side.gone - 1)

    def _alone(self, disk: str) -> None:
        slot = self.slots[disk]
        if slot.half is not None:
            slot.half = replace(slot.half, events=slot.half.events + 1, alone=True)

    def _sides(self) -> list[Side]:
        return [resource.sides[self.machine.name] for resource in self.machine.world.resources.values()]

    def _vm(self, side: Side) -> VmId:
        world = self.machine.world
        return next(vm for vm, one in world.resources.items() if one.sides[self.machine.name] is side)

    def _find(self) -> Slots:
        return {disk: slot.found for disk, slot in self.slots.items()}

    def _assemble(self, disks: tuple[str, ...]) -> None:
        """md takes what is newest among these, by its own count, and leaves out what is older."""
        events = {disk: half.events for disk in disks if (half := self.slots[disk].half) is not None}
        newest = max(events.values())
        self._put_in([disk for disk in disks if events[disk] >= newest - 1])
        if len(self.used) < HALVES:
            self._alone(self.used[0])

    def _put_in(self, disks: list[str], *, blank: bool = False) -> None:
        """The volumes are what these disks hold; the others keep what was on them."""
        world, name = self.machine.world, self.machine.name
        there = {vm: resource.sides[name].take_out() for vm, resource in world.resources.items()}
        for disk, slot in self.slots.items():
            if disk not in disks and slot.old is None:
                slot.old = there
        old = self.slots[disks[0]].old
        for vm, resource in world.resources.items():
            if blank:
                resource.sides[name].put_in(Content())
            elif old is not None:
                resource.sides[name].put_in(old[vm] if vm in old else Content())
        for disk in disks:
            self.slots[disk].old = None
        self.used, self.runs, self.broken = disks, True, False

    # ------------------------------------------------------------ the daemon's part

    def begin(self) -> None:
        """A daemon has started: bring the mirror up, or go on with the one that runs."""
        self._told = MirrorView()
        if not self.runs:
            self._open()
            return
        doubt = self.note is not None and self.note.doubt
        self.state, self.why = (MirrorState.UNPROVEN, "found running") if doubt else (MirrorState.CURRENT, "")
        self._look()

    def again(self) -> None:
        """Look now and then, because a disk that returns tells nobody."""
        if self.state in _RUNS:
            self._look()
            self._take_back()
        elif self._find() != self._judged:
            self._open()

    def _open(self) -> None:
        found = self._judged = self._find()
        plan = halves.choose(found, self.note)
        self.state, self.why = plan.state, plan.detail
        if plan.create:
            self._create(plan.create, ())
        elif plan.assemble:
            if plan.state is MirrorState.UNPROVEN:
                names = [half for disk in plan.assemble if (half := self.slots[disk].half) is not None]
                devices = tuple(half.device for half in names)
                self.note = halves.noted(self.note, names[0].array, devices, 0, doubt=True)
            self._assemble(plan.assemble)
            self._look()
        self._report()

    def _create(self, disks: tuple[str, ...], given_up: tuple[str, ...]) -> None:
        self._arrays += 1
        begun = halves.begun(self.note, f"{self.machine.name}{self._arrays}", given_up)
        for disk in disks:
            self.slots[disk].half = Half(begun.array, f"{begun.array}-{disk}", 1, alone=len(disks) < HALVES)
        self._put_in(list(disks), blank=True)
        names = tuple(f"{begun.array}-{disk}" for disk in disks)
        self.note = halves.noted(begun, begun.array, names, 1, doubt=False)
        self.state, self.why = MirrorState.CURRENT, ""
        self._report()

    def _look(self) -> None:
        if self.machine.daemon is None or self.state not in _RUNS:
            return
        if not self.broken:
            self._report()
            self.machine.after(SAVES_S, self._note_down)
        self._report()

    def _note_down(self) -> None:
        store, daemon = self.machine.store, self.machine.daemon
        if daemon is None or daemon.stopped or self.broken or self.state not in _RUNS or self.note is None:
            return
        if store.hanging or store.refusing:
            self.machine.after(RETRY_S, self._note_down)
            return
        counts = [half for disk in self.used if (half := self.slots[disk].half) is not None]
        current, events = tuple(half.device for half in counts), min(half.events for half in counts)
        whole = len(current) == HALVES
        doubt = self.state is MirrorState.UNPROVEN and not whole
        self.note = halves.noted(self.note, self.note.array, current, events, doubt=doubt)
        if whole:
            self.state, self.why = MirrorState.CURRENT, ""
        self._report()

    def _take_back(self) -> None:
        if self.note is None or self.broken:
            return
        for disk, slot in self.slots.items():
            if disk in self.used or disk in self._rebuilding:
                continue
            how = halves.returned(slot.found, self.note)
            if how in (Return.READD, Return.ADD):
                self._rebuilding.add(disk)
                self.machine.after(REBUILD_S, self._rebuilt, disk, how)

    def _rebuilt(self, disk: str, how: Return) -> None:
        if disk not in self._rebuilding or not self.runs or self.broken:
            return
        self._rebuilding.discard(disk)
        slot, other = self.slots[disk], self.slots[self.used[0]]
        if not slot.there or other.half is None:
            return
        new = slot.half is None or how is Return.ADD
        device = f"{other.half.array}-{disk}-{other.half.events}" if new or slot.half is None else slot.half.device
        events = other.half.events + 2
        slot.half, slot.old = Half(other.half.array, device, events), None
        other.half = replace(other.half, events=events, alone=False)
        self.used.append(disk)
        self._look()

    # ------------------------------------------------------------ what the core asks for, and what it is told

    def do(self, daemon: Daemon, command: c.MirrorCommand) -> None:
        """Do a command about the mirror; one on a system disk that does not answer ends UNKNOWN."""
        store = self.machine.store
        if store.hanging or store.refusing:
            self.machine.after(DEADLINE_S, daemon.done, command, Outcome.UNKNOWN, "the note was not written")
            return
        refused = self._done(command)
        daemon.done(command, Outcome.FAILED if refused else Outcome.OK, refused)

    def _done(self, command: c.MirrorCommand) -> str:
        match command:
            case c.KeepMirrorNote(note):
                self.kept = note
            case c.UseMirrorNote(note):
                if self.note is None:
                    self.note = parse_note(note)
                    self._open()
            case c.ReuseHalves():
                usable = halves.reusable(self._find(), self.note)
                if self.runs or not usable:
                    return "it runs" if self.runs else "there is no disk that may be emptied"
                given_up = tuple(half.array for disk in usable if (half := self.slots[disk].half) is not None)
                self._create(usable[:1], given_up)
            case c.TrustMirror():
                if self.note is None or not self.note.current:
                    return "there is no note of the mirror"
                self.note = halves.noted(self.note, self.note.array, self.note.current, 0, doubt=False)
                self.state, self.why = MirrorState.CURRENT, ""
        self._report()
        return ""

    def _report(self) -> None:
        daemon = self.machine.daemon
        running = self.state in _RUNS
        note = "" if self.note is None else note_text(self.note)
        count = 0 if self.broken or not running else len(self.used)
        view = MirrorView(self.state, count, HALVES, note, self.kept, self.why)
        if view != self._told and daemon is not None:
            self._told = view
            daemon.deliver(MirrorChanged(view))

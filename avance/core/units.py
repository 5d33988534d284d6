"""All VMs of this node: what is told of them, their next commands, and whether every one is protected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from avance.core import alerts, copies
from avance.core import commands as c
from avance.core import events as e
from avance.core.circumstances import Circumstances
from avance.core.decision import Draft
from avance.core.ends import Ends
from avance.core.leftover import Leftover, left_of
from avance.core.model import DiskState, DiskView, NodeId, Timers, VmId, VmSpec, VmState
from avance.core.redundancy import CopyFacts, Redundancy
from avance.core.results import GenerationsRead, InFlightCounted, Result, VolumePrepared
from avance.core.unit import READS, TRIES, VmUnit

_SYNCING = ("SyncSource", "SyncTarget")


@dataclass(slots=True)
class Units:
    """The VMs by name; `zeroed` are the volumes that were made in this run, and that the record does not name yet.

    `leftovers`: VMs that were removed, and of which something may still run here, or begin to.
    """

    timers: Timers
    by_name: dict[VmId, VmUnit]
    leftovers: dict[VmId, Leftover] = field(default_factory=dict)
    zeroed: set[VmId] = field(default_factory=set)
    protected: bool = False
    redundancy: Redundancy = field(init=False)
    ends: Ends = field(init=False)

    def __post_init__(self) -> None:
        self.redundancy = Redundancy(self.timers)
        self.ends = Ends(self.timers.second_s)

    # ------------------------------------------------------------ what is told

    def add(self, spec: VmSpec, draft: Draft) -> None:
        """Take another VM into care."""
        assert spec.name not in self.by_name, f"{spec.name} is protected already"
        self.by_name[spec.name] = VmUnit(spec)
        self.leftovers.pop(spec.name, None)  # whether anything of that name runs is looked at anew
        draft.say(f"VM {spec.name} is to be protected")

    def change(self, spec: VmSpec, draft: Draft) -> None:
        """Take another definition of a VM; what runs goes on as it was started."""
        if spec.name not in self.by_name:
            return
        before = self.by_name[spec.name].spec
        self.by_name[spec.name] = replace(self.by_name[spec.name], spec=spec)
        if spec.wanted is not before.wanted:
            self.ends.forget(spec.name, draft)
            draft.say(f"of VM {spec.name} is wanted from now on: {spec.wanted}")
        if replace(spec, wanted=before.wanted) != before:
            draft.say(f"VM {spec.name} has another definition, from its next start")

    def remove(self, vm: VmId, draft: Draft) -> None:
        """Let a VM be none any more; what may still run of it is remembered until it is known to be gone."""
        unit = self.by_name.pop(vm, None)
        if unit is None:
            return
        left = left_of(unit)
        if not left.is_gone:
            self.leftovers[vm] = left
        self.zeroed.discard(vm)
        self.redundancy.forget(vm, draft)
        self.ends.forget(vm, draft)
        draft.in_order(*(f"{what} {vm}" for what in ("unsteady", "copy_lost", "no_good_copy", "foreign_disk")))
        draft.say(f"VM {vm} is removed")

    def disks_unknown(self) -> None:
        """Forget what DRBD said."""
        for unit in self.by_name.values():
            unit.forget_disk()

    def disk_changed(
        self, vm: VmId, view: DiskView | None, draft: Draft, now: float, *, carries: bool = False
    ) -> DiskView | None:
        """Note what DRBD says of a disk; returns what it had said before. `carries`: heartbeats pass on its link."""
        unit = self.by_name[vm]
        before, falls = unit.disk_changed(view, now, self.timers.second_s, carries=carries), unit.steadiness.falls
        if unit.steadiness.unsteady:
            draft.once(f"unsteady {vm}", alerts.replication_unsteady(vm, falls))
        elif view is not None and view.in_sync:
            draft.in_order(f"unsteady {vm}")
        if copies.is_lost(view):
            draft.once(f"copy_lost {vm}", alerts.copy_lost(vm))
        elif view is not None and view.in_sync:
            draft.in_order(f"copy_lost {vm}", f"foreign_disk {vm}", f"no_good_copy {vm}")
        return before

    def tell_of_disk(self, vm: VmId, before: DiskView | None, draft: Draft, *, both_fresh: bool) -> None:
        """Say what a change of a disk means for people."""
        view = self.by_name[vm].disk
        if view is None or before == view:
            return
        if view.replication in _SYNCING and (before is None or before.replication not in _SYNCING):
            draft.say(f"{vm}: resynchronisation runs ({view.replication})", milestone="resync_started")
        both = view.disk is view.peer_disk is DiskState.INCONSISTENT
        if both and view.connection == "Connected" and not both_fresh:
            draft.once(f"no_good_copy {vm}", alerts.no_good_copy(vm))

    def domain_changed(self, event: e.DomainChanged, draft: Draft) -> bool:
        """Note what Xen says of a domain; true when a VM has failed."""
        unit, vm = self.by_name.get(event.vm), event.vm
        if unit is None:
            if vm in self.leftovers:
                self.leftovers[vm].domain_changed(running=event.running)
                self._tidy(vm)
            return False
        lost = unit.domain_changed(running=event.running, paused=event.paused, never_ran=event.never_ran)
        return self.ends.changed(event, unit, draft, lost=lost)

    def done(self, command: c.VmCommand, result: Result, around: Circumstances, draft: Draft, now: float) -> None:
        """Note how a command of a VM ended, and give the one that follows at once."""
        name, word, unit = command.vm, type(command).__name__, self.by_name[command.vm]
        if not result.ok:
            draft.say(f"{word} for {name} ended {result.outcome}: {result.detail}")
            if unit.failures == 0 and word not in (*READS, *TRIES):
                draft.alert(alerts.command_failed(word, name, result.detail))
        before = unit.state
        follow = unit.command_done(word, result.outcome, around, now)
        if before is VmState.PROMOTING and unit.state is VmState.STARTING:
            draft.say(f"{name}: this node is the writer now", milestone="disk_promoted")
        if before is VmState.RECEIVING and unit.state is VmState.RECEIVED:
            draft.say(f"{name} is here, complete, and stands still", milestone="vm_received")
        elif before is VmState.SENDING and unit.state is VmState.DEMOTING:
            draft.say(f"{name} has left", milestone="vm_sent")
        if unit.state is VmState.RUNNING and before is VmState.STARTING:
            draft.say(f"{name} runs here", milestone="vm_running", alert=alerts.vm_started(name))
        if follow is not None:
            draft.command(follow)
        if isinstance(command, c.ShutdownDomain):
            self.ends.asked(name, result.outcome, now)
        self._answered(unit, result)

    def done_in_vain(self, vm: VmId) -> None:
        """Note that a command of a VM that was removed has ended; what it says of the VM is of no use."""
        if vm in self.leftovers:
            self.leftovers[vm].done()
            self._tidy(vm)

    def _tidy(self, vm: VmId) -> None:
        if self.leftovers[vm].is_gone:
            del self.leftovers[vm]

    def _answered(self, unit: VmUnit, result: Result) -> None:
        """Note what an answer says of the copy."""
        match result:
            case VolumePrepared(fresh=True):
                self.zeroed.add(unit.spec.name)
                unit.is_new()
            case VolumePrepared() | GenerationsRead():
                if result.ok and result.generations:
                    unit.has_generations(copies.known(result.generations))
            case InFlightCounted():
                if result.ok:
                    unit.counted(result.every, result.local, result.peer)
            case _:
                pass  # the outcome says it all

    def written(self) -> tuple[tuple[VmId, str], ...]:
        """Return the generation of each volume here that was ever part of a pair; to others nothing was written."""
        found = ((name, unit.generations[0]) for name, unit in self.by_name.items() if unit.generations)
        return tuple((name, generation) for name, generation in found if generation != copies.JUST_CREATED)

    def mirror_runs(self) -> None:
        """Try again at once what failed for want of a mirror."""
        for unit in self.by_name.values():
            unit.forgive()

    # ------------------------------------------------------------ what is done

    def drive(self, around: Callable[[VmId], Circumstances], draft: Draft, now: float) -> None:
        """Give each VM its next command."""
        for name, unit in self.by_name.items():
            absent = unit.prepared and unit.disk_known and unit.disk is None
            if unit.busy is not None and not absent:
                continue
            circumstances = around(name)
            if absent and not circumstances.accepted:
                draft.once(f"foreign_disk {name}", alerts.foreign_disk(name))
            command = unit.next_command(circumstances, now)
            if command is not None:
                draft.command(command)

    def judge_ends(self, draft: Draft, now: float, *, entitled: bool, alone: bool) -> None:
        """See to VMs that are to be off; `entitled`: they are those of this node, `alone`: the peer cannot agree."""
        self.ends.judge(self.by_name.values(), draft, now, entitled=entitled, alone=alone)

    def judge_protection(self, facts: CopyFacts, draft: Draft, now: float, *, protected: bool) -> None:
        """Say when every VM is protected, when no longer, and when a VM has one copy only."""
        self.redundancy.judge(facts, draft, now)
        before, self.protected = self.protected, protected
        if protected and not before:
            draft.in_order("backup_down", "refused")
            draft.say("every VM is protected", milestone="protected", alert=alerts.protected())
        elif before and not protected:
            draft.say("no longer protected")

    def unnoted(self, fresh: tuple[VmId, ...]) -> set[VmId]:
        """Return the volumes that were made, and are neither durably noted, in `fresh`, nor equal to the peer's yet."""
        if self.zeroed:
            self.zeroed -= {*fresh} | self.synced()
        return set(self.zeroed)

    def left_behind(self, known: tuple[VmId, ...], found: tuple[VmId, ...], by: NodeId | None, draft: Draft) -> None:
        """Say which copies are behind that were not; `by`: the peer of an owner, which people have to hear of."""
        for name in found:
            if name not in known:
                alert = None if by is None else alerts.copy_behind(name, by)
                # For a backup that returns this is the usual thing.
                draft.say(f"the copy of {name} here is behind", alert=alert)
                self.by_name[name].not_resynced()

    # ------------------------------------------------------------ what is known of all

    @property
    def works(self) -> bool:
        """A command of a VM is in flight, also of one that was removed."""
        return any(unit.busy for unit in self.by_name.values()) or any(left.busy for left in self.leftovers.values())

    @property
    def acts(self) -> bool:
        """A command is in flight that changes something."""
        return any(unit.busy not in (None, *READS) for unit in self.by_name.values())

    def kept(self, filled: Iterable[VmId]) -> bool:
        """A copy of each of these volumes is kept beside it."""
        return all(self.by_name[vm].kept for vm in filled)

    @property
    def stuck_looks(self) -> int:
        """How many looks in a row saw an open request on which nobody works."""
        return max([unit.stuck_looks for unit in self.by_name.values()], default=0)

    def synced(self) -> set[VmId]:
        """Return the volumes whose copies are equal."""
        return {name for name, unit in self.by_name.items() if unit.disk is not None and unit.disk.in_sync}

    def disks(self) -> dict[VmId, DiskView | None]:
        """Return what DRBD says of each volume."""
        return {name: unit.disk for name, unit in self.by_name.items()}

    def rest(self, now: float) -> bool:
        """No VM needs anything."""
        quiet = not self.zeroed and not self.leftovers and self.ends.rests
        return quiet and all(unit.rests(now, self.timers.retry_s) for unit in self.by_name.values())


__all__ = ["Units"]

"""The commands about one replicated disk, or about the mirror below all, each handed to its method of the port."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import assert_never

from avance.core import commands as c
from avance.core.results import Done
from avance.ports import Disks, Mirror

_CopyCommand = c.OutdateDisk | c.KeepCopy | c.ResyncDisk | c.InvalidateDisk | c.ReadGeneration | c.ReadInFlight
DiskCommand = (
    c.PrepareVolume
    | c.AttachDisk
    | c.ConnectDisk
    | c.InitialiseDisk
    | c.PromoteDisk
    | c.DemoteDisk
    | c.ResumeDisk
    | c.DisconnectDisk
    | _CopyCommand
)


def disk_work(disks: Disks, command: DiskCommand) -> Awaitable[Done]:
    """Return the work of a command; it is done when it is awaited."""
    match command:
        case c.PrepareVolume(vm):
            return disks.prepare(vm)
        case c.AttachDisk(vm):
            return disks.attach(vm)
        case c.ConnectDisk(vm, discard):
            return disks.connect(vm, discard=discard)
        case c.InitialiseDisk(vm):
            return disks.initialise(vm)
        case c.PromoteDisk(vm, forced):
            return disks.promote(vm, forced=forced)
        case c.DemoteDisk(vm):
            return disks.demote(vm)
        case c.ResumeDisk(vm):
            return disks.resume(vm)
        case c.DisconnectDisk(vm):
            return disks.disconnect(vm)
        case _:
            return _copy_work(disks, command)


def _copy_work(disks: Disks, command: _CopyCommand) -> Awaitable[Done]:
    match command:
        case c.OutdateDisk(vm):
            return disks.outdate(vm)
        case c.ResyncDisk(vm):
            return disks.resync(vm)
        case c.InvalidateDisk(vm):
            return disks.invalidate(vm)
        case c.ReadGeneration(vm):
            return disks.generations(vm)
        case c.ReadInFlight(vm):
            return disks.in_flight(vm)
        case c.KeepCopy(vm, epoch):
            return disks.keep(vm, epoch)
        case _:
            assert_never(command)


def mirror_work(mirror: Mirror, command: c.MirrorCommand) -> Awaitable[Done]:
    """Return the work of a command; it is done when it is awaited."""
    match command:
        case c.KeepMirrorNote(note):
            return mirror.keep_note(note)
        case c.UseMirrorNote(note):
            return mirror.use_note(note)
        case c.ReuseHalves():
            return mirror.reuse()
        case c.TrustMirror():
            return mirror.trust()

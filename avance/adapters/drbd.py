"""DRBD and the volumes below it: performs the disk commands and follows `drbdsetup events2`.

It must never decide: whether a volume is fresh, and what follows from it, is the core's business.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from avance.adapters.process import Completed, Lines, run, run_all
from avance.config import Config
from avance.core.events import DiskChanged, DiskStreamReset
from avance.core.model import DiskRole, Outcome, VmId, VmSpec
from avance.core.results import Done, GenerationsRead, InFlightCounted, VolumePrepared
from avance.files import read_text, remove_durably, write_durably
from avance.late import in_time
from avance.ports import Sink
from avance.wire import derived, drbd, names
from avance.wire.quoted import quoted

RESOURCE_DIR = Path("/etc/drbd.d")
_COUNTERS = Path("/proc/drbd")
_SHORT_S = 20.0
_READ_S = 5.0
_LISTED_S = 3.0  # for DRBD to list its resources after the daemon's start; then the volume itself is looked for
_ZERO_MIB_PER_S = 2.0  # the slowest disk that is worth waiting for, when a volume is zeroed
_RESTART_S = 1.0  # pause before the event stream is opened again
_RESTART_MAX_S = 8.0  # ... after several that ended before they had listed the resources
_BURST, _BURST_S = 64, 0.05  # so many changes are told, then it waits: 1,280 a second at most
_NO_SUCH_VOLUME = 5  # lvm(8): it found none of that name; a failure of LVM itself looks the same
_FRESH = VolumePrepared(Outcome.OK, "fresh", fresh=True)


class DrbdDisks:
    """The port `Disks` on LVM and DRBD 8.4."""

    def __init__(self, config: Config, sink: Sink) -> None:
        link = config.link(config.replication_link)
        addresses = (str(link.address.ip), str(link.peer_address))
        secret = derived.of_replication(config.secret)
        self._shared = drbd.Replication(addresses, secret, config.dilation, config.data_integrity)
        self._sink = sink
        self._specs: dict[VmId, VmSpec] = {spec.name: spec for spec in config.vms}
        self._parser = drbd.EventsParser()
        self._slow = config.dilation
        self._writing: set[VmId] = set()  # whose resource files are being written, or hang
        self._listed = asyncio.Event()  # DRBD has said which resources there are
        self._one_writer: set[VmId] = set()  # whose resources are known to allow one; at a start nobody knows

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        self._specs[spec.name] = spec
        view = self._parser.views.get(spec.name)
        self._sink(DiskChanged(spec.name, view))

    def change(self, spec: VmSpec) -> None:
        """Take another definition of a VM; its volume, minor and port stay."""
        if spec.name in self._specs:
            self._specs[spec.name] = spec

    def remove(self, vm: VmId) -> None:
        """Take a VM out of care: nothing is reported of it, and nothing is done for it but to clear it."""
        self._specs.pop(vm, None)

    async def clear(self, vm: VmId, minor: int) -> Done:
        """Take down the resource of a removed VM, and remove its file and its volume, each unless it is gone already.

        A version that was kept beside the volume (`avance keep`) stays.
        """
        if vm in self._specs:
            return Done(Outcome.FAILED, f"{vm} is a VM of this node")
        resume, down = drbd.clear_argvs(vm, minor)
        await run(resume, timeout_s=_SHORT_S * self._slow)
        done = (await run(down, timeout_s=_SHORT_S * self._slow)).done
        if done.outcome is not Outcome.OK:
            return done
        try:
            await asyncio.to_thread(remove_durably, RESOURCE_DIR / f"{names.of(vm)}.res")
        except OSError as error:
            return Done(Outcome.FAILED, f"the resource file of {vm} was not removed: {error}")
        return await self._remove_volumes(names.of(vm), drbd.part_name(vm))

    async def _remove_volumes(self, *volumes: str) -> Done:
        """Remove those that are there: only a volume group that is there, and was listed in full, can lack one."""
        group, limit_s = drbd.VOLUME_GROUP, _SHORT_S * self._slow
        listed = await run(["lvs", "--noheadings", "-o", "lv_name", group], timeout_s=limit_s)
        if listed.outcome is not Outcome.OK:
            return listed.done
        if listed.detail:
            return Done(Outcome.UNKNOWN, listed.detail)
        there = [volume for volume in volumes if volume in listed.stdout.split()]
        return await run_all([["lvremove", "-fq", f"{group}/{volume}"] for volume in there], timeout_s=limit_s)

    async def prepare(self, vm: VmId) -> Done:
        """Create the volume when there is none, and zero it; of one that is there read the generations.

        They are not read when its resource is up already. A success is a VolumePrepared.
        """
        spec = self._specs.get(vm)
        if spec is None:
            return _removed(vm)
        written = await self._write(vm, drbd.resource_file(self._shared, spec))
        if written.outcome is not Outcome.OK:
            return written
        if await self._is_up(vm):
            await self.two_writers(vm, allowed=False)  # refused while both write; the end of that sets it back
            return VolumePrepared(Outcome.OK)
        group = drbd.VOLUME_GROUP
        volume = await run(
            ["lvs", "--noheadings", "-o", "lv_name", f"{group}/{names.of(vm)}"], timeout_s=_SHORT_S * self._slow
        )
        if volume.outcome is Outcome.OK:
            return await self._existing(spec)
        if not _is_absent(volume):
            return volume.done
        # Made under another name first: a volume that carries the VM's name is complete.
        part = drbd.part_name(vm)
        await run(["lvremove", "-fq", f"{group}/{part}"], timeout_s=_SHORT_S * self._slow)
        size = f"{spec.volume_mib + drbd.METADATA_MIB}m"
        steps = [
            ["lvcreate", "-q", "-y", "-Wn", "-Zn", "-L", size, "-n", part, group],
            ["dd", "if=/dev/zero", f"of={drbd.path_of(part)}", "bs=1M", f"count={size[:-1]}", "oflag=direct"],
            ["drbdmeta", "--force", str(spec.minor), "v08", drbd.path_of(part), "internal", "create-md"],
            ["lvrename", "-q", group, part, names.of(vm)],
        ]
        done = await run_all(steps, timeout_s=(_SHORT_S + spec.volume_mib / _ZERO_MIB_PER_S) * self._slow)
        return _FRESH if done.outcome is Outcome.OK else done

    async def _is_up(self, vm: VmId) -> bool:
        """Say whether the resource is up already: a daemon before this one has prepared its volume."""
        try:
            async with asyncio.timeout(_LISTED_S * self._slow):
                await self._listed.wait()
        except TimeoutError:
            return False
        return self._parser.views.get(vm) is not None

    async def _write(self, vm: VmId, text: str) -> Done:
        """Write the resource file of a VM; the disk below it may hang, and then no second write is begun."""
        path = RESOURCE_DIR / f"{names.of(vm)}.res"
        if vm in self._writing:
            return Done(Outcome.UNKNOWN, f"an earlier write of {path} still hangs, so this one was not begun")
        try:
            raw = text.encode()
            self._writing.add(vm)
            await in_time(lambda: self._written(vm, path, raw), _SHORT_S * self._slow)
        except TimeoutError:
            return Done(Outcome.UNKNOWN, f"{path} was not written within {_SHORT_S * self._slow:g} s")
        except (OSError, ValueError) as error:  # ValueError: it has letters that no file can hold
            self._writing.discard(vm)  # there may have been no thread for it
            return Done(Outcome.FAILED, f"the resource file of {vm} was not written, so it is as before: {error}")
        return Done(Outcome.OK)

    def _written(self, vm: VmId, path: Path, raw: bytes) -> None:
        try:
            write_durably(path, raw)
        finally:
            self._writing.discard(vm)

    async def _existing(self, spec: VmSpec) -> Done:
        """Activate a volume; one that was zeroed and never used since, by a daemon that died then, is still fresh."""
        limit_s = _SHORT_S * self._slow
        done = await run_all([["lvchange", "-ay", f"{drbd.VOLUME_GROUP}/{names.of(spec.name)}"]], timeout_s=limit_s)
        if done.outcome is not Outcome.OK:
            return done
        found = await self._read_generations(drbd.stored_generations_argv(spec))
        if found.outcome is Outcome.FAILED and self._parser.views.get(spec.name) is not None:
            return VolumePrepared(Outcome.OK)  # the resource is up and holds the volume: it is in use, and not fresh
        if not isinstance(found, GenerationsRead):
            return found
        fresh = drbd.is_just_created(found.detail)
        return _FRESH if fresh else VolumePrepared(Outcome.OK, found.detail, generations=found.generations)

    async def _read_generations(self, argv: list[str]) -> Done:
        read = await run(argv, timeout_s=_READ_S * self._slow)
        if read.outcome is not Outcome.OK:
            return read.done
        try:
            words = drbd.generations(read.stdout)
        except ValueError as error:
            return Done(Outcome.UNKNOWN, str(error))
        return GenerationsRead(Outcome.OK, words, tuple(words.split()))

    async def generations(self, vm: VmId) -> Done:
        """Read which generation of the data the attached copy is."""
        spec = self._specs.get(vm)
        return _removed(vm) if spec is None else await self._read_generations(drbd.generations_argv(spec))

    async def in_flight(self, vm: VmId) -> Done:
        """Count the requests that DRBD has of the VM; it is a short text of the kernel, and starts no program."""
        spec = self._specs.get(vm)
        if spec is None:
            return _removed(vm)
        try:
            every, local, peer = drbd.in_flight(read_text(_COUNTERS), spec.minor)
        except (OSError, ValueError) as error:
            return Done(Outcome.UNKNOWN, str(error))
        return InFlightCounted(Outcome.OK, f"{every} {local} {peer}", every, local, peer)

    async def invalidate(self, vm: VmId) -> Done:
        """Call the local copy bad."""
        return (await run(drbd.invalidate_argv(vm), timeout_s=_SHORT_S * self._slow)).done

    async def attach(self, vm: VmId) -> Done:
        """Bring the resource up on the local disk; a half-raised one is taken down again."""
        if vm not in self._specs:
            return _removed(vm)
        done = await run_all(drbd.attach_argvs(vm), timeout_s=_SHORT_S * self._slow)
        if done.outcome is not Outcome.OK:
            await run(drbd.down_argv(vm), timeout_s=_SHORT_S * self._slow)
        else:
            self._one_writer.add(vm)  # as its file says
        return done

    async def connect(self, vm: VmId, *, discard: bool) -> Done:
        """Let the resource connect; `discard` gives this node's version up where the versions differ."""
        return (await run(drbd.connect_argv(vm, discard=discard), timeout_s=_SHORT_S * self._slow)).done

    async def keep(self, vm: VmId, epoch: int) -> Done:
        """Copy the volume to one that nothing overwrites; a half copy never carries the final name.

        It is read past the kernel's cache of the volume. DRBD writes below that cache and holds the volume open, so
        what was read there for an earlier copy stays in it, and is old by now.
        """
        spec, group = self._specs.get(vm), drbd.VOLUME_GROUP
        if spec is None:
            return _removed(vm)
        kept, part = drbd.kept_name(vm, epoch), drbd.part_name(vm)
        volume = await run(["lvs", f"{group}/{kept}"], timeout_s=_SHORT_S * self._slow)
        if volume.outcome is Outcome.OK:
            return Done(Outcome.OK, f"{group}/{kept} is there already")
        if not _is_absent(volume):
            return volume.done
        await run(["lvremove", "-fq", f"{group}/{part}"], timeout_s=_SHORT_S * self._slow)
        size = f"{spec.volume_mib + drbd.METADATA_MIB}m"
        copying = ["dd", f"if={drbd.volume_path(vm)}", "iflag=direct", f"of={drbd.path_of(part)}"]
        steps = [
            ["lvcreate", "-q", "-y", "-Wn", "-Zn", "-L", size, "-n", part, group],
            [*copying, "bs=1M", f"count={size[:-1]}", "oflag=direct", "conv=fsync"],
            ["lvrename", "-q", group, part, kept],
        ]
        done = await run_all(steps, timeout_s=(_SHORT_S + spec.volume_mib / _ZERO_MIB_PER_S) * self._slow)
        return Done(Outcome.OK, f"kept as {group}/{kept}") if done.outcome is Outcome.OK else done

    async def initialise(self, vm: VmId) -> Done:
        """Declare two zeroed copies equal."""
        return (await run(drbd.initialise_argv(vm), timeout_s=_SHORT_S * self._slow)).done

    async def promote(self, vm: VmId, *, forced: bool = False) -> Done:
        """Become the writer, with `forced` also of an outdated copy; DRBD may ask fence-peer meanwhile."""
        return (await run(drbd.promote_argv(vm, forced=forced), timeout_s=_SHORT_S * self._slow)).done

    async def two_writers(self, vm: VmId, *, allowed: bool) -> Done:
        """Let both nodes be writers of this resource, or one only; the second takes no time where it is known."""
        if not allowed and vm in self._one_writer:
            return Done(Outcome.OK)
        self._one_writer.discard(vm)
        done = (await run(drbd.two_writers_argv(vm, allowed=allowed), timeout_s=_READ_S * self._slow)).done
        if not allowed and (done.ok or self._stands_alone(vm)):
            self._one_writer.add(vm)
            return Done(Outcome.OK)
        return done

    def _stands_alone(self, vm: VmId) -> bool:
        """Say whether it has no connection, and so makes the next one as its file says."""
        view = self._parser.views.get(vm)
        return self._listed.is_set() and view is not None and view.connection == "StandAlone"

    def _peer_writes(self, vm: VmId) -> bool:
        view = self._parser.views.get(vm)
        return self._listed.is_set() and view is not None and view.peer_role is DiskRole.PRIMARY

    async def demote(self, vm: VmId) -> Done:
        """Stop being the writer, and let the resource have one only wherever it may have had two.

        Where the peer is the writer now, a VM that has left waits there for the end of this: the peer sees to the rest.
        """
        done = (await run(drbd.demote_argv(vm), timeout_s=_SHORT_S * self._slow)).done
        if not done.ok or self._peer_writes(vm):
            return done
        one = await self.two_writers(vm, allowed=False)
        return done if one.ok else Done(Outcome.OK, f"{vm} may still have two writers: {one.detail}")

    async def resume(self, vm: VmId) -> Done:
        """Let frozen I/O go on."""
        return (await run(drbd.resume_argv(vm), timeout_s=_SHORT_S * self._slow)).done

    async def disconnect(self, vm: VmId) -> Done:
        """Leave the peer at once."""
        return (await run(drbd.disconnect_argv(vm), timeout_s=_SHORT_S * self._slow)).done

    async def outdate(self, vm: VmId) -> Done:
        """Mark the local copy as outdated; one that is worse, or absent, counts as outdated.

        What counts is the state afterwards: while it is connected, DRBD refuses, and drbdadm 9.22 ends with 0 all the
        same; of a copy that is worse it says that this is a failure.
        """
        completed = await run(drbd.outdate_argv(vm), timeout_s=_SHORT_S * self._slow)
        if completed.outcome is Outcome.UNKNOWN:
            return completed.done
        states = await run(drbd.disk_state_argv(vm), timeout_s=_SHORT_S * self._slow)
        if states.outcome is not Outcome.OK:
            return Done(Outcome.UNKNOWN, f"{completed.detail} {states.detail}".strip())
        try:
            worse = drbd.is_no_longer_good(states.stdout)
        except ValueError as error:
            return Done(Outcome.UNKNOWN, f"{completed.detail} {error}".strip())
        seen = quoted(states.stdout)
        return Done(Outcome.OK if worse else Outcome.FAILED, f"{seen} {completed.detail}".strip())

    async def resync(self, vm: VmId) -> Done:
        """Copy this node's volume to the connected peer in full."""
        return (await run(drbd.resync_argv(vm), timeout_s=_SHORT_S * self._slow)).done

    async def follow(self) -> None:
        """Follow the event stream for ever; when it breaks, say so and open it again."""
        pause_s = _RESTART_S
        while True:
            why = await self._follow_once()
            listed = self._listed.is_set()
            self._listed.clear()
            self._sink(DiskStreamReset(why))
            pause_s = _RESTART_S if listed else min(2 * pause_s, _RESTART_MAX_S)
            await asyncio.sleep(pause_s)

    async def _follow_once(self) -> str:
        """Follow the stream to its end; returns why it ended."""
        self._parser, told = drbd.EventsParser(), 0
        async with Lines(drbd.EVENTS_ARGV) as lines:
            async for line in lines:
                try:
                    changed = self._parser.feed(line)
                except ValueError as error:
                    return f"DRBD said what this version does not understand: {quoted(str(error))}, in {quoted(line)!r}"
                if line.strip() == "exists -":
                    self._listed.set()
                    for vm in tuple(self._specs):
                        self._report(vm)
                elif self._listed.is_set() and changed is not None:
                    self._report(changed)
                    told += 1
                    if told % _BURST == 0:  # the core takes one after the other, and only so many may wait for it
                        await asyncio.sleep(_BURST_S)
        return lines.why

    def _report(self, vm: VmId) -> None:
        if vm in self._specs:
            self._sink(DiskChanged(vm, self._parser.views.get(vm)))


def _removed(vm: VmId) -> Done:
    return Done(Outcome.FAILED, f"nothing was done: {vm} was removed")


def _is_absent(volume: Completed) -> bool:
    """Say whether `lvs` has looked and found no such volume; a failure of any other kind says nothing about it."""
    return volume.code == _NO_SUCH_VOLUME

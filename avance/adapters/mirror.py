"""The mirror of the data disks: assembles it, follows it, takes returning halves back in, and keeps the note about it.

Which half may be taken for the current one is decided by `core/halves.py` (decision 0019); this file looks and does.
It never raises for what a disk or mdadm does, and no hanging disk can hold it up for longer than its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import uuid
from pathlib import Path

from avance.adapters.process import run
from avance.attributes import Attributes
from avance.clock import now_s
from avance.core import halves
from avance.core.damper import doubled
from avance.core.events import MirrorChanged
from avance.core.halves import HALVES, AssemblyPlan, Half, Note, Return, Slots
from avance.core.model import MirrorState, MirrorView, Outcome
from avance.core.results import Done
from avance.data_disks import DiskReader
from avance.files import read_small, read_text, write_durably, write_text
from avance.late import in_time
from avance.ports import Sink
from avance.wire import md
from avance.wire.drbd import VOLUME_GROUP

DISKS = ("/dev/vdb", "/dev/vdc")
SYSFS = Path("/sys/block/md0/md")
_NOTE, _KEPT = "mirror", "mirror.peer"
_SAVE_S = 4.0
_TOOL_S = 60.0
_LOOK_S = 5.0  # between two looks when nothing was told; a disk that returns tells nobody
_RETRY_S = 1.0  # before a note is written again, or the count that belongs to it is read
_AGAIN_MAX_S = 160.0  # between two tries to take a flapping disk back
_COUNT_S = 300.0  # between two moments in which md counts on, so that an older copy of a half is known by its count
_RUNS = (MirrorState.CURRENT, MirrorState.UNPROVEN)
_ABSENT = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.ENOTDIR)  # md does not know it


class DataMirror:
    """The port `Mirror` on md, LVM and two files; `run` does all of it, and begins before the node is paired."""

    def __init__(self, directory: Path, *, disks: tuple[str, ...] = DISKS, sysfs: Path = SYSFS) -> None:
        self._directory = directory
        self._disks = disks
        self._reader = DiskReader(disks)
        self._sysfs = sysfs
        self._sink: Sink | None = None
        self._note: Note | None = None
        self._view = MirrorView()
        self._looked = asyncio.Event()
        self._busy = asyncio.Lock()
        self._state = MirrorState.UNKNOWN
        self._halves = 0
        self._missing = ""  # which disks are not in use, and why
        self._why = ""
        self._unsaved = ""  # why the note could not be written
        self._kept = ""
        self._judged: Slots = {}  # what the last decision about the start was made from
        self._devices: dict[str, str] = {}  # the halves in use, by the name of the disk
        self._recount = False  # the half that is left has a new count, which is not noted yet
        self._dirty = False  # the note on the disk says less than is known
        self._tries: dict[str, int] = {}
        self._again_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._count_at = now_s() + _COUNT_S

    # ---------------------------------------------------------------- what others may ask

    def attach(self, sink: Sink) -> None:
        """Report every change to the core from now on, and first what is known already."""
        self._sink = sink
        if self._view != MirrorView():
            sink(MirrorChanged(self._view))

    @property
    def view(self) -> MirrorView:
        """What is known of the mirror now."""
        return self._view

    async def ready(self) -> Done:
        """Wait until it is known whether this node has a current half."""
        await self._looked.wait()
        if self._view.state in _RUNS:
            return Done(Outcome.OK)
        return Done(Outcome.FAILED, f"this node has no current half of its mirror: {self._view.detail}")

    async def keep_note(self, note: str) -> Done:
        """Keep what the peer knows of its own newest half."""
        if md.parse_note(note) is None:
            return Done(Outcome.FAILED, "the peer's note of its mirror is not understood")
        done = await self._write(_KEPT, note)
        if done.outcome is Outcome.OK:
            self._kept = note
            self._report()
        return done

    async def use_note(self, note: str) -> Done:
        """Take the peer's memory of this node's mirror for its own; does nothing when there is one already."""
        theirs = md.parse_note(note)
        if theirs is None:
            return Done(Outcome.FAILED, "what the peer keeps of this node's mirror is not understood")
        async with self._busy:
            if self._note is None:
                done = await self._save(theirs)
                if done.outcome is not Outcome.OK:
                    return done
                with contextlib.suppress(OSError):  # nothing can be read just now: the next look opens it
                    await self._open()
            return Done(Outcome.OK)

    async def reuse(self) -> Done:
        """Make a new, empty mirror; the rest of the old one is copied over afterwards, as a disk that returns."""
        async with self._busy:
            try:
                running = self._running()
            except OSError as error:
                return Done(Outcome.UNKNOWN, f"nobody can tell whether {md.DEVICE} runs: {error}")
            if running:
                return Done(Outcome.FAILED, f"{md.DEVICE} runs")
            slots = await self._reader.slots()
            usable = halves.reusable(slots, self._note)
            if not usable:
                return Done(Outcome.FAILED, "there is no disk that may be emptied")
            given_up = tuple(half.array for disk in usable if isinstance(half := slots[disk], Half))
            await self._create(usable[:1], halves.begun(self._note, uuid.uuid4().hex, given_up))
            return await self.ready()

    async def trust(self) -> Done:
        """End the doubt about the half in use."""
        async with self._busy:
            if self._note is None or not self._note.current:
                return Done(Outcome.FAILED, "there is no note of the mirror")
            wanted = halves.noted(self._note, self._note.array, self._note.current, 0, doubt=False)
            done = await self._save(wanted)
            if done.outcome is Outcome.OK:
                self._become(MirrorState.CURRENT, "")
                self._report()
            return done

    async def run(self) -> None:
        """Bring the mirror up and follow it for ever."""
        self._note = md.parse_note(self._load(_NOTE))
        self._kept = self._load(_KEPT)
        first = True
        with Attributes() as attributes:
            while True:
                async with self._busy:
                    with contextlib.suppress(OSError):  # nothing can be read just now: what was known last stays
                        await self._turn(first=first)
                        first = False
                attributes.watch(self._attributes())
                await attributes.wait(_RETRY_S if self._dirty or self._recount or first else _LOOK_S)

    async def _turn(self, *, first: bool) -> None:
        if first:
            await self._open()
        elif self._state in _RUNS:
            await self._look()
            await self._take_back()
            await self._count_on()
        elif await self._reader.slots() != self._judged:
            await self._open()

    # ---------------------------------------------------------------- at the start

    async def _open(self) -> None:
        if self._running() and await self._adopt():
            return
        slots = self._judged = await self._reader.slots()
        await self._perform(halves.choose(slots, self._note), slots)

    async def _adopt(self) -> bool:
        """Go on with an array that runs already, because only the daemon was started again."""
        slots, note = await self._reader.slots(), self._note
        used = {disk: slots[disk] for disk, words in self._members().items() if "in_sync" in words}
        found = {disk: half for disk, half in used.items() if isinstance(half, Half)}
        known = {half.device for half in found.values() if note is None or half.array == note.array}
        # A disk that does not answer contradicts nothing: what runs was assembled by an earlier run of this daemon.
        if note is None or (note.current and (not found or known & {*note.current})):
            self._devices = {disk: half.device for disk, half in found.items()}
            proven = not note.doubt if note is not None else len(found) == HALVES
            why = "" if proven else "it was found running, and nothing says that it is the newest"
            self._become(MirrorState.CURRENT if proven else MirrorState.UNPROVEN, why)
            await self._look()
            return True
        stopped = await self._stop()
        if stopped.outcome is not Outcome.OK:
            self._become(MirrorState.NONE, f"the array that runs is not the one that is known: {stopped.detail}")
            self._report()
        return stopped.outcome is not Outcome.OK

    async def _stop(self) -> Done:
        """Stop an array that must not be used; md refuses while somebody uses it."""
        await run(["vgchange", "-an", VOLUME_GROUP], timeout_s=_TOOL_S)
        return (await run(["mdadm", "--stop", md.DEVICE], timeout_s=_TOOL_S)).done

    async def _perform(self, plan: AssemblyPlan, slots: Slots) -> None:
        if plan.create:
            array = uuid.uuid4().hex if self._note is None else self._note.array  # the same one, if it was begun before
            await self._create(plan.create, halves.begun(self._note, array))
            return
        found = [half for disk in plan.assemble if isinstance(half := slots[disk], Half)]
        if not found:
            self._become(plan.state, plan.detail)
            self._report()
            return
        if plan.state is MirrorState.UNPROVEN:
            # Once it runs alone its superblock looks as if it had outlived the other half: the doubt comes first.
            doubt = halves.noted(self._note, found[0].array, tuple(half.device for half in found), 0, doubt=True)
            done = await self._save(doubt)
            if done.outcome is not Outcome.OK:
                self._become(MirrorState.NONE, done.detail)
                self._report()
                return
        assembled = await run(md.assemble_argv(found[0].array, plan.assemble), timeout_s=_TOOL_S)
        await self._activate(plan, assembled.done, {disk: slots[disk] for disk in plan.assemble})

    async def _activate(self, plan: AssemblyPlan, assembled: Done, used: Slots) -> None:
        if assembled.outcome is Outcome.OK:
            assembled = (await run(["vgchange", "-ay", VOLUME_GROUP], timeout_s=_TOOL_S)).done
        if assembled.outcome is not Outcome.OK:
            await self._stop()
            self._become(MirrorState.NONE, assembled.detail)
            self._report()
            return
        self._devices = {disk: half.device for disk, half in used.items() if isinstance(half, Half)}
        self._become(plan.state, plan.detail)
        await self._look()

    async def _create(self, disks: tuple[str, ...], begun: Note) -> None:
        """Make a new array; none of its halves is called current before all of it is complete."""
        done = await self._save(begun)
        for disk in disks:
            if done.outcome is Outcome.OK and isinstance(await self._reader.read(disk), Half):
                done = (await run(md.zero_argv(disk), timeout_s=_TOOL_S)).done
        steps = [
            md.create_argv(begun.array, disks),
            ["wipefs", "-aq", md.DEVICE],  # what an earlier mirror left in this place
            ["vgcreate", "-y", VOLUME_GROUP, md.DEVICE],
        ]
        for step in steps:
            if done.outcome is Outcome.OK:
                done = (await run(step, timeout_s=_TOOL_S)).done
        used = {disk: await self._reader.read(disk) for disk in disks}
        made = [half for half in used.values() if isinstance(half, Half)]
        if done.outcome is Outcome.OK:
            # Nothing is written to it before it is noted: what seems unfinished at the next start is made anew.
            events = min((half.events for half in made), default=0)
            names = tuple(half.device for half in made)
            done = await self._save(halves.noted(begun, begun.array, names, events, doubt=False))
        await self._activate(AssemblyPlan(MirrorState.CURRENT, ""), done, used)

    # ---------------------------------------------------------------- while it runs

    def _running(self) -> bool:
        return self._array_state() not in ("", "clear", "inactive")

    def _array_state(self) -> str:
        return _text(self._sysfs / "array_state")

    def _attributes(self) -> tuple[Path, ...]:
        members = (self._sysfs / md.member_name(disk) / "state" for disk in self._disks)
        return (self._sysfs / "array_state", self._sysfs / "degraded", *members)

    def _members(self) -> dict[str, tuple[str, ...]]:
        """The disks that md knows in the array, with the words of their state."""
        paths = {disk: self._sysfs / md.member_name(disk) / "state" for disk in self._disks}
        return {disk: tuple(_text(path).split(",")) for disk, path in paths.items() if path.exists()}

    async def _look(self) -> None:
        """Tell at once what has changed, and make it durable."""
        members = self._members()
        if self._array_state() == "broken":
            self._halves, self._missing = 0, "the last half failed, too"
            self._report()
            return  # nothing is durable on these disks any more: what is noted stays
        used = tuple(sorted(disk for disk, words in members.items() if "in_sync" in words))
        self._halves, self._missing = len(used), self._words(members, used)
        self._report()
        gained = any(disk not in self._devices for disk in used)
        if gained:
            await self._identify(used)
        before, made = self._note, self._note is None or not self._note.current
        count = gained or made or self._recount
        events = await self._events(used) if count else 0
        await self._note_down(used, events)
        # A loss is noted without its count: md writes the superblock after it has told of the loss.
        self._recount = events == 0 and (count or self._note is not before)
        self._report()

    async def _identify(self, used: tuple[str, ...]) -> None:
        for disk in used:
            half = await self._reader.read(disk)
            if isinstance(half, Half):
                self._devices[disk] = half.device

    async def _events(self, used: tuple[str, ...]) -> int:
        counts = [half.events for disk in used if isinstance(half := await self._reader.read(disk), Half)]
        return min(counts, default=0)

    async def _note_down(self, used: tuple[str, ...], events: int) -> None:
        array = self._note.array if self._note is not None else await self._array_of(used)
        if not array or not used or any(disk not in self._devices for disk in used):
            return  # the next look knows more
        current = tuple(self._devices[disk] for disk in used)
        whole = len(current) == HALVES
        doubt = self._state is MirrorState.UNPROVEN and not whole
        wanted = halves.noted(self._note, array, current, events, doubt=doubt)
        done = Done(Outcome.OK) if wanted == self._note else await self._save(wanted)
        self._dirty = done.outcome is not Outcome.OK
        self._unsaved = done.detail
        if whole and not self._dirty:
            self._become(MirrorState.CURRENT, "")

    async def _array_of(self, used: tuple[str, ...]) -> str:
        found = [half.array for disk in used if isinstance(half := await self._reader.read(disk), Half)]
        return found[0] if found else ""

    def _words(self, members: dict[str, tuple[str, ...]], used: tuple[str, ...]) -> str:
        said = []
        for disk in self._disks:
            if disk not in used:
                rebuilt = "spare" in members.get(disk, ())
                said.append(f"{disk} {'is being rebuilt' if rebuilt else self._refused.get(disk, 'is out of it')}")
        return ", ".join(said)

    async def _take_back(self) -> None:
        """Take back in what may be: a disk that answers again, or a blank one."""
        members = self._members()
        if self._note is None or self._array_state() == "broken":
            return  # md would give a returning half a newer count than the one that it cannot write to (0019)
        for disk in self._disks:
            words = members.get(disk, ())
            if "in_sync" in words or "spare" in words or now_s() < self._again_at.get(disk, 0.0):
                continue
            self._again_at[disk] = now_s() + _LOOK_S
            slot = await self._reader.read(disk)
            how = halves.returned(slot, self._note)
            if how is Return.REFUSE:
                self._refused[disk] = "holds something that this node may not overwrite"
            elif how is not Return.NOTHING:
                self._refused.pop(disk, None)
                await self._take(disk, how, listed=bool(words), superblock=isinstance(slot, Half))

    async def _take(self, disk: str, how: Return, *, listed: bool, superblock: bool) -> None:
        tries = self._tries[disk] = self._tries.get(disk, 0) + 1
        self._again_at[disk] = now_s() + doubled(_LOOK_S, tries, _AGAIN_MAX_S)
        self._devices.pop(disk, None)
        if listed:
            await run(md.manage_argv("remove", disk), timeout_s=_TOOL_S)
        if how is Return.READD:
            again = await run(md.manage_argv("re-add", disk), timeout_s=_TOOL_S)
            if again.outcome is not Outcome.FAILED:
                return
        if superblock:
            zeroed = await run(md.zero_argv(disk), timeout_s=_TOOL_S)
            if zeroed.outcome is not Outcome.OK:
                return
        await run(md.manage_argv("add", disk), timeout_s=_TOOL_S)

    async def _count_on(self) -> None:
        """Let md count on, now and then: by itself it does not while the array is only written to.

        An older copy of a half is then left out by md beside the newer half, and by the note without it (0019).
        """
        if now_s() < self._count_at or self._state is not MirrorState.CURRENT or self._array_state() == "broken":
            return
        self._count_at = now_s() + _COUNT_S
        used = [disk for disk, words in self._members().items() if "in_sync" in words]
        path = self._sysfs / md.member_name(used[0] if used else self._disks[0]) / "state"
        try:
            for _ in range(md.COUNTS):
                await in_time(lambda: count_on(path), _SAVE_S)
        except (OSError, TimeoutError):
            return  # a disk that hangs or is gone: md tells of it in its own time
        self._recount = True

    # ---------------------------------------------------------------- the notes

    def _load(self, name: str) -> str:
        try:
            return md.read_note(read_small(self._directory / name))
        except OSError:
            return ""

    async def _save(self, note: Note) -> Done:
        done = await self._write(_NOTE, md.note_text(note))
        if done.outcome is Outcome.OK:
            self._note = note
        return done

    async def _write(self, name: str, text: str) -> Done:
        try:
            await in_time(lambda: write_durably(self._directory / name, md.note_bytes(text)), _SAVE_S)
        except (OSError, TimeoutError) as error:
            return Done(Outcome.UNKNOWN, f"the note of the mirror was not written: {type(error).__name__} {error}")
        return Done(Outcome.OK)

    # ---------------------------------------------------------------- telling

    def _become(self, state: MirrorState, why: str) -> None:
        self._state, self._why = state, why
        self._looked.set()

    def _report(self) -> None:
        running = self._state in _RUNS
        detail = "; ".join(part for part in (self._missing if running else "", self._why, self._unsaved) if part)
        note = "" if self._note is None else md.note_text(self._note)
        view = MirrorView(self._state, self._halves if running else 0, HALVES, note, self._kept, detail)
        if view != self._view:
            self._view = view
            if self._sink is not None:
                self._sink(MirrorChanged(view))


def count_on(path: Path) -> None:
    """Give a member a flag that it does not have back: md writes every superblock anew, with the next count."""
    write_text(path, md.NOTHING_NEW)


def _text(path: Path) -> str:
    """Return an attribute, empty where there is none; one that cannot be read (no more files) is an error."""
    try:
        return read_text(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return ""
        raise

"""The durable record of this node: what is on its disk, what is on its way there, and what may be there instead.

One record is saved at a time, and nothing that depends on it happens before its outcome is OK (docs/safety.md, S4).
Others wish for a record; they never change one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core import alerts
from avance.core import commands as c
from avance.core.decision import Draft
from avance.core.model import NodeId, Outcome, Record, Timers, VmId
from avance.core.results import Done

_AGAIN_S = 20.0  # between two looks whether a record that nobody needs can be written again


@dataclass(frozen=True, slots=True)
class Wish:
    """A record that somebody wants to be durable, and why."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A record is durable now, in place of the one before."""

    before: Record
    after: Record


@dataclass(slots=True)  # not frozen, as PairFacts
class Held:
    """What both nodes hold, as far as the record has to say it.

    `in_service`: the pair is PAIRED or ALONE. `together`: it is PAIRED, and the peer is heard. `synced`: the volumes
    whose copies are equal. `whole`: all are, and the private link carries. `zeroed`: new volumes that are not noted.
    `works`: a command of a VM is in flight. `tripped`: the peer fails too often. `elected`: the arbiters that should be
    in office now, None for no change. `behind` and `generations`: as in the record. `vms`: the VMs that there are; the
    record names no other one.
    """

    in_service: bool
    together: bool
    synced: set[VmId]
    whole: bool
    zeroed: set[VmId]
    works: bool
    tripped: bool
    elected: tuple[str, ...] | None
    behind: tuple[VmId, ...]
    generations: tuple[tuple[VmId, str], ...]
    vms: frozenset[VmId]


@dataclass(slots=True)
class Durable:
    """The record of one node; `machine` is the boot of its machine."""

    me: NodeId
    machine: str
    timers: Timers
    record: Record
    saving: Record | None = None
    unsure: Record | None = None  # what may be on the disk instead of `record`
    dirty: bool = False  # the disk may hold either record; it is written again before anything is judged
    retry_at: float = 0.0
    saved_at: float | None = None  # when a record was saved last
    failing_from_s: float | None = None  # since when none could be saved
    doubt_from_s: float | None = None  # since when the disk may hold a right that `record` does not give

    @property
    def owner(self) -> bool:
        """This node owns the current epoch."""
        return self.record.owner == self.me

    @property
    def served(self) -> bool:
        """This node was in service since its machine started. Until then no VM can run here."""
        return self.record.boot == self.machine

    @property
    def solo(self) -> bool:
        """This node holds the durable, exclusive right to write alone.

        While a record without the right is being saved, the right is not used any more. The same holds after a save
        that failed, because the disk may hold either record.
        """
        me, saving, unsure = self.me, self.saving, self.unsure
        if not self.record.peer_outdated or not self.record.solo(me):
            return False
        return (saving is None or saving.solo(me)) and (unsure is None or unsure.solo(me))

    @property
    def taking(self) -> bool:
        """A record with the right to write alone is on its way to the disk, or may be there."""
        me, saving, unsure = self.me, self.saving, self.unsure
        return (saving is not None and saving.solo(me)) or (unsure is not None and unsure.solo(me))

    def rests(self, now: float) -> bool:
        """The record is on the disk as it stands, and nobody wants another one."""
        return self.free(now) and self.unsure is None and not self.dirty

    def free(self, now: float) -> bool:
        """Say whether a record can be saved now: one at a time, and not at once after a save that failed."""
        return self.saving is None and now >= self.retry_at

    def wish(self, wish: Wish | None, draft: Draft) -> None:
        """Make a record durable, one at a time; the wish comes again after the outcome. None: nothing is wished."""
        if wish is None or self.saving is not None:
            return
        self.saving = wish.record
        draft.say(wish.reason)
        draft.command(c.SaveRecord(wish.record))

    def try_again(self, draft: Draft, now: float) -> None:
        """Write the record again now and then while the last write of it has failed: the disk may be well again."""
        ill = self.failing_from_s is not None and not self.dirty
        if ill and self.saving is None and now >= self.retry_at + _AGAIN_S * self.timers.second_s:
            self.wish(Wish(self.record, "the last write of the record failed: is it written again?"), draft)

    def done(self, result: Done, draft: Draft, now: float) -> Saved | None:
        """Note how a save ended; returns what is durable now, None if nobody can tell."""
        assert self.saving is not None, "an outcome without a save in flight"
        saved, self.saving = self.saving, None
        if not result.ok:
            self.retry_at = now + self.timers.retry_s
            self.failing_from_s = now if self.failing_from_s is None else self.failing_from_s
            same = saved == self.record and self.unsure is None  # whichever is there, it says the same
            if result.outcome is Outcome.UNKNOWN and not same:
                self._may_be_there(saved, now)
            draft.say(f"the record was not saved: {result.detail}")
            draft.once("store_failed", alerts.store_failed(result.detail))
            return None
        draft.in_order("store_failed")
        self.dirty, self.unsure = False, None
        self.saved_at, self.failing_from_s, self.doubt_from_s = now, None, None
        before, self.record = self.record, saved
        draft.saved(saved.epoch)
        return Saved(before, saved)

    def _may_be_there(self, saved: Record, now: float) -> None:
        """A write that ended unknown may still reach the disk: of several the one that gives least is remembered."""
        if self.unsure is None or self.unsure.solo(self.me):
            self.unsure = saved
        self.dirty = True
        if saved.solo(self.me) and not self.record.solo(self.me) and self.doubt_from_s is None:
            self.doubt_from_s = now

    def fails(self, now: float, for_s: float) -> bool:
        """No record could be saved for so long."""
        return self.failing_from_s is not None and now - self.failing_from_s >= for_s

    def tidied(self, held: Held) -> Record | None:
        """Return the record that follows from the disks and from the agreement of a pair; None if this one does."""
        record = self.record
        fresh = _fresh(record, held) if record.fresh or held.zeroed else record.fresh
        boot = self.machine if held.in_service else record.boot
        quarantined, outdated = record.quarantined, record.peer_outdated
        if held.together and self.owner:  # only the owner says whether its peer fails too often
            quarantined = held.tripped
            outdated = outdated and _outdated(held, quarantined=quarantined)
        cure = 0 if held.together and not outdated and held.whole else record.cure  # forgotten when all is well
        discard = _discard(record, held) if record.discard else record.discard
        arbiters = record.arbiters if held.elected is None else held.elected
        after = (fresh, boot, quarantined, outdated, cure, discard, arbiters, held.behind, held.generations)
        if after == (
            record.fresh, record.boot, record.quarantined, record.peer_outdated, record.cure, record.discard,
            record.arbiters, record.behind, record.generations,
        ):  # fmt: skip
            return None
        return replace(
            record, fresh=fresh, boot=boot, quarantined=quarantined, peer_outdated=outdated, cure=cure, discard=discard,
            arbiters=arbiters, behind=held.behind, generations=held.generations,
        )  # fmt: skip


# ---------------------------------------------------------------- fields of the record that follow from the disks


def _fresh(record: Record, held: Held) -> tuple[VmId, ...]:
    """Volumes that were zeroed here and never written, until both copies are equal."""
    zeroed = held.zeroed - {*record.fresh}
    known = (name for name in (*record.fresh, *sorted(zeroed)) if name in held.vms)
    return tuple(name for name in known if name not in held.synced)


def _outdated(held: Held, *, quarantined: bool) -> bool:
    """The right to write alone stays until both copies are equal and no command is in flight."""
    return not held.whole or quarantined or held.works  # ResumeDisk may be on its way to DRBD


def _discard(record: Record, held: Held) -> tuple[VmId, ...]:
    """Versions that were given up, until the other one is here."""
    known = tuple(vm for vm in record.discard if vm in held.vms)
    return tuple(vm for vm in known if vm not in held.synced) if held.together else known


__all__ = ["Durable", "Held", "Saved", "Wish"]

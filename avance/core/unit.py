"""One VM with its replicated disk on this node: what is known of it, and the next single command it needs.

At most one command per VM is in flight (`busy`); its outcome is the next event. The state table is `core/vm.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core import commands as c
from avance.core import copies
from avance.core import vm as table
from avance.core.circumstances import Circumstances, Goal
from avance.core.consent import apart, marked, must_disconnect, stays
from avance.core.damper import doubled
from avance.core.model import Copy, DiskRole, DiskState, DiskView, Outcome, PairState, VmSpec, VmState
from avance.core.steadiness import Steadiness
from avance.core.usable import GONE, GOOD, has_data, is_marked, may_meet, usable

_WHOLE = (*GOOD, DiskState.OUTDATED)
_HELD = (DiskState.INCONSISTENT, *_WHOLE)
_UNREADABLE = (*GONE, DiskState.ATTACHING, DiskState.NEGOTIATING)
_RETRY_FACTOR_MAX = 16  # a broken VM is tried again at least every 16 retry times

_BY_ACTION: dict[
    table.Action,
    type[c.ReadDomain | c.PromoteDisk | c.DemoteDisk | c.StartDomain | c.DestroyDomain | c.ResumeDomain],
] = {
    table.Action.READ_DOMAIN: c.ReadDomain,
    table.Action.PROMOTE: c.PromoteDisk,
    table.Action.DEMOTE: c.DemoteDisk,
    table.Action.START: c.StartDomain,
    table.Action.DESTROY: c.DestroyDomain,
    table.Action.RESUME: c.ResumeDomain,
}
_MOVES: dict[table.Action, type[c.SendDomain | c.ReceiveDomain]] = {
    table.Action.SEND: c.SendDomain,
    table.Action.RECEIVE: c.ReceiveDomain,
}
TRIES = tuple(command.__name__ for command in _MOVES.values())  # whether they succeed is the business of the move
_STEPS = ("ReadDomain", "PromoteDisk")
READS = ("ReadGeneration", "ReadInFlight", "ShutdownDomain")  # they change nothing here
_COUNTS = 3  # so often the requests are counted after a change, if nobody seems stuck
_STATE_COMMANDS = frozenset(command.__name__ for command in _BY_ACTION.values()).union(TRIES)


@dataclass(slots=True)
class VmUnit:
    """Knowledge and state of one VM on this node."""

    spec: VmSpec
    state: VmState = VmState.CHECKING
    busy: str | None = None
    disk: DiskView | None = None
    disk_known: bool = False
    domain_running: bool = False
    looked: bool = False
    kept: bool = False
    gone: bool = False
    prepared: bool = False
    attach_tried: bool = False
    invalidated: bool = False
    failures: int = 0
    failing: str = ""
    failed_at: float = 0.0
    settled: tuple[str, DiskView | None] = ("", None)
    settled_at: float = 0.0
    domain_paused: bool = False
    domain_never_ran: bool = False
    untouched: bool = False  # its machine has just started, and nothing has been started here since
    begun: bool = False  # this run saw that the VM was not there, and began to start it
    half_made: bool = False  # a creation did not end well, and nobody has seen since that the VM works, or is gone
    held_apart: bool = False  # the disk was seen there since DRBD is not connected: what is written since is on it
    read_apart: bool = False  # the generations were read since DRBD is not connected: they stay as they are
    hung_by: str = ""  # the first command that ended unknown, and has not had an answer since
    hung_from_s: float | None = None
    guest: bool = False  # the disk is lost, and each write since then went to the peer's copy, which was whole
    generations: tuple[str, ...] = ()  # of the local copy, the current one first; empty when they are not known
    resynced: bool = False  # this copy has been the target of a resynchronisation since it was behind
    changed_at: float = 0.0
    read_for: DiskView | None = None  # what DRBD said when the generations were read last
    read_at: float = 0.0
    shaken_at: float | None = None  # when this node, as the writer, lost its peer, froze, or went on
    counts: int = 0
    counted_at: float = 0.0
    steadiness: Steadiness = field(default_factory=Steadiness)
    move: str = ""  # the live move for which it was sent, or taken in, last
    moved: bool = False  # that went well: the domain is complete on the other side of it
    stuck_looks: int = 0  # so many looks in a row saw more open requests than anybody works on

    @property
    def may_write(self) -> bool:
        """This node may be writing the volume; a second writer, whose domain stands still and never ran, is none."""
        if self.state in (VmState.RECEIVING, VmState.RECEIVED):
            return self.domain_running and not (self.domain_paused and self.domain_never_ran)
        if self.disk is not None and self.disk.role is DiskRole.PRIMARY:
            return True
        if self.untouched:
            return False
        return self.state not in (VmState.STANDBY, VmState.CHECKING) or self.domain_running

    @property
    def serves(self) -> bool:
        """The copy here is whole and the writer's. Another disk cannot have replaced it without DRBD seeing a loss."""
        return self.disk is not None and self.disk.role is DiskRole.PRIMARY and self.disk.disk is DiskState.UP_TO_DATE

    @property
    def has_data(self) -> bool:
        """A VM can read its volume here: from the local copy, or over the connection."""
        return has_data(self.disk)

    @property
    def dropped(self) -> bool:
        """DRBD let go of a disk that it had (on-io-error detach, or disk-timeout)."""
        if copies.is_lost(self.disk):
            return True
        return self.attach_tried and self.disk is not None and self.disk.disk is DiskState.DISKLESS

    @property
    def copy(self) -> Copy:
        """What this node says of its copy: what is not known is not called good."""
        if not self.disk_known:
            return Copy(DiskState.UNKNOWN, self.generations)
        return Copy(DiskState.DISKLESS if self.disk is None else self.disk.disk, self.generations)

    @property
    def known(self) -> bool:
        """This node has looked whether the VM runs, and what DRBD says of its disk."""
        return self.disk_known and (self.looked or self.untouched)

    @property
    def is_sure(self) -> bool:
        """Whether the VM runs here is known; where the machine has just started it does not, whatever DRBD says."""
        return self.untouched or self.known

    @property
    def is_down(self) -> bool:
        """Nothing of the volume was brought up since the machine started, although nobody can ask DRBD."""
        return self.untouched and not self.disk_known and not self.attach_tried

    @property
    def unread(self) -> bool:
        """The copy is there, it is not being served, and this run of the daemon does not know its generation."""
        there = self.disk is not None and self.disk.disk in (*GOOD, DiskState.OUTDATED)
        return there and not self.serves and not self.generations

    def comes_up(self, now: float, retry_s: float) -> bool:
        """A command may be bringing the copy up: it is in flight, or DRBD has said nothing yet of what it attached."""
        attached = self.settled == ("AttachDisk", self.disk) and now < self.settled_at + retry_s
        return self.busy not in (None, "PrepareVolume") or attached

    def is_stuck(self, now: float, for_s: float) -> bool:
        """The tools of this node hang, and so the VM cannot be started here; it is known that it did not run before."""
        hangs = self.hung_from_s is not None and now - self.hung_from_s >= for_s
        there = self.state is VmState.RUNNING or (self.domain_running and not self.domain_paused)
        return hangs and not there and (self.looked or self.untouched or self.begun)

    def rests(self, now: float, retry_s: float) -> bool:
        """Nothing is under way here, failed a moment ago, or is in doubt."""
        quiet = self.busy is None and self.failures == 0 and self.prepared and self.known and self.read_for == self.disk
        well = not self.gone and not self.dropped and self.stuck_looks == 0
        return quiet and well and now >= self.settled_at + retry_s

    def forget_disk(self) -> None:
        """Nobody says any more what DRBD has."""
        self.disk_known, self.disk = False, None
        self.connected()  # DRBD may have connected since, and let go again

    def disk_changed(
        self, view: DiskView | None, now: float, second_s: float = 1.0, *, carries: bool = False
    ) -> DiskView | None:
        """Note what DRBD says; returns what it had said before."""
        before, self.disk, self.disk_known = self.disk, view, True
        if before != view:
            self.changed_at, self.read_for = now, None  # the same again later need not be the same generation
            self.shaken(before, now)
            self.connected()
            self.steadiness.changed(before, view, now, second_s, carries=carries)
        if view is not None and view.replication == "SyncTarget":
            self.resynced, self.generations = True, ()  # what it had is being replaced; it is read again
        return before

    def is_new(self) -> None:
        """The volume was made and zeroed just now."""
        self.generations = (copies.JUST_CREATED,)

    def has_generations(self, generations: tuple[str, ...]) -> None:
        """Note the generations of the local copy."""
        self.generations = generations

    def not_resynced(self) -> None:
        """The copy is behind from now on: an earlier resynchronisation does not count."""
        self.resynced = False

    def forgive(self) -> None:
        """Without a mirror nothing could be prepared; there is one now."""
        self.failures = 0 if not self.prepared else self.failures

    def connected(self) -> None:
        """Note what the connection says of the two copies; nobody can tell later.

        A disk that was still there after the connection had ended holds what is written since. A writer without a disk
        writes to the peer's copy only, so that copy has each write that was acknowledged, also after the connection.
        """
        view = self.disk
        if view is None or view.connection == "Connected":
            self.held_apart = self.read_apart = False
        elif view.disk in GOOD:
            self.held_apart = True
        if view is None or view.disk not in GONE:
            self.guest = False
        elif view.connection == "Connected":
            self.guest = view.peer_disk is DiskState.UP_TO_DATE

    def shaken(self, before: DiskView | None, now: float) -> None:
        """Note a change after which DRBD may have lost a request of the VM (decision 0017).

        A handshake waits for every request, so one that ends shows that none is lost.
        """
        view = self.disk
        if view is None or view.role is not DiskRole.PRIMARY or view.connection == "Connected":
            self.shaken_at, self.stuck_looks = None, 0
        elif self.shaken_at is None or before is None or view.suspended != before.suspended:
            self.shaken_at, self.counts, self.stuck_looks = now, 0, 0

    def counted(self, every: int, local: int, peer: int) -> None:
        """Compare all open requests with those that somebody works on: at the local disk, at the peer."""
        self.stuck_looks = self.stuck_looks + 1 if every > local + peer else 0

    def next_command(self, around: Circumstances, now: float) -> c.VmCommand | None:
        """Return the one command that this VM needs now, and mark it as in flight; None when there is nothing to do."""
        if self.busy is not None:
            return None
        if self.gone:
            self.gone = False
            self._take(table.VmTrigger.DOMAIN_GONE)
        if self.state is VmState.CHECKING:
            self.busy = "ReadDomain"  # first of all: what takes long with the volume must not hide whether the VM runs
            return c.ReadDomain(self.spec.name)
        if self._rests(around, now):
            return None
        command = self._disk_duty(around)
        vain = self.settled[0] == "ConnectDisk" and not around.i_am_owner and self.read_for != self.disk
        if type(command) is c.ConnectDisk and vain and now >= self.read_at + around.retry_s:
            # A half that met a writer without a disk may have begun a generation of its own before it was refused.
            self.read_for, self.read_at, command = self.disk, now, c.ReadGeneration(self.spec.name)
        settling = now < self.settled_at + around.retry_s
        if command is not None and settling and (type(command).__name__, self.disk) == self.settled:
            return None  # it was done just now, and DRBD has not reported yet what it changed
        command = command or self._state_duty(around) or self._reading(around, now) or self._counting(around, now)
        if command is not None:
            self.busy = type(command).__name__
        return command

    def _rests(self, around: Circumstances, now: float) -> bool:
        """Say whether the last failure is too recent. The pauses grow with each failure, but not for a stop."""
        if self.failures == 0:
            return False
        times = 0 if around.goal is Goal.STOP else self.failures - 1
        return now < self.failed_at + doubled(around.retry_s, times, around.retry_s * _RETRY_FACTOR_MAX)

    def _disk_duty(self, around: Circumstances) -> c.VmCommand | None:
        name, disk = self.spec.name, self.disk
        if not self.prepared:
            return c.PrepareVolume(name)
        if not self.disk_known:
            return None
        # A disk that comes back under a resource that serves, or mirrors, is older than what it serves.
        absent = disk is not None and disk.disk is DiskState.DISKLESS and not copies.is_lost(disk)
        if disk is None or (absent and not self.attach_tried):
            return c.AttachDisk(name) if around.accepted and not (around.consenting or around.giving) else None
        return self._letting_go(disk, around) or self._connecting(disk, around) or self._going_alone(disk, around)

    def _letting_go(self, disk: DiskView, around: Circumstances) -> c.VmCommand | None:
        """Leave the replication: to consent, or until the daemons agree that DRBD may meet (docs/safety.md, S29)."""
        connected = disk.connection != "StandAlone"
        if around.consenting and not apart(disk):
            return c.DisconnectDisk(self.spec.name)
        marks = around.marking or (around.moving and disk.role is not DiskRole.PRIMARY)
        if marks and disk.disk in _HELD and not marked(disk):
            return c.DisconnectDisk(self.spec.name) if must_disconnect(disk) else c.OutdateDisk(self.spec.name)
        consented = around.outdated and around.pair is PairState.PAIRED and not around.replicate
        if consented and not connected and disk.disk in GOOD:
            return c.OutdateDisk(self.spec.name)  # that the owner goes on alone is durable, and the link does not carry
        # While nobody writes: later the end of this connection could freeze the new writer for ever (decision 0017).
        if around.leaving and connected and copies.is_lost(disk) and disk.role is not DiskRole.PRIMARY:
            return c.DisconnectDisk(self.spec.name)
        unready = copies.is_lost(disk) or (disk.disk is DiskState.OUTDATED and around.i_am_owner)
        if connected and disk.connection != "Connected" and unready and around.solo:
            return c.DisconnectDisk(self.spec.name)  # nobody may be met before (see may_meet)
        if connected and disk.connection != "Connected" and around.held and around.solo:
            return c.DisconnectDisk(self.spec.name)  # by itself DRBD would meet the peer again at once
        lost = around.pair is PairState.WAITING and not around.i_am_owner
        if connected and (lost or around.pair is PairState.SPLIT) and disk.role is not DiskRole.PRIMARY:
            return c.DisconnectDisk(self.spec.name)
        if around.keep and not self.kept and not connected and disk.role is not DiskRole.PRIMARY:
            return c.KeepCopy(self.spec.name, around.keep)
        needless = around.cut and around.solo and disk.disk in GOOD  # without a disk the peer's copy is the only one
        if disk.connection == "Connected" and needless and around.pair is PairState.PAIRED:
            return c.DisconnectDisk(self.spec.name)  # the peer consented: DRBD need not find out by its own time-out
        return None

    def _connecting(self, disk: DiskView, around: Circumstances) -> c.VmCommand | None:
        if around.pair is not PairState.PAIRED or around.consenting or around.marking or around.moving:
            return None
        if self._is_questioned(around):
            return None
        if around.unproven and not self.invalidated and disk.connection == "StandAlone" and disk.disk in _HELD:
            # DRBD would fetch what it noted here, and part of that may lie on the half that was lost: so it takes all.
            return c.InvalidateDisk(self.spec.name) if around.peer_good else None
        if disk.connection == "StandAlone" and around.replicate and around.agreed and may_meet(disk, around):
            return self._meeting(disk, around)
        whole = disk.disk is DiskState.UP_TO_DATE and disk.replication == "Established"
        doubt = (around.behind and not self.resynced) or (around.unproven and not self.invalidated)
        doubtful = doubt and around.peer_good and not around.i_am_owner
        if disk.connection == "Connected" and whole and doubtful:
            return c.InvalidateDisk(self.spec.name)  # DRBD called it equal, and it is not
        if disk.connection != "Connected" or not around.i_am_owner:
            return None
        if disk.disk is disk.peer_disk is DiskState.INCONSISTENT and around.both_fresh:
            return c.InitialiseDisk(self.spec.name)
        equal = disk.disk is disk.peer_disk is DiskState.UP_TO_DATE and disk.replication == "Established"
        if equal and disk.out_of_sync_kib > 0:
            return c.ResyncDisk(self.spec.name)
        return None

    def _meeting(self, disk: DiskView, around: Circumstances) -> c.VmCommand | None:
        """Connect; a copy that is behind meets its peer as the target of a resynchronisation, or not at all."""
        if around.discard and around.peer_read and not around.related and disk.disk in _WHOLE:
            return c.InvalidateDisk(self.spec.name)  # DRBD refuses to connect unrelated data
        if around.behind and not around.discard:
            if around.i_am_owner or not around.peer_read or not around.peer_good:
                return None  # neither is known to be good: nothing is thrown away
            if not around.target and disk.disk in _WHOLE:
                return c.InvalidateDisk(self.spec.name)
        return c.ConnectDisk(self.spec.name, discard=around.discard)

    def _reading(self, around: Circumstances, now: float) -> c.VmCommand | None:
        """Read the generations again when what DRBD says has changed and lasts, and nothing is urgent.

        They are read at once where a right depends on them: when this daemon does not know them, also of a copy that
        stands still, and when the peer asks for consent.
        """
        disk = self.disk
        if disk is None or disk.disk in _UNREADABLE:
            return None
        if disk.suspended and self.generations and not stays(disk):
            return None
        if disk.disk is DiskState.INCONSISTENT or disk.replication == "SyncTarget":
            return None  # while a copy is filled, DRBD gives it an identifier that says nothing
        met = around.pair is PairState.PAIRED and disk.connection == "Connected"
        soon = around.unread or self._is_questioned(around) or disk.suspended
        if not (met or soon or (around.solo and self.state is VmState.RUNNING)):
            return None
        if not soon and (around.sends or around.takes):
            return None  # a VM that stands still for a move waits for nothing that can be read later
        tried = self.read_at >= self.changed_at or not soon
        if disk == self.read_for or (tried and now < self.read_at + around.retry_s):
            return None
        if not soon and now < self.changed_at + around.retry_s / 2:
            return None
        self.read_for, self.read_at = disk, now
        return c.ReadGeneration(self.spec.name)

    def _is_questioned(self, around: Circumstances) -> bool:
        """The peer asks for consent, and it is not known yet whether this copy has writes that the peer's lacks."""
        return around.asked and not self.read_apart and self.disk is not None and self.disk.connection != "Connected"

    def _counting(self, around: Circumstances, now: float) -> c.VmCommand | None:
        """Look for a while after each change at the connection whether a request of the running VM never ends."""
        disk, since = self.disk, self.shaken_at
        if since is None or self.state is not VmState.RUNNING or disk is None or disk.suspended or self.domain_paused:
            return None
        watched = self.counts < _COUNTS or self.stuck_looks > 0
        if not watched or now < max(since, self.counted_at) + around.retry_s:
            return None
        self.counts, self.counted_at = self.counts + 1, now
        return c.ReadInFlight(self.spec.name)

    def _going_alone(self, disk: DiskView, around: Circumstances) -> c.VmCommand | None:
        # Resumed without any data, DRBD would answer the guest with errors.
        good = disk.disk is DiskState.UP_TO_DATE and not around.behind
        frozen = disk.suspended and disk.role is DiskRole.PRIMARY and disk.connection != "Connected"
        if frozen and good and around.solo:
            return c.ResumeDisk(self.spec.name)
        return None

    def _state_duty(self, around: Circumstances) -> c.VmCommand | None:
        if self.state is VmState.FAILED:
            return self._take(table.VmTrigger.RETRY)
        disk = self.disk
        writer = disk is not None and disk.role is DiskRole.PRIMARY
        if writer and self.state is VmState.STANDBY and self.moved and around.sends == self.move:
            return self._take(table.VmTrigger.STOP)  # it has left, and the end of writing here has failed before
        if around.goal is Goal.RUN and self.state is VmState.STANDBY and not around.left:
            fit = disk is not None and usable(disk, around) and not (around.solo and around.unread)
            return self._take(table.VmTrigger.RUN) if fit and not around.sends else None
        if self.state is VmState.RECEIVED:
            if around.goal is Goal.RUN and around.adopts:
                return self._take(table.VmTrigger.RUN)
            stays = around.takes == self.move and (around.adopts or not around.i_am_owner)
            return None if stays else self._take(table.VmTrigger.STOP)
        if around.sends and self.state is VmState.RUNNING and self.move != around.sends:
            self.move, self.moved = around.sends, False
            return self._take(table.VmTrigger.SEND)
        if around.shuts and self.state is VmState.RUNNING:
            return c.ShutdownDomain(self.spec.name)
        if around.goal is Goal.STOP:
            if around.takes and self.state is VmState.STANDBY and not writer and self.move != around.takes:
                self.move, self.moved = around.takes, False
                return self._take(table.VmTrigger.RECEIVE)
            if self.state is VmState.RUNNING or (self.state is VmState.STANDBY and writer):
                return self._take(table.VmTrigger.STOP)
        return None

    def _take(self, trigger: table.VmTrigger) -> c.VmCommand | None:
        self.state, action = table.step(self.state, trigger)
        self.begun = self.begun or action is table.Action.PROMOTE
        self.untouched = self.untouched and action not in (table.Action.PROMOTE, table.Action.START)
        if action is table.Action.PROMOTE:
            return c.PromoteDisk(self.spec.name, forced=self.disk is not None and is_marked(self.disk))
        if action in _MOVES:
            return _MOVES[action](self.spec.name, self.move)
        return None if action is table.Action.NOTHING else _BY_ACTION[action](self.spec.name)

    def command_done(self, done: str, outcome: Outcome, around: Circumstances, now: float) -> c.VmCommand | None:
        """Note an outcome; returns the command that follows at once from the state table, already in flight."""
        assert self.busy == done, f"{done} ended for {self.spec.name}, but {self.busy} was in flight"
        self.busy = None
        if done in READS:
            if done == "ReadGeneration":
                self.read_for = self.read_for if outcome is Outcome.OK else None
                self.read_apart = stays(self.read_for)
            return None  # it changes nothing, and nothing else waits because it failed
        if outcome is Outcome.UNKNOWN and not self.hung_by and done not in TRIES:
            self.hung_by, self.hung_from_s = done, now
        elif outcome is not Outcome.UNKNOWN and done in (self.hung_by, "StartDomain"):
            self.hung_by, self.hung_from_s = "", None
        if outcome is not Outcome.OK and done not in TRIES:
            self.failures, self.failing, self.failed_at = self.failures + 1, done, now
        elif done == self.failing or done not in _STEPS:
            self.failures = 0  # the steps before a command that always fails do not make it better
        if outcome is not Outcome.FAILED and done not in _STATE_COMMANDS:  # what is unknown may be done, too
            self.settled, self.settled_at = (done, self.disk), now
        apart = self.disk is not None and self.disk.connection == "StandAlone"
        if done == "ConnectDisk" and outcome is Outcome.OK and self.disk is not None and apart:
            self.disk = replace(self.disk, connection="Connecting")  # it may meet its peer before DRBD reports anything
        self._note(done, ok=outcome is Outcome.OK)
        if done not in _STATE_COMMANDS:
            return None
        command = self._take(self._outcome_trigger(done, outcome, around))
        if command is not None:
            self.busy = type(command).__name__
        return command

    def _note(self, done: str, *, ok: bool) -> None:
        """Remember what an outcome says of the volume and of the domain."""
        self.attach_tried = self.attach_tried or done == "AttachDisk"
        self.invalidated = ok if done == "InvalidateDisk" else self.invalidated
        self.kept = ok if done == "KeepCopy" else self.kept
        self.prepared = ok if done == "PrepareVolume" else self.prepared
        if done in TRIES:
            self.moved = ok
        if done in ("StartDomain", "ReceiveDomain"):
            self.half_made = not ok
        if done in ("StartDomain", "PromoteDisk", "ResumeDomain", *TRIES):
            self.looked = self.looked and ok  # whether anything runs or writes here has to be looked at anew
        elif done == "DestroyDomain" and ok:
            self.half_made = False

    def _outcome_trigger(self, done: str, outcome: Outcome, around: Circumstances) -> table.VmTrigger:
        if outcome is not Outcome.OK:
            return table.VmTrigger.NOT_DONE
        if done in TRIES:
            return table.VmTrigger.DONE
        if done == "ReadDomain":
            self.looked = True
            # Whoever created it may have been an earlier run of this daemon: then only Xen can tell.
            doubtful = self.half_made or self.domain_never_ran
            self.half_made = doubtful and self.domain_running and self.domain_paused
            if self.half_made:
                return table.VmTrigger.FOUND_HALF_MADE
            return table.VmTrigger.FOUND_RUNNING if self.domain_running else table.VmTrigger.FOUND_GONE
        # A domain is created only while the right and its data last; one that exists is stopped only on a clear STOP.
        # A forced promotion has just made the marked copy the current one; DRBD may not have told so yet.
        data = has_data(self.disk) or (self.disk is not None and is_marked(self.disk))
        startable = around.goal is Goal.RUN and data
        wanted = startable if done == "PromoteDisk" else around.goal is not Goal.STOP
        return table.VmTrigger.DONE if wanted else table.VmTrigger.DONE_UNWANTED

    def domain_changed(self, *, running: bool, paused: bool = False, never_ran: bool = False) -> bool:
        """Note what Xen says; true when a running VM was lost."""
        self.domain_running, self.domain_paused, self.domain_never_ran = running, paused, never_ran
        self.untouched = self.untouched and not running
        if running or self.state is not VmState.RUNNING:
            self.gone = False
            return False
        lost, self.gone = not self.gone, True
        return lost

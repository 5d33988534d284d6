"""One machine: power, clocks, watchdog, domains, addresses, and the daemon's supervisor.

What survives a death: the record, the volumes, the configuration. The rest is gone. Time of a machine is its own
monotonic clock; while it is paused that clock stands, while it is frozen the clock jumps at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from avance.core import events as e
from avance.core.model import DiskRole, DiskState, DiskView, DomainEnd, NodeId, Stand, Version, VmId, Wanted
from tests.sim import guests, moves
from tests.sim.daemon import Daemon
from tests.sim.drbd_side import Content
from tests.sim.mirror import Mirror
from tests.sim.site import TIMERS
from tests.sim.store import Store

if TYPE_CHECKING:
    from avance.core.engine import Engine
    from avance.core.model import Record
    from tests.sim.world import World

HANDLER_S = 20.0
NOTICES_S = 1.0  # in which a daemon has read the hardware clock
DENIED = 1
TOOL_HANGS_ON_S = 10.0  # what hung when the tool was healed hangs until its deadline


class Machine:
    """One node's hardware, hypervisor and kernel."""

    def __init__(self, world: World, name: NodeId) -> None:
        self.world = world
        self.name = name
        self.powered = False
        self.unplugged = False
        self.on = False
        self.starts = 0
        self.still: str | None = None  # `pause` or `freeze`
        self.store = Store(self)
        self.config_hash = "c0ffee"
        self.vms: tuple[VmId, ...] = world.site.vms
        self.removed: tuple[VmId, ...] = ()
        self.memory: dict[VmId, int] = {}
        self.free_mib: int | None = 4096
        self.wanted: dict[VmId, Wanted] = {}  # of VMs that are not to run
        self.off_from: dict[VmId, float] = {}  # since when that counts here
        self.room_mib = 4096
        self.ended: dict[VmId, DomainEnd] = {}  # why what is dead has ended
        self.lives: dict[VmId, int] = {}  # how many domains of a VM there were
        self.stand = Stand(Version(0, self.config_hash))  # durable, as the record
        self.daemon: Daemon | None = None
        self.domains: dict[VmId, bool] = {}  # value: its processors run (not paused)
        self.address = False
        self.gate_until_s: float | None = None  # a machine that has just started has no gate yet
        self.blocked_s = 0.0
        self.broken_vms: set[VmId] = set()
        self.dying_vms: dict[VmId, float] = {}  # guests that die so many seconds after each start
        self.dead: set[VmId] = set()  # domains that died by themselves: Xen lists them, and they hold their disks open
        self.half_made: set[VmId] = set()  # domains that a killed `xl create` left behind, paused
        self.moves: dict[VmId, moves.End] = {}  # live moves in which its daemon takes part
        self.suspended: dict[VmId, moves.Image] = {}  # domains that stand still for a move: they hold their disks open
        self.images: dict[VmId, moves.Image] = {}  # domains that were taken in, complete; they never ran here
        self.halted = False  # every domain was paused
        self.undead = 0  # no domain can be destroyed
        self.hung: dict[str, int] = {}  # tools that do not end
        self.worked_again_at = -1e9  # when one ended again; what it was asked for before hangs until its deadline
        self.late: dict[str, list[Callable[[], None]]] = {}  # what a hung tool does when it can go on at last
        self.clones: dict[VmId, Content] = {}
        self.mirror = Mirror(self) if world.site.halves else None
        self.own_disks: dict[VmId, Content] = {}  # what was in the place of another disk
        self.useless: set[str] = set()  # what does nothing here any more: `reset`, `pause`, `watchdog`
        self.ungated = 0  # the gate is gone: whatever its number says, every frame passes
        self.unwatched = 0  # the watchdog cannot be armed, and ends nothing
        self.unguarded_from_s = -1.0  # since when; negative: it is guarded
        self.freed_at = -1e9  # when it could not have been stopped last
        self.resets: list[tuple[float, str]] = []
        self.thawed_at = -1e9
        self.daemon_at = -1e9  # since then there is a daemon that runs
        self.blind = False  # it was paused, and no daemon has lived since that had the time to notice
        self._zero = 0.0
        self._stood_s = 0.0
        self._still_since = 0.0
        self._waiting: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
        self._fed = 0
        self._daemons = 0
        self._answers: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}
        self._asks = 0

    # ------------------------------------------------------------ time of this machine

    @property
    def awake(self) -> bool:
        """Its kernel runs now."""
        return self.on and self.still is None

    @property
    def engine(self) -> Engine | None:
        """The engine of its daemon, if one lives."""
        return self.daemon.engine if self.daemon is not None else None

    @property
    def record(self) -> Record:
        """What is durable."""
        return self.store.record

    def mono(self) -> float:
        """Return the monotonic clock."""
        return self.world.now - self._zero

    def after(self, delay_s: float, act: Callable[..., None], *given: Any) -> None:  # noqa: ANN401 - any arguments
        """Let something happen on this machine, by its own clock; forgotten when it dies.

        What comes from outside while it stands still waits at its door until it goes on.
        """
        if self.still is not None:
            self._waiting.append((delay_s, act, given))
            return
        self.world.after(delay_s, self._due, self.starts, self._stood_s, act, given)

    def _due(self, start: int, stood_s: float, act: Callable[..., None], given: tuple[Any, ...]) -> None:
        if start != self.starts or not self.on:
            return
        if self.still is not None:
            late_s = self.world.now - self._still_since if self.still == "pause" else 0.0
            self._waiting.append((late_s + self._stood_s - stood_s, act, given))
        elif stood_s != self._stood_s:
            self.world.after(self._stood_s - stood_s, self._due, start, self._stood_s, act, given)
        else:
            act(*given)

    # ------------------------------------------------------------ life and death

    def power_on(self, *, now: bool = False) -> None:
        """Give it power; it boots."""
        self.unplugged = False
        if self.powered:
            return
        self.powered = True
        self._boot_later(0.0 if now else self.world.random.uniform(*self.world.boot_s))

    def power_off(self, *, unplugged: bool = True) -> None:
        """Take its power; what was not flushed is gone. One that is not unplugged can be switched on by its BMC."""
        self.unplugged = self.unplugged or unplugged
        if self.powered:
            self._die(power=True)
            self.powered = False

    def reset(self, reason: str) -> None:
        """Start it anew at once, without stopping anything in order."""
        if self.powered:
            self.resets.append((self.world.now, reason))
            self._die(power=False)
            self._boot_later(self.world.random.uniform(*self.world.boot_s))

    def _boot_later(self, delay_s: float) -> None:
        self.world.after(delay_s, self._boot, self.starts)

    def _boot(self, start: int) -> None:
        if start != self.starts or not self.powered or self.on:
            return
        self.on = True
        self._zero, self._stood_s = self.world.now - self.world.random.uniform(1.0, 9.0), 0.0
        self.world.trace_line(self.name, f"machine boot {self.starts}")
        for resource in self.world.resources.values():
            resource.poll()
        self.start_daemon()

    def _die(self, *, power: bool) -> None:
        self.world.trace_line(self.name, "power lost" if power else "machine down")
        was_on, self.on = self.on, False
        if self.daemon is not None:
            self.daemon.die()
        self.starts += 1
        self.still, self.daemon, self.address, self.blocked_s = None, None, False, 0.0
        self.gate_until_s, self.blind = None, False
        self.domains.clear()
        self.half_made.clear()
        self.dead.clear()
        for gone in (self.moves, self.suspended, self.images):
            gone.clear()
        self.halted = False
        self.late.clear()
        self._waiting.clear()
        self._answers.clear()
        self._fed += 1
        if self.mirror is not None:
            self.mirror.died()
        if was_on:
            self.store.crash()
            for resource in self.world.resources.values():
                resource.crash(self.name, power=power)
        self.world.judges.placement_changed()

    # ------------------------------------------------------------ standing still

    def stand_still(self, how: str) -> None:
        """Pause it with its clocks, or freeze its process while time goes on."""
        if self.awake:
            self.still, self._still_since = how, self.world.now
            self.world.judges.placement_changed()
            self.world.poll()

    def go_on(self) -> None:
        """End a pause or a freeze; what came meanwhile comes now."""
        if self.still is None:
            return
        stood_s = self.world.now - self._still_since if self.still == "pause" else 0.0
        self._zero += stood_s
        self._stood_s += stood_s
        frozen = self.still == "freeze"
        self.blind = not frozen
        self.still, self.thawed_at = None, self.world.now
        if frozen:
            self.world.judges.thawed(self)
        waiting, self._waiting = self._waiting, []
        for delay_s, act, given in waiting:
            self.after(delay_s, act, *given)
        self.world.judges.placement_changed()
        self.world.poll()

    # ------------------------------------------------------------ daemon

    def start_daemon(self) -> None:
        """Let the supervisor start the daemon; one that cannot read its record does not come up."""
        if not self.on or self.daemon is not None:
            return
        if self.store.damaged:
            self.after(self.world.random.uniform(*self.world.supervisor_s), self.start_daemon)
            return
        self._daemons += 1
        self.daemon_at = self.world.now
        self.daemon = Daemon(self, f"{self.name}-boot-{self._daemons}", f"{self.name}-machine-{self.starts}")
        self.daemon.start()

    def kill_daemon(self) -> None:
        """End the daemon's process by a signal; the supervisor starts another."""
        if self.daemon is None or not self.on:
            return
        self.daemon.die()
        moves.daemon_died(self)
        self.daemon, self.halted = None, False
        if self.still is None and self.world.now - max(self.thawed_at, self.daemon_at) >= NOTICES_S:
            self.blind = False  # while the machine stands still, its daemon notices nothing
        self.store.crash()
        for ask in list(self._answers):
            self.after(0.05, self.fence_answered, ask, DENIED)
        self.after(self.world.random.uniform(*self.world.supervisor_s), self.start_daemon)

    def crash_daemon(self, error: str) -> None:
        """The daemon met a programmer error: in the product its process ends, here the history fails."""
        self.world.judges.fail("assertion", f"the engine of {self.name} raised: {error}")

    # ------------------------------------------------------------ watchdog

    def feed(self) -> None:
        """Give it ten more seconds."""
        self._fed += 1
        self.after(TIMERS.watchdog_s, self._bite, self._fed)

    def _bite(self, fed: int) -> None:
        if fed == self._fed and "watchdog" not in self.useless and not self.unwatched:
            self.reset("watchdog")

    # ------------------------------------------------------------ DRBD's questions and reports

    def ask_fence(self, vm: VmId, answered: Callable[..., None], *given: Any) -> None:  # noqa: ANN401 - any arguments
        """Start the fence-peer handler; the callable gets its exit code as its last argument."""
        self._asks += 1
        self._answers[self._asks] = (answered, given)
        self.after(self.world.random.uniform(0.05, 0.2), self._handler, vm, self._asks)

    def _handler(self, vm: VmId, ask: int) -> None:
        if self.daemon is None:
            self.fence_answered(ask, DENIED)
            return
        self.after(HANDLER_S, self.fence_answered, ask, DENIED)
        self.daemon.deliver(e.FencePeerAsked(vm, ask))

    def fence_answered(self, ask: int, code: int) -> None:
        """Give the handler's exit code to DRBD; only the first counts."""
        if ask not in self._answers:
            return
        answered, given = self._answers.pop(ask)
        if code != DENIED:
            self.world.judges.fence_allowed(self, code)
        answered(*given, code)

    def report(self, vm: VmId) -> None:
        """Let the daemon hear of a changed resource, some 10 ms later."""
        daemon = self.daemon
        if daemon is None or vm not in self.vms or (vm not in daemon.reported and self.hung.get("drbd")):
            return
        view = self.view(vm)
        if daemon.reported.get(vm, 0) != view:
            daemon.reported[vm] = view
            self.after(0.01, daemon.deliver, e.DiskChanged(vm, view))

    def view(self, vm: VmId) -> DiskView | None:
        """Return what DRBD says of a VM here."""
        side, other = self.world.resources[vm].pair(self.name)
        return side.view(other)

    # ------------------------------------------------------------ domains and address

    def holds(self, vm: VmId) -> bool:
        """Say whether a domain has the device open."""
        return vm in self.domains or vm in self.dead or vm in self.suspended

    def runs(self, vm: VmId) -> bool:
        """Say whether the VM's processors run here now."""
        return self.awake and self.domains.get(vm, False)

    def start_domain(self, vm: VmId) -> bool:
        """Create a domain; its disk must be writable, its name free, and a broken VM never starts."""
        side, _ = self.world.resources[vm].pair(self.name)
        if not side.primary or vm in self.broken_vms or vm in self.half_made:
            return False
        # What is left of an earlier one is cleared away first (avance/adapters/xen.py).
        self.dead.discard(vm)
        self._let_go(vm)
        if vm not in self.domains:
            self.domains[vm] = True
            guests.begun(self, vm)
            guests.started(self, vm)
            self.world.judges.started(self, vm, side)
            self._told_domain(vm)
            if vm in self.dying_vms:
                self.after(self.dying_vms[vm], self._guest_dies, vm)
        return True

    def _guest_dies(self, vm: VmId) -> None:
        if vm in self.dying_vms:
            self.end_domain(vm, crashed=True)

    def half_make(self, vm: VmId) -> None:
        """Let a `xl create` that was killed leave its domain behind, paused."""
        side, _ = self.world.resources[vm].pair(self.name)
        if side.primary and vm not in self.domains:
            self.domains[vm] = False
            self.half_made.add(vm)
            self._told_domain(vm)

    @property
    def cannot_stop(self) -> bool:
        """Neither the pause of the VMs nor the reset does anything: only the watchdog stops this machine."""
        return self.useless >= {"pause", "reset"}

    @property
    def cannot_look(self) -> bool:
        """A tool hangs without which nobody knows what runs, or what it was asked for has not come to its deadline."""
        return any(map(self.hung.get, ("xl", "drbd"))) or self.world.now - self.worked_again_at < TOOL_HANGS_ON_S

    def do_late(self, tool: str) -> None:
        """A tool that hung can go on."""
        self.worked_again_at = self.world.now
        for act in self.late.pop(tool, []):
            self.after(0.0, act)

    def end_domain(self, vm: VmId, *, crashed: bool = False) -> bool:
        """Let a domain be gone, by order or by a crash; false when it cannot be destroyed."""
        if self.undead and not crashed and (vm in self.domains or vm in self.suspended):
            return False
        if crashed and vm in self.domains:
            self.dead.add(vm)
        elif not crashed:
            self.dead.discard(vm)
            self._let_go(vm)
        if self.domains.pop(vm, None) is not None:
            self.half_made.discard(vm)
            self.images.pop(vm, None)
            self._nobody_waits(vm)
            self.world.judges.placement_changed()
            self._told_domain(vm)
        return True

    def _nobody_waits(self, vm: VmId) -> None:
        """What is on a disk already stays in flight, without anybody who waits for it."""
        side, other = self.world.resources[vm].pair(self.name)
        side.waiting[:] = [n for n in side.waiting if n in side.unflushed or n in other.unflushed]
        side.orphans.update(side.waiting)

    def _let_go(self, vm: VmId) -> None:
        if self.suspended.pop(vm, None) is not None:
            self._nobody_waits(vm)

    # ------------------------------------------------------------ domains that move

    def suspend(self, vm: VmId) -> moves.Image:
        """Let a domain stand still for a move: for Xen it is shut down, and what it was writing is still in flight."""
        del self.domains[vm]
        side, _ = self.world.resources[vm].pair(self.name)
        image = self.suspended[vm] = moves.Image(vm, self.name, tuple(side.waiting))
        self.world.judges.suspended(image)
        self._told_domain(vm)
        return image

    def resume_here(self, vm: VmId) -> None:
        """Let a domain that was suspended go on where it is; that the others are paused counts for it as well."""
        image = self.suspended.pop(vm, None)
        if image is not None:
            self.domains[vm] = not self.halted
            self.world.judges.goes_on(image, self)
            self._told_domain(vm)

    def take_in(self, vm: VmId) -> None:
        """Make an empty domain for one that comes: it is paused, and has never run here."""
        assert not self.holds(vm), f"{vm} is on {self.name} already"
        self.domains[vm] = False
        self.half_made.add(vm)
        self._told_domain(vm)

    def resume_received(self, vm: VmId) -> bool:
        """Let a domain that was taken in go on; what its guest waited for it asks for again."""
        if vm not in self.domains or self.halted:
            return False
        if vm not in self.half_made:
            return self.domains[vm]
        image = self.images.pop(vm, None)
        side, _ = self.world.resources[vm].pair(self.name)
        self.world.judges.resumed(self, vm, image, side)
        assert image is not None
        self.half_made.discard(vm)
        self.domains[vm] = True
        side.waiting[:] = image.waiting
        self.world.judges.placement_changed()
        self._told_domain(vm)
        return True

    def _told_domain(self, vm: VmId) -> None:
        if self.daemon is not None:
            self.after(0.05, self.daemon.deliver_domain, vm)

    def pause_domains(self, *, paused: bool) -> None:
        """Stop or continue the processors of every domain; one that never ran stands still (avance/adapters/xen.py)."""
        self.halted = paused
        for vm in self.domains:
            self.domains[vm] = not paused and vm not in self.half_made
        self.world.judges.placement_changed()

    @property
    def reaches_clients(self) -> bool:
        """What its VMs and the service address send passes the gate of the lease (avance/adapters/gate.py)."""
        return self.awake and (self.ungated > 0 or not self.gate_closed)

    @property
    def gate_closed(self) -> bool:
        """The right has ended, as the gate knows it."""
        return self.gate_until_s is not None and self.mono() >= self.gate_until_s

    @property
    def runs_free(self) -> bool:
        """Its watchdog is dead, and nothing else can stop it: a double fault that only people can end."""
        daemon = self.daemon
        acts = daemon is not None and not daemon.stopped and not self.cannot_stop
        return self.unwatched > 0 and not acts

    def guards_changed(self) -> None:
        """Note since when the gate or the watchdog does not do its work."""
        guarded = not self.ungated and not self.unwatched
        self.unguarded_from_s = (
            -1.0 if guarded else self.world.now if self.unguarded_from_s < 0 else self.unguarded_from_s
        )

    def open_gate(self, until_s: float | None) -> None:
        """Move the end of what may leave."""
        self.gate_until_s = until_s

    def hold(self, *, address: bool) -> None:
        """Hold or release the service address."""
        self.address = address
        self.world.judges.placement_changed()

    def write(self) -> None:
        """Every running guest writes once; what is in flight goes on without its guest."""
        for vm, resource in self.world.resources.items():
            side, other = resource.pair(self.name)
            if side.role is not DiskRole.PRIMARY or not side.up:
                continue
            if self.domains.get(vm):
                resource.write(self.name)
            elif side.waiting and vm not in self.domains:
                resource.push(side, other)

    @property
    def detached(self) -> bool:
        """A disk of this machine was dropped: it must be started anew before the disk is used again."""
        sides = [resource.sides[self.name] for resource in self.world.resources.values()]
        return any(side.up and side.disk is DiskState.DISKLESS for side in sides)

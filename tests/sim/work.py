"""How long each command takes in the world, what it does there, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core.model import DiskState, Outcome
from tests.sim import agreed, guests, moves
from tests.sim.arbiters import ASK_S

if TYPE_CHECKING:
    from tests.sim.daemon import Daemon
    from tests.sim.drbd_side import Side

SECONDS: dict[type, tuple[float, float]] = {
    c.PrepareVolume: (0.1, 0.5),
    c.StartDomain: (0.5, 1.5),
    c.ResumeDomain: (0.1, 0.5),
    c.KeepCopy: (1.0, 3.0),
    c.ProbeNeighbours: (0.3, 1.0),
    c.ReadPeerPower: (0.1, 0.5),
    c.CutPeerPower: (0.3, 1.0),
}
USUAL_S = (0.05, 0.3)
BMC_DEADLINE_S = 3.0
TOOLS = {
    **dict.fromkeys(("StartDomain", "DestroyDomain", "ResumeDomain", "ReadDomain", "PauseVms", "UnpauseVms"), "xl"),
    "ShutdownDomain": "xl",
    **dict.fromkeys(("HoldAddress", "ReleaseAddress"), "ip"),
    **dict.fromkeys(("PrepareVolume", "KeepCopy"), "lvm"),
    **dict.fromkeys(
        ("AttachDisk", "ConnectDisk", "InitialiseDisk", "PromoteDisk", "DemoteDisk", "ResumeDisk", "DisconnectDisk",
         "OutdateDisk", "ResyncDisk", "InvalidateDisk", "ReadGeneration"), "drbd",
    ),
}  # fmt: skip
TOOL_DEADLINES_S = {"xl": 10.0, "ip": 20.0, "lvm": 20.0, "drbd": 20.0}  # those of the adapters
CREATE_DEADLINE_S = 60.0
DONE_LATE = 0.5  # share of hung commands that are done in the end, or half done
KILLED_YET_DONE = 0.5  # a child that was running when the daemon was killed has done its work, or not


def begin(daemon: Daemon, command: c.Work) -> None:
    """Begin a command that has an outcome."""
    world, machine = daemon.world, daemon.machine
    if isinstance(command, c.SaveRecord):
        machine.store.save(command.record, _Saved(daemon, command))
        return
    if isinstance(command, c.KeepMirrorNote | c.UseMirrorNote | c.ReuseHalves | c.TrustMirror):
        assert machine.mirror is not None, "only a mirror that is simulated says anything to the core"
        machine.after(world.random.uniform(*USUAL_S), machine.mirror.do, daemon, command)
        return
    if isinstance(command, c.SendDomain | c.ReceiveDomain):
        moves.begin(daemon, command)
        return
    if isinstance(command, c.SaveDefinitions):
        agreed.save(daemon, command)
        return
    if isinstance(command, c.AskWitness | c.TeachWitness):
        world.arbiters[command.witness].send(daemon, command)
        return
    usual = world.command_s.get(type(command)) or SECONDS.get(type(command), USUAL_S)
    delay_s = world.random.uniform(*usual)
    dice = 1.0
    if world.trouble:
        delay_s, dice = world.random.uniform(0.05, 3.0), world.random.random()
    if machine.hung and _hangs(daemon, command):
        return
    if isinstance(command, c.ReadPeerPower | c.CutPeerPower | c.RestorePeerPower):
        _begin_power(daemon, command, delay_s)
        return
    machine.after(delay_s, _act, daemon, command, dice)


def _hangs(daemon: Daemon, command: c.Work) -> bool:
    """Let a command hang with its tool, or with its disk; at its deadline the adapter gives up and does not know.

    A killed `xl create` may leave its domain behind, paused. What `drbdadm`, `ip` and the volume manager asked of the
    kernel may be done as soon as the kernel can.
    """
    machine, tool = daemon.machine, TOOLS.get(type(command).__name__)
    if tool is None or not machine.hung.get(tool):
        return False
    if isinstance(command, c.DestroyDomain) and not machine.holds(command.vm):
        return False  # a hypercall has told that there is none, and xl is not asked
    limit_s = CREATE_DEADLINE_S if isinstance(command, c.StartDomain) else TOOL_DEADLINES_S[tool]
    machine.after(limit_s, daemon.done, command, Outcome.UNKNOWN, f"{tool} did not end within {limit_s:g} s")
    later = machine.world.random.random() < DONE_LATE
    if later and isinstance(command, c.StartDomain):
        machine.after(1.0, machine.half_make, command.vm)
    elif later and tool != "xl" and not isinstance(command, c.PromoteDisk):
        machine.late.setdefault(tool, []).append(_Late(daemon, command))
    return True


class _Late:
    """What a hung tool asked of the kernel, done when nobody waits for it any more."""

    def __init__(self, daemon: Daemon, command: c.Work) -> None:
        self.daemon, self.command = daemon, command

    def __call__(self) -> None:
        _do(self.daemon, self.command)


class _Saved:
    """Hands the outcome of a save to the daemon that wanted it."""

    def __init__(self, daemon: Daemon, command: c.SaveRecord) -> None:
        self.daemon = daemon
        self.command = command

    def __call__(self, outcome: Outcome, detail: str) -> None:
        daemon = self.daemon
        world = daemon.world
        if world.trouble and outcome is Outcome.OK and world.random.random() < world.trouble:
            outcome, detail = Outcome.UNKNOWN, "the world did not say"
        daemon.done(self.command, outcome, detail)


def _act(daemon: Daemon, command: c.Work, dice: float) -> None:
    world = daemon.world
    if not daemon.alive and world.random.random() >= KILLED_YET_DONE:
        return
    if dice < world.trouble / 2:
        daemon.done(command, Outcome.FAILED, "the world said no")
        return
    finish = _Finish(daemon, command, unknown=dice < world.trouble)
    if isinstance(command, c.PromoteDisk):
        world.resources[command.vm].promote(daemon.machine.name, finish, forced=command.forced)
        return
    done, detail = _do(daemon, command)
    finish(Outcome.OK if done else Outcome.FAILED, detail if done else "refused")


class _Finish:
    """The end of a command, as the daemon hears it."""

    def __init__(self, daemon: Daemon, command: c.Work, *, unknown: bool) -> None:
        self.daemon, self.command, self.unknown = daemon, command, unknown

    def __call__(self, outcome: Outcome, detail: str) -> None:
        self.daemon.done(self.command, Outcome.UNKNOWN if self.unknown else outcome, detail)


def _do(daemon: Daemon, command: c.Work) -> tuple[bool, str]:
    machine = daemon.machine
    match command:
        case c.HoldAddress():
            machine.hold(address=True)
            daemon.held = True
        case c.ReleaseAddress():
            machine.hold(address=False)
            daemon.held = False
        case c.PauseVms():
            if "pause" in machine.useless:
                return False, ""
            machine.pause_domains(paused=True)
        case c.UnpauseVms():
            machine.pause_domains(paused=False)
        case c.StartDomain() | c.DestroyDomain() | c.ShutdownDomain() | c.ResumeDomain():
            return _do_domain(daemon, command), ""
        case c.ReadDomain(vm):
            daemon.deliver(daemon.domain(vm))
        case c.ProbeNeighbours():
            daemon.deliver(daemon.world.neighbours(machine.name))
        case _:
            return _do_disk(daemon, command)
    return True, ""


def _do_domain(daemon: Daemon, command: c.StartDomain | c.DestroyDomain | c.ShutdownDomain | c.ResumeDomain) -> bool:
    machine = daemon.machine
    match command:
        case c.StartDomain(vm):
            return machine.start_domain(vm)
        case c.DestroyDomain(vm):
            return machine.end_domain(vm)
        case c.ShutdownDomain(vm):
            return guests.ask(machine, vm)
        case c.ResumeDomain(vm):
            resumed = machine.resume_received(vm)
            if resumed:
                moves.withdraw(daemon, vm, moves.WITHDRAWS_S)
            return resumed


def _do_disk(daemon: Daemon, command: c.Work) -> tuple[bool, str]:
    name = daemon.machine.name
    resource = daemon.world.resources[command.vm]  # type: ignore[union-attr]  # all that is left belongs to a VM
    side = resource.sides[name]
    match command:
        case c.PrepareVolume(vm):
            moves.withdraw(daemon, vm)
            return _prepare(side)
        case c.ConnectDisk(discard=discard):
            return resource.connect(name, discard=discard), ""
        case c.KeepCopy():
            side.copies.append(dict(side.data))
            return True, ""
    word = type(command).__name__
    if word == "DemoteDisk":
        done = resource.demote(name)
        moves.withdraw(daemon, resource.vm)
        return done, ""
    if word == "ReadGeneration":
        return _read_generation(side)
    if word == "ReadInFlight":
        return True, side.in_flight()
    return getattr(resource, _METHODS[word])(name), ""


_METHODS = {
    "AttachDisk": "attach",
    "DisconnectDisk": "disconnect",
    "OutdateDisk": "outdate",
    "InitialiseDisk": "initialise",
    "ResumeDisk": "resume",
    "ResyncDisk": "resync",
    "InvalidateDisk": "invalidate",
}


def _prepare(side: Side) -> tuple[bool, str]:
    mirror = side.machine.mirror
    if side.gone or (mirror is not None and not mirror.runs):
        return False, "Volume group not found"
    fresh = not side.made or (side.current == 0 and not side.up)
    side.made = True
    if side.up:
        return True, ""
    return True, "fresh" if fresh else side.words()


def _read_generation(side: Side) -> tuple[bool, str]:
    """Return the four identifiers as hex words, as `drbdsetup get-gi` tells them."""
    if not side.up or side.disk in (DiskState.DISKLESS, DiskState.FAILED):
        return False, "no volume"
    return True, side.words()


def _begin_power(
    daemon: Daemon, command: c.ReadPeerPower | c.CutPeerPower | c.RestorePeerPower, delay_s: float
) -> None:
    """Ask the peer's BMC; one that answers after the deadline has acted all the same."""
    world, machine = daemon.world, daemon.machine
    bmc = world.bmc_of_peer(machine.name)
    late_s = delay_s + bmc.slow_s
    if not bmc.hears(machine.name):
        machine.after(BMC_DEADLINE_S, daemon.done, command, Outcome.UNKNOWN, "no answer")
        return
    if isinstance(command, c.CutPeerPower):
        world.after(late_s, bmc.cut)
    elif isinstance(command, c.RestorePeerPower):
        world.after(late_s, bmc.restore)
    if late_s > BMC_DEADLINE_S:
        machine.after(BMC_DEADLINE_S, daemon.done, command, Outcome.UNKNOWN, "no answer in time")
    else:
        machine.after(late_s + 0.05, _power_answered, daemon, command)


def _power_answered(daemon: Daemon, command: c.ReadPeerPower | c.CutPeerPower | c.RestorePeerPower) -> None:
    bmc = daemon.world.bmc_of_peer(daemon.machine.name)
    if not bmc.answers(daemon.machine.name):
        daemon.done(command, Outcome.UNKNOWN, "no answer")
    elif isinstance(command, c.RestorePeerPower):
        daemon.done(command, Outcome.OK, "accepted")
    elif isinstance(command, c.ReadPeerPower):
        daemon.done(command, Outcome.OK, "on" if bmc.reads_on else "off")
    elif bmc.reads_on:
        daemon.done(command, Outcome.FAILED, "accepted, but its power still reads on")
    else:
        daemon.done(command, Outcome.OK, "off")


__all__ = ["ASK_S", "begin"]

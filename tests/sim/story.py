"""Words for people: what an engine did with an event, and where a node stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core import events as e
from avance.core.engine import Decision, Engine
from avance.core.model import VmId, VmState

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

Before = tuple[str, dict[VmId, VmState]]
QUIET = (c.SendHeartbeat, c.FeedWatchdog, c.OpenGate, c.ReadPeerPower, c.TeachWitness, c.ProbeNeighbours)


def before(engine: Engine) -> Before:
    """Note what a line compares with."""
    return engine.pair, {name: unit.state for name, unit in engine.units.items()}


def line(engine: Engine, note: Before, event: e.Event, decision: Decision) -> str:
    """Return one line, or the empty text when nothing followed from the event."""
    acted = [command for command in decision.commands if not isinstance(command, QUIET)]
    if not acted and not decision.reasons:
        return ""
    pair, vms = note
    changes = [f"pair {pair}->{engine.pair}"] if pair != engine.pair else []
    changes += [f"{vm} {vms[vm]}->{u.state}" for vm, u in engine.units.items() if vms.get(vm, u.state) is not u.state]
    words = [command_word(command) for command in acted]
    parts = [event_word(event), *changes, *([f"=> {', '.join(words)}"] if words else [])]
    why = f"  # {'; '.join(decision.reasons)}" if decision.reasons else ""
    return f"{' | '.join(parts)}{why}"


def summary(world: World, machine: Machine) -> str:
    """Return where a node stands."""
    engine = machine.engine
    if engine is None:
        power = "no power" if not machine.powered else "booting" if not machine.on else "no daemon"
        return f"{machine.name} {power}"
    record = machine.record
    disks = []
    for vm in machine.vms:
        view = machine.view(vm)
        seen, frozen = "down", ""
        if view is not None:
            seen = f"{view.role} {view.disk}/{view.peer_disk} {view.connection} {view.replication}"
            frozen = " frozen" if view.suspended else ""
        unit = engine.units.get(vm)
        running = " domain" if vm in machine.domains else ""
        disks.append(f"{vm} {unit.state if unit else '?'}{running} {seen}{frozen}")
    still = f" {machine.still}d" if machine.still else ""
    asleep = " stopped" if machine.daemon is not None and machine.daemon.stopped else ""
    return f"{machine.name}{still}{asleep} {engine.pair} epoch {record.epoch} of {record.owner}, {', '.join(disks)}"


def command_word(command: c.Command) -> str:
    """Return a command as a person would note it."""
    match command:
        case c.SaveRecord(record):
            worth = ", peer outdated" if record.peer_outdated else ""
            fresh = f", fresh {' '.join(record.fresh)}" if record.fresh else ""
            return f"SaveRecord(epoch {record.epoch}, owner {record.owner}{worth}{fresh})"
        case c.SendAlert(alert):
            return f"SendAlert({alert.code})"
        case c.AnswerFencePeer(code=code):
            return f"AnswerFencePeer({code})"
        case c.ResetNode(reason):
            return f"ResetNode({reason})"
        case c.AskWitness(witness, epoch):
            return f"AskWitness({witness}, epoch {epoch})"
    return type(command).__name__


def event_word(event: e.Event) -> str:
    """Return an event as a person would note it."""
    match event:
        case e.CommandDone(command, result):
            telling = isinstance(command, c.AskWitness | c.TeachWitness | c.ReadPeerPower | c.CutPeerPower)
            return f"{type(command).__name__} {result.outcome}{f' {result.detail}' if telling else ''}"
        case e.DiskChanged(_, view):
            if view is None:
                return "DiskChanged(none)"
            frozen = " frozen" if view.suspended else ""
            return f"DiskChanged({view.role} {view.disk}/{view.peer_disk} {view.connection} {view.replication}{frozen})"
        case e.HeartbeatSeen(link, view):
            return f"HeartbeatSeen({link}, peer {view.pair}, epoch {view.record.epoch})"
        case e.DomainChanged(_, running):
            return f"DomainChanged({'running' if running else 'gone'})"
        case e.NeighboursSeen(gateway, claimed):
            return f"NeighboursSeen(gateway {gateway}, claimed {' '.join(claimed) or 'nothing'})"
        case e.OperatorAsked(request):
            return f"OperatorAsked({request})"
    return type(event).__name__

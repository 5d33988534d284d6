"""What stands outside the nodes: witnesses with their registers, and the management controller of each node.

A witness answers by the rule of `avance/core/register.py`; its datagrams can be lost, late or doubled, and it can be
down, paused, or without its memory. A controller says what it says; only the power of its node is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core.model import NodeId, Outcome
from avance.core.register import Register, Word

if TYPE_CHECKING:
    from tests.sim.daemon import Daemon
    from tests.sim.machine import Machine
    from tests.sim.world import World

ASK_S = 1.0  # one try
LATENCY_S = 0.005


class WitnessHost:
    """One witness on a third machine."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.register = Register()
        self.down = 0
        self.paused = 0
        self.mute = 0  # its answers are lost
        self.late_s = 0.0  # its answers come late
        self.grants: dict[int, set[NodeId]] = {}
        self._queue: list[tuple[Daemon, c.AskWitness | c.TeachWitness, int]] = []
        self._asked = 0
        self._open: set[int] = set()

    def send(self, daemon: Daemon, command: c.AskWitness | c.TeachWitness) -> None:
        """Let a node's question travel; the node waits one try long."""
        world = self.world
        self._asked += 1
        ask = self._asked
        self._open.add(ask)
        daemon.machine.after(ASK_S, self._give_up, daemon, command, ask)
        reaches = world.network.reaches(daemon.machine.name, self.name) and not self.down
        if reaches and not _lost(world, daemon.machine):
            world.after(LATENCY_S, self._hear, daemon, command, ask)

    def _hear(self, daemon: Daemon, command: c.AskWitness | c.TeachWitness, ask: int) -> None:
        if self.down:
            return
        if self.paused:
            self._queue.append((daemon, command, ask))
            return
        node = daemon.machine.name
        if isinstance(command, c.AskWitness):
            self.register, answer = self.register.ask(node, command.epoch, command.nonce)
            if answer.word is Word.GRANTED:
                self.grants.setdefault(command.epoch, set()).add(node)
                if len(self.grants[command.epoch]) > 1:
                    self.world.judges.fail("witness", f"{self.name} granted epoch {command.epoch} twice")
        else:
            self.register, answer = self.register.teach(
                node, command.epoch, command.owner, paired=command.paired, alone=command.alone, now_s=self.world.now
            )
            # A pair that agrees on a smaller epoch has given up every greater grant: it may be given again.
            self.grants = {epoch: nodes for epoch, nodes in self.grants.items() if epoch <= self.register.known.epoch}
        detail = f"{answer.word} {answer.epoch} {answer.owner or '-'}"
        if self.world.tracing:
            self.world.trace_line(self.name, f"{type(command).__name__} of {node}, epoch {command.epoch}: {detail}")
        if not self.mute and self.world.network.reached_by(node, self.name) and not _lost(self.world, daemon.machine):
            self.world.after(LATENCY_S + self.late_s, self._reply, daemon, command, ask, detail)

    def _reply(self, daemon: Daemon, command: c.AskWitness | c.TeachWitness, ask: int, detail: str) -> None:
        if ask in self._open and daemon.machine.on and daemon.machine.daemon is daemon:
            daemon.machine.after(0.0, self._answer, daemon, command, ask, detail)

    def _answer(self, daemon: Daemon, command: c.AskWitness | c.TeachWitness, ask: int, detail: str) -> None:
        if ask in self._open:
            self._open.discard(ask)
            daemon.done(command, Outcome.OK, detail)

    def _give_up(self, daemon: Daemon, command: c.AskWitness | c.TeachWitness, ask: int) -> None:
        if ask in self._open:
            self._open.discard(ask)
            daemon.done(command, Outcome.UNKNOWN, "no answer within 1 s")

    def go_on(self) -> None:
        """Read what waited while it was paused."""
        queue, self._queue = self._queue, []
        for daemon, command, ask in queue:
            self._hear(daemon, command, ask)

    def restart(self, *, forgetting: bool = False) -> None:
        """Start its process anew, with what it stored or with nothing."""
        self._queue.clear()
        self.register = Register() if forgetting else self.register.restarted(newest=True)


class Bmc:
    """The management controller of one node."""

    def __init__(self, world: World, node: NodeId) -> None:
        self.world = world
        self.node = node
        self.cut_off = 0
        self.dead = 0
        self.lying = 0  # accepts a command and does nothing
        self.slow_s = 0.0
        self.cuts = 0

    @property
    def reads_on(self) -> bool:
        """What it says of the power of its node; in this it never lies here."""
        return self.world.machines[self.node].powered

    def hears(self, asker: NodeId) -> bool:
        """Say whether a question gets through."""
        up = not (self.dead or self.cut_off)
        return up and self.world.network.reaches(asker, f"bmc-{self.node}")

    def answers(self, asker: NodeId) -> bool:
        """Say whether its answer gets back."""
        up = not (self.dead or self.cut_off)
        return up and self.world.network.reached_by(asker, f"bmc-{self.node}")

    def cut(self) -> None:
        """Take the power of its node, unless it only says so."""
        if not self.lying and not self.dead:
            self.cuts += 1
            self.world.machines[self.node].power_off(unplugged=False)

    def restore(self) -> None:
        """Switch its node on, unless the mains are gone."""
        if not self.lying and not self.dead and not self.world.machines[self.node].unplugged:
            self.world.machines[self.node].power_on()


def _lost(world: World, machine: Machine) -> bool:
    loss = world.network.ports[machine.name, world.public].loss
    return bool(loss) and world.random.random() < loss

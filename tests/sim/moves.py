"""Live moves: the two ends of the stream between the daemons, as the adapters and `xl migrate -p` make it.

A domain is copied while it runs, stands still for about a second, and is then complete and paused at the receiver.
Three words end it: the receiver has everything, the sender gives its copy up, the receiver keeps its own. A transport
that breaks before the second word lets the domain go on at the sender; one that breaks later leaves it suspended there
for good. No rule of the product stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from avance.core import commands as c
from avance.core.model import Outcome
from tests.playbook import PRIV
from tests.sim.site import peer_of

if TYPE_CHECKING:
    from avance.core.model import VmId
    from tests.sim.daemon import Daemon
    from tests.sim.drbd import Resource
    from tests.sim.machine import Machine

BEGINS_S = (0.05, 0.3)
STEP_S = 0.25
PROMOTES_S = 10.0  # as avance/move_work.py: in which the owner is to allow a second writer ...
WAITS_S = 20.0  # ... and to come
CONNECTS_S = 15.0  # in which the sender is to find the receiver
SILENT_S = 5.0  # without a byte that gets through, after which a stream is given up
COPIES_S = (3.0, 8.0)
FINISHES_S = (0.5, 1.5)
WORD_S = 0.05
GRACE_S = (0.1, 1.5)  # in which xl ends by itself, before it is killed
DRBD_S = 20.0
AGAIN_S = 0.3
WITHDRAWS_S = 5.0  # for the other node to stop writing
LATE_S = 8.0
BETWEEN = ("prepares", "copies", "suspended", "ready", "going", "gone")


@dataclass
class Image:
    """The memory of a domain at the moment when it was suspended; `waiting`: the writes that it was waiting for."""

    vm: VmId
    source: str
    waiting: tuple[int, ...]
    stale: str = ""  # why it is not the newest state any more


def begin(daemon: Daemon, command: c.SendDomain | c.ReceiveDomain) -> None:
    """Begin to send or to receive a domain; in an odd world it may be refused at once, or end anyhow."""
    machine, world = daemon.machine, daemon.world
    odd = world.trouble and world.random.random() < world.trouble
    if odd and world.random.random() < 0.5:
        machine.after(world.random.uniform(0.05, 3.0), daemon.done, command, Outcome.FAILED, "the world said no")
        return
    end = Sending(daemon, command) if isinstance(command, c.SendDomain) else Receiving(daemon, command)
    end.odd = world.random.choice(("unknown", "breaks", "killed", "late")) if odd else ""
    end.odd_in = world.random.choice(BETWEEN)
    machine.moves[command.vm] = end
    machine.after(world.random.uniform(*BEGINS_S), end.allow)


def break_off(machine: Machine) -> None:
    """Shut down the stream of every move that is in flight (EndMove)."""
    for end in list(machine.moves.values()):
        end.broken = end.broken or "it was broken off"


def daemon_died(machine: Machine) -> None:
    """The daemon is gone, and its xl with it: what stood still for the move stands still for good."""
    for end in machine.moves.values():
        end.over = True
    machine.moves.clear()


def withdraw(daemon: Daemon, vm: VmId, within_s: float = 0.0) -> None:
    """Let DRBD have one writer again, if it can within that time."""
    if not daemon.alive:
        return
    machine, resource = daemon.machine, daemon.world.resources[vm]
    can = not daemon.stopped and not machine.hung.get("drbd")
    done = can and resource.allow_two(machine.name, allowed=False)
    if not done and within_s > 0:
        machine.after(AGAIN_S, withdraw, daemon, vm, within_s - AGAIN_S)


class End:
    """What both ends have in common: they join, they watch the stream, and they end with an outcome."""

    def __init__(self, daemon: Daemon, command: c.SendDomain | c.ReceiveDomain) -> None:
        self.daemon, self.command = daemon, command
        self.machine, self.world = daemon.machine, daemon.world
        self.vm, self.move = command.vm, command.move
        self.phase = "prepares"
        self.peer: End | None = None
        self.over = self.dead = False
        self.broken = ""
        self.odd = self.odd_in = ""
        self.until = self.heard_at = 0.0

    @property
    def resource(self) -> Resource:
        """The volume."""
        return self.world.resources[self.vm]

    @property
    def there(self) -> Machine:
        """The machine of the other end."""
        return self.world.machines[peer_of(self.machine.name)]

    @property
    def hangs(self) -> bool:
        """Its xl does not do anything."""
        return self.dead or bool(self.machine.hung.get("xl"))

    def allow(self) -> None:
        """Let DRBD have two writers."""
        if self.over:
            return
        if not self.enters("prepares"):
            return
        if self.machine.hung.get("drbd"):
            self.machine.after(DRBD_S, self.end, Outcome.UNKNOWN, "drbdadm did not end")
            return
        self.resource.allow_two(self.machine.name, allowed=True)
        self.until = self.machine.mono() + (CONNECTS_S if isinstance(self, Sending) else PROMOTES_S)
        self.join()

    def join(self) -> None:
        """Look for the other end, or wait for it."""
        raise NotImplementedError

    def step(self) -> None:
        """Look at the stream, and go on."""
        raise NotImplementedError

    def give_up(self, why: str) -> None:
        """The stream is broken, or was never there: end as xl and the adapter do."""
        raise NotImplementedError

    def enters(self, phase: str) -> bool:
        """Note where it stands, and say whether it goes on: an odd one breaks somewhere, or its xl dies."""
        self.phase = phase
        if self.odd_in == phase and self.odd == "killed":
            self.killed()
            return False
        if self.odd_in == phase and self.odd == "breaks":
            self.broken = "it broke for no reason"
            return phase == "prepares"  # what it waits for looks at that
        return True

    def killed(self) -> None:
        """Its xl dies, and does nothing any more."""
        self.dead = True
        self.give_up("xl was killed")

    def passes(self, *, bulk: bool) -> bool:
        """Say whether the stream gets on just now: `bulk` needs both programs, and frames of full size."""
        peer, network = self.peer, self.world.network
        if peer is None or not (self.machine.awake and self.there.awake):
            return False
        here, there = self.machine.name, self.there.name
        if not (network.streams(here, there, PRIV) and network.streams(there, here, PRIV)):
            return False
        return not (bulk and (self.hangs or peer.hangs or network.no_large[PRIV]))

    def watch(self, *, bulk: bool) -> bool:
        """Say whether the stream still lives; one that does not get on for 5 s, or that the other end closed, is over.

        A word that was not heard is no progress, either. What breaks it shows itself in `broken`.
        """
        assert self.peer is not None
        if not self.broken:
            closed = self.peer.over or self.there.moves.get(self.vm) is not self.peer
            if closed and self.there.awake and self.world.network.streams(self.there.name, self.machine.name, PRIV):
                self.broken = "the other end closed it"
            elif bulk and not closed and self.passes(bulk=True):
                self.heard_at = self.machine.mono()
            elif self.machine.mono() - self.heard_at > SILENT_S:
                self.broken = f"nothing got through for {SILENT_S:g} s"
        return not self.broken

    def say(self, word: str, tries: int = 40) -> None:
        """Let a word get to the other end; TCP repeats it while both machines live."""
        peer = self.peer
        assert peer is not None
        if self.there.awake and self.world.network.streams(self.machine.name, self.there.name, PRIV):
            self.there.after(WORD_S, peer.hears, word)
        elif tries:
            self.machine.after(STEP_S, self.say, word, tries - 1)

    def hears(self, word: str) -> None:
        """A word of the other end has arrived."""
        raise NotImplementedError

    def end(self, outcome: Outcome, detail: str) -> None:
        """Hand the outcome back; an odd one is not known, or comes late."""
        if self.over:
            return
        self.over = True
        if self.machine.moves.get(self.vm) is self:
            del self.machine.moves[self.vm]
        if outcome is not Outcome.OK and isinstance(self, Sending):
            withdraw(self.daemon, self.vm, WITHDRAWS_S if outcome is Outcome.FAILED else 0.0)
        dice = self.world.random
        outcome = Outcome.UNKNOWN if self.odd == "unknown" else outcome
        late_s = dice.uniform(0.0, LATE_S) if self.odd == "late" else 0.02
        self.machine.after(late_s, self.daemon.done, self.command, outcome, detail)


class Sending(End):
    """The end at which the domain runs."""

    image: Image | None = None
    left_s = 0.0

    def join(self) -> None:
        """Connect, once the other end listens for this very move."""
        if self.over:
            return
        machine, other = self.machine, self.there.moves.get(self.vm)
        if self.broken or machine.mono() > self.until:
            self.give_up(self.broken or "the other end did not answer")
            return
        if isinstance(other, Receiving) and other.accepts(self) and not self.daemon.stopped:
            self.peer = other
            if self.passes(bulk=False):
                other.taken(self)
                self.heard_at, self.left_s = machine.mono(), self.world.random.uniform(*COPIES_S)
                self.enters("copies")
                self.step()
                return
            self.peer = None
        machine.after(STEP_S, self.join)

    def step(self) -> None:
        """Copy the memory while the domain runs; suspend it, and copy the rest; then wait for the other end's words."""
        if self.over:
            return
        machine, bulk = self.machine, self.phase in ("copies", "suspended")
        still = self.phase == "copies" and self.left_s <= 0  # it waits for the guest, whose processors stand still
        if not self.watch(bulk=bulk and not still):
            self.give_up(self.broken)
            return
        if self.phase == "copies" and self.vm not in machine.domains:
            self.give_up("the guest died")
            return
        if bulk and self.passes(bulk=True):
            self.left_s -= STEP_S
            if self.left_s <= 0 and self.phase == "copies":
                self._suspend()
            elif self.left_s <= 0 and self.enters("ready"):
                self.say("all")
        machine.after(STEP_S, self.step)

    def _suspend(self) -> None:
        if not self.machine.domains[self.vm]:
            return
        self.image = self.machine.suspend(self.vm)
        self.left_s = self.world.random.uniform(*FINISHES_S)
        self.enters("suspended")

    def hears(self, word: str) -> None:
        """The other end has everything, and then it keeps it."""
        if self.over or self.broken or self.hangs:
            return
        if word == "ready" and self.phase == "ready":
            if self.enters("going"):
                self.say("go")
        elif word == "kept" and self.phase == "going" and self.enters("gone"):
            gone = self.machine.end_domain(self.vm)
            self.end(Outcome.OK if gone else Outcome.UNKNOWN, "")

    def give_up(self, why: str) -> None:
        """A domain that was not given up yet goes on here, if xl can do anything; then the adapter looks."""
        self.over = True  # the socket is closed
        self.machine.after(self.world.random.uniform(*GRACE_S), self._looks, why)

    def _looks(self, why: str) -> None:
        machine = self.machine
        if machine.moves.get(self.vm) is not self:
            return  # the daemon died meanwhile
        if self.phase in ("suspended", "ready") and not self.hangs:
            machine.resume_here(self.vm)
        self.over = False
        lives = self.vm in machine.domains and not machine.hung.get("xl")
        self.end(Outcome.FAILED if lives else Outcome.UNKNOWN, why)


class Receiving(End):
    """The end that takes the domain in."""

    listens = False
    complete: Image | None = None

    def join(self) -> None:
        """Become the second writer as soon as DRBD lets this node."""
        if self.over:
            return
        if self.broken or self.machine.mono() > self.until:
            self.give_up(self.broken or "the other node did not let a second one write")
        elif self.daemon.stopped or self.machine.holds(self.vm):
            self.machine.after(STEP_S, self.join)
        else:
            self.resource.promote(self.machine.name, self._promoted)

    def _promoted(self, outcome: Outcome, detail: str) -> None:
        del detail
        if self.over:
            return
        if outcome is not Outcome.OK:
            self.machine.after(2 * STEP_S, self.join)
            return
        self.listens, self.until = True, self.machine.mono() + WAITS_S
        self.step()

    def accepts(self, sender: Sending) -> bool:
        """Say whether it listens for this very move."""
        return self.listens and self.move == sender.move and self.peer is None and not self.daemon.stopped

    def taken(self, sender: Sending) -> None:
        """The sender is there: xl makes an empty domain, which never runs as long as it is not complete."""
        self.peer, self.heard_at = sender, self.machine.mono()
        self.machine.take_in(self.vm)
        self.enters("copies")

    def step(self) -> None:
        """Wait for the sender, and then watch the stream."""
        if self.over:
            return
        if self.peer is None:
            if self.broken or self.machine.mono() > self.until:
                self.give_up(self.broken or "the other node did not come")
                return
        elif not self.watch(bulk=self.phase == "copies" and self.peer.phase in ("copies", "suspended")):
            self.give_up(self.broken)
            return
        self.machine.after(STEP_S, self.step)

    def hears(self, word: str) -> None:
        """Everything has arrived; and then the other end gives its own copy up."""
        if self.over or self.broken or self.hangs:
            return
        if word == "all":
            if self.enters("ready"):
                self.say("ready")
        elif word == "go" and self.phase == "ready":
            if not self.enters("going"):
                return
            assert isinstance(self.peer, Sending)
            assert self.peer.image is not None
            self.machine.images[self.vm] = self.peer.image
            self.say("kept")
            self.end(Outcome.OK, "complete, and it stands still")

    def give_up(self, why: str) -> None:
        """Take everything back: the domain, the second writer, and that there may be two."""
        self.over = True
        self.machine.after(self.world.random.uniform(*GRACE_S), self._taken_back, why)

    def _taken_back(self, why: str) -> None:
        machine = self.machine
        if machine.moves.get(self.vm) is not self:
            return  # the daemon died meanwhile
        if self.daemon.stopped:
            machine.after(STEP_S, self._taken_back, why)
            return
        self.over = False
        hangs = machine.hung.get("xl") or machine.hung.get("drbd")
        sure = not hangs and machine.end_domain(self.vm) and self.resource.demote(machine.name)
        sure = sure and self.resource.allow_two(machine.name, allowed=False)
        self.end(Outcome.FAILED if sure else Outcome.UNKNOWN, why)


__all__ = ["End", "Image", "Receiving", "Sending", "begin", "break_off", "daemon_died", "withdraw"]

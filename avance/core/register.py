"""The rule of the witness: a register that gives each epoch to at most one node; pure, and shared with the simulator.

An epoch is granted when it is greater than the known one. It is granted again to the node that has it, because an
answer can be lost. What the register knows rises with each grant and each lesson. It falls only when both nodes agree.
Time never decides a grant.

After a start the storage may be lost or old. Then a register is *untaught* at first, and grants nothing until it is
taught, in one of two ways. Both nodes teach the same epoch and owner, paired, within `window_s`. Or a node teaches that
alone has the durable right to write: while it has it, nobody else can own a greater epoch (docs/safety.md, S14).
A process that starts anew on the machine on which it stored all this knows that its storage is the newest, and goes on.

Both nodes may teach a smaller epoch than the register knows. Then the last grant was never used, and the register
forgets it. Without this the other node would be refused for ever. It is safe for four reasons:

* A node teaches as paired only while it asks for no epoch and saves no grant.
* A node ignores the answer to a question that it has given up.
* A question makes the register forget the lessons before it.
* The questions of a node arrive in the order in which it asked them (`wire/witness`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from avance.core.model import NodeId

WINDOW_S = 10.0  # how near to each other both nodes must teach, before the dilation


class Word(StrEnum):
    """What a register can answer."""

    GRANTED = "granted"
    REFUSED = "refused"
    TAUGHT = "taught"
    UNTAUGHT = "untaught"


@dataclass(frozen=True, slots=True)
class Known:
    """What must survive: the greatest epoch, who owns it, and the number of the question that got it."""

    epoch: int = 0
    owner: NodeId | None = None
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class RegisterAnswer:
    """What the register says, with the epoch that it knows now and the owner of that epoch."""

    word: Word
    epoch: int
    owner: NodeId | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one paired node taught, and when."""

    node: NodeId
    epoch: int
    owner: NodeId
    at_s: float


@dataclass(frozen=True, slots=True)
class Register:
    """One register of one pair; each operation returns the next one and the answer, and changes nothing.

    `known` has to be on stable storage before the answer leaves. `taught` and the lessons end with the process.
    """

    known: Known = Known()
    taught: bool = False
    lessons: tuple[Lesson, ...] = ()
    window_s: float = WINDOW_S

    def restarted(self, *, newest: bool) -> Register:
        """Return the register after a start of its process; `newest`: nobody can have put an older state there."""
        return Register(self.known, taught=self.taught and newest, window_s=self.window_s)

    def ask(self, node: NodeId, epoch: int, nonce: str) -> tuple[Register, RegisterAnswer]:
        """A node asks for the right to an epoch. It has lost its peer, so the lessons before this are forgotten."""
        heard = replace(self, lessons=())
        if not self.taught:
            return heard, heard.answer(Word.UNTAUGHT)
        if epoch > self.known.epoch:
            granted = replace(heard, known=Known(epoch, node, nonce))
            return granted, granted.answer(Word.GRANTED)
        is_mine = epoch == self.known.epoch and node == self.known.owner
        return heard, heard.answer(Word.GRANTED if is_mine else Word.REFUSED)

    def teach(
        self, node: NodeId, epoch: int, owner: NodeId, *, paired: bool, now_s: float, alone: bool = False
    ) -> tuple[Register, RegisterAnswer]:
        """A node says which epoch it knows and who owns it.

        `paired`: its peer says the same just now. `alone`: it owns this epoch and alone may write.
        """
        known = Known(epoch, owner) if epoch > self.known.epoch else self.known
        lessons = tuple(one for one in self.lessons if one.node != node and 0 <= now_s - one.at_s <= self.window_s)
        taught = self.taught or (alone and owner == node and (known.epoch, known.owner) == (epoch, owner))
        if paired:
            if any((one.epoch, one.owner) == (epoch, owner) for one in lessons):
                taught = True
                if (known.epoch, known.owner) != (epoch, owner):
                    known = Known(epoch, owner)  # both nodes name it, so nobody uses a greater one
            lessons = (*lessons, Lesson(node, epoch, owner, now_s))
        after = replace(self, known=known, taught=taught, lessons=lessons)
        return after, after.answer(Word.TAUGHT if taught else Word.UNTAUGHT)

    def answer(self, word: Word | None = None) -> RegisterAnswer:
        """Return what the register knows; without a word, whether it was taught."""
        word = word or (Word.TAUGHT if self.taught else Word.UNTAUGHT)
        return RegisterAnswer(word, self.known.epoch, self.known.owner)

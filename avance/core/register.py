"""The rule of the witness: a register that gives each epoch to at most one node; pure, and shared with the simulator.

An epoch is granted when it is greater than the known one, and again to the node that has it, because an answer can be
lost. What the register knows rises with each grant and each lesson; it falls only when both nodes agree. Time never
decides a grant.

After each start the storage may be lost or older than it was. So a register is *untaught* at first and grants nothing
until both nodes, paired and each within `window_s`, teach it the same epoch and owner. Where they teach a smaller epoch
than it knows, a grant was given that nobody used, and it is forgotten; else the other node would be refused for ever.
That is safe because a node teaches as paired only when it puts no question and saves no grant, and takes no answer to
a question that it does not put any more; because what was taught before a question does not count after it; and because
questions reach the register in the order in which a node put them (`wire/witness`).
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
class Answer:
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

    def restarted(self) -> Register:
        """Return the register after a start of its process: it knows what was stored, and grants nothing yet."""
        return Register(self.known, window_s=self.window_s)

    def ask(self, node: NodeId, epoch: int, nonce: str) -> tuple[Register, Answer]:
        """A node asks for the right to an epoch; who asks has no peer, so what was taught before counts no more."""
        heard = replace(self, lessons=())
        if not self.taught:
            return heard, heard.answer(Word.UNTAUGHT)
        if epoch > self.known.epoch:
            granted = replace(heard, known=Known(epoch, node, nonce))
            return granted, granted.answer(Word.GRANTED)
        is_mine = epoch == self.known.epoch and node == self.known.owner
        return heard, heard.answer(Word.GRANTED if is_mine else Word.REFUSED)

    def teach(self, node: NodeId, epoch: int, owner: NodeId, *, paired: bool, now_s: float) -> tuple[Register, Answer]:
        """A node says which epoch it knows and who owns it; `paired`: its peer says the same just now."""
        known = Known(epoch, owner) if epoch > self.known.epoch else self.known
        lessons = tuple(one for one in self.lessons if one.node != node and 0 <= now_s - one.at_s <= self.window_s)
        taught = self.taught
        if paired:
            if any((one.epoch, one.owner) == (epoch, owner) for one in lessons):
                taught = True
                if (known.epoch, known.owner) != (epoch, owner):
                    known = Known(epoch, owner)  # both nodes are there, and nobody uses what they do not name
            lessons = (*lessons, Lesson(node, epoch, owner, now_s))
        after = replace(self, known=known, taught=taught, lessons=lessons)
        return after, after.answer(Word.TAUGHT if taught else Word.UNTAUGHT)

    def answer(self, word: Word | None = None) -> Answer:
        """Return what the register knows; without a word, whether it was taught."""
        word = word or (Word.TAUGHT if self.taught else Word.UNTAUGHT)
        return Answer(word, self.known.epoch, self.known.owner)

"""The register gives each epoch to at most one node: tried in every state that it can reach, and in small worlds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from avance.core.model import NodeId
from avance.core.register import WINDOW_S, Known, Register, RegisterAnswer, Word
from tests.playbook import A, B

NODES = (A, B)


def taught(known: Known = Known(4, A)) -> Register:  # noqa: B008 - a frozen value
    """Return a register that both nodes have taught what it knows."""
    assert known.owner is not None
    register = Register(known)
    for node in NODES:
        register, answer = register.teach(node, known.epoch, known.owner, paired=True, now_s=0.0)
    assert answer == RegisterAnswer(Word.TAUGHT, known.epoch, known.owner)
    return register


def test_an_epoch_is_granted_once() -> None:
    """The first who asks gets it; the other one hears who has it."""
    register, answer = taught().ask(B, 5, "n1")
    assert answer == RegisterAnswer(Word.GRANTED, 5, B)
    assert register.known == Known(5, B, "n1")
    assert register.ask(A, 5, "n2")[1] == RegisterAnswer(Word.REFUSED, 5, B)


@pytest.mark.parametrize("nonce", ["n1", "n2"])
def test_a_lost_answer_is_given_again(nonce: str) -> None:
    """The node that has the epoch hears it again, also after its daemon was restarted; nothing changes (D16)."""
    register, _ = taught().ask(B, 5, "n1")
    again, answer = register.ask(B, 5, nonce)
    assert (again, answer) == (register, RegisterAnswer(Word.GRANTED, 5, B))


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_what_is_over_is_never_granted(node: NodeId, epoch: int) -> None:
    """An epoch below the known one is refused to everybody."""
    register, answer = taught().ask(node, epoch, "n")
    assert answer == RegisterAnswer(Word.REFUSED, 4, A)
    assert register.known == Known(4, A)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("epoch", [4, 5, 9])
def test_after_a_start_nothing_is_granted(node: NodeId, epoch: int) -> None:
    """Not even to the node that has the stored epoch: the storage may be older than the last grant."""
    register = taught().restarted(newest=False)
    assert register.ask(node, epoch, "n") == (register, RegisterAnswer(Word.UNTAUGHT, 4, A))


def test_start_with_the_newest_storage_forgets_only_the_lessons() -> None:
    """It goes on as it was: taught when it was taught, and half a lesson is worth nothing (H24)."""
    register, _ = taught().ask(B, 5, "n")
    register = register.restarted(newest=True)
    assert register.ask(B, 5, "n")[1] == RegisterAnswer(Word.GRANTED, 5, B)
    assert register.ask(A, 5, "n")[1] == RegisterAnswer(Word.REFUSED, 5, B)
    half, _ = Register().teach(A, 4, A, paired=True, now_s=0.0)
    assert half.restarted(newest=True) == Register(Known(4, A))


def test_node_with_the_lone_right_teaches_alone() -> None:
    """Nobody else can own a greater epoch while it has that right, so the next one may be granted."""
    register, answer = Register().teach(A, 4, A, paired=False, alone=True, now_s=0.0)
    assert answer == RegisterAnswer(Word.TAUGHT, 4, A)
    assert register.ask(B, 4, "n")[1].word is Word.REFUSED
    assert register.ask(A, 5, "n")[1].word is Word.GRANTED


@pytest.mark.parametrize(
    ("known", "epoch", "owner"),
    [(Known(5, A), 4, A), (Known(4, B), 4, A), (Known(), 4, B)],
    ids=["more is known", "somebody else owns it", "of another owner"],
)
def test_lone_word_that_does_not_fit_teaches_nothing(known: Known, epoch: int, owner: NodeId) -> None:
    """What is known beside it shows that this is not the whole story."""
    assert Register(known).teach(A, epoch, owner, paired=False, alone=True, now_s=0.0)[1].word is Word.UNTAUGHT


@pytest.mark.parametrize(
    ("second", "paired", "later_s"),
    [((B, 4, A), True, WINDOW_S + 0.1), ((B, 4, A), False, 1.0), ((B, 5, A), True, 1.0), ((B, 4, B), True, 1.0),
     ((A, 4, A), True, 1.0), ((B, 4, A), True, -1.0)],
    ids=["too late", "not paired", "another epoch", "another owner", "the same node twice", "time went back"],
)  # fmt: skip
def test_one_node_alone_teaches_nothing(second: tuple[NodeId, int, NodeId], paired: bool, later_s: float) -> None:
    """Both have to say the same, paired, and near to each other."""
    register, first = Register().teach(A, 4, A, paired=True, now_s=50.0)
    node, epoch, owner = second
    register, answer = register.teach(node, epoch, owner, paired=paired, now_s=50.0 + later_s)
    assert {first.word, answer.word} == {Word.UNTAUGHT}
    assert register.ask(B, 9, "n")[1].word is Word.UNTAUGHT


def test_both_nodes_teach_at_the_end_of_the_window() -> None:
    """The window includes its end, and follows the dilation."""
    for window_s in (WINDOW_S, 3 * WINDOW_S):
        register, _ = Register(window_s=window_s).teach(A, 4, A, paired=True, now_s=0.0)
        assert register.teach(B, 4, A, paired=True, now_s=window_s)[1].word is Word.TAUGHT


def test_a_question_undoes_half_a_lesson() -> None:
    """Who asks has lost its peer, so what was taught before does not count with what is taught after."""
    register, _ = Register().teach(A, 4, A, paired=True, now_s=0.0)
    register, _ = register.ask(A, 5, "n")
    assert register.teach(B, 4, A, paired=True, now_s=1.0)[1].word is Word.UNTAUGHT


def test_a_late_lesson_does_not_undo_a_grant() -> None:
    """What a node taught before the loss and arrives after the grant changes nothing, and no second lesson helps it."""
    register, _ = taught().ask(A, 5, "n")
    register, answer = register.teach(B, 4, A, paired=True, now_s=1.0)
    assert answer == RegisterAnswer(Word.TAUGHT, 5, A)
    assert register.ask(B, 5, "n")[1].word is Word.REFUSED
    assert register.ask(A, 5, "n")[1].word is Word.GRANTED


@pytest.mark.parametrize("paired", [True, False])
def test_a_greater_epoch_is_learned_at_once(paired: bool) -> None:
    """One node is enough to make a number used up; it is not enough to be taught."""
    for register in (taught(), Register(Known(4, A))):
        after, answer = register.teach(B, 7, B, paired=paired, now_s=100.0)
        assert (after.known, after.taught, answer.epoch) == (Known(7, B), register.taught, 7)
        assert after.ask(A, 7, "n")[1].word in (Word.REFUSED, Word.UNTAUGHT)


def test_a_smaller_epoch_is_never_learned() -> None:
    """A node that was away teaches what it knew; the number stays."""
    after, answer = taught().teach(B, 2, B, paired=False, now_s=100.0)
    assert (after.known, answer) == (Known(4, A), RegisterAnswer(Word.TAUGHT, 4, A))


@pytest.mark.parametrize("epoch", [4, 5])
@pytest.mark.parametrize("started", [False, True])
def test_an_unused_grant_is_forgotten_when_both_nodes_agree(epoch: int, started: bool) -> None:
    """Neither of them has it, and either of them may get the next epoch; one of them alone changes nothing."""
    register, _ = taught().ask(B, 5, "n")
    register = register.restarted(newest=False) if started else register
    register, one = register.teach(B, epoch, A, paired=True, now_s=0.0)
    assert (one.epoch, one.owner) == (5, B)
    register, both = register.teach(A, epoch, A, paired=True, now_s=0.0)
    assert both == RegisterAnswer(Word.TAUGHT, epoch, A)
    for node in NODES:
        assert register.ask(node, epoch + 1, "n")[1].word is Word.GRANTED
    assert register.ask(B, epoch, "n")[1].word is Word.REFUSED


# ---------------------------------------------------------------- every state that a register can reach

EPOCH_MAX = 3


def steps(register: Register) -> Iterator[tuple[Register, RegisterAnswer | None, NodeId, int]]:
    """Every question, in every order, of nodes that may say anything; a start; and time that passes."""
    for node, epoch in product(NODES, (1, 2)):
        yield *register.ask(node, epoch, "n"), node, epoch
        for owner, paired in product(NODES, (True, False)):
            yield *register.teach(node, epoch, owner, paired=paired, now_s=0.0), node, epoch
    for newest in (True, False):
        yield register.restarted(newest=newest), None, A, 0
    yield replace(register, lessons=()), None, A, 0  # the window is over


def test_no_epoch_is_granted_to_two_nodes_unless_both_agreed_in_between() -> None:
    """Breadth first through all states with sound storage; what is known falls only when both nodes teach the same."""
    start = (Register(), frozenset[tuple[int, NodeId]]())
    seen, todo = {start}, [start]
    while todo:
        register, granted = todo.pop()
        for after, answer, node, epoch in steps(register):
            got = granted
            if answer is not None and answer.word is Word.GRANTED:
                got = granted | {(epoch, node)}
                assert register.taught
                assert len({number for number, _ in got}) == len(got), (register, node, epoch, granted)
            agreed = len({(one.epoch, one.owner) for one in after.lessons}) == 1 and len(after.lessons) == 2
            if agreed:
                got = frozenset()
            assert agreed or after.known == register.known or after.known.epoch > register.known.epoch
            if (after, got) not in seen:
                seen.add((after, got))
                todo.append((after, got))
    assert len(seen) > 500, len(seen)


# ---------------------------------------------------------------- whole worlds: two nodes, loss and age of the storage


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes and a witness: each record as (epoch, owner), who goes on alone, grants that are on their way to a node
    or lost, and what the storage once held."""

    register: Register
    records: tuple[tuple[int, NodeId], tuple[int, NodeId]] = ((1, A), (1, A))
    alone: frozenset[NodeId] = frozenset()
    on_the_way: frozenset[tuple[NodeId, int]] = frozenset()
    paired: bool = True
    stored: frozenset[Known] = frozenset({Known()})

    def record(self, node: NodeId) -> tuple[int, NodeId]:
        """What a node knows."""
        return self.records[NODES.index(node)]

    def with_record(self, node: NodeId, epoch: int, owner: NodeId) -> Pair:
        """The pair after a node has saved this."""
        records = [*self.records]
        records[NODES.index(node)] = (epoch, owner)
        return replace(self, records=(records[0], records[1]))

    def with_register(self, register: Register) -> Pair:
        """The pair after the witness has stored what it knows."""
        return replace(self, register=register, stored=self.stored | {register.known})


def asked(pair: Pair, node: NodeId) -> Iterator[Pair]:
    """A node without a peer asks for the next epoch; a grant arrives at any later time, or never."""
    epoch = pair.record(node)[0] + 1
    register, answer = pair.register.ask(node, epoch, "n")
    granted = {(node, epoch)} if answer.word is Word.GRANTED else set()
    yield replace(pair.with_register(register), on_the_way=pair.on_the_way | granted)
    if (node, epoch) in pair.on_the_way:
        yield replace(pair.with_record(node, epoch, node), alone=pair.alone | {node})


def lived(pair: Pair) -> Iterator[Pair]:
    """Everything that can happen next."""
    for node in NODES:
        epoch, owner = pair.record(node)
        lone = node in pair.alone
        taught_, _ = pair.register.teach(node, epoch, owner, paired=pair.paired, alone=lone, now_s=0.0)
        yield pair.with_register(taught_)
        if not pair.paired and node not in pair.alone:
            yield from asked(pair, node)
    if pair.paired:
        yield replace(pair, paired=False)
    else:
        epoch, owner = max(pair.records)
        met = pair.with_record(A, epoch, owner).with_record(B, epoch, owner)
        # Who is paired again puts no question any more, and takes no answer to one.
        yield replace(met, paired=True, alone=frozenset(), on_the_way=frozenset())
    for known in pair.stored:  # a start with the storage as it was at any time, or with none
        yield replace(pair, register=Register(known))
    yield replace(pair, register=pair.register.restarted(newest=True))


def test_lost_and_old_storage_never_makes_two_writers() -> None:
    """Two nodes that keep the rules of the pair, a witness that forgets as it likes: never both alone at once."""
    start = Pair(Register())
    seen, todo = {start}, [start]
    while todo:
        pair = todo.pop()
        assert len(pair.alone) < 2, pair
        for after in lived(pair):
            greatest = max(after.register.known.epoch, *(record[0] for record in after.records))
            if after not in seen and greatest <= EPOCH_MAX:
                seen.add(after)
                todo.append(after)
    assert any(pair.alone for pair in seen)


def test_two_witnesses_are_two_registers() -> None:
    """Each of the two would grant the same epoch: whoever needs both of them gets it for one node at most (D9)."""
    one, two = taught(), taught()
    one, for_a = one.ask(A, 5, "n")
    two, for_b = two.ask(B, 5, "n")
    assert (for_a.word, for_b.word) == (Word.GRANTED, Word.GRANTED)
    assert (one.ask(B, 5, "n")[1].word, two.ask(A, 5, "n")[1].word) == (Word.REFUSED, Word.REFUSED)

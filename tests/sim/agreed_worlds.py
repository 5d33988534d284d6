"""A small world for agreement on definitions, followed through every order of events (docs/safety.md, S43).

Both nodes run the product's `Agreement`. An adversary decides which of the words that are under way is heard, and when;
words are only heard in the order in which they were said, as the product's receiver of heartbeats has it. A document
that was ever sent may come at any time, once or often. A write ends well, or ends unknown with or without having been
done; a node may crash before and after each write. Persons give changes on both nodes, in the middle of everything.
Links are cut in one direction or in both. Worlds that are equal in everything are followed once.

From each world that was reached it is tried whether the pair ends well once nothing more happens to it. It must never
decide for the product.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from avance.core import commands as c
from avance.core import events as e
from avance.core.agreement import Agreement, AgreementFacts
from avance.core.decision import Draft
from avance.core.model import AgreementWord, NodeId, Outcome, PairState, Stand, Timers, Version
from avance.core.results import Done
from tests.playbook import A, B

NODES = (A, B)
BOTH_WAYS, APART, TO_B, TO_A = "both ways", "apart", "to b", "to a"
_TIMERS = Timers()
_WORDS_MAX = 3  # under way to one node; more were lost
_STEPS_MAX = 400
_DIFFER = "definitions_differ"
_BLANK = Version(0, "paired")

_Sent = tuple[str, Version, tuple[Version, ...]]


@dataclass(frozen=True)
class Rules:
    """How often what may happen: changes by persons, crashes, writes that end unknown, cuts, refusals.

    `verbs`: what persons may ask for: `both`, `alone`, `take`.
    """

    changes: int = 1
    verbs: tuple[str, ...] = ("both",)
    crashes: int = 0
    failures: int = 0
    cuts: int = 0
    refusals: int = 0


@dataclass(frozen=True)
class Node:
    """One node: the state of its owner, what its disk holds, what it has heard last, and what is under way to it."""

    state: tuple[object, ...]
    told: frozenset[str]
    disk: Stand
    said: AgreementWord | None
    coming: tuple[AgreementWord, ...]
    sent: frozenset[_Sent] = frozenset()


@dataclass(frozen=True)
class Small:
    """All of it. `undone`: what persons were told that it does not count; `kept`: what they were told that it counts.

    `alone`: what counted on one node first. `parted`: a node went on alone while it held the other one's proposal.
    """

    a: Node
    b: Node
    link: str
    left: Rules
    undone: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    alone: int = 0
    parted: bool = False
    taken: bool = False

    def node(self, name: NodeId) -> Node:
        """One of the two."""
        return self.a if name == A else self.b

    def with_node(self, name: NodeId, node: Node) -> Small:
        """The same with another node."""
        return replace(self, a=node) if name == A else replace(self, b=node)


class Broken(AssertionError):
    """A promise does not hold; the text says which."""


_FIELDS = (
    "stand", "saving", "unsure", "decided", "asked", "why_not", "deadline", "document", "asks", "refused", "apart",
    "_peer_asks",
)  # fmt: skip


def _peer(name: NodeId) -> NodeId:
    return B if name == A else A


def _owner(name: NodeId, node: Node) -> Agreement:
    made = Agreement(name, _peer(name), _TIMERS, node.disk)
    for key, value in zip(_FIELDS, node.state, strict=True):
        setattr(made, key, value)
    return made


def _state(owner: Agreement) -> tuple[object, ...]:
    return tuple(getattr(owner, key) for key in _FIELDS)


def first(rules: Rules) -> Small:
    """Two nodes that were paired, and hear each other."""
    stand = Stand(_BLANK)
    nodes = []
    for name in NODES:
        owner = Agreement(name, _peer(name), _TIMERS, stand)
        nodes.append(Node(_state(owner), frozenset(), stand, owner.word, ()))
    return Small(nodes[0], nodes[1], BOTH_WAYS, rules)


def _reaches(small: Small, name: NodeId) -> bool:
    return small.link in (BOTH_WAYS, TO_A if name == A else TO_B)


_Heard = e.ChangeAsked | e.TakeAsked | e.DocumentHeard | e.CommandDone


def _turn(small: Small, name: NodeId, event: _Heard | None, said: AgreementWord | None) -> Small:
    """Let a node take an event in, and do what follows; what it says is under way to the other one from then on."""
    node, other = small.node(name), small.node(_peer(name))
    owner, told = _owner(name, node), set(node.told)
    draft = Draft(1, PairState.PAIRED, told)
    facts = AgreementFacts(said, small.link == BOTH_WAYS, not _reaches(small, name), in_use=True, both_use=True)
    before, asked = owner.word, owner.asked
    if isinstance(event, e.CommandDone):
        assert isinstance(event.command, c.SaveDefinitions)
        owner.done(event.command, event.result, draft, 0.0)
    elif event is not None:
        owner.take_in(event, facts, draft, 0.0)
    asked = asked or owner.asked
    owner._retry_at = 0.0
    owner.judge(facts, draft, 0.0)
    sent = set(node.sent)
    for command in draft.commands:
        if isinstance(command, c.SendDocument):
            stand = owner.stand
            proposal = stand.proposal
            named = stand.version if command.key == stand.version.key or proposal is None else proposal.version
            sent.add((command.key, named, stand.history))
        elif isinstance(command, c.AnswerOperator) and asked is not None and asked.ask == command.ask:
            small = _answered(small, name, asked.target, taken=asked.first is None, done=command.done)
        elif isinstance(command, c.AnswerOperator) and isinstance(event, e.ChangeAsked):  # refused at once
            small = replace(small, undone=small.undone | {event.hash})
    coming = other.coming
    if owner.word != (coming[-1] if coming else before):
        coming = (*coming, owner.word)[-_WORDS_MAX:]
    small = small.with_node(_peer(name), replace(other, coming=coming))
    return small.with_node(
        name, replace(node, state=_state(owner), told=frozenset(told), said=said, sent=frozenset(sent))
    )


def _answered(small: Small, name: NodeId, target: Version, *, taken: bool, done: bool) -> Small:
    if taken:
        return replace(small, taken=small.taken or done)
    if not done:
        return replace(small, undone=small.undone | {target.hash})
    mine, theirs = small.node(name).disk, small.node(_peer(name)).disk
    if mine.version != target:
        raise Broken(f"{name} says that {target} counts, and its disk holds {mine}")
    held = theirs.version == target or (theirs.proposal is not None and theirs.proposal.version == target)
    if not (held or small.alone or small.parted or small.taken):
        raise Broken(f"{name} says that {target} counts on both, and the other disk holds {theirs}")
    return replace(small, kept=small.kept | {target.hash})


# ---------------------------------------------------------------- what may happen next


def steps(small: Small) -> Iterator[tuple[str, Small]]:
    """Each thing that may happen now, in words, and the world after it."""
    for name in NODES:
        yield from _heard(small, name)
        yield from _written(small, name)
        yield from _asked(small, name)
        yield from _late(small, name)
        yield from _crashed(small, name)
    if small.left.cuts:
        left = replace(small.left, cuts=small.left.cuts - 1)
        for link in (BOTH_WAYS, APART, TO_B, TO_A):
            if link != small.link:
                yield f"the link is {link}", _ticked(replace(small, link=link, left=left))


def _ticked(small: Small) -> Small:
    for name in NODES:
        small = _turn(small, name, None, small.node(name).said)
    return small


def _heard(small: Small, name: NodeId) -> Iterator[tuple[str, Small]]:
    node = small.node(name)
    if not _reaches(small, name):
        return
    for place, word in enumerate(node.coming):
        heard = small.with_node(name, replace(node, coming=node.coming[place + 1 :]))
        yield f"{name} hears word {place}", _turn(heard, name, None, word)
    for key, version, history in small.node(_peer(name)).sent:
        if key == dict(zip(_FIELDS, node.state, strict=True))["asks"]:
            yield f"{name} gets {key}", _turn(small, name, e.DocumentHeard(key, version, history, ""), node.said)
            if small.left.refusals:
                less = replace(small, left=replace(small.left, refusals=small.left.refusals - 1))
                refused = e.DocumentHeard(key, version, history, "no")
                yield f"{name} refuses {key}", _turn(less, name, refused, node.said)


def _written(small: Small, name: NodeId) -> Iterator[tuple[str, Small]]:
    node = small.node(name)
    saving = _owner(name, node).saving
    if saving is None:
        return
    command = c.SaveDefinitions(saving)
    written = small.with_node(name, replace(node, disk=saving))
    yield f"{name} has written", _turn(written, name, e.CommandDone(command, Done(Outcome.OK)), node.said)
    if small.left.failures:
        unknown = e.CommandDone(command, Done(Outcome.UNKNOWN, "the disk hangs"))
        less = replace(small.left, failures=small.left.failures - 1)
        for what, after in (("and has", written), ("and has not", small)):
            yield f"{name} does not know, {what}", _turn(replace(after, left=less), name, unknown, node.said)
        failed = e.CommandDone(command, Done(Outcome.FAILED, "no room"))
        yield f"{name} cannot write", _turn(replace(small, left=less), name, failed, node.said)


def _asked(small: Small, name: NodeId) -> Iterator[tuple[str, Small]]:
    if not small.left.changes:
        return
    node, left = small.node(name), replace(small.left, changes=small.left.changes - 1)
    owner = _owner(name, node)
    for verb in small.left.verbs:
        event: e.ChangeAsked | e.TakeAsked = e.TakeAsked(left.changes)
        if verb != "take":
            wanted = f"{name}{left.changes}"
            event = e.ChangeAsked(
                "change", owner.stand.version, wanted, f"id of {wanted}", verb == "alone", left.changes
            )
        after = _turn(replace(small, left=left), name, event, node.said)
        if verb == "alone" and _owner(name, after.node(name)).decided is not None:
            held = node.disk.proposal is not None or owner.stand.proposal is not None
            after = replace(after, alone=small.alone + 1, parted=small.parted or held)
        yield f"{name} is asked: {verb}", after


def _late(small: Small, name: NodeId) -> Iterator[tuple[str, Small]]:
    node = small.node(name)
    owner = _owner(name, node)
    if owner.deadline is not None and owner.deadline > 0:
        owner.deadline = -1.0
        late = small.with_node(name, replace(node, state=_state(owner)))
        yield f"{name} has waited long enough", _turn(late, name, None, node.said)


def _crashed(small: Small, name: NodeId) -> Iterator[tuple[str, Small]]:
    if not small.left.crashes:
        return
    node, left = small.node(name), replace(small.left, crashes=small.left.crashes - 1)
    saving = _owner(name, node).saving
    for disk in (node.disk, *([] if saving is None else [saving])):
        yield f"{name} crashes with {disk.version.key}", _restarted(replace(small, left=left), name, disk)


def _restarted(small: Small, name: NodeId, disk: Stand) -> Small:
    """Begin anew with what the disk holds; only what the other node says from now on is heard."""
    node, other = small.node(name), small.node(_peer(name))
    owner = Agreement(name, _peer(name), _TIMERS, disk)
    coming = (_owner(_peer(name), other).word,)
    small = small.with_node(name, Node(_state(owner), frozenset(), disk, None, coming, node.sent))
    words = other.coming
    if not words or words[-1] != owner.word:
        small = small.with_node(_peer(name), replace(other, coming=(*words, owner.word)[-_WORDS_MAX:]))
    return _turn(small, name, None, None)


# ---------------------------------------------------------------- what must hold


def check(small: Small) -> None:
    """Nothing counts of which a person was told that it does not."""
    for name in NODES:
        disk = small.node(name).disk
        wrong = small.undone & {version.hash for version in (*disk.history, disk.version)}
        if wrong:
            raise Broken(f"{wrong} counts on {name}, and a person was told that it does not")


def check_end(small: Small, ends: dict[Small, Small]) -> Small:
    """Once nothing more happens, both nodes hold the same, or are told that they differ; nothing is lost.

    `ends` remembers how each world ended that was met on the way.
    """
    way = [_ticked(replace(small, link=BOTH_WAYS, left=Rules(changes=0)))]
    while way[-1] not in ends:
        after = _onward(way[-1])
        if after is None:
            ends[way[-1]] = _checked(way[-1])
            break
        way.append(after)
        if len(way) > _STEPS_MAX:
            raise Broken("it never comes to an end")
    end = ends[way[-1]]
    ends |= dict.fromkeys(way, end)
    return end


def _checked(small: Small) -> Small:
    check(small)
    a, b = (_owner(name, small.node(name)) for name in NODES)
    for owner in (a, b):
        if owner.asked is not None or owner.saving is not None or owner.stand.proposal is not None:
            raise Broken(f"node {owner.me} waits for ever: {owner}")
        if owner.stand != small.node(owner.me).disk:
            raise Broken(f"node {owner.me} believes another thing than its disk holds")
    if a.stand.version != b.stand.version:
        if not small.alone or not all(_DIFFER in small.node(name).told for name in NODES):
            raise Broken(f"{a.stand} and {b.stand} differ, and nobody is told why")
        return small
    lineage = {version.hash for version in (*a.stand.history, a.stand.version)}
    if not small.taken and not small.kept <= lineage:
        raise Broken(f"{small.kept - lineage} was done, and is lost: {a.stand}")
    return small


def _onward(small: Small) -> Small | None:
    """Let one thing happen that goes on by itself; None when nothing does. Deadlines come last."""
    for name in NODES:
        for possible in (_written, _heard):
            worlds = [world for _, world in possible(small, name) if world != small]
            if worlds:
                return worlds[-1]
    for name in NODES:
        for _, after in _late(small, name):
            return after
    for name in NODES:
        owner = _owner(name, small.node(name))
        if owner.refused[0] == small.node(_peer(name)).disk.version.key and owner.apart is None:
            owner.refused = ("", "")  # a minute has passed
            again = small.with_node(name, replace(small.node(name), state=_state(owner)))
            return _turn(again, name, None, small.node(name).said)
    ticked = _ticked(small)
    return None if ticked == small else ticked


@dataclass
class Reached:
    """How many worlds there are, and what broke, with the way to it."""

    worlds: int = 0
    ways: int = 0
    differ: int = 0
    broken: list[str] = field(default_factory=list)

    def text(self) -> str:
        """In a few words."""
        return f"{self.worlds} worlds, {self.ways} steps between them, {self.differ} ends in which the nodes differ"


def explore(rules: Rules) -> Reached:
    """Follow every order of events; stops at the first promise that is broken."""
    begin = first(rules)
    found, seen = Reached(), {begin: ("", begin)}
    ends: dict[Small, Small] = {}
    queue = deque([begin])
    while queue:
        small = queue.popleft()
        found.worlds += 1
        try:
            end = check_end(small, ends)
            found.differ += end.a.disk.version != end.b.disk.version
            for words, after in steps(small):
                found.ways += 1
                if after not in seen:
                    check(after)
                    seen[after] = (words, small)
                    queue.append(after)
        except Broken as error:
            found.broken.append(f"{error}\n" + "\n".join(_way(seen, small)))
            return found
    return found


def _way(seen: dict[Small, tuple[str, Small]], small: Small) -> list[str]:
    way = []
    while seen[small][0]:
        words, small = seen[small]
        way.append(words)
    return way[::-1]

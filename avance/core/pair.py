"""This node's view of the pair: all changes of its state as one table, and a pure judgement of records and silence.

`judge` says what happens next, and the table says which state follows; the diagram in docs/ is this table drawn.
`step` is total: every (state, trigger) pair is either a row or listed in IGNORED with the reason. The rules in order of
weight:

1. A node that meets a record newer than its own while it may be writing is FENCED: it resets itself. Two claims to one
   epoch, or an epoch beyond an exclusive right, mean that both sides wrote alone: SPLIT, and only an operator ends it.
2. A node acts on an epoch only after the epoch is durable here. While the peer is there, it is durable on both nodes
   first (PAIRED).
3. Silence alone gives no right: that is `core/takeover.py`. The consent of a living peer is its own durable record:
   it names us as the owner of the next epoch, and says that its own copy is outdated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from avance.core.model import NodeId, PairState, PeerView, Record, VmId


class PairTrigger(StrEnum):
    """What can move the pair from one state to another."""

    AGREED = "AGREED"  # both nodes hear each other and hold the same epoch
    LOST = "LOST"  # no word from the peer, and no right to go on without it
    RIGHT_KEPT = "RIGHT_KEPT"  # no word from the peer, and this epoch is durably this node's alone
    RIGHT_SAVED = "RIGHT_SAVED"  # a newer epoch is durably this node's alone
    BEATEN = "BEATEN"  # the peer owns a newer epoch, and a VM may be running here
    BOTH_WROTE = "BOTH_WROTE"  # both nodes had the right to write alone
    CHOSEN = "CHOSEN"  # an operator has chosen a version, and that is durable


S = PairState
T = PairTrigger

ROWS: dict[tuple[PairState, PairTrigger], PairState] = {
    # A node that has just started waits for its peer, unless it was alone a moment ago.
    (S.STARTING, T.AGREED): S.PAIRED,
    (S.STARTING, T.LOST): S.WAITING,
    (S.STARTING, T.RIGHT_KEPT): S.ALONE,
    (S.STARTING, T.RIGHT_SAVED): S.ALONE,
    (S.STARTING, T.BEATEN): S.FENCED,
    (S.STARTING, T.BOTH_WROTE): S.SPLIT,
    # Silence ends a pair; who goes on needs a right.
    (S.PAIRED, T.LOST): S.WAITING,
    (S.PAIRED, T.RIGHT_KEPT): S.ALONE,
    (S.PAIRED, T.BEATEN): S.FENCED,
    (S.PAIRED, T.BOTH_WROTE): S.SPLIT,
    (S.WAITING, T.AGREED): S.PAIRED,
    (S.WAITING, T.RIGHT_SAVED): S.ALONE,
    (S.WAITING, T.BEATEN): S.FENCED,
    (S.WAITING, T.BOTH_WROTE): S.SPLIT,
    (S.ALONE, T.AGREED): S.PAIRED,
    (S.ALONE, T.RIGHT_SAVED): S.ALONE,  # in another epoch
    (S.ALONE, T.BEATEN): S.FENCED,
    (S.ALONE, T.BOTH_WROTE): S.SPLIT,
    # Only a person ends this.
    (S.SPLIT, T.CHOSEN): S.STARTING,
}

IGNORED: dict[tuple[PairState, PairTrigger], str] = {
    **{(S.FENCED, trigger): "only a restart of the node, which forgets every right, leads out" for trigger in T},
    **{(S.SPLIT, trigger): "only an operator's choice leads out" for trigger in T if trigger is not T.CHOSEN},
    **{
        (state, T.CHOSEN): "there is nothing to choose: both nodes did not write alone"
        for state in (S.STARTING, S.PAIRED, S.WAITING, S.ALONE)
    },
    (S.PAIRED, T.AGREED): "they are paired already",
    (S.PAIRED, T.RIGHT_SAVED): "the peer is there: it has consented, or is asked to follow",
    (S.WAITING, T.LOST): "it waits already",
    (S.WAITING, T.RIGHT_KEPT): "it waits because it has no right; a right to a newer epoch ends that",
    (S.ALONE, T.LOST): "it goes on without the peer already",
    (S.ALONE, T.RIGHT_KEPT): "it uses this right already",
}


def step(state: PairState, trigger: PairTrigger) -> PairState | None:
    """Return the state that follows, None where nothing does.

    Raises:
        AssertionError: the pair is neither a row nor ignored: a programmer error.
    """
    if (state, trigger) in IGNORED:
        return None
    assert (state, trigger) in ROWS, f"no row for {state} + {trigger}"
    return ROWS[state, trigger]


def diagram() -> str:
    """Draw the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> STARTING"]
    lines += [f"    {before} --> {after}: {trigger}" for (before, trigger), after in ROWS.items()]
    return "\n".join(lines) + "\n"


@dataclass(slots=True)  # not frozen: made at every event, and freezing costs three times as much as making
class PairFacts:
    """All that the pair rules may look at.

    `agreed`: both nodes hold the same definitions durably, which one of them is just taking into use. `yielded`: an
    operator gave up this node's version of diverged data, and a copy of it is kept. `vms`: all volumes.
    `peer_lost`: no receipt for the peer-lost time, for the owner no echo (see core/liveness.py). `boot_wait_over`:
    nothing was heard since this run of the daemon began, for long enough to stop waiting; `waited`: it began so long
    ago. `known`: this node knows whether its VMs run. `brought`: the peer gives the right by a live move, so that both
    copies are equal and stay connected.
    """

    me: NodeId
    peer_id: NodeId
    machine: str
    record: Record
    peer: PeerView | None
    peer_alive: bool
    peer_lost: bool
    boot_wait_over: bool
    may_write: bool
    known: bool
    config_hash: str
    dilation: float
    agreed: bool = False
    yielded: bool = False
    waited: bool = False
    vms: tuple[VmId, ...] = ()
    brought: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing changes."""


@dataclass(frozen=True, slots=True)
class Save:
    """Make this record durable, then judge again."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Happens:
    """This happens to the pair, in a state in which something follows from it."""

    trigger: PairTrigger
    reason: str


Judgement = Stay | Save | Happens


def mismatch(facts: PairFacts) -> str | None:
    """Say why the two nodes must not be paired although they hear each other, or None."""
    peer = facts.peer
    if peer is None:
        return None
    if peer.dilation != facts.dilation:
        return f"the nodes declare different dilations: {facts.dilation:g} here, {peer.dilation:g} on {peer.node}"
    if peer.config_hash != facts.config_hash and not facts.agreed:
        return f"the configurations differ: {facts.config_hash} here, {peer.config_hash} on {peer.node}"
    if _blank_owner(facts, peer):
        return f"this node is blank, and the peer knows it as the owner of epoch {peer.record.epoch}"
    return None


def _blank_owner(facts: PairFacts, peer: PeerView) -> bool:
    """A bare machine in the owner's place has none of its data: it must never become the source of a resync."""
    return facts.record.epoch == 0 and peer.record.epoch > 0 and peer.record.owner == facts.me


def _same(mine: Record, theirs: Record) -> bool:
    return mine.epoch == theirs.epoch and mine.owner == theirs.owner and mine.owner is not None


def judge(state: PairState, facts: PairFacts) -> Judgement:
    """Judge the pair once; the engine calls it again after each change until it says Stay."""
    if state is PairState.FENCED:
        return Stay()  # only a restart of the node, which forgets every right, leads out
    if state is PairState.SPLIT:
        if facts.record.split:
            return _yield(facts)
        return Save(replace(facts.record, split=True), "both nodes wrote alone: made durable until an operator chooses")
    if facts.record.split:
        return Happens(T.BOTH_WROTE, "both nodes wrote alone before this start")
    if facts.peer is not None:
        newer = _newer(facts, facts.peer)
        if newer is not None:
            return newer
        if facts.peer_alive:
            return _with_peer(state, facts, facts.peer)
    return _without_peer(state, facts)


def _yield(facts: PairFacts) -> Judgement:
    """Take the version that an operator chose on the other node, when this node's own is kept beside it."""
    mine, peer = facts.record, facts.peer
    if not facts.yielded or peer is None or peer.record.split or peer.record.epoch <= mine.epoch:
        return Stay()
    record = replace(_adopted(mine, peer.record), split=False, discard=facts.vms)
    return Save(record, f"an operator chose the data of node {peer.node}; a copy of ours is kept")


def _newer(facts: PairFacts, peer: PeerView) -> Judgement | None:
    """Act on a record that beats ours; it stays true however long ago it was said, because epochs only grow."""
    mine, theirs = facts.record, peer.record
    if theirs.epoch == mine.epoch and theirs.owner != mine.owner and None not in (mine.owner, theirs.owner):
        return Happens(T.BOTH_WROTE, f"both nodes claim epoch {mine.epoch}: {mine.owner} and {theirs.owner}")
    if theirs.epoch < mine.epoch and mine.owner == facts.me and _beyond(mine, peer):
        return Happens(T.BOTH_WROTE, f"the peer alone had the right to epoch {theirs.epoch}; ours is {mine.epoch}")
    if theirs.epoch <= mine.epoch or _blank_owner(facts, peer):
        return None
    if theirs.owner == facts.me:
        if facts.brought:
            record = replace(_adopted(mine, theirs), peer_outdated=False)
            return Save(record, f"the VMs have been brought here: this node owns epoch {theirs.epoch}")
        return Save(_adopted(mine, theirs), f"the peer consents: this node owns epoch {theirs.epoch}")
    if mine.solo(facts.me):
        reason = f"the peer owns epoch {theirs.epoch}, but this node alone had the right to epoch {mine.epoch}"
        return Happens(T.BOTH_WROTE, reason)
    if not facts.known:
        return Stay()  # what runs here must be known first: it decides between FENCED and a quiet adoption
    if facts.may_write:
        return Happens(T.BEATEN, f"the peer owns epoch {theirs.epoch}, newer than ours ({mine.epoch})")
    return Save(_adopted(mine, theirs), f"the peer knows epoch {theirs.epoch} of owner {theirs.owner}")


def _beyond(mine: Record, peer: PeerView) -> bool:
    """Our epoch is newer, but the peer holds a lone right to an older one, and no operator has chosen since."""
    theirs = peer.record
    return theirs.owner == peer.node and (theirs.split or theirs.peer_outdated) and mine.chosen <= theirs.epoch


def _with_peer(state: PairState, facts: PairFacts, peer: PeerView) -> Judgement:
    mine, theirs = facts.record, peer.record
    if theirs.split:
        return Stay()
    if mismatch(facts) is not None:
        # Its record is not newer, so it has no right; for a start it is worth as little as a silent one (S21).
        alone = replace(facts, peer_lost=False, boot_wait_over=facts.waited)
        return _without_peer(state, alone) if state is PairState.STARTING else Stay()
    if mine.epoch == theirs.epoch == 0 and mine.owner is None and facts.me < facts.peer_id:
        return Save(replace(mine, epoch=1, owner=facts.me), "first election: the lower node name owns epoch 1")
    if not _same(mine, theirs):
        return Stay()
    if state is PairState.STARTING and peer.pair is PairState.WAITING:
        return Stay()  # it may be saving its right to the next epoch just now; it pairs first, or tells us of it
    if step(state, T.AGREED) is not None:
        return Happens(T.AGREED, f"both nodes hold epoch {mine.epoch} of owner {mine.owner}")
    differs = (mine.peer_outdated, mine.quarantined) != (theirs.peer_outdated, theirs.quarantined)
    if mine.owner != facts.me and differs:
        followed = replace(mine, peer_outdated=theirs.peer_outdated, quarantined=theirs.quarantined)
        worth = "outdated" if theirs.peer_outdated else "in sync"
        return Save(followed, f"the owner says our copy is {worth}")
    return Stay()


def _without_peer(state: PairState, facts: PairFacts) -> Judgement:
    mine = facts.record
    served = mine.boot == facts.machine
    if state is PairState.STARTING and served and mine.solo(facts.me):
        return Happens(T.RIGHT_KEPT, f"the right of epoch {mine.epoch} is durable, and this machine has not stopped")
    if state is PairState.STARTING and served and facts.peer_lost:
        return Happens(T.LOST, "no word from the peer since the daemon was started again")
    if state is PairState.STARTING and not served and facts.boot_wait_over and mine.owner is not None:
        return Happens(T.LOST, "this node came up alone")
    if state is PairState.PAIRED and facts.peer_lost:
        if mine.solo(facts.me):
            return Happens(T.RIGHT_KEPT, f"the peer is lost, and epoch {mine.epoch} is this node's alone already")
        return Happens(T.LOST, "no word from the peer on any link")
    return Stay()


def _adopted(mine: Record, theirs: Record) -> Record:
    return replace(
        mine,
        epoch=theirs.epoch,
        owner=theirs.owner,
        peer_outdated=theirs.peer_outdated,
        arbiters=theirs.arbiters,
        quarantined=theirs.quarantined,
    )

"""This node's view of the pair: a pure judgement of records and silence, one function per state.

`judge` says what the pair should do next; the engine performs it. The rules in order of weight:

1. A node that meets a record newer than its own while it may be writing is FENCED: it stops its VMs.
2. Nobody acts on an epoch before it is durable here, and, while the peer is there, durable on both sides (PAIRED).
3. Silence alone gives no right: that is `core/takeover.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from avance.core.model import NodeId, PairState, PeerView, Record


@dataclass(frozen=True, slots=True)
class PairFacts:
    """All that the pair rules may look at."""

    me: NodeId
    peer_id: NodeId
    record: Record
    peer: PeerView | None
    peer_alive: bool
    peer_lost: bool
    may_write: bool
    config_hash: str
    dilation: float


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing changes."""


@dataclass(frozen=True, slots=True)
class Save:
    """Make this record durable, then judge again."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Become:
    """Enter another pair state."""

    state: PairState
    reason: str


Judgement = Stay | Save | Become


def mismatch(facts: PairFacts) -> str | None:
    """Say why the two nodes must not be paired although they hear each other, or None."""
    peer = facts.peer
    if peer is None:
        return None
    if peer.dilation != facts.dilation:
        return f"the nodes declare different dilations: {facts.dilation:g} here, {peer.dilation:g} on {peer.node}"
    if peer.config_hash != facts.config_hash:
        return f"the configurations differ: {facts.config_hash} here, {peer.config_hash} on {peer.node}"
    return None


def _same(mine: Record, theirs: Record) -> bool:
    return mine.epoch == theirs.epoch and mine.owner == theirs.owner and mine.owner is not None


def judge(state: PairState, facts: PairFacts) -> Judgement:
    """Judge the pair once; the engine calls it again after each change until it says Stay."""
    if state is PairState.FENCED:
        return Stay()  # only a restart of the node, which forgets every right, leads out
    if facts.peer is not None:
        newer = _newer(facts, facts.peer)
        if newer is not None:
            return newer
        if facts.peer_alive:
            return _with_peer(state, facts, facts.peer)
    if state is PairState.PAIRED and facts.peer_lost:
        return Become(PairState.WAITING, "no word from the peer on any link")
    return Stay()


def _newer(facts: PairFacts, peer: PeerView) -> Judgement | None:
    """Act on a record that beats ours; it stays true however long ago it was said, because epochs only grow."""
    mine, theirs = facts.record, peer.record
    if theirs.epoch == mine.epoch and theirs.owner != mine.owner and None not in (mine.owner, theirs.owner):
        return Become(PairState.FENCED, f"both nodes claim epoch {mine.epoch}: {mine.owner} and {theirs.owner}")
    if theirs.epoch > mine.epoch:
        if facts.may_write:
            return Become(PairState.FENCED, f"the peer owns epoch {theirs.epoch}, newer than ours ({mine.epoch})")
        return Save(_adopted(mine, theirs), f"the peer knows epoch {theirs.epoch} of owner {theirs.owner}")
    return None


def _with_peer(state: PairState, facts: PairFacts, peer: PeerView) -> Judgement:
    mine, theirs = facts.record, peer.record
    if mismatch(facts) is not None:
        return Stay()
    if mine.epoch == theirs.epoch == 0 and mine.owner is None and facts.me < facts.peer_id:
        return Save(replace(mine, epoch=1, owner=facts.me), "first election: the lower node name owns epoch 1")
    if _same(mine, theirs):
        if state is PairState.STARTING and peer.pair is PairState.WAITING:
            return Stay()  # it may be saving its right to the next epoch just now; it pairs first, or tells us of it
        if state is not PairState.PAIRED:
            return Become(PairState.PAIRED, f"both nodes hold epoch {mine.epoch} of owner {mine.owner}")
        if mine.owner != facts.me and mine.peer_outdated != theirs.peer_outdated:
            worth = "outdated" if theirs.peer_outdated else "in sync"
            return Save(replace(mine, peer_outdated=theirs.peer_outdated), f"the owner says our copy is {worth}")
    return Stay()


def _adopted(mine: Record, theirs: Record) -> Record:
    return replace(mine, epoch=theirs.epoch, owner=theirs.owner, peer_outdated=theirs.peer_outdated)

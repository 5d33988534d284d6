"""Agreement on definitions: a change is given once, on either node, and counts when both nodes hold it.

The coordinator, where it was given, makes its proposal durable and says it. The peer makes it durable, too, and says
that it holds it, or refuses it. Hearing that it is held, the coordinator lets it count; hearing that, the peer does the
same (docs/safety.md, S43). What a node says is always what is durable there for certain, and its word of one moment is
never heard after its word of a later one. So a proposal that is held stays held until the coordinator says what became
of it.

Contents never come here: only numbers, hashes and ids, so that nothing secret is in a journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from avance.core import alerts
from avance.core import commands as c
from avance.core import events as e
from avance.core.decision import Draft
from avance.core.model import AgreementWord, NodeId, Outcome, Proposal, Stand, Timers, Version
from avance.core.results import Done

HISTORY_MAX = 32
ANSWER_S = 20.0  # in which the peer has to hold what is proposed
_AGAIN_S = 1.0  # between two times that a document is sent
_REFUSED_S = 60.0  # then a version that was refused is looked at again
_NO_DESCENT = "neither of the two versions comes from the other"


@dataclass(frozen=True, slots=True)
class AgreementFacts:
    """What has to be known of the pair.

    `said`: the peer's last word, None: nothing was heard since the start. `heard`: the nodes hear each other now.
    `silent`: nothing was heard of the peer for the peer-lost time. `in_use`: the definitions that count here are in use
    here; `both_use`: and the peer uses the same.
    """

    said: AgreementWord | None
    heard: bool
    silent: bool
    in_use: bool
    both_use: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for and waits for: it is done when `target` counts here.

    `first`: what is made durable before anything is said, None where the peer's document has to be heard first.
    """

    ask: int
    text: str
    done: str
    target: Version
    first: Stand | None


@dataclass(slots=True)
class Agreement:
    """The definitions of one node; `stand` is durable for certain."""

    me: NodeId
    peer: NodeId
    timers: Timers
    stand: Stand
    saving: Stand | None = None
    unsure: bool = False  # the disk may hold another stand
    decided: Stand | None = None  # what is written until it is durable, because others may build on it already
    asked: Asked | None = None
    why_not: str = ""  # why this node withdraws what was asked for here
    deadline: float | None = None
    document: e.DocumentHeard | None = None
    asks: str = ""
    refused: tuple[str, str] = ("", "")
    apart: Version | None = None  # a version of the peer; neither it nor ours comes from the other
    _retry_at: float = 0.0
    _refused_at: float = 0.0
    _sent_at: float = field(default=-_AGAIN_S)
    _peer_asks: str = ""

    # ------------------------------------------------------------ what is asked for

    def take_in(
        self, event: e.ChangeAsked | e.TakeAsked | e.DocumentHeard, facts: AgreementFacts, draft: Draft, now: float
    ) -> None:
        """Take in what a person asks for, or what the peer has sent."""
        match event:
            case e.ChangeAsked():
                self.change(event, facts, draft, now)
            case e.TakeAsked():
                self.take(event, facts, draft, now)
            case e.DocumentHeard():
                self.heard(event, facts, draft, now)

    def change(self, event: e.ChangeAsked, facts: AgreementFacts, draft: Draft, now: float) -> None:
        """Begin to agree on other definitions, or say why not."""
        why = self._why_no_change(event, facts)
        if why:
            draft.command(c.AnswerOperator(event.ask, done=False, text=f"{event.text}: {why}; nothing was changed"))
            return
        held = 0 if self.stand.proposal is None else self.stand.proposal.version.number
        version = Version(max(self.stand.version.number, held) + 1, event.hash)
        if event.alone:
            self.decided = self._counting(version)
            done = f"done on this node alone; node {self.peer} takes it when it is back"
            self.asked = Asked(event.ask, event.text, done, version, self.decided)
        else:
            first = replace(self.stand, proposal=Proposal(event.id, version, self.me))
            self.asked = Asked(event.ask, event.text, "done, both nodes hold it", version, first)
        self.why_not, self.deadline = "", now + ANSWER_S * self.timers.second_s
        draft.say(f"asked for: {event.text}")

    def _why_no_change(self, event: e.ChangeAsked, facts: AgreementFacts) -> str:
        peer, said, proposal = self.peer, facts.said, self.stand.proposal
        if self._works or (proposal is not None and proposal.by == self.me):
            return "another change is not agreed yet; ask again when it is (avance definitions)"
        if event.base != self.stand.version or not facts.in_use:
            return "the definitions have just changed; look at them, and ask again"
        if event.hash == event.base.hash:
            return "that is what counts already"
        if event.alone:
            free = facts.silent or self.differs(facts)
            return "" if free else f"node {peer} is not silent; ask without --one-node, so that it agrees"
        if not facts.heard or said is None:
            return (
                f"node {peer} is not heard, and cannot agree; ask again when it is back, or with --one-node: then it"
                f" counts here at once, and node {peer} takes it later"
            )
        if proposal is not None or said.proposal is not None:
            return f"node {peer} proposes another change just now; look at it, and ask again"
        if said.version != self.stand.version:
            return f"node {peer} holds other definitions; look at both (avance definitions), and ask again"
        if not facts.both_use:
            return "the last change is just being taken into use on both nodes; ask again in a minute"
        return ""

    def take(self, event: e.TakeAsked, facts: AgreementFacts, draft: Draft, now: float) -> None:
        """Begin to give this node's definitions up, and to take the peer's; or say why not."""
        why = self._why_no_take(facts)
        if why or facts.said is None:
            draft.command(c.AnswerOperator(event.ask, done=False, text=f"{why}; nothing was changed"))
            return
        done = f"this node has the definitions of node {self.peer}, number {facts.said.version.number}"
        self.asked = Asked(event.ask, "definitions take", done, facts.said.version, None)
        self.refused, self.document = ("", ""), None
        self.why_not, self.deadline = "", now + ANSWER_S * self.timers.second_s

    def _why_no_take(self, facts: AgreementFacts) -> str:
        said, peer = facts.said, self.peer
        if not facts.heard or said is None:
            return f"node {peer} is not heard, so its definitions cannot be taken"
        if self._works or self.stand.proposal is not None:
            return "a change is not agreed yet; ask again when it is (avance definitions)"
        if said.version == self.stand.version:
            return "both nodes hold the same definitions"
        if not self.differs(facts):
            return f"one of the two definitions comes from the other, so node {peer} or this one takes it by itself"
        if said.asks == self.stand.version.key:
            return f"node {peer} takes the definitions of this node just now"
        return ""

    @property
    def takes(self) -> bool:
        """A person gives this node's definitions up, and waits for those of the peer."""
        return self.asked is not None and self.asked.first is None

    @property
    def _works(self) -> bool:
        return self.asked is not None or self.decided is not None or self.saving is not None or self.unsure

    # ------------------------------------------------------------ what is heard

    def heard(self, event: e.DocumentHeard, facts: AgreementFacts, draft: Draft, now: float) -> None:
        """Note the document for which this node asked; any other one means nothing."""
        said = facts.said
        if said is None or not self.asks or event.key != self.asks:
            return
        versioned = event.key == said.version.key
        named = said.version if versioned or said.proposal is None else said.proposal.version
        if event.version != named and not event.problem:
            return  # the peer has changed it meanwhile, and names another one soon
        taken = self.takes
        why = event.problem
        if not why and versioned and not taken and not self._descends(event):
            why, self.apart = _NO_DESCENT, event.version
        if not why:
            self.document = event
            return
        self.refused, self._refused_at = (event.key, why), now
        if taken:
            self.why_not = why
            return
        draft.say(f"the definitions that node {self.peer} sent are not taken: {why}")
        if why != _NO_DESCENT and versioned:
            draft.once("definitions_refused", alerts.definitions_refused(self.peer, why))
        draft.tell_peer()

    def _descends(self, event: e.DocumentHeard) -> bool:
        """The document comes from what this node has, or this node was paired and never changed since."""
        return self.stand.version.number == 0 or self.stand.version in event.history

    def done(self, command: c.SaveDefinitions, result: Done, draft: Draft, now: float) -> None:
        """Note how a save ended."""
        assert self.saving == command.stand, "an outcome without a save in flight"
        self.saving, before = None, self.stand
        if not result.ok:
            self._not_saved(command.stand, result, draft, now)
            return
        self.unsure, self.stand = False, command.stand
        if self.decided == self.stand:
            self.decided = None
        draft.tell_peer()
        proposal = self.stand.proposal
        if proposal is not None and proposal != before.proposal:
            draft.say(f"definitions number {proposal.version.number}, proposed by node {proposal.by}, are held durably")
        elif before.proposal is not None and self.stand.version == before.version:
            draft.say(f"the proposal of definitions number {before.proposal.version.number} is gone")
        if self.stand.version != before.version:
            self.document = None
            draft.say(f"definitions number {self.stand.version.number} count here now")
            mine = before.proposal is not None and before.proposal.by == self.me
            draft.command(c.UseDefinitions(self.stand.version, later=mine))

    def _not_saved(self, stand: Stand, result: Done, draft: Draft, now: float) -> None:
        draft.say(f"the definitions were not saved: {result.detail}")
        self._retry_at = now + self.timers.retry_s
        self.unsure = self.unsure or result.outcome is Outcome.UNKNOWN
        if self.asked is None or self.asked.first != stand or (self.decided is not None and self.unsure):
            return
        self.decided = None
        self.why_not = f"it cannot be made durable here ({result.detail})"

    # ------------------------------------------------------------ what follows

    def judge(self, facts: AgreementFacts, draft: Draft, now: float) -> None:
        """Decide what becomes of proposals, answer whoever asked, and write what has to be durable."""
        said = facts.said
        self._peer_asks = "" if said is None else said.asks
        if said is not None:
            self._forget(said, now)
            self._judge_proposal(said)
            self._tell(facts, said, draft)
        if self.deadline is not None and now >= self.deadline and self._may_withdraw and not self.why_not:
            self.why_not = f"node {self.peer} did not say within {ANSWER_S * self.timers.second_s:g} s that it holds it"
        self._answer(draft)
        before, self.asks = self.asks, "" if said is None else self._wanted(said)
        if before != self.asks:
            self.document = None
            draft.tell_peer()
        if self.saving is None and now >= self._retry_at:
            self.saving = self._wished(said, now)
            if self.saving is not None:
                draft.command(c.SaveDefinitions(self.saving))
        self._send(facts, draft, now)

    @property
    def _may_withdraw(self) -> bool:
        """What was asked for here has not been decided."""
        return self.decided is None and (self.asked is not None or self._own is not None)

    @property
    def _own(self) -> Proposal | None:
        """This node's own proposal, where it is durable."""
        proposal = self.stand.proposal
        return proposal if proposal is not None and proposal.by == self.me else None

    def _forget(self, said: AgreementWord, now: float) -> None:
        """Forget a refusal of what the peer does not name any more; a version is looked at again after a minute."""
        key, _ = self.refused
        named = said.proposal is not None and said.proposal.id == key
        late = now >= self._refused_at + _REFUSED_S * self.timers.second_s
        if key and not named and (key != said.version.key or late):
            self.refused = ("", "")
        if self.apart is not None and self.apart != said.version:
            self.apart = None

    def _judge_proposal(self, said: AgreementWord) -> None:
        """Let this node's proposal count when the peer holds it, or withdraw it."""
        own, peer = self._own, self.peer
        if self.decided is not None or self.why_not:
            return
        if self.asked is not None and self.asked.first is None and said.version != self.asked.target:
            self.why_not = f"node {peer} has changed its definitions meanwhile"
        if own is None:
            return
        if said.version != self.stand.version:
            self.why_not = f"node {peer} has changed its definitions meanwhile"
        elif said.proposal == own:
            self.decided = self._counting(own.version)
        elif said.refused[0] == own.id:
            self.why_not = f"node {peer} refuses it: {said.refused[1]}"
        elif said.proposal is not None and said.proposal.by == peer and peer < self.me:
            self.why_not = f"another change was given on node {peer} at the same moment; look at it, and ask again"

    def _counting(self, version: Version) -> Stand:
        """Return what is durable when this version counts, which comes from the present one."""
        return Stand(version, (*self.stand.history, self.stand.version)[-HISTORY_MAX:])

    def _answer(self, draft: Draft) -> None:
        """Answer whoever waits, once it is durable what became of it."""
        if self.saving is not None or self.unsure or self.decided is not None or self._own is not None:
            return
        asked, why = self.asked, self.why_not
        if asked is not None and self.stand.version == asked.target:
            draft.command(c.AnswerOperator(asked.ask, done=True, text=f"{asked.text}: {asked.done}"))
        elif asked is not None and why:
            draft.say(f"{asked.text}: withdrawn: {why}")
            draft.command(c.AnswerOperator(asked.ask, done=False, text=f"{asked.text}: {why}; nothing was changed"))
        elif asked is not None:
            return
        self.asked, self.why_not, self.deadline = None, "", None

    def _wanted(self, said: AgreementWord) -> str:
        """Return which document of the peer this node wants to be sent, "" for none."""
        mine, proposal = self.stand.version, said.proposal
        if self.asked is not None:
            return self.asked.target.key if self.asked.first is None and not self.why_not else ""
        if self.stand.proposal is not None or self.decided is not None:
            return ""
        key = ""
        if said.version.number > mine.number:
            key = said.version.key
        elif proposal is not None and proposal.by == self.peer and said.version == mine:
            key = proposal.id
        return "" if key == self.refused[0] else key

    def _wished(self, said: AgreementWord | None, now: float) -> Stand | None:
        """Return what has to be made durable now; None when the disk holds it."""
        if self.decided is not None:
            return self.decided
        stand, proposal = self.stand, self.stand.proposal
        again = stand if self.unsure else None
        if proposal is not None and proposal.by == self.me:
            self.deadline = now + ANSWER_S * self.timers.second_s if self.deadline is None else self.deadline
            return replace(stand, proposal=None) if self.why_not else again
        if proposal is not None:
            return again if said is None else self._of_held(proposal, said) or again
        if self.asked is not None and self.asked.first is not None and not self.why_not:
            return self.asked.first
        if self.document is None or said is None:
            return again
        if self.document.key == self.document.version.key:
            return Stand(self.document.version, self.document.history)
        return replace(stand, proposal=said.proposal)

    def _of_held(self, proposal: Proposal, said: AgreementWord) -> Stand | None:
        """Return what becomes of the peer's proposal that is held here, None: it is not decided."""
        if said.version == proposal.version:
            return self._counting(proposal.version)
        return None if said.proposal == proposal else replace(self.stand, proposal=None)

    def _send(self, facts: AgreementFacts, draft: Draft, now: float) -> None:
        """Send the document for which the peer asks, again and again until it asks no more."""
        own, key = self._own, self._peer_asks
        has = key and (key == self.stand.version.key or (own is not None and key == own.id))
        if has and facts.heard and now >= self._sent_at + _AGAIN_S * self.timers.second_s:
            self._sent_at = now
            draft.command(c.SendDocument(key))

    # ------------------------------------------------------------ what others are told

    def differs(self, facts: AgreementFacts) -> bool:
        """Neither of the two definitions comes from the other, so no node may take the other's by itself."""
        said, mine = facts.said, self.stand.version
        if said is None or said.version == mine:
            return False
        if said.version.number == mine.number:
            return True
        if said.version.number > mine.number:
            return self.apart == said.version
        return said.version.number != 0 and said.version not in self.stand.history

    def _tell(self, facts: AgreementFacts, said: AgreementWord, draft: Draft) -> None:
        if said.version == self.stand.version:
            draft.in_order("definitions_differ", "definitions_refused")
        elif facts.heard and self.asked is None and self.differs(facts):
            draft.once("definitions_differ", alerts.definitions_differ(self.me, self.peer))

    @property
    def word(self) -> AgreementWord:
        """What this node says of its definitions."""
        return AgreementWord(self.stand.version, self.stand.proposal, self.asks, self.refused)

    @property
    def rests(self) -> bool:
        """Nothing is under way, wanted or asked for."""
        return not (self._works or self.stand.proposal is not None or self.asks or self._peer_asks)


__all__ = ["ANSWER_S", "HISTORY_MAX", "Agreement", "AgreementFacts", "Asked"]

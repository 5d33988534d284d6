"""Two nodes that agree on definitions, without sockets: the real core of that, the real files, the real datagrams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from avance.changes import changed
from avance.config import Config, parse
from avance.configuration import Configuration
from avance.core import commands as c
from avance.core import events as e
from avance.core.agreement import Agreement, AgreementFacts
from avance.core.decision import Draft
from avance.core.model import AgreementWord, NodeId, PairState, Timers
from avance.documents import Documents
from avance.errors import StoreError
from avance.wire.document import Document, unseal
from avance.wire.rejected import Rejected
from tests.unit.avance.site import kept_of

TIMERS = Timers()


class Node:
    """One node: what it holds durably, what it was told, what it sends."""

    def __init__(self, name: str, directory: Path, **site: Any) -> None:  # noqa: ANN401 - keys of a site
        self.name = NodeId(name)
        self.kept = Configuration(directory / f"{name}.json", directory / f"{name}.twin.json")
        self.kept.save({**kept_of(name, **site), "number": 0})
        self.answers: list[c.AnswerOperator] = []
        self.alerts: list[str] = []
        self.used: list[Config] = []
        self.unfinished: tuple[Any, ...] = ()
        self.room_mib: int | None = 4096
        self.begin()

    def begin(self) -> None:
        """Start the daemon, with what is durable."""
        raw = self.kept.load(mend=True)
        if raw is None:
            raise StoreError("nothing is kept")
        config = parse(self.name, raw["site"], raw["vms"])
        self.documents = Documents(config, raw, self.kept, lambda: self.unfinished, lambda: self.room_mib)
        self.agreement = Agreement(self.name, config.peer, TIMERS, self.documents.stand)
        self.said: AgreementWord | None = None
        self.told: set[str] = set()
        self.queue: list[e.Event] = []
        self.sent: list[bytes] = []

    @property
    def vms(self) -> list[str]:
        """The names of the VMs that count here."""
        return [entry["name"] for entry in self.documents.contents.vms]

    def asks(self, request: dict[str, Any], ask: int = 1) -> None:
        """Let a person ask for a change."""
        alone = request.get("one_node") is True
        wanted = changed(request, self.documents.contents, alone=alone)
        question = self.documents.asked(wanted.text, wanted.contents, alone=alone)
        self.queue.append(e.ChangeAsked(wanted.text, question.base, question.hash, question.id, alone, ask))

    async def turn(self, now: float, *, heard: bool) -> None:
        """Do what is to be done now."""
        draft = Draft(1, PairState.PAIRED, self.told)
        in_use = self.documents.in_use.config_hash == self.agreement.stand.version.hash
        facts = AgreementFacts(self.said, heard, not heard, in_use, in_use)
        queue, self.queue = self.queue, []
        for event in queue:
            if isinstance(event, e.ChangeAsked | e.TakeAsked | e.DocumentHeard):
                self.agreement.take_in(event, facts, draft, now)
            elif isinstance(event, e.CommandDone):
                assert isinstance(event.command, c.SaveDefinitions)
                self.agreement.done(event.command, event.result, draft, now)
        self.agreement.judge(facts, draft, now)
        for command in draft.commands:
            await self._perform(command)

    async def _perform(self, command: c.Command) -> None:
        match command:
            case c.SaveDefinitions(stand):
                self.queue.append(e.CommandDone(command, await self.documents.save(stand)))
            case c.AnswerOperator():
                self.answers.append(command)
            case c.SendAlert(alert):
                self.alerts.append(alert.code)
            case c.SendDocument(key):
                datagram = self.documents.datagram(key)
                assert datagram is not None
                self.sent.append(datagram)
            case c.UseDefinitions(version):
                self.documents.in_use = self.documents.parsed(version.hash)
                self.used.append(self.documents.in_use)

    def gets(self, datagram: bytes) -> Document | Rejected:
        """Take a datagram."""
        document = unseal(self.documents.in_use.secret, datagram)
        if isinstance(document, Document):
            self.queue.append(self.documents.heard(document, taken=self.agreement.takes))
        return document


class TwoNodes:
    """Both of them, and the wire between; time goes on in steps of half a second."""

    def __init__(self, directory: Path, **site: Any) -> None:  # noqa: ANN401 - keys of a site
        self.a, self.b = Node("a", directory, **site), Node("b", directory, **site)
        self.now, self.cut = 100.0, False

    async def _steps(self, seconds: float) -> None:
        end_s = self.now + seconds
        while self.now < end_s:
            for node, other in ((self.a, self.b), (self.b, self.a)):
                if not self.cut:
                    node.said = other.agreement.word
                    for datagram in other.sent:
                        node.gets(datagram)
                other.sent.clear()
                await node.turn(self.now, heard=not self.cut)
            self.now += 0.5

    def run(self, seconds: float = 5.0) -> None:
        """Let time pass."""
        asyncio.run(self._steps(seconds))

    @property
    def is_agreed(self) -> bool:
        """Both hold the same, in use, and nothing is under way."""
        stands = self.a.agreement.stand.version, self.b.agreement.stand.version
        in_use = self.a.documents.in_use.config_hash == self.b.documents.in_use.config_hash == stands[0].hash
        return stands[0] == stands[1] and in_use and self.a.agreement.rests and self.b.agreement.rests

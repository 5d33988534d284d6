"""Requests from the control socket that the core answers: DRBD's question, and what only a person may decide.

Each gets a number, becomes an event, and waits for the command that answers it, at most until a deadline. It decides
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any, Generic, TypeVar

from avance.changes import VERBS, changed
from avance.config import Config
from avance.core import commands as c
from avance.core.events import Event, FencePeerAsked, OperatorAsked, TakeAsked
from avance.core.model import NodeId
from avance.documents import Documents
from avance.errors import ConfigError
from avance.wire import names

_FENCE_ANSWER_S = 20.0  # deadline of the fence-peer handler, times the dilation
_OPERATOR_ANSWER_S = 20.0  # what a person asked for is durable or refused by then; times the dilation
_DEPARTS_S = 260.0  # whether no VM runs here any more is certain by then; times the dilation
_AGREED_S = 40.0  # what both nodes had to agree on counts or is withdrawn by then; times the dilation
OPERATOR_VERBS = ("override", "reset-device", "keep", "move", "leave")
ASKED = ("fence-peer", "definitions-take", *VERBS, *OPERATOR_VERBS)

T = TypeVar("T")


class Questions(Generic[T]):
    """Questions that wait for their answers, by number. No number is given twice: a late answer is nobody else's."""

    def __init__(self) -> None:
        self._open: dict[int, asyncio.Future[T]] = {}
        self._asked = 0

    async def answer(self, put: Callable[[int], None], deadline_s: float) -> T:
        """Put a question under a new number, and return its answer.

        Raises:
            TimeoutError: none came in time.
        """
        self._asked = ask = self._asked + 1
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._open[ask] = answer
        put(ask)
        try:
            async with asyncio.timeout(deadline_s):
                return await answer
        finally:
            del self._open[ask]

    def answered(self, ask: int, given: T) -> None:
        """Hand over an answer; nobody may be waiting for it any more."""
        answer = self._open.get(ask)
        if answer is not None and not answer.done():
            answer.set_result(given)


class Requests:
    """What is asked of one node; `sink` takes events for the core, `vms` are those of the engine."""

    def __init__(
        self, config: Config, sink: Callable[[Event], None], vms: Container[str], documents: Documents
    ) -> None:
        self._config, self._sink, self._vms, self._documents = config, sink, vms, documents
        self._fences: Questions[c.AnswerFencePeer] = Questions()
        self.persons: Questions[c.AnswerOperator] = Questions()

    async def asked(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one of `ASKED`.

        Raises:
            ConfigError: other definitions are refused here already; nothing was changed.
        """
        op = request["op"]
        if op == "fence-peer":
            return await self.fence_peer(str(request.get("resource")))
        if op == "definitions-take":
            return await self.take()
        if op in OPERATOR_VERBS:
            return await self.operator(op, str(request.get("node")))
        return await self.change(request)

    async def fence_peer(self, resource: str) -> dict[str, Any]:
        """Let the core answer DRBD's question; no answer within the deadline is a denial."""
        vm = names.vm_of(resource)
        if vm is None or vm not in self._vms:
            return {"error": f"there is no VM with the resource {resource!r} on this node"}
        deadline_s = _FENCE_ANSWER_S * self._config.dilation
        try:
            given = await self._fences.answer(lambda ask: self._sink(FencePeerAsked(vm, ask)), deadline_s)
        except TimeoutError:
            return {"error": f"no right to go on without the peer within {deadline_s:g} s"}
        return {"code": given.code}

    async def operator(self, request: str, typed: str) -> dict[str, Any]:
        """Let the core do what only a person may ask for; the typed name must be one that this makes sense for."""
        node, peer = self._config.node, self._config.peer
        typed = typed or (node if request == "leave" else "")  # nothing can be lost by it
        possible = [peer] if request == "override" else sorted([node, peer])
        if typed not in possible:
            return {"error": f"{request} {typed!r}: the name must be {' or '.join(possible)}; nothing was changed"}
        deadline_s = (_DEPARTS_S if request == "leave" else _OPERATOR_ANSWER_S) * self._config.dilation
        try:
            given = await self.persons.answer(
                lambda ask: self._sink(OperatorAsked(request, NodeId(typed), ask)), deadline_s
            )
        except TimeoutError:
            return {"error": f"{request} {typed}: no decision within {deadline_s:g} s; look at the status"}
        return {"ok" if given.done else "error": given.text}

    async def change(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let both nodes agree on other definitions, or one alone where that is said.

        Raises:
            ConfigError: they are refused here already; nothing was changed.
        """
        alone = request.get("one_node") is True
        wanted = changed(request, self._documents.contents, alone=alone)
        question = self._documents.asked(wanted.text, wanted.contents, alone=alone)
        lacking = await self._documents.lacks(question.hash)
        if lacking:
            raise ConfigError(f"{lacking}; nothing was changed")
        return await self._agreed(wanted.text, lambda ask: replace(question, ask=ask))

    async def take(self) -> dict[str, Any]:
        """Let this node give its definitions up, and take the peer's."""
        return await self._agreed("definitions take", TakeAsked)

    async def _agreed(self, text: str, question: Callable[[int], Event]) -> dict[str, Any]:
        deadline_s = _AGREED_S * self._config.dilation
        try:
            given = await self.persons.answer(lambda ask: self._sink(question(ask)), deadline_s)
        except TimeoutError:
            return {"error": f"{text}: nothing is decided after {deadline_s:g} s; look at `avance definitions`"}
        return {"ok" if given.done else "error": given.text}

    def answered(self, command: c.AnswerFencePeer | c.AnswerOperator) -> None:
        """The core has answered."""
        if isinstance(command, c.AnswerFencePeer):
            self._fences.answered(command.ask, command)
        else:
            self.persons.answered(command.ask, command)

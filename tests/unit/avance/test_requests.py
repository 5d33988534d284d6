"""Questions to the core: each gets its own answer, or an error after its deadline."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from avance import requests as module
from avance.configuration import Configuration
from avance.core import commands as c
from avance.core.events import ChangeAsked, Event, FencePeerAsked, OperatorAsked, TakeAsked
from avance.documents import Documents
from avance.errors import ConfigError
from avance.requests import Questions, Requests
from tests.playbook import B
from tests.unit.avance.site import config, kept_of, vm


class Core:
    """Stands for the core: keeps what it is told, and answers each question as it is told to."""

    def __init__(self, **answer: Any) -> None:  # noqa: ANN401 - the fields of any answer
        documents = Documents(config(), kept_of("a", vm()), Configuration(Path("x"), Path("y")), tuple, lambda: 4096)
        self.heard: list[Event] = []
        self.requests = Requests(config(), self.hear, {"web"}, documents)
        self._answer = answer

    def hear(self, event: Event) -> None:
        """Keep an event; answer it a little later, if there is an answer."""
        self.heard.append(event)
        if not self._answer:
            return
        assert isinstance(event, FencePeerAsked | OperatorAsked | ChangeAsked | TakeAsked)
        kind = c.AnswerFencePeer if isinstance(event, FencePeerAsked) else c.AnswerOperator
        answer = kind(event.ask, **self._answer)
        asyncio.get_running_loop().call_soon(self.requests.answered, answer)


def test_question_of_drbd_reaches_the_core_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler gets the core's code, an error for a foreign resource, and an error after the deadline."""

    async def story() -> None:
        core = Core(code=5)
        for foreign in ("avance-db", "web"):
            assert "no VM" in (await core.requests.fence_peer(foreign))["error"]
        assert not core.heard
        assert await core.requests.fence_peer("avance-web") == {"code": 5}
        monkeypatch.setattr(module, "_FENCE_ANSWER_S", 0.01)
        assert "no right" in (await Core().requests.fence_peer("avance-web"))["error"]
        core.requests.answered(c.AnswerFencePeer(99, 5))

    asyncio.run(story())


def test_operator_asks_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person gets the core's answer, done or refused; no answer within the deadline is an error."""

    async def story() -> None:
        for done, key in ((True, "ok"), (False, "error")):
            core = Core(done=done, text="so it is")
            assert await core.requests.operator("override", "b") == {key: "so it is"}
            assert core.heard == [OperatorAsked("override", B, 1)]
        monkeypatch.setattr(module, "_OPERATOR_ANSWER_S", 0.01)
        assert "no decision within" in (await Core().requests.operator("keep", "a"))["error"]

    asyncio.run(story())


def test_change_is_checked_and_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core gets a question with its hash; what cannot work never comes so far, and a late answer is told."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "eth0"), (2, "biz0")])
    other = vm(name="db", mac="00:16:3e:77:00:21", address="10.77.0.21", kernel=__file__, ramdisk=__file__)

    async def story() -> None:
        core = Core(done=True, text="vm add db: done")
        assert await core.requests.change({"op": "vm-add", "vm": other}) == {"ok": "vm add db: done"}
        assert await core.requests.change({"op": "vm-add", "vm": other, "one_node": True}) == {"ok": "vm add db: done"}
        assert await core.requests.take() == {"ok": "vm add db: done"}
        first, second, third = core.heard
        assert isinstance(first, ChangeAsked)
        assert isinstance(second, ChangeAsked)
        assert (first.text, first.alone, second.alone) == ("vm add db", False, True)
        assert first.hash == second.hash != first.base.hash == config().config_hash
        assert first.id != second.id
        assert third == TakeAsked(3)
        with pytest.raises(ConfigError, match="same name"):
            await core.requests.change({"op": "vm-add", "vm": vm()})
        with pytest.raises(
            ConfigError, match="starts from the file /none, and node a has none of that name; nothing was"
        ):
            await core.requests.change({"op": "vm-add", "vm": {**other, "ramdisk": "/none"}})
        assert len(core.heard) == 3
        monkeypatch.setattr(module, "_AGREED_S", 0.01)
        assert "nothing is decided after" in (await Core().requests.take())["error"]

    asyncio.run(story())


@pytest.mark.parametrize(("verb", "name"), [("override", "a"), ("override", "c"), ("keep", ""), ("reset-device", "c")])
def test_mistyped_node_is_refused(verb: str, name: str) -> None:
    """Only the peer can be overridden, and only a node of the pair can be named; the core is not even asked."""
    core = Core()
    assert "nothing was changed" in asyncio.run(core.requests.operator(verb, name))["error"]
    assert not core.heard


def test_answer_that_comes_late_reaches_nobody_else() -> None:
    """No two questions ever have the same number, so an answer to one that is over is dropped."""

    async def story() -> None:
        questions: Questions[str] = Questions()
        asked: list[int] = []
        with pytest.raises(TimeoutError):
            await questions.answer(asked.append, 0.01)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(questions.answer(asked.append, 10.0))
            second = tasks.create_task(questions.answer(asked.append, 10.0))
            await asyncio.sleep(0)
            assert asked == [1, 2, 3]
            questions.answered(1, "for the one that is over")
            questions.answered(3, "for the second")
            questions.answered(2, "for the first")
            questions.answered(2, "too late")
        assert (first.result(), second.result()) == ("for the first", "for the second")

    asyncio.run(story())

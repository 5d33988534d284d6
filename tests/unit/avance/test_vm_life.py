"""Verbs of persons for one VM: what they let both nodes agree on, what they wait for, and what they say then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from avance import vm_life as module
from avance.core import commands as c
from avance.core.model import Wanted
from avance.errors import ConfigError
from avance.vm_life import VmLife
from avance.vm_list import WHY_OFF
from tests.playbook import WEB

RUNS: dict[str, Any] = {"state": "running", "node": "a", "wanted": Wanted.RUNNING}
OFF: dict[str, Any] = {"state": "off", "node": None, "wanted": Wanted.OFF}
# What is asked for, what the VM does then, and a word of the answer. docs/refusals.md shows them all.
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"op": "vm-start", "name": "nobody"}, OFF, "there is no VM 'nobody'; there are: web"),
    ({"op": "vm-start", "name": "web"}, RUNS, "runs on node a already"),
    ({"op": "vm-start", "name": "web"}, RUNS | {"state": "failing"}, "is to run already, and is failing"),
    ({"op": "vm-start", "name": "web"}, OFF | {"state": "stopping"}, "is just being stopped"),
    ({"op": "vm-stop", "name": "web"}, OFF, "is off already: stopped by a person"),
    ({"op": "vm-stop", "name": "web"}, OFF | {"wanted": Wanted.OFF_BY_GUEST}, "already: switched off by its guest"),
    ({"op": "vm-stop", "name": "web"}, RUNS | {"wanted": Wanted.SHUT_DOWN}, "avance vm power-off web"),
    ({"op": "vm-restart", "name": "web"}, OFF, "`avance vm start web` starts it"),
]  # fmt: skip


class Pair:
    """Stands for both nodes: `follows` says what the VM does after a change, `refuses` why there is none."""

    def __init__(self, **vm: Any) -> None:  # noqa: ANN401 - members of the list
        self.vm: dict[str, Any] = {"name": "web", **vm}
        self.asked: list[dict[str, Any]] = []
        self.refuses: list[str] = []
        self.follows: Callable[[Wanted], str] = lambda wanted: "running" if wanted is Wanted.RUNNING else "off"
        self.looks = 0
        self.life = VmLife(self.change, self.vms, 0.0005)

    async def change(self, request: dict[str, Any]) -> dict[str, Any]:
        """Agree on it, or not."""
        self.asked.append(request)
        if self.refuses:
            return {"error": self.refuses.pop(0)}
        self.vm["wanted"] = request["wanted"]
        self.vm["state"] = self.follows(request["wanted"])
        self.vm["node"] = "a" if self.vm["state"] == "running" else None
        return {"ok": "done, both nodes hold it"}

    def vms(self) -> dict[str, Any]:
        """Return the list."""
        self.looks += 1
        whole = {"memory_mib": 96, "volume_mib": 32, "copies": {}, "why_off": WHY_OFF[self.vm["wanted"]] or None}
        return {"schema": "avance.vms/1", "vms": [{**whole, **self.vm}]}

    def says(self, op: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - members of the request
        """Ask for something, and return the answer."""
        return asyncio.run(self.life.asked({"op": op, "name": "web", **more}))

    @property
    def wanted(self) -> list[Wanted]:
        """What was asked for, in order."""
        return [one["wanted"] for one in self.asked]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)


def refusal(request: dict[str, Any], vm: dict[str, Any]) -> str:
    """Return the sentence with which a verb is refused; nothing is asked for then."""
    pair = Pair(**vm)
    with pytest.raises(ConfigError) as refused:
        asyncio.run(pair.life.asked(request))
    assert pair.asked == []
    return str(refused.value)


@pytest.mark.parametrize(("request_", "vm", "why"), REFUSED)
def test_what_makes_no_sense_is_refused(request_: dict[str, Any], vm: dict[str, Any], why: str) -> None:
    """Nobody is asked to agree on it."""
    assert why in refusal(request_, vm)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("now", "wanted"), [(False, Wanted.SHUT_DOWN), (True, Wanted.OFF)])
def test_stop(wanted: Wanted, *, now: bool, alone: bool) -> None:
    """Agreed first; the person hears that it is off when it is."""
    pair = Pair(**RUNS)
    answer = pair.says("vm-stop", now=now, one_node=alone)
    assert answer == {"ok": "VM web is off; it stays off until `avance vm start web`"}
    assert pair.asked == [{"op": "vm-wanted", "name": "web", "wanted": wanted, "one_node": alone}]


def test_a_guest_that_does_not_shut_down() -> None:
    """It runs on, and the person hears what can be done."""
    pair = Pair(**RUNS)
    pair.follows = lambda _: "running"
    answer = pair.says("vm-stop")["error"]
    assert "has not shut down within 0.03 s; it runs on" in answer
    assert "`avance vm power-off web` ends it at once" in answer
    assert pair.wanted == [Wanted.SHUT_DOWN]
    assert pair.says("vm-stop", now=True)["error"] == "VM web is to be off, and is not yet; `avance status` says why"


def test_start() -> None:
    """The person hears where it runs; or, after its time, that it does not."""
    pair = Pair(**OFF)
    assert pair.says("vm-start") == {"ok": "VM web runs on node a"}
    pair = Pair(**OFF)
    pair.follows = lambda _: "starting"
    assert "`avance status` says what it waits for" in pair.says("vm-start")["error"]


def test_start_of_one_that_is_just_being_stopped_waits() -> None:
    """What is left of its domain is gone before the nodes agree on the start."""
    pair = Pair(**OFF | {"state": "stopping"})
    pair.life._vms = lambda: _after(pair, 5, "off")
    assert pair.says("vm-start") == {"ok": "VM web runs on node a"}


def _after(pair: Pair, looks: int, state: str) -> dict[str, Any]:
    if pair.looks == looks and not pair.asked:
        pair.vm["state"] = state
    return pair.vms()


def test_start_while_its_guest_shuts_down_takes_the_wish_back() -> None:
    """It runs on."""
    pair = Pair(**RUNS | {"wanted": Wanted.SHUT_DOWN})
    assert pair.says("vm-start") == {"ok": "VM web runs on node a"}
    assert pair.wanted == [Wanted.RUNNING]


@pytest.mark.parametrize("op", ["vm-start", "vm-stop", "vm-restart"])
def test_what_is_not_agreed_is_said(op: str) -> None:
    """The reason of the agreement reaches the person as it is, and nothing is waited for."""
    pair = Pair(**OFF if op == "vm-start" else RUNS)
    pair.refuses = ["node b refuses it; nothing was changed"]
    assert pair.says(op) == {"error": "node b refuses it; nothing was changed"}
    assert len(pair.asked) == 1


@pytest.mark.parametrize(("now", "wanted"), [(False, Wanted.SHUT_DOWN), (True, Wanted.OFF)])
def test_restart(wanted: Wanted, *, now: bool) -> None:
    """A stop, then a start, also if the other node takes a moment to take the stop in."""
    pair = Pair(**RUNS)
    agree, late = pair.change, ["the last change is just being taken into use", "ask again"]

    async def change(request: dict[str, Any]) -> dict[str, Any]:
        if request["wanted"] is Wanted.RUNNING and late:
            return {"error": late.pop()}
        return await agree(request)

    pair.life._change = change
    pair.life._slow = 1.0  # the time in which it is tried again
    assert pair.says("vm-restart", now=now) == {"ok": "VM web runs on node a"}
    assert pair.wanted == [wanted, Wanted.RUNNING]


def test_restart_of_a_guest_that_does_not_shut_down() -> None:
    """The person wants it to run in the end, so it does."""
    pair = Pair(**RUNS)
    pair.follows = lambda _: "running"
    answer = pair.says("vm-restart")["error"]
    assert answer == (
        "VM web did not shut down, and was not restarted: it runs on; `avance vm restart web --now` ends it at once"
    )
    assert pair.wanted == [Wanted.SHUT_DOWN, Wanted.RUNNING]


def test_restart_whose_start_is_refused() -> None:
    """It is off then, and the person hears why it was not started."""
    pair = Pair(**RUNS)
    agree = pair.change

    async def change(request: dict[str, Any]) -> dict[str, Any]:
        return {"error": "no memory"} if request["wanted"] is Wanted.RUNNING else await agree(request)

    pair.life._change = change
    assert pair.says("vm-restart") == {"error": "no memory"}
    assert pair.vm["wanted"] is Wanted.SHUT_DOWN


def test_list_in_words_and_as_a_document() -> None:
    """For people, and for programs."""
    pair = Pair(**RUNS)
    assert pair.says("vm-list", words=True)["ok"].startswith("NAME  STATE")
    assert pair.says("vm-list", words=False)["schema"] == "avance.vms/1"


def test_what_a_guest_has_decided_is_proposed() -> None:
    """As if a person had asked; that it is refused is the business of the core, which asks again."""
    pair = Pair(**RUNS)
    asyncio.run(pair.life.propose(c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=True)))
    assert pair.asked == [{"op": "vm-wanted", "name": WEB, "wanted": Wanted.OFF_BY_GUEST, "one_node": True}]

    async def refused(_: dict[str, Any]) -> dict[str, Any]:
        raise ConfigError("there is no such VM")

    pair.life._change = refused
    asyncio.run(pair.life.propose(c.ProposeWanted(WEB, Wanted.OFF_BY_GUEST, alone=True)))

"""Every command about witnesses and the peer's power reaches its port with all that it says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avance.arbiter_work import power_work, witness_work
from avance.core import commands as c
from avance.core.model import Outcome
from avance.core.results import Done
from tests.playbook import A

POWER = [(c.ReadPeerPower(), "read"), (c.CutPeerPower(), "cut"), (c.RestorePeerPower(), "restore")]


class Port:
    """Notes which method is called, and with what."""

    def __init__(self) -> None:
        self.called: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - any method of the port
        async def call(*words: object, **how: object) -> Done:
            self.called.append((method, words, how))
            return Done(Outcome.OK, method)

        return call


def test_witnesses_are_asked_and_taught() -> None:
    """Each with its epoch, and whatever it has to know."""
    port = Port()
    asyncio.run(_done(witness_work(port, c.AskWitness("w1", 4, "nonce"))))
    asyncio.run(_done(witness_work(port, c.TeachWitness("w1", 4, A, paired=True, alone=True))))
    assert port.called == [
        ("ask", ("w1", 4, "nonce"), {}), ("teach", ("w1", 4, A), {"paired": True, "alone": True}),
    ]  # fmt: skip


async def _done(work: Any) -> Done:  # noqa: ANN401 - any awaitable
    done: Done = await work
    return done


@pytest.mark.parametrize(("command", "method"), POWER)
def test_power_of_the_peer(command: c.ReadPeerPower | c.CutPeerPower | c.RestorePeerPower, method: str) -> None:
    """Read, cut and restored; where there is no BMC nothing is known."""
    port = Port()
    assert asyncio.run(power_work(port, command)) == Done(Outcome.OK, method)
    assert port.called == [(method, (), {})]
    assert asyncio.run(power_work(None, command)) == Done(Outcome.FAILED, "the site names no BMC for the peer")

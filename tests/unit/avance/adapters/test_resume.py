"""A domain that was taken in goes on: on stand-ins of Xen, xenstored and xl."""

from __future__ import annotations

import pytest

from avance.core.model import Outcome
from tests.playbook import WEB
from tests.unit.avance.adapters.test_xen import Host, host

__all__ = ["host"]


@pytest.mark.parametrize(
    ("states", "outcome", "calls"),
    [
        ("p", Outcome.OK, ["unpause 3"]),
        ("b", Outcome.OK, []),
        ("", Outcome.FAILED, []),
        ("s", Outcome.FAILED, []),
        ("pd", Outcome.FAILED, []),
        ("p p", Outcome.FAILED, []),
    ],
)
def test_only_a_domain_that_is_here_goes_on(host: Host, states: str, outcome: Outcome, calls: list[str]) -> None:
    """OK means that one domain was seen to run."""
    for number, state in enumerate(states.split(), 3):
        host.xen.put(number, state, vm=WEB, ran=False)

    async def story() -> None:
        assert (await host.adapter.resume(WEB)).outcome is outcome

    host.plays(story)
    assert host.xen.calls == calls


def test_every_pause_of_a_domain_that_came_is_taken_back(host: Host) -> None:
    """Its creator's, and that of an earlier daemon of this node, too; there is a bound."""
    entry = host.xen.put(3, "p", vm=WEB, ran=False)

    async def story() -> None:
        await host.anew().pause()
        assert entry["holds"] == 2
        assert (await host.adapter.resume(WEB)).outcome is Outcome.OK
        assert entry["holds"] == 0
        entry["holds"] = entry["paused"] = 100
        assert (await host.adapter.resume(WEB)).outcome is Outcome.FAILED

    host.plays(story)


@pytest.mark.parametrize("how", ["stands still", "is removed", "is stubborn"])
def test_domain_that_may_not_go_on_does_not(host: Host, how: str) -> None:
    """A node whose domains stand still lets none go on, and neither does one that does not know the VM any more."""
    entry = host.xen.put(3, "p", vm=WEB, ran=False)

    async def story() -> None:
        if how == "stands still":
            await host.adapter.pause()
        elif how == "is removed":
            host.adapter.remove(WEB)
        else:
            host.xen.stubborn = True
        assert (await host.adapter.resume(WEB)).outcome is Outcome.FAILED
        assert entry["holds"] > 0
        host.xen.broken = True
        assert (await host.adapter.resume(WEB)).outcome is Outcome.UNKNOWN

    host.plays(story)

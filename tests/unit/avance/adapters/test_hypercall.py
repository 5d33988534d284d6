"""Hypercalls: each domain is read as Xen counts it, and a Xen that cannot be asked is an OSError, never `no domain`."""

from __future__ import annotations

import pytest

from avance.adapters.hypercall import Hypercalls, XenDomain
from avance.wire import xl
from tests.playbook import WEB
from tests.unit.avance.adapters.xen_host import FOREIGN, FakeXen


@pytest.mark.parametrize(
    ("state", "alive", "paused"),
    [("r", True, False), ("b", True, False), ("", True, False), ("p", True, True),
     ("s", False, False), ("sc", False, False), ("d", False, False), ("pd", False, True)],
)  # fmt: skip
def test_states_of_a_domain(state: str, alive: bool, paused: bool) -> None:
    """A domain that is shut down, crashed or dying is there but not alive; a paused one is."""
    xen = FakeXen()
    xen.put(3, state, vm=WEB)
    assert Hypercalls(xen).domains() == [XenDomain(3, xl.uuid_of(WEB), alive, paused, ran=True)]


def test_domain_that_never_ran_is_told_apart() -> None:
    """A domain without a nanosecond of processor time has not begun."""
    xen = FakeXen()
    xen.put(3, "p", ran=False)
    assert Hypercalls(xen).domains() == [XenDomain(3, FOREIGN, alive=True, paused=True, ran=False)]


@pytest.mark.parametrize("count", [0, 1, 62, 63, 64, 65, 127, 128, 200])
def test_no_domain_is_left_out(count: int) -> None:
    """However many there are, each is listed once, and dom0 never."""
    xen = FakeXen()
    for number in range(1, count + 1):
        xen.put(number)
    assert [domain.number for domain in Hypercalls(xen).domains()] == list(range(1, count + 1))


def test_pause_and_unpause_reach_xen() -> None:
    """One call is one count of Xen's."""
    xen = FakeXen()
    entry = xen.put(3)
    calls = Hypercalls(xen)
    calls.pause(3)
    assert entry["paused"] == 1
    calls.unpause(3)
    assert (entry["paused"], xen.calls) == (0, ["pause 3", "unpause 3"])


def test_refusal_is_an_os_error() -> None:
    """What Xen refuses is said in one kind of error."""
    xen = FakeXen()
    calls = Hypercalls(xen)
    for act in (calls.pause, calls.unpause):
        with pytest.raises(OSError, match="domain 9"):
            act(9)
    xen.broken = True
    with pytest.raises(OSError, match="did not list"):
        calls.domains()


def test_node_without_the_module_says_so() -> None:
    """Without Xen's tools nothing is known."""
    with pytest.raises(OSError, match="Xen cannot be asked"):
        Hypercalls().domains()

"""Hypercalls: each domain is read as Xen counts it, and a Xen that cannot be asked is an OSError, never `no domain`."""

from __future__ import annotations

import pytest

from avance.adapters.hypercall import Hypercalls, XenDomain
from avance.core.model import DomainEnd
from avance.wire import xl
from tests.playbook import WEB
from tests.unit.avance.adapters.xen_host import FOREIGN, FakeXen


@pytest.mark.parametrize(
    ("state", "alive", "paused"),
    [("r", True, False), ("b", True, False), ("", True, False), ("p", True, True),
     ("s", False, False), ("d", False, False), ("pd", False, True)],
)  # fmt: skip
def test_states_of_a_domain(state: str, alive: bool, paused: bool) -> None:
    """A domain that is shut down, crashed or dying is there but not alive; a paused one is."""
    xen = FakeXen()
    xen.put(3, state, vm=WEB)
    assert Hypercalls(xen).domains() == [XenDomain(3, xl.uuid_of(WEB), alive, paused, ran=True, memory_mib=96)]


@pytest.mark.parametrize(
    ("state", "reason", "end"),
    [("s", 0, DomainEnd.POWEROFF), ("s", 1, DomainEnd.REBOOT), ("s", 2, DomainEnd.UNKNOWN), ("s", 3, DomainEnd.CRASH),
     ("s", 4, DomainEnd.CRASH), ("s", 5, DomainEnd.UNKNOWN), ("s", 255, DomainEnd.UNKNOWN),
     ("c", 3, DomainEnd.CRASH), ("sc", 0, DomainEnd.CRASH), ("r", 0, DomainEnd.UNKNOWN), ("", 1, DomainEnd.UNKNOWN),
     ("d", 0, DomainEnd.UNKNOWN)],
)  # fmt: skip
def test_why_a_domain_ended(state: str, reason: int, end: DomainEnd) -> None:
    """Xen keeps the reason of a shutdown; one that lives has none, whatever stands there."""
    xen = FakeXen()
    entry = xen.put(3, state, vm=WEB, reason=reason)
    assert Hypercalls(xen).domains()[0].end is end
    del entry["shutdown_reason"]
    left = DomainEnd.CRASH if "c" in state else DomainEnd.UNKNOWN
    assert Hypercalls(xen).domains()[0].end is left, "a Xen that gives no reason leaves it unknown"


def test_a_domain_that_is_being_destroyed_has_no_end() -> None:
    """It was there until somebody destroyed it, and soon nothing of it is left."""
    xen = FakeXen()
    xen.put(3, "sd", vm=WEB, reason=0)
    assert Hypercalls(xen).domains()[0].end is DomainEnd.UNKNOWN


def test_a_domain_that_is_suspended_to_move_has_no_end() -> None:
    """It stands still to go on elsewhere."""
    xen = FakeXen()
    xen.put(3, "s", vm=WEB, reason=2)
    assert Hypercalls(xen).domains()[0].end is DomainEnd.UNKNOWN


def test_domain_that_never_ran_is_told_apart() -> None:
    """A domain without a nanosecond of processor time has not begun."""
    xen = FakeXen()
    xen.put(3, "p", ran=False)
    assert Hypercalls(xen).domains() == [XenDomain(3, FOREIGN, alive=True, paused=True, ran=False, memory_mib=96)]


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


def test_free_memory_is_in_whole_mib() -> None:
    """As `physinfo` of Xen 4.17 has it, in KiB; what it does not say is an error, never a number."""
    xen = FakeXen(free_kib=1024 * 900 + 1023)
    assert Hypercalls(xen).free_mib() == 900
    xen.broken = True
    with pytest.raises(OSError, match="how much memory"):
        Hypercalls(xen).free_mib()
    with pytest.raises(OSError, match="how much memory"):
        Hypercalls(FakeXen()).free_mib()


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

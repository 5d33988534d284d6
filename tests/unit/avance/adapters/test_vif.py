"""The domains' network on a real bridge in a private network: theirs and nothing else goes down, and comes back."""

from __future__ import annotations

import re
from pathlib import Path

from avance.adapters.vif import DomainWires
from avance.core.model import Outcome
from avance.core.results import Done
from tests.unit.avance.adapters.lan import lan


def test_domains_go_off_the_wire_at_once() -> None:
    """The domain's back end is down within a moment; the node's own devices stay up."""
    outcome, detail, domain, outside, bridge, took_s = lan()["down"]
    assert (outcome, detail) == ("OK", "vif1.0")
    assert (domain, outside, bridge) == (False, True, True)
    assert took_s < 1.0


def test_domains_come_back() -> None:
    """What was taken down is up again."""
    assert lan()["up"] == ["OK", "vif1.0", True]


def test_node_without_domains_is_done(tmp_path: Path) -> None:
    """Nothing to take down is no failure; devices of other names are not looked at."""
    (tmp_path / "eth0").mkdir()
    (tmp_path / "vif1.0-q0").mkdir()
    assert DomainWires(tmp_path).take_down() == Done(Outcome.OK)


def test_device_that_will_not_go_down_is_a_failure(tmp_path: Path) -> None:
    """A device that is there and refuses fails the whole, with its name."""
    (tmp_path / "vif1.0").mkdir()  # so it exists here, but not for the kernel
    done = DomainWires(tmp_path).take_down()
    assert done.outcome is Outcome.FAILED
    assert done.detail.startswith("vif1.0: ")


def test_unreadable_devices_are_unknown(tmp_path: Path) -> None:
    """Who cannot look does not know."""
    assert DomainWires(tmp_path / "absent", re.compile("x")).bring_up().outcome is Outcome.UNKNOWN

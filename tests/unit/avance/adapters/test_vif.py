"""The domains' network: a device that is not there, or will not go down, is said."""

from __future__ import annotations

import re
from pathlib import Path

from avance.adapters.vif import DomainWires
from avance.core.model import Outcome
from avance.core.results import Done


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

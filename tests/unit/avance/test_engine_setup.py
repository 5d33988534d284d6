"""The core is told what the configuration says, and which boot of the machine this is."""

from __future__ import annotations

from avance.config import parse
from avance.core.conditions import BMC
from avance.core.model import LinkName, Stand, Version
from avance.engine_setup import MACHINE_BOOT, engine_setup
from tests.unit.avance.site import config, full_site, vm


def test_the_core_is_told_what_the_site_says() -> None:
    """Names, policy and times come from the configuration, the machine's boot from the kernel."""
    told = engine_setup(config("b", policy="safety", dilation=2.0), "boot-1", Stand(Version(3, "c0ffee")))
    assert (told.me, told.peer_id, told.boot, told.policy, told.dilation) == ("b", "a", "boot-1", "safety", 2.0)
    assert told.links == (LinkName("priv0"), LinkName("biz0"))
    assert told.timers.lease_s == 12.0
    assert told.machine == MACHINE_BOOT.read_text().strip()
    assert told.stand == Stand(Version(3, "c0ffee"))
    assert not told.power


def test_a_node_with_a_bmc_has_its_sensors() -> None:
    """Only then their silence is an ailment; a site names the BMCs of both nodes, or none."""
    for node in ("a", "b"):
        assert engine_setup(parse(node, full_site(), [vm()]), "boot-1", Stand()).sources == (BMC,)
    assert engine_setup(config(), "boot-1", Stand()).sources == ()

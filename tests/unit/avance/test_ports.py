"""Each adapter is what its port asks for; mypy compares the types, this test the presence at run time."""

from __future__ import annotations

from pathlib import Path

import pytest

from avance import ports
from avance.adapters.drbd import DrbdDisks
from avance.adapters.heartbeat import HeartbeatChannel
from avance.adapters.netlink import NodeNetwork
from avance.adapters.store import RecordStore
from avance.adapters.xen import XenHypervisor
from avance.core.events import Event
from avance.core.model import Outcome
from tests.unit.avance.site import config


def adapters(path: Path) -> tuple[ports.Disks, ports.Hypervisor, ports.Network, ports.Store]:
    """Return one adapter of each kind, typed as its port."""
    sink: list[Event] = []
    one = config()
    disks, hypervisor = DrbdDisks(one, sink.append), XenHypervisor(one, sink.append)
    return disks, hypervisor, NodeNetwork(one, sink.append), RecordStore(path, 1.0)


def channel(given: HeartbeatChannel) -> ports.PeerChannel:
    """Compare the heartbeat channel with its port, for mypy only: it would open sockets."""
    return given


@pytest.mark.parametrize("index", range(4))
def test_adapter_has_what_its_port_asks_for(tmp_path: Path, index: int) -> None:
    """No method of a port is missing in its adapter."""
    port = (ports.Disks, ports.Hypervisor, ports.Network, ports.Store)[index]
    wanted = {name for name in vars(port) if not name.startswith("_")}
    assert wanted
    assert wanted <= set(dir(adapters(tmp_path)[index]))


def test_no_outcome_is_assumed() -> None:
    """An outcome must be stated; only the evidence may be missing."""
    with pytest.raises(TypeError):
        ports.Done()  # type: ignore[call-arg]  # the point of the test
    assert ports.Done(Outcome.OK).detail == ""

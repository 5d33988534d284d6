"""Each adapter is what its port asks for; mypy compares the types, this test the presence at run time."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from avance import ports
from avance.adapters.drbd import DrbdDisks
from avance.adapters.heartbeat import HeartbeatChannel
from avance.adapters.mirror import DataMirror
from avance.adapters.neighbours import ArpNeighbours
from avance.adapters.netlink import NodeNetwork
from avance.adapters.power import PeerBmc
from avance.adapters.store import RecordStore
from avance.adapters.vif import DomainWires
from avance.adapters.watchdog import NodeWatchdog
from avance.adapters.witness import WitnessClient
from avance.adapters.xen import XenHypervisor
from avance.config import BmcConfig
from avance.core.events import Event
from tests.unit.avance.site import config

PORTS = (
    ports.Disks, ports.Hypervisor, ports.Network, ports.Store, ports.Wires, ports.PeerPower, ports.Neighbours,
    ports.Watchdog, ports.Witness, ports.Mirror,
)  # fmt: skip


def adapters(
    path: Path,
) -> tuple[
    ports.Disks, ports.Hypervisor, ports.Network, ports.Store, ports.Wires, ports.PeerPower, ports.Neighbours,
    ports.Watchdog, ports.Witness, ports.Mirror,
]:  # fmt: skip
    """Return one adapter of each kind, typed as its port."""
    sink: list[Event] = []
    one = config()
    disks, hypervisor = DrbdDisks(one, sink.append), XenHypervisor(one, sink.append)
    witness = WitnessClient(one, "boot")
    power = PeerBmc(BmcConfig(IPv4Address("10.77.0.32"), "admin", "-"), 1.0)
    neighbours, network = ArpNeighbours(one, sink.append), NodeNetwork(one, sink.append)
    parts = (DomainWires(), power, neighbours, NodeWatchdog(10.0), witness, DataMirror(path))
    return disks, hypervisor, network, RecordStore(path, 1.0), *parts


def channel(given: HeartbeatChannel) -> ports.PeerChannel:
    """Compare the heartbeat channel with its port, for mypy only: it would open sockets."""
    return given


@pytest.mark.parametrize("index", range(len(PORTS)))
def test_adapter_has_what_its_port_asks_for(tmp_path: Path, index: int) -> None:
    """No method of a port is missing in its adapter."""
    port = PORTS[index]
    kinds = (kind for kind in port.__mro__ if kind.__module__ == ports.__name__)
    wanted = {name for kind in kinds for name in vars(kind) if not name.startswith("_")}
    assert wanted
    assert wanted <= set(dir(adapters(tmp_path)[index]))

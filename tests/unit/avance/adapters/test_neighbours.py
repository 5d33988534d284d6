"""The look at the neighbours: which addresses are the node's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from avance.adapters.neighbours import ArpNeighbours, own_macs
from tests.playbook import WEB
from tests.unit.avance.site import config


def test_own_addresses_are_those_behind_domain_ports(tmp_path: Path) -> None:
    """A bridge's table gives the addresses of the ports vif*; what was learnt on other ports is foreign."""
    for name, number in (("eth1", "0x1"), ("vif1.0", "0x2"), ("vif300.0", "0x102")):
        (tmp_path / "biz0" / "brif" / name).mkdir(parents=True)
        (tmp_path / "biz0" / "brif" / name / "port_no").write_text(f"{number}\n")

    def entry(mac: str, port: int) -> bytes:
        return bytes.fromhex(mac) + bytes([port & 0xFF, 0]) + bytes(4) + bytes([port >> 8]) + bytes(3)

    table = entry("020000000001", 1) + entry("00163e770020", 2) + entry("00163e770021", 0x102) + b"half"
    (tmp_path / "biz0" / "brforward").write_bytes(table)
    assert own_macs("biz0", tmp_path) == {bytes.fromhex("00163e770020"), bytes.fromhex("00163e770021")}
    assert own_macs("eth7", tmp_path) == set()


def addresses(adapter: ArpNeighbours) -> list[str]:
    """Return for which addresses of VMs it asks."""
    return [str(each.target) for asked in adapter._vms.values() for each in asked]


def test_addresses_follow_the_vms() -> None:
    """Until its next start a VM answers for its old address, too, on whichever node; of a removed one nobody asks."""
    adapter = ArpNeighbours(config(), print)
    moved = replace(config().vms[0], address="10.77.0.29")
    for _ in range(2):
        adapter.change(moved)
    assert addresses(adapter) == ["10.77.0.20", "10.77.0.29"]
    adapter.remove(WEB)
    adapter.remove(WEB)
    assert addresses(adapter) == []
    adapter.add(moved)
    assert addresses(adapter) == ["10.77.0.29"]

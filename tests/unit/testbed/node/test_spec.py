"""Proves the command line: fixed addresses, both ends of each wire, a CPU that Xen survives on, and disks as asked."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.node.spec import DirectBoot, DiskSpec, MachineSpec, NbdDiskSpec, NicSpec, qemu_argv

# Writes the line "B" once, then the line "A" again and again with a pause between, all on the first serial port.
SECTOR = (
    bytes.fromhex("fa baf803 b042 ee b00a ee  b041 ee b00a ee bb1000 b90000 e2fe 4b 75f8 ebed").ljust(510, b"\0")
    + b"\x55\xaa"
)


def node(tmp_path: Path) -> MachineSpec:
    """The hardware of a node in its full shape, with nothing but a boot sector on its first disk."""
    disk = tmp_path / "root.img"
    disk.write_bytes(SECTOR.ljust(1 << 20, b"\0"))
    nics = (
        NicSpec("priv0", "52:54:00:09:00:01", tmp_path / "priv-a", tmp_path / "priv-sw"),
        NicSpec("biz0", "52:54:00:77:00:01", tmp_path / "biz-a", tmp_path / "biz-sw"),
    )
    return MachineSpec(
        name="a", socket_dir=tmp_path, artefact_dir=tmp_path / "run", memory_mib=32, accel="tcg", boot=None,
        disks=(DiskSpec("root", disk, "raw"),), nics=nics,
    )  # fmt: skip


def option(argv: list[str], name: str) -> list[str]:
    """All values that a command line gives to one option."""
    return [value for key, value in itertools.pairwise(argv) if key == name]


@pytest.mark.parametrize("count", [1, 4])
def test_a_node_has_as_many_processors_as_wanted(tmp_path: Path, count: int) -> None:
    """One is the default of the bed."""
    spec = node(tmp_path) if count == 1 else replace(node(tmp_path), processors=count)
    assert option(qemu_argv(spec), "-smp") == [str(count)]


def test_every_pci_device_has_an_address_of_its_own(tmp_path: Path) -> None:
    """A restore meets the same hardware only when no address is left to chance."""
    devices = option(qemu_argv(replace(node(tmp_path), watchdog=True)), "-device")
    on_pci = [device for device in devices if not device.startswith("virtserialport")]
    addresses = [re.search(r"addr=(0x[0-9a-f]+)", device) for device in on_pci]
    assert len(on_pci) == 5
    assert None not in addresses
    assert len({match[1] for match in addresses if match}) == len(on_pci)


def test_the_interface_to_the_bmc_has_a_fixed_address(tmp_path: Path) -> None:
    """Port and interrupt are said, and QEMU connects again when the BMC comes back; without a BMC there is none."""
    argv = qemu_argv(replace(node(tmp_path), bmc=True))
    assert "isa-ipmi-kcs,id=kcs,bmc=bmc,ioport=0xca2,irq=5" in option(argv, "-device")
    assert f"socket,id=ipmi,path={tmp_path}/a-ipmi,reconnect=1" in option(argv, "-chardev")
    assert "ipmi" not in " ".join(qemu_argv(node(tmp_path)))


def test_networks_are_datagram_sockets_with_both_ends(tmp_path: Path) -> None:
    """Each NIC has its MAC and the paths of its own end and the switch's."""
    argv = qemu_argv(node(tmp_path))
    assert option(argv, "-netdev")[0] == (
        f"dgram,id=net-priv0,local.type=unix,local.path={tmp_path}/priv-a,remote.type=unix,remote.path={tmp_path}/priv-sw"
    )
    assert "netdev=net-priv0,mac=52:54:00:09:00:01,romfile=" in " ".join(option(argv, "-device"))


def test_a_machine_waits_paused_and_dies_only_by_command(tmp_path: Path) -> None:
    """It starts paused, a guest's power-off pauses it, its reboot reboots it, and its battery clock never stops."""
    argv = qemu_argv(node(tmp_path))
    assert "-S" in argv
    assert "-no-reboot" not in argv
    assert option(argv, "-action") == ["reboot=reset,shutdown=pause,panic=none,watchdog=reset"]
    assert option(argv, "-rtc") == ["base=utc,clock=rt"]


def test_xen_gets_a_cpu_that_it_survives_on(tmp_path: Path) -> None:
    """Under TCG the CPU is without XSAVE and SMAP, which break dom0 there."""
    argv = qemu_argv(node(tmp_path))
    assert {"-smap", "-xsave", "-svm"} <= set(option(argv, "-cpu")[0].split(","))
    assert option(argv, "-accel") == ["tcg,tb-size=256"]
    assert option(qemu_argv(replace(node(tmp_path), accel="kvm")), "-cpu") == ["host"]


def test_the_hypervisor_gets_the_kernel_as_a_module_with_its_arguments(tmp_path: Path) -> None:
    """Commas inside a module's arguments are doubled, because QEMU separates modules by a comma."""
    boot = DirectBoot(
        Path("/i/xen"),
        "console=com1 dom0_mem=640M,max:640M",
        Path("/i/vmlinux"),
        "console=hvc0 a=0,1",
        Path("/i/initrd"),
    )
    argv = qemu_argv(replace(node(tmp_path), boot=boot))
    assert option(argv, "-kernel") == ["/i/xen"]
    assert option(argv, "-append") == ["console=com1 dom0_mem=640M,max:640M"]
    assert option(argv, "-initrd") == ["/i/vmlinux console=hvc0 a=0,,1,/i/initrd"]


def test_disk_errors_reach_the_guest(tmp_path: Path) -> None:
    """Neither read nor write errors nor a full host pause the machine."""
    disk = next(device for device in option(qemu_argv(node(tmp_path)), "-device") if "id=root" in device)
    assert "rerror=report,werror=report" in disk


def test_a_disk_behind_a_server_is_reached_by_its_socket(tmp_path: Path) -> None:
    """A raw node over a network block node, with the same errors to the guest; a file beside it stays what it was."""
    spec = node(tmp_path)
    both = replace(spec, disks=(*spec.disks, NbdDiskSpec("vdb", tmp_path / "n-vdb", reconnect_delay_s=5)))
    argv = qemu_argv(both)
    assert option(argv, "-blockdev") == [
        f"driver=nbd,node-name=nbd-vdb,server.type=unix,server.path={tmp_path}/n-vdb,reconnect-delay=5",
        "driver=raw,node-name=drive-vdb,file=nbd-vdb",
    ]
    assert option(argv, "-drive") == option(qemu_argv(spec), "-drive")
    device = next(device for device in option(argv, "-device") if "id=vdb" in device)
    assert device.startswith("virtio-blk-pci,id=vdb,drive=drive-vdb,addr=0x5,rerror=report,werror=report")


def test_the_watchdog_is_absent_unless_asked_for(tmp_path: Path) -> None:
    """The default hardware has no watchdog device."""
    assert not any("i6300esb" in word for word in qemu_argv(node(tmp_path)))


def test_a_socket_path_that_the_kernel_would_refuse_is_caught(tmp_path: Path) -> None:
    """The limit of 108 bytes is found before QEMU fails with a riddle."""
    with pytest.raises(AssertionError, match="socket path too long"):
        qemu_argv(replace(node(tmp_path), socket_dir=tmp_path / ("x" * 100)))

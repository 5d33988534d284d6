"""The hardware of a machine as values, and QEMU's command line made from them; pure.

Every device has a fixed address, so that a restored memory meets the same hardware. It must never choose a default of
QEMU's where the node would notice a change of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Xen under TCG corrupts dom0 with XSAVE/AVX, crashes it with SMAP, and cannot use nested SVM (found by trial).
TCG_CPU = "max,-smap,-la57,-svm,-xsave,-avx,-avx2,-fma,-f16c,-xsaveopt,-xgetbv1"
CPU = {"tcg": TCG_CPU, "kvm": "host"}
ACCEL = {"tcg": "tcg,tb-size=256", "kvm": "kvm"}
# Said explicitly: QEMU's defaults differ for reads and writes, and ENOSPC would pause the machine.
ERRORS = "rerror=report,werror=report,write-cache=on"
PORTS = {"agent": "org.qemu.guest_agent.0", "journal": "testbed.journal.0", "control": "testbed.control.0"}

IPMI_PORT, IPMI_INTERRUPT = 0xCA2, 5  # of the KCS interface, which has no slot; what most real machines use
SERIAL_SLOT, FIRST_DISK_SLOT, FIRST_NIC_SLOT, WATCHDOG_SLOT = 0x03, 0x04, 0x10, 0x1E
DISKS_MAX, NICS_MAX = FIRST_NIC_SLOT - FIRST_DISK_SLOT, WATCHDOG_SLOT - FIRST_NIC_SLOT
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un holds 108 with the final zero


@dataclass(frozen=True)
class DirectBoot:
    """Boot without a boot loader: the hypervisor as multiboot kernel, dom0's kernel and initrd as its modules."""

    hypervisor: Path
    hypervisor_args: str
    kernel: Path
    kernel_args: str
    initrd: Path


@dataclass(frozen=True)
class DiskSpec:
    """One virtio disk; the first in the list is vda."""

    name: str
    path: Path
    format: str = "qcow2"
    cache: str = "writeback"


@dataclass(frozen=True)
class NbdDiskSpec(DiskSpec):
    """One virtio disk behind a disk server; `path` is its socket. A lost server is awaited so long, then I/O fails."""

    format: str = "raw"
    reconnect_delay_s: int = 0

    @property
    def block_node(self) -> str:
        """The block node to yank when the server hangs."""
        return f"nbd-{self.name}"


@dataclass(frozen=True)
class NicSpec:
    """One virtio NIC on a pair of datagram sockets; the first in the list is eth0."""

    name: str
    mac: str
    local: Path
    remote: Path


@dataclass(frozen=True)
class MachineSpec:
    """The whole hardware of one node and where its sockets and artefacts go."""

    name: str
    socket_dir: Path
    artefact_dir: Path
    memory_mib: int
    accel: str
    boot: DirectBoot | None
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    incoming: Path | None = None
    watchdog: bool = False
    bmc: bool = False
    processors: int = 1
    qemu: str = "qemu-system-x86_64"
    extra_args: tuple[str, ...] = ()

    def socket(self, purpose: str) -> Path:
        """The path of this node's socket for `qmp`, `console`, `agent`, `journal`, `control` or `ipmi`."""
        return self.socket_dir / f"{self.name}-{purpose}"

    @property
    def qemu_log(self) -> Path:
        """Where QEMU's own messages go."""
        return self.artefact_dir / f"qemu-{self.name}.log"


def _escape(value: Path | str) -> str:
    """Double the commas, as QEMU's option parser wants it."""
    return str(value).replace(",", ",,")


def _unix(side: str, path: Path) -> str:
    return f"{side}.type=unix,{side}.path={_escape(path)}"


def _chardev(spec: MachineSpec, purpose: str, more: str = "") -> list[str]:
    return ["-chardev", f"socket,id={purpose},path={_escape(spec.socket(purpose))},server=on,wait=off{more}"]


def _boot_args(boot: DirectBoot | None) -> list[str]:
    if boot is None:
        return []
    modules = f"{_escape(boot.kernel)} {_escape(boot.kernel_args)},{_escape(boot.initrd)}"
    return ["-kernel", str(boot.hypervisor), "-append", boot.hypervisor_args, "-initrd", modules]


def _backend_args(disk: DiskSpec) -> list[str]:
    if not isinstance(disk, NbdDiskSpec):
        image = f"file={_escape(disk.path)},format={disk.format},cache={disk.cache}"
        return ["-drive", f"if=none,id=drive-{disk.name},{image}"]
    server = f"{_unix('server', disk.path)},reconnect-delay={disk.reconnect_delay_s}"
    return [
        "-blockdev",
        f"driver=nbd,node-name={disk.block_node},{server}",
        "-blockdev",
        f"driver=raw,node-name=drive-{disk.name},file={disk.block_node}",
    ]


def _device_args(spec: MachineSpec) -> list[str]:
    argv: list[str] = []
    for slot, disk in enumerate(spec.disks, start=FIRST_DISK_SLOT):
        argv += [
            *_backend_args(disk),
            "-device",
            f"virtio-blk-pci,id={disk.name},drive=drive-{disk.name},addr={slot:#x},{ERRORS}",
        ]
    for slot, nic in enumerate(spec.nics, start=FIRST_NIC_SLOT):
        argv += [
            "-netdev",
            f"dgram,id=net-{nic.name},{_unix('local', nic.local)},{_unix('remote', nic.remote)}",
            "-device",
            f"virtio-net-pci,id={nic.name},netdev=net-{nic.name},mac={nic.mac},romfile=,addr={slot:#x}",
        ]
    # Each port that could be there costs QEMU's main loop two more files to poll at each turn (31 by default).
    argv += ["-device", f"virtio-serial-pci,id=ports,addr={SERIAL_SLOT:#x},max_ports={len(PORTS) + 1}"]
    for number, (purpose, port) in enumerate(PORTS.items(), start=1):
        argv += _chardev(spec, purpose)
        argv += ["-device", f"virtserialport,bus=ports.0,nr={number},chardev={purpose},name={port}"]
    if spec.watchdog:
        argv += ["-device", f"i6300esb,id=watchdog,addr={WATCHDOG_SLOT:#x}"]
    if spec.bmc:  # connected again and again: the BMC may lose its power, and a restored node meets a fresh one
        argv += ["-chardev", f"socket,id=ipmi,path={_escape(spec.socket('ipmi'))},reconnect=1"]
        argv += ["-device", "ipmi-bmc-extern,id=bmc,chardev=ipmi"]
        argv += ["-device", f"isa-ipmi-kcs,id=kcs,bmc=bmc,ioport={IPMI_PORT:#x},irq={IPMI_INTERRUPT}"]
    return argv


def qemu_argv(spec: MachineSpec) -> list[str]:
    """Return QEMU's command line for this machine.

    The real-time clock runs on the host's monotonic clock: like one on a battery it goes on while the machine is
    paused, which is how the product notices that it was away. Unlike with `clock=host`, it goes on from its saved time
    after a restore, so that a restored node does not believe that it stood still for as long as the snapshot lay there.
    HPET stays on, because Xen's clock breaks without it under TCG. A guest that powers off leaves its process paused:
    the process ends only by `quit` or by a kill, so its death is never the guest's doing.
    """
    assert spec.accel in ACCEL, f"unknown accelerator {spec.accel!r}"
    assert len(spec.disks) <= DISKS_MAX, "too many disks for their address range"
    assert len(spec.nics) <= NICS_MAX, "too many NICs for their address range"
    longest = max(
        (spec.socket("console"), *(path for nic in spec.nics for path in (nic.local, nic.remote))), key=_bytes
    )
    assert _bytes(longest) <= SOCKET_PATH_BYTES_MAX, f"socket path too long for the kernel: {longest}"
    argv = [
        spec.qemu, "-name", spec.name, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-S",
        "-accel", ACCEL[spec.accel], "-cpu", CPU[spec.accel], "-smp", str(spec.processors), "-m", f"{spec.memory_mib}M",
        "-rtc", "base=utc,clock=rt", "-action", "reboot=reset,shutdown=pause,panic=none,watchdog=reset",
    ]  # fmt: skip
    argv += [*_chardev(spec, "qmp"), "-mon", "chardev=qmp,mode=control"]
    raw = spec.artefact_dir / f"console-{spec.name}.raw"
    argv += [*_chardev(spec, "console", f",logfile={_escape(raw)},logappend=on"), "-serial", "chardev:console"]
    argv += _boot_args(spec.boot) + _device_args(spec)
    if spec.incoming is not None:
        argv += [
            "-incoming",
            "defer",
        ]  # loaded by command, after all sockets are connected: the guest then sees no port close
    return argv + list(spec.extra_args)


def _bytes(path: Path) -> int:
    return len(str(path).encode())

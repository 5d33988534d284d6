"""What runs the nodes on this host: QEMU, and its accelerator, which is found by booting and not by looking.

A device node or a CPU flag proves nothing, so the accelerator is chosen by a small boot with a deadline, and the
verdict is cached for this boot of the host. What was found on the first host, itself a virtual machine with /dev/kvm
but neither vmx nor svm (kernel 6.18, QEMU 7.2.22): `-cpu host` aborts QEMU after 0.04 s ("failed to set MSR 0x10a").
With the plain qemu64 CPU a boot sector comes up after 3.1 s (0.06 s under TCG), and `rdssp`, which Xen runs early,
ends in "KVM internal error, emulation failure": the software-emulated KVM of such a host knows too few instructions.
So: TCG there.

It must never infer an accelerator from /dev/kvm.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import HostError, UsageError, WaitTimeout
from testbed.node.spec import CPU, DirectBoot
from testbed.process import Child, run
from testbed.wait import wait_until

if TYPE_CHECKING:
    pass

QEMU = "qemu-system-x86_64"
QEMU_VERSION_MIN = (7, 2)
PROBE_TIMEOUT_S = 10.0
VERDICTS_MAX = 8  # images and boots of the host whose verdicts are kept

# rdsspd (a no-op on real hardware, and what Xen's KVM trial died of); mov al,1; mov dx,0xf4; out dx,al; hlt; jmp back
BOOT_SECTOR = bytes.fromhex("f30f1ece b001 baf400 ee f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
DEBUG_EXIT_CODE = 3  # isa-debug-exit ends QEMU with (value << 1) | 1
XEN_UP = "Brought up 1 CPUs"
KVM_GAVE_UP = "KVM internal error"


@dataclass(frozen=True)
class Qemu:
    """The QEMU that will run the nodes."""

    path: Path
    version: tuple[int, int, int]

    def text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Accelerator:
    """The accelerator of a run, why it was chosen, and how long the probe took; goes into every result."""

    name: str
    reason: str
    probe_s: float


async def find_qemu(program: str = QEMU) -> Qemu:
    """Return path and version of QEMU; raises HostError when it is missing or older than 7.2."""
    found = shutil.which(program)
    if found is None:
        raise HostError(f"{program} is not installed. Install Debian's qemu-system-x86 (7.2 or newer).")
    done = await run([found, "--version"], timeout_s=PROBE_TIMEOUT_S)
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", done.stdout)
    if match is None:
        raise HostError(f"{found} --version answered {done.stdout!r}, which is no version. Is it QEMU?")
    version = (int(match[1]), int(match[2]), int(match[3]))
    if version[:2] < QEMU_VERSION_MIN:
        raise HostError(f"{found} is {match[0]}; the bed needs 7.2 or newer (unix datagram networks).")
    return Qemu(Path(found), version)


def host_boot_id() -> str:
    """Return the kernel's id of this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


async def choose_accelerator(
    cache_dir: Path, *, boot: DirectBoot | None = None, image_hash: str = "none", device: Path = Path("/dev/kvm")
) -> Accelerator:
    """Return the accelerator that really boots here; AVANCE_ACCEL=tcg|kvm overrides, and kvm is probed all the same.

    Raises HostError when KVM was demanded and does not work, UsageError when the variable holds another word.
    """
    wanted = os.environ.get("AVANCE_ACCEL", "")
    if wanted not in {"", "tcg", "kvm"}:
        raise UsageError(f"AVANCE_ACCEL is {wanted!r}; it may be tcg or kvm, or unset to let the bed find out.")
    if wanted == "tcg":
        return Accelerator("tcg", "demanded by AVANCE_ACCEL", 0.0)
    if not _can_open(device):
        verdict = Accelerator("tcg", f"{device} cannot be opened", 0.0)
    else:
        verdict = await _cached_probe(cache_dir, boot, image_hash)
    if wanted == "kvm" and verdict.name != "kvm":
        raise HostError(f"AVANCE_ACCEL demands KVM, which does not work here: {verdict.reason}. Unset it to use TCG.")
    return verdict


def _can_open(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def _cached_probe(cache_dir: Path, boot: DirectBoot | None, image_hash: str) -> Accelerator:
    qemu = await find_qemu()
    key = f"{host_boot_id()} {platform.release()} {qemu.text()} {image_hash}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = cache_dir / "accel.json"
    known: dict[str, dict[str, object]] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # a damaged cache costs one probe
        known = dict(json.loads(path.read_text(encoding="utf-8")))
        cached = known[digest]
        return Accelerator(str(cached["name"]), str(cached["reason"]), float(str(cached["probe_s"])))
    verdict = await probe_kvm(qemu, boot)
    known = dict(list(known.items())[1 - VERDICTS_MAX :]) | {digest: asdict(verdict)}
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(known), encoding="utf-8")
    partial.replace(path)
    return verdict


async def probe_kvm(qemu: Qemu, boot: DirectBoot | None, *, accel: str = "kvm") -> Accelerator:
    """Boot a sector and then (when given) the real hypervisor, with the CPU the nodes would get; a failure means TCG.

    `accel` is for the self-test, which shows that the probe passes where the accelerator works.
    """
    begun_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="avance-probe-") as name:
        directory = Path(name)
        sector = directory / "sector.img"
        sector.write_bytes(BOOT_SECTOR)
        base = [str(qemu.path), "-machine", "pc", "-accel", accel, "-cpu", CPU[accel], "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot"]  # fmt: skip
        argv = [*base, "-m", "64", "-drive", f"file={sector},format=raw,if=ide",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]  # fmt: skip
        problem = await _boots(argv, directory, "a boot sector", None)
        if problem is None and boot is not None:
            serial = directory / "serial"
            argv = [*base, "-m", "512", "-serial", f"file:{serial}", "-kernel", str(boot.hypervisor),
                    "-append", "console=com1 com1=115200,8n1 dom0_mem=256M noreboot",
                    "-initrd", str(boot.kernel).replace(",", ",,")]  # fmt: skip
            problem = await _boots(argv, directory, "the hypervisor", serial)
    spent_s = round(time.monotonic() - begun_at, 3)
    if problem is not None:
        return Accelerator("tcg", problem, spent_s)
    what = "a boot sector" if boot is None else "the hypervisor"
    return Accelerator(accel, f"{what} booted under {accel.upper()} in {spent_s:.1f} s", spent_s)


async def _boots(argv: list[str], directory: Path, what: str, serial: Path | None) -> str | None:
    """Return None when the guest showed its sign of life in time, else the sentence that says how it failed."""
    log = directory / "qemu.log"
    async with Child(argv, name=f"probe of {what}", log=log) as child:

        async def over() -> bool:
            up = serial is not None and serial.exists() and XEN_UP in serial.read_text(errors="replace")
            return up or not child.alive or KVM_GAVE_UP in log.read_text(errors="replace")

        try:
            await wait_until(over, what=what, timeout_s=PROBE_TIMEOUT_S, poll_s=0.05)
        except WaitTimeout:
            return f"{what} did not come up under KVM in {PROBE_TIMEOUT_S:g} s"
        text = log.read_text(errors="replace").strip()
        if KVM_GAVE_UP in text:
            return f"{what} stopped under KVM: {KVM_GAVE_UP}, emulation failure"
        if serial is None and child.returncode == DEBUG_EXIT_CODE:
            return None
        if serial is not None and XEN_UP in serial.read_text(errors="replace"):
            return None
        last = text.splitlines()[0] if text else "no message"
        return f"{what} ended QEMU under KVM with code {child.returncode}: {last}"

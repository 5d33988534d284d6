"""IPMI over the LAN by ipmitool (ipmitool(1), 1.8.19): argument vectors, and the parser of a power status.

The password never stands on a command line: ipmitool takes it from the environment (`-E`).
"""

from __future__ import annotations

import math

from avance.wire.quoted import quoted

PASSWORD_VARIABLE = "IPMI_PASSWORD"  # noqa: S105 - the name of a variable
CUT_SCRIPT = "chassis power off\n" + "chassis power status\n" * 100  # the caller leaves when it has read enough
CIPHER_SUITE = 3  # RAKP with SHA-1, AES-CBC-128: the one that every IPMI 2.0 BMC must have (table 22-20 of IPMI 2.0)


def status_argv(address: str, user: str, *, patience_s: float) -> list[str]:
    """Ask for the power; each datagram is waited for so long (whole seconds, rounded up), and sent at most twice."""
    return [*_session(address, user, patience_s), "chassis", "power", "status"]


def cut_argv(address: str, user: str, *, patience_s: float) -> list[str]:
    """Run `CUT_SCRIPT`, which standard input is, in one session, and tell each answer at once.

    The order takes the power away without asking the system (Chassis Control, 00h: power down, IPMI 2.0 section 28.3).
    A session takes longer than all questions together, hence one for all. Into a pipe ipmitool would write only when it
    ends, hence stdbuf(1). It opens a file by its name; a name on a file system would be missing when that one is full.
    """
    return ["stdbuf", "-oL", *_session(address, user, patience_s), "exec", "/proc/self/fd/0"]


def on_argv(address: str, user: str, *, patience_s: float) -> list[str]:
    """Give power again (Chassis Control, 01h: power up)."""
    return [*_session(address, user, patience_s), "chassis", "power", "on"]


def _session(address: str, user: str, patience_s: float) -> list[str]:
    wait = str(max(1, math.ceil(patience_s)))
    return [
        "ipmitool", "-I", "lanplus", "-C", str(CIPHER_SUITE), "-H", address, "-U", user, "-E",
        "-N", wait, "-R", "1",
    ]  # fmt: skip


def is_off(line: str) -> bool:
    """Say whether a line is the clear answer that the power is off; everything else is not."""
    return line.strip().lower() == "chassis power is off"


def parse_power(text: str) -> str:
    """Return `on` or `off`.

    Raises:
        ValueError: the BMC said something else; that is no answer.
    """
    word = text.strip().rpartition(" ")[2].lower()
    if not text.strip().startswith("Chassis Power is ") or word not in ("on", "off"):
        raise ValueError(f"no power status: {quoted(text)!r}")
    return word

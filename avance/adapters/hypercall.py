"""What Xen itself says of its domains, and their pause: hypercalls by the module `xen.lowlevel.xc` of the Xen tools.

No program is started and no daemon is asked, so an answer takes well below a millisecond and comes also while
xenstored hangs. The module is loaded at the first use, from the directory of the Xen tools; it is for one version of
Xen. Nothing that takes long (a domain's destruction) belongs here: the calls block the loop.
"""

from __future__ import annotations

import errno
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avance.core.model import DomainEnd

_TOOLS = (Path("/usr/lib"), "xen-*/lib/python")  # where Debian's xen-utils puts the module
_PART = 64  # domains asked for at once
_KIB_PER_MIB = 1024
# xen/include/public/sched.h; a suspend (2) and a soft reset (5) are no ends that a guest chooses for itself.
_ENDS = {0: DomainEnd.POWEROFF, 1: DomainEnd.REBOOT, 3: DomainEnd.CRASH, 4: DomainEnd.CRASH}


@dataclass(frozen=True, slots=True)
class XenDomain:
    """One domain but dom0. `alive`: neither shut down nor crashed nor dying; `ran`: it has used its processor.

    `uuid` is the handle that its creator chose, as 32 hexadecimal digits; it stays until nothing of the domain is left.
    `end`: why it ended by itself, UNKNOWN for one that lives or is being destroyed. `memory_mib`: what it has now.
    """

    number: int
    uuid: str
    alive: bool
    paused: bool
    ran: bool
    end: DomainEnd = DomainEnd.UNKNOWN
    memory_mib: int = 0


class Hypercalls:
    """Xen's interface for domains; `module` stands in for `xen.lowlevel.xc` in tests."""

    def __init__(self, module: Any = None) -> None:  # noqa: ANN401 - a module without types
        self._module = module
        self._handle: Any = None

    def _xc(self) -> Any:  # noqa: ANN401 - an object without types
        if self._handle is None:
            try:
                if self._module is None:
                    self._module = _load()
                self._handle = self._module.xc()
            except (ImportError, AttributeError, OSError, RuntimeError) as error:
                raise OSError(f"Xen cannot be asked: {error}") from error
        return self._handle

    def domains(self) -> list[XenDomain]:
        """Return every domain but dom0, the dying ones included.

        Raises:
            OSError: Xen cannot be asked.
        """
        xc = self._xc()
        found: list[XenDomain] = []
        first = 0
        while True:
            try:
                part = xc.domain_getinfo(first, _PART)
            except (AttributeError, RuntimeError, TypeError) as error:
                if first > 0 and error.args[:1] == (errno.ESRCH,):
                    return found  # with no domain from this number on, Xen gives this error and not an empty list
                raise OSError(f"Xen did not list its domains: {error}") from error
            try:
                found += [_domain(entry) for entry in part if entry["domid"] > 0]
                last = part[-1]["domid"] if part else 0
            except (LookupError, TypeError, ValueError) as error:
                raise OSError(f"Xen listed its domains in a form that is not known: {error!r}") from error
            if len(part) < _PART:
                return found
            if last < first:
                raise OSError(f"Xen listed domain {last} when it was asked for those from {first} on")
            first = last + 1

    def free_mib(self) -> int:
        """Return how much memory is free for domains, in whole MiB.

        Raises:
            OSError: Xen cannot be asked, or does not say it.
        """
        try:
            return int(self._xc().physinfo()["free_memory"]) // _KIB_PER_MIB
        except (AttributeError, RuntimeError, TypeError, LookupError, ValueError) as error:
            raise OSError(f"Xen did not say how much memory is free: {error!r}") from error

    def pause(self, number: int) -> None:
        """Stop the processors of a domain; Xen counts, so each one needs an `unpause` of its own.

        Raises:
            OSError: there is no such domain, or Xen cannot be asked.
        """
        try:
            self._xc().domain_pause(number)
        except (AttributeError, RuntimeError, TypeError) as error:
            raise OSError(f"domain {number} was not paused: {error}") from error

    def unpause(self, number: int) -> None:
        """Take one `pause` of a domain back.

        Raises:
            OSError: there is no such domain, or Xen cannot be asked.
        """
        try:
            self._xc().domain_unpause(number)
        except (AttributeError, RuntimeError, TypeError) as error:
            raise OSError(f"domain {number} does not go on: {error}") from error


def _load() -> Any:  # noqa: ANN401 - a module without types
    above, pattern = _TOOLS
    for directory in sorted(above.glob(pattern)):
        if str(directory) not in sys.path:
            sys.path.append(str(directory))
    return importlib.import_module("xen.lowlevel.xc")


def _domain(entry: dict[str, Any]) -> XenDomain:
    ended = entry["shutdown"] or entry["crashed"] or entry["dying"]
    return XenDomain(
        number=entry["domid"],
        uuid=bytes(entry["handle"]).hex(),
        alive=not ended,
        paused=bool(entry["paused"]),
        ran=entry["cpu_time"] > 0,
        end=_end(entry),
        memory_mib=entry.get("mem_kb", 0) // _KIB_PER_MIB,
    )


def _end(entry: dict[str, Any]) -> DomainEnd:
    if entry["dying"]:
        return DomainEnd.UNKNOWN  # somebody destroys it, and soon nothing of it is left
    if entry["crashed"]:
        return DomainEnd.CRASH
    return _ENDS.get(entry.get("shutdown_reason", -1), DomainEnd.UNKNOWN) if entry["shutdown"] else DomainEnd.UNKNOWN

"""What a VM is called where other programs give names: its Xen domain, its DRBD resource, its LVM volume. Pure.

A name that people chose never stands alone in the words of a tool. `all`, `proxy` or `disk` is a word of drbdadm's
language, `snapshot-x` one of LVM's, and a foreign domain may be called `web`. With the prefix a name is ours, and a
word of nobody's.
"""

from __future__ import annotations

from avance.core.model import VmId

PREFIX = "avance-"


def of(vm: VmId) -> str:
    """Return what tools are told."""
    return f"{PREFIX}{vm}"


def vm_of(name: str) -> VmId | None:
    """Return the VM that a tool speaks of, or None when the name is none of ours."""
    return VmId(name.removeprefix(PREFIX)) if name.startswith(PREFIX) and name != PREFIX else None

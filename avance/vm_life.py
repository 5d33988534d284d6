"""The life of a VM in the hands of its operator: start, stop, power-off, restart, and the list of VMs.

What is wanted of a VM is a definition, so each verb is a change on which both nodes agree (avance/requests.py). Then it
waits until the VM does what is wanted, on whichever node. It decides nothing: the core does that (core/ends.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from avance.changes import WANTS
from avance.core import commands as c
from avance.core.ends import SHUT_DOWN_S
from avance.core.model import Wanted
from avance.errors import ConfigError
from avance.vm_list import vms_text

LIFE = ("vm-list", "vm-start", "vm-stop", "vm-restart")
_LOOK_S = 0.3
_AGAIN_S = 1.0
# Times the dilation:
_MORE_S = 20.0  # from the end of the guest until nothing of it is left
_START_S = 90.0  # for what is to run; what takes longer is for the status to say

_Answer = dict[str, Any]


class VmLife:
    """Verbs of persons; `change` lets both nodes agree, `vms` says what the VMs do now (avance/vm_list.py)."""

    def __init__(
        self, change: Callable[[_Answer], Awaitable[_Answer]], vms: Callable[[], _Answer], dilation: float
    ) -> None:
        self._change, self._vms, self._slow = change, vms, dilation

    async def asked(self, request: _Answer) -> _Answer:
        """Answer one of `LIFE`.

        Raises:
            ConfigError: it is refused; nothing was changed.
        """
        op, name, alone = request["op"], str(request.get("name")), request.get("one_node") is True
        if op == "vm-list":
            found = self._vms()
            return {"ok": vms_text(found)} if request.get("words") is True else found
        wanted = Wanted.OFF if request.get("now") is True else Wanted.SHUT_DOWN
        if op == "vm-start":
            return await self._start(name, alone=alone)
        if op == "vm-stop":
            return await self._stop(name, wanted, alone=alone)
        return await self._restart(name, wanted, alone=alone)

    async def propose(self, command: c.ProposeWanted) -> None:
        """Let both nodes agree on what a guest has decided; whether they do shows in the definitions."""
        with contextlib.suppress(ConfigError):
            await self._agree(command.vm, command.wanted, alone=command.alone)

    async def _start(self, name: str, *, alone: bool, patience_s: float = 0.0) -> _Answer:
        vm = self._vm(name)
        if vm["wanted"] == Wanted.RUNNING:
            if vm["state"] == "running":
                raise ConfigError(f"VM {name} runs on node {vm['node']} already; nothing was changed")
            waits = "`avance status` says what it waits for"
            raise ConfigError(f"VM {name} is to run already, and is {vm['state']}: {waits}; nothing was changed")
        if vm["state"] == "stopping" and not await self._until(name, ("off",), _MORE_S):
            raise ConfigError(f"VM {name} is just being stopped; ask again when it is off; nothing was changed")
        deadline = asyncio.get_running_loop().time() + patience_s * self._slow
        while "error" in (given := await self._agree(name, Wanted.RUNNING, alone=alone)):
            if asyncio.get_running_loop().time() >= deadline:
                return given
            await asyncio.sleep(_AGAIN_S)
        if not await self._until(name, ("running",), _START_S):
            return {"error": f"VM {name} is to run, and does not yet; `avance status` says what it waits for"}
        return {"ok": f"VM {name} runs on node {self._vm(name)['node']}"}

    async def _stop(self, name: str, wanted: Wanted, *, alone: bool) -> _Answer:
        vm = self._vm(name)
        if vm["wanted"] != Wanted.RUNNING and vm["state"] == "off":
            raise ConfigError(f"VM {name} is off already: {vm['why_off']}; nothing was changed")
        if vm["wanted"] == wanted:
            raise ConfigError(f"VM {name} is to be off already; `avance vm power-off {name}` ends it at once")
        given = await self._agree(name, wanted, alone=alone)
        if "error" in given:
            return given
        limit_s = _MORE_S + (SHUT_DOWN_S if wanted is Wanted.SHUT_DOWN else 0.0)
        if await self._until(name, ("off",), limit_s):
            return {"ok": f"VM {name} is off; it stays off until `avance vm start {name}`"}
        return {"error": self._late(name, wanted)}

    def _late(self, name: str, wanted: Wanted) -> str:
        """Say what is so when a VM that is to be off is not."""
        if wanted is Wanted.OFF or self._vm(name)["state"] != "running":
            return f"VM {name} is to be off, and is not yet; `avance status` says why"
        return (
            f"VM {name} is to be off, but its guest has not shut down within {SHUT_DOWN_S * self._slow:g} s; it runs"
            f" on. `avance vm power-off {name}` ends it at once, `avance vm start {name}` lets it run"
        )

    async def _restart(self, name: str, wanted: Wanted, *, alone: bool) -> _Answer:
        if self._vm(name)["wanted"] != Wanted.RUNNING:
            raise ConfigError(f"VM {name} is to be off; `avance vm start {name}` starts it; nothing was changed")
        stopped = await self._stop(name, wanted, alone=alone)
        if "error" in stopped and self._vm(name)["wanted"] == Wanted.RUNNING:
            return stopped
        started = await self._start(name, alone=alone, patience_s=_MORE_S)  # the other node may just take the stop in
        if "error" in stopped and "ok" in started:
            more = "" if wanted is Wanted.OFF else f"; `avance vm restart {name} --now` ends it at once"
            return {"error": f"VM {name} did not shut down, and was not restarted: it runs on{more}"}
        return started

    async def _agree(self, name: str, wanted: Wanted, *, alone: bool) -> _Answer:
        return await self._change({"op": WANTS, "name": name, "wanted": wanted, "one_node": alone})

    def _vm(self, name: str) -> _Answer:
        vms = self._vms()["vms"]
        found = next((vm for vm in vms if vm["name"] == name), None)
        if found is None:
            known = ", ".join(vm["name"] for vm in vms) or "none"
            raise ConfigError(f"there is no VM {name!r}; there are: {known}; nothing was changed")
        return dict(found)

    async def _until(self, name: str, states: tuple[str, ...], limit_s: float) -> bool:
        """Wait until a VM is in one of these states; False when it is not in time."""
        deadline = asyncio.get_running_loop().time() + limit_s * self._slow
        while self._vm(name)["state"] not in states:
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True


__all__ = ["LIFE", "VmLife"]

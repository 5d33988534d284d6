"""Xen through xl: starts, destroys and reads domains, and watches xenstore for domains that begin or end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from avance.adapters.process import lines, run
from avance.config import Config
from avance.core.events import DomainChanged
from avance.core.model import Outcome, VmId, VmSpec
from avance.ports import Done, Sink
from avance.wire import xl

CONFIG_DIR = Path("/run/avance")
_LIST_S = 10.0
_CREATE_S = 60.0
_RESTART_S = 1.0


class XenHypervisor:
    """The port `Hypervisor` on Xen's xl."""

    def __init__(self, config: Config, sink: Sink) -> None:
        self._sink = sink
        self._specs: dict[VmId, VmSpec] = {spec.name: spec for spec in config.vms}
        self._slow = config.dilation

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        self._specs[spec.name] = spec

    async def start(self, vm: VmId) -> Done:
        """Create the domain; one of the same name that is dead, but still listed, is cleared away first."""
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        if any(domain.name == vm and not domain.running for domain in listed):
            await run(xl.destroy_argv(vm), timeout_s=_LIST_S * self._slow)
        path = CONFIG_DIR / f"{vm}.cfg"
        path.write_text(xl.domain_config(self._specs[vm]))  # tmpfs: cannot hang on a dying disk
        return (await run(xl.create_argv(str(path)), timeout_s=_CREATE_S * self._slow)).done

    async def destroy(self, vm: VmId) -> Done:
        """Destroy the domain; one that is not there counts as destroyed."""
        completed = await run(xl.destroy_argv(vm), timeout_s=_LIST_S * self._slow)
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        if any(domain.name == vm for domain in listed):
            return Done(Outcome.FAILED, completed.detail or f"{vm} is still listed after it was destroyed")
        return Done(Outcome.OK)

    async def read(self, vm: VmId) -> Done:
        """Report whether the domain runs."""
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        self._sink(DomainChanged(vm, any(domain.name == vm and domain.running for domain in listed)))
        return Done(Outcome.OK)

    async def follow(self) -> None:
        """Read all domains again at every change that xenstore reports, for ever."""
        while True:
            async for _ in lines(xl.WATCH_ARGV):
                if not self._specs:
                    continue
                listed = await self._list()
                if not isinstance(listed, Done):
                    running = {domain.name for domain in listed if domain.running}
                    for vm in self._specs:
                        self._sink(DomainChanged(vm, vm in running))
            await asyncio.sleep(_RESTART_S)

    async def _list(self) -> list[xl.Domain] | Done:
        completed = await run(xl.LIST_ARGV, timeout_s=_LIST_S * self._slow)
        if completed.outcome is not Outcome.OK:
            return completed.done
        try:
            return xl.parse_list(completed.stdout)
        except ValueError as error:
            return Done(Outcome.UNKNOWN, str(error))

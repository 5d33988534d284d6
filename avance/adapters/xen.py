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
_UNPAUSE_MAX = 4  # of one domain: a daemon that died may have paused it before this one did


class XenHypervisor:
    """The port `Hypervisor` on Xen's xl."""

    def __init__(self, config: Config, sink: Sink) -> None:
        self._sink = sink
        self._specs: dict[VmId, VmSpec] = {spec.name: spec for spec in config.vms}
        self._slow = config.dilation
        self._halted = False
        self._paused: set[VmId] = set()
        self._starting: set[VmId] = set()

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
        if self._halted:
            return Done(Outcome.FAILED, f"{vm} was not started: the domains of this node are paused")
        self._paused.discard(vm)
        self._starting.add(vm)
        try:
            return await self._create(vm, path)
        finally:
            self._starting.discard(vm)

    async def _create(self, vm: VmId, path: Path) -> Done:
        done = (await run(xl.create_argv(str(path)), timeout_s=_CREATE_S * self._slow)).done
        if self._halted and vm not in self._paused:  # the pause came before there was a domain to pause
            await self._pause(vm)
        return done

    async def destroy(self, vm: VmId) -> Done:
        """Destroy the domain; one that is not there counts as destroyed."""
        completed = await run(xl.destroy_argv(vm), timeout_s=_LIST_S * self._slow)
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        if any(domain.name == vm for domain in listed):
            return Done(Outcome.FAILED, completed.detail or f"{vm} is still listed after it was destroyed")
        return Done(Outcome.OK)

    async def pause(self) -> Done:
        """Stop the virtual processors of every domain; one that is started meanwhile is paused as well."""
        self._halted = True
        async with asyncio.TaskGroup() as tasks:
            made = {vm: tasks.create_task(self._pause(vm)) for vm in self._specs if vm not in self._paused}
        failed = {vm: task.result() for vm, task in made.items() if task.result().outcome is not Outcome.OK}
        if not failed:
            return Done(Outcome.OK)
        if born := sorted(failed.keys() & self._starting):
            return Done(Outcome.FAILED, f"just being created: {', '.join(born)}")
        listed = await self._list()  # xl also fails for a domain that is not there, and that is as good
        if isinstance(listed, Done):
            return listed
        living = {domain.name for domain in listed if domain.running and not domain.paused}
        wrong = [done.detail for vm, done in failed.items() if vm in living]
        return Done(Outcome.FAILED, "; ".join(wrong)) if wrong else Done(Outcome.OK)

    async def _pause(self, vm: VmId) -> Done:
        done = (await run(xl.pause_argv(vm), timeout_s=_LIST_S * self._slow)).done
        if done.outcome is Outcome.OK:
            self._paused.add(vm)
        return done

    async def unpause(self) -> Done:
        """Let every paused domain go on; one that is only just being created is left to its creation."""
        self._halted = False
        for _ in range(_UNPAUSE_MAX):
            listed = await self._list()
            if isinstance(listed, Done):
                return listed
            paused = [VmId(domain.name) for domain in listed if domain.running and domain.paused]
            held = [vm for vm in paused if vm in self._specs and vm not in self._starting - self._paused]
            if not held:
                self._paused.clear()
                return Done(Outcome.OK)
            for vm in held:
                await run(xl.unpause_argv(vm), timeout_s=_LIST_S * self._slow)
        return Done(Outcome.FAILED, f"still paused: {', '.join(held)}")

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

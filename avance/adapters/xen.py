"""Xen: starts and destroys domains by xl, and sees and pauses them by hypercalls, without starting a program.

A watch of xenstore says *when* something changed, a hypercall says *what*. A domain is a VM's by the uuid that it was
created with, which Xen itself keeps until nothing is left of the domain; one with another uuid (made by hand, or by an
earlier version) is a VM's by its name in xenstore. So a foreign domain, whatever its name, confuses nobody.

xenstored is asked every 5 s. While it does not answer, what xl began or ended is not known for certain, and a look ends
with UNKNOWN.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable
from pathlib import Path

from avance.adapters.hypercall import Hypercalls, XenDomain
from avance.adapters.moving import DomainMoves
from avance.adapters.process import run
from avance.adapters.xenstore import Xenstore
from avance.config import Config
from avance.core.events import DomainChanged, MemorySeen
from avance.core.model import DomainEnd, Outcome, VmId, VmSpec
from avance.core.results import Done
from avance.files import write_text
from avance.ports import Sink
from avance.wire import names, xenstore, xl

CONFIG_DIR = Path("/run/avance")
_XL_S = 10.0  # every time here is multiplied by the dilation
_CREATE_S = 60.0
_ASK_S = 5.0
_ANSWER_S = 2.0
_DYING_S = 1.0  # a destroyed domain is listed until its last page is free
_DYING_POLL_S = 0.05
_UNPAUSE_MAX = 4  # of one domain: a daemon that died may have paused it before this one did
_MEMORY_STEP_MIB = 2
_OF_DOM0 = "/local/domain/0/name"


class XenHypervisor:
    """The port `Hypervisor` on Xen."""

    def __init__(
        self, config: Config, sink: Sink, xen: Hypercalls | None = None, socket: str = xenstore.SOCKET
    ) -> None:
        self._sink = sink
        self._specs: dict[VmId, VmSpec] = {}
        self._by_uuid: dict[str, VmId] = {}
        self._bridges: dict[str, str] = {link.name: link.device for link in config.links}
        self._peers_bridges: dict[str, str] = {link.name: link.peer_device for link in config.links}
        self._slow = config.dilation
        self._xen = xen or Hypercalls()
        self._changed = asyncio.Event()
        self._store = Xenstore(self._changed.set, socket, answer_s=_ANSWER_S * config.dilation)
        self._named: dict[tuple[int, str], str] = {}
        self._told: dict[VmId, tuple[bool, bool, bool, DomainEnd]] = {}
        self._free_mib: int | None = None
        self._halted = False
        self._paused: set[int] = set()
        self._starting: set[VmId] = set()
        self._removed: set[VmId] = set()
        self._moves = DomainMoves(config, self._domains_of, self.destroy)
        for spec in config.vms:
            self.add(spec)
        for tombstone in config.removed:
            self.remove(tombstone.name)

    def add(self, spec: VmSpec) -> None:
        """Take another VM into care."""
        self._specs[spec.name] = spec
        self._removed.discard(spec.name)
        self._by_uuid[xl.uuid_of(spec.name)] = spec.name
        self._changed.set()

    def change(self, spec: VmSpec) -> None:
        """Take another definition of a VM: it counts when its domain is created."""
        if spec.name in self._specs:
            self._specs[spec.name] = spec

    def remove(self, vm: VmId) -> None:
        """Take a VM out of care: nothing is reported of it, but what is left of it is paused with the others."""
        self._specs.pop(vm, None)
        self._told.pop(vm, None)
        self._removed.add(vm)
        self._by_uuid[xl.uuid_of(vm)] = vm

    async def start(self, vm: VmId) -> Done:
        """Create the domain; what is left of an earlier one of this VM is cleared away first."""
        if vm not in self._specs:
            return Done(Outcome.FAILED, f"{vm} was not started: it was removed")
        spec, listed = self._specs[vm], await self._list()
        if isinstance(listed, Done):
            return listed
        dead = [domain.number for domain in listed.get(vm, ()) if not domain.alive]
        if dead:
            cleared = await self._destroy(vm, dead)
            if cleared.outcome is not Outcome.OK:
                return cleared
        path = CONFIG_DIR / f"{vm}.cfg"
        try:
            write_text(path, xl.domain_config(spec, self._bridges[spec.network]))  # tmpfs: cannot hang on a dying disk
        except (OSError, ValueError) as error:  # ValueError: it has letters that no file can hold
            return Done(Outcome.FAILED, f"{vm} was not started, for its file was not written: {path}: {error}")
        if self._halted:
            return Done(Outcome.FAILED, f"{vm} was not started: the domains of this node are paused")
        return await self._create(vm, path)

    async def _create(self, vm: VmId, path: Path) -> Done:
        self._starting.add(vm)
        try:
            done = (await run(xl.create_argv(str(path)), timeout_s=_CREATE_S * self._slow)).done
        finally:
            self._starting.discard(vm)
        if self._halted:  # the pause may have come before there was a domain to pause
            self._freeze(self._ours())
        self._changed.set()
        return done

    async def destroy(self, vm: VmId) -> Done:
        """Destroy the domain, which is paused at once; one that is not there counts as destroyed."""
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        return await self._destroy(vm, [domain.number for domain in listed.get(vm, ())])

    async def shutdown(self, vm: VmId) -> Done:
        """Ask the guest to shut down."""
        listed = await self._domains_of(vm)
        if isinstance(listed, Done):
            return listed
        living = [domain.number for domain in listed if domain.alive]
        if len(living) != 1 or self._halted:
            why = "the domains of this node are paused" if self._halted else "there is not one domain of it that lives"
            return Done(Outcome.FAILED, f"the guest of {vm} was not asked to shut down: {why}")
        return (await run(xl.shutdown_argv(living[0]), timeout_s=_XL_S * self._slow)).done

    def room_mib(self) -> int | None:
        """Return the memory that the VMs of this node can have together: what is free, and what they have."""
        try:
            ours = [domain for vm, domains in self._ours().items() if vm in self._specs for domain in domains]
            return self._xen.free_mib() + sum(domain.memory_mib for domain in ours)
        except OSError:
            return None

    async def send(self, vm: VmId, move: str) -> Done:
        """Send the running domain to the peer."""
        if vm not in self._specs or self._halted:
            return Done(Outcome.FAILED, f"{vm} was not sent: {self._refusal(vm)}")
        spec = self._specs[vm]
        own, peers = self._bridges[spec.network], self._peers_bridges[spec.network]
        if own != peers:  # xl takes the names of this node along
            return Done(Outcome.FAILED, f"{vm} was not sent: its network is {own} here, and {peers} on the peer")
        return await self._moved(self._moves.send(spec, move))

    async def receive(self, vm: VmId, move: str) -> Done:
        """Take in the domain that the peer sends; Xen lets it stand still until it is resumed."""
        if vm not in self._specs or self._halted:
            return Done(Outcome.FAILED, f"{vm} was not taken in: {self._refusal(vm)}")
        return await self._moved(self._moves.receive(self._specs[vm], move))

    async def _moved(self, moving: Awaitable[Done]) -> Done:
        try:
            return await moving
        finally:
            if self._halted:  # xl may have let it go on
                self._freeze(self._ours())
            self._changed.set()

    def end_move(self) -> None:
        """Break off what `send` and `receive` are doing."""
        self._moves.end()

    async def resume(self, vm: VmId) -> Done:
        """Let a domain that was taken in go on; OK only when it is seen to, and never while the node stands still."""
        for _ in range(_UNPAUSE_MAX + 1):
            listed = await self._domains_of(vm)
            if isinstance(listed, Done):
                return listed
            if vm not in self._specs or self._halted:
                return Done(Outcome.FAILED, f"{vm} does not go on: {self._refusal(vm)}")
            if len(listed) != 1 or not listed[0].alive:
                return Done(Outcome.FAILED, f"{vm} does not go on: there is not one domain of it that lives")
            if not listed[0].paused:
                self._changed.set()
                return Done(Outcome.OK)
            self._paused.discard(listed[0].number)
            with contextlib.suppress(OSError):  # the next list says whether it goes on
                self._xen.unpause(listed[0].number)
        return Done(Outcome.FAILED, f"{vm} is still paused")

    def _refusal(self, vm: VmId) -> str:
        return "it was removed" if vm not in self._specs else "the domains of this node are paused"

    async def clear(self, vm: VmId) -> Done:
        """Destroy what is left of a removed VM; a domain that is dying never runs again, and counts as destroyed."""
        if vm in self._starting or self._moves.has(vm):
            return Done(Outcome.FAILED, f"the domain of {vm} is just being created, or moves")
        destroyed, listed = await self.destroy(vm), await self._list()
        if isinstance(listed, Done):
            return listed
        if any(domain.alive for domain in listed.get(vm, ())):
            return destroyed if not destroyed.ok else Done(Outcome.FAILED, f"the domain of {vm} is there again")
        self._sink(DomainChanged(vm, running=False))
        return Done(Outcome.OK)

    async def _destroy(self, vm: VmId, numbers: Iterable[int]) -> Done:
        said = ""
        for number in numbers:
            with contextlib.suppress(OSError):  # it may be gone by itself
                self._xen.pause(number)  # not one more write of it, however long xl takes
            said = (await run(xl.destroy_argv(number), timeout_s=_XL_S * self._slow)).detail or said
        deadline = asyncio.get_running_loop().time() + _DYING_S * self._slow
        while True:
            listed = await self._list()
            if isinstance(listed, Done):
                return listed
            if vm not in listed:
                return Done(Outcome.OK)
            if asyncio.get_running_loop().time() >= deadline or any(domain.alive for domain in listed[vm]):
                return Done(Outcome.FAILED, said or f"{vm} is still listed after it was destroyed")
            await asyncio.sleep(_DYING_POLL_S)

    async def pause(self) -> Done:
        """Stop the virtual processors of every domain; one that is started meanwhile is paused as well."""
        self._halted = True
        self._freeze(self._ours())  # those that are known by their uuid at once, whatever xenstored does
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        self._freeze(listed)
        if born := sorted(vm for vm in self._starting if vm not in listed):
            return Done(Outcome.FAILED, f"just being created: {', '.join(born)}")
        listed = await self._list()
        if isinstance(listed, Done):
            return listed
        wrong = sorted(vm for vm, domains in listed.items() if any(one.alive and not one.paused for one in domains))
        return Done(Outcome.FAILED, f"not paused: {', '.join(wrong)}") if wrong else Done(Outcome.OK)

    def _freeze(self, listed: dict[VmId, list[XenDomain]]) -> None:
        for vm, domain in ((vm, one) for vm, domains in listed.items() for one in domains):
            # One that is suspended to move does not live, until xl lets it go on because it could not move.
            if (domain.alive or self._moves.has(vm)) and domain.number not in self._paused:
                with contextlib.suppress(OSError):  # the list afterwards says what stands still
                    self._xen.pause(domain.number)
                    self._paused.add(domain.number)

    async def unpause(self) -> Done:
        """Let every paused domain go on; one that never ran is left to whoever creates or destroys it."""
        self._halted = False
        for _ in range(_UNPAUSE_MAX):
            listed = await self._list()
            if isinstance(listed, Done):
                return listed
            held = {
                domain.number: vm
                for vm, domains in listed.items()
                for domain in domains
                if domain.paused and ((domain.alive and domain.ran) or domain.number in self._paused)
            }
            if not held:
                self._paused.clear()
                return Done(Outcome.OK)
            for number in held:
                self._paused.discard(number)
                with contextlib.suppress(OSError):  # the next list says whether it goes on
                    self._xen.unpause(number)
        return Done(Outcome.FAILED, f"still paused: {', '.join(sorted(held.values()))}")

    async def read(self, vm: VmId) -> Done:
        """Report whether the domain runs; without an answer of xenstored nothing is reported, and nothing known."""
        listed = await self._look()
        if isinstance(listed, Done):
            return listed
        if vm in self._specs:
            self._tell(vm, listed, again=True)
        return Done(Outcome.OK)

    async def follow(self) -> None:
        """Report every change of a domain, for ever: at each word of xenstore, and every few seconds."""
        while True:
            self._changed.clear()
            if self._specs:
                self._tell_memory()
                listed = await self._look()
                if isinstance(listed, Done):
                    self._told.clear()  # whoever is known again is told anew
                else:
                    for vm in tuple(self._specs):
                        self._tell(vm, listed, again=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASK_S * self._slow):
                    await self._changed.wait()

    def _tell_memory(self) -> None:
        """Tell how much is free when that is another than before; a few pages more or less are none."""
        try:
            free_mib: int | None = self._xen.free_mib()
        except OSError:
            free_mib = None
        told = self._free_mib
        near = free_mib is not None and told is not None and abs(free_mib - told) < _MEMORY_STEP_MIB
        if not near and free_mib != told:
            self._free_mib = free_mib
            self._sink(MemorySeen(free_mib))

    def _tell(self, vm: VmId, listed: dict[VmId, list[XenDomain]], *, again: bool) -> None:
        living = [domain for domain in listed.get(vm, ()) if domain.alive]
        paused = bool(living) and all(domain.paused for domain in living)
        never_ran = paused and not any(domain.ran for domain in living)
        state = (bool(living), paused, never_ran, DomainEnd.UNKNOWN if living else _end_of(listed.get(vm, ())))
        if again or self._told.get(vm) != state:
            self._told[vm] = state
            self._sink(DomainChanged(vm, running=state[0], paused=paused, never_ran=never_ran, ended=state[3]))

    async def _look(self) -> dict[VmId, list[XenDomain]] | Done:
        """Return the domains of each VM, once xenstored has answered."""
        try:
            await self._store.read(_OF_DOM0)
        except OSError as error:
            return Done(Outcome.UNKNOWN, str(error))
        return await self._list()

    async def _list(self) -> dict[VmId, list[XenDomain]] | Done:
        """Return the domains of each VM that has any; xenstored is asked only for a domain that nobody knows yet."""
        try:
            domains = self._xen.domains()
            for domain in domains:
                if domain.uuid not in self._by_uuid and (domain.number, domain.uuid) not in self._named:
                    name = await self._store.read(f"/local/domain/{domain.number}/name")
                    if name is not None:
                        self._named[domain.number, domain.uuid] = name
            listed = {(domain.number, domain.uuid) for domain in domains}
            self._named = {key: name for key, name in self._named.items() if key in listed}
        except OSError as error:
            return Done(Outcome.UNKNOWN, str(error))
        return self._sorted(domains)

    async def _domains_of(self, vm: VmId) -> list[XenDomain] | Done:
        listed = await self._list()
        return listed if isinstance(listed, Done) else listed.get(vm, [])

    def _ours(self) -> dict[VmId, list[XenDomain]]:
        """Return what can be said without a question to xenstored."""
        try:
            return self._sorted(self._xen.domains())
        except OSError:
            return {}

    def _sorted(self, domains: Iterable[XenDomain]) -> dict[VmId, list[XenDomain]]:
        found: dict[VmId, list[XenDomain]] = {}
        for domain in domains:
            vm = self._by_uuid.get(domain.uuid) or names.vm_of(self._named.get((domain.number, domain.uuid), ""))
            if vm is not None and (vm in self._specs or vm in self._removed):
                found.setdefault(vm, []).append(domain)
        return found


def _end_of(dead: Iterable[XenDomain]) -> DomainEnd:
    """Return why the newest of a VM's dead domains ended."""
    newest = max(dead, key=lambda domain: domain.number, default=None)
    return DomainEnd.UNKNOWN if newest is None else newest.end

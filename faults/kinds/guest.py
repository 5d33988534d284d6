"""Faults of the VM itself: its kernel panics, it hangs, crashes again and again, shuts down, or cannot be ended.

The orders go through the guest's console in dom0, where the workload's first process listens for single words. They
are believed only when Xen's own list of domains says so and the client port sees it. Nothing here starts a VM: two
running copies would be worse than none, so a VM that the product leaves down makes heal fail with that sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from abc import abstractmethod
from typing import ClassVar

from faults.fault import Aim, Proof
from testbed import pace
from testbed.bed import Bed
from testbed.client.ledger import Datagram
from testbed.errors import TestbedError, UsageError, WaitTimeout
from testbed.node import domains
from testbed.node.domains import Domain
from testbed.vocabulary import in_tools
from testbed.wait import wait_until

PING_S = 1.0
START_POLL_S = 1.0
POLL_S = 0.1
SEEN_TIMEOUT_S = 10.0  # Xen reports an end at once, dom0 lists it a second later under emulation
SERVED_TIMEOUT_S = 90.0
COMMAND_S = 20.0
HANG_WINDOW_S = 3.0
SPINNING_MIN = 0.4  # of one processor, which the guest shares with dom0; an idle guest takes a few per cent
DESTROY_S = 8  # in a healthy node `xl destroy` ends within two seconds
LOOP_CRASHES_MIN = 2
WATCH_S = 600
WATCH_LOG, WATCH_PID = "/run/fault-guest.log", "/run/fault-guest.pid"
# Fires once at its start, and whenever a domain begins or ends.
_WATCH = (
    f"setsid timeout {WATCH_S} sh -c 'echo $$ >{WATCH_PID}; xenstore-watch @introduceDomain @releaseDomain "
    f"| while read -r _; do xl list -v; done >{WATCH_LOG}' </dev/null >/dev/null 2>&1 &"
)
_WATCH_ONCE = f"kill -0 $(cat {WATCH_PID} 2>/dev/null) 2>/dev/null && exit; rm -f {WATCH_LOG}; {_WATCH}"
_UNWATCH = f"test -e {WATCH_PID} && kill -- -$(ps -o pgid= -p $(cat {WATCH_PID}) | tr -d ' '); rm -f {WATCH_PID}"


async def ping(bed: Bed, name: str) -> str | None:
    """Ask the service of a VM from the client port for the id of its boot; None when it does not answer."""
    vm, token = bed.topology.vm(name), secrets.token_hex(8)
    client = bed.clients[vm.network.name]
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def received(datagram: Datagram, _t_s: float) -> None:
        words = datagram.payload.decode("ascii", errors="replace").split()
        if words[:2] == ["PONG", token] and not answer.done():
            answer.set_result(words[2])

    source = client.free_port()
    client.listen(source, received)
    try:
        client.udp_send(vm.address, bed.image.workload.udp_port, source, f"PING {token}".encode())
        async with pace.timeout(PING_S):
            return await answer
    except TimeoutError:
        return None
    finally:
        client.stop_listening(source)


async def shell(bed: Bed, node: str, script: str, *, timeout_s: float = COMMAND_S) -> str:
    """Run a script in a node's dom0, out of band, and return what it wrote."""
    return await bed.nodes[node].machine.guest.must_succeed(["sh", "-c", script], timeout_s=timeout_s)


class GuestFault:
    """What the faults of a VM share: where it runs, which boot of it answers, and a heal that waits for service."""

    name: ClassVar[str]
    aim: ClassVar[Aim] = Aim.VM

    def __init__(self, target: str) -> None:
        self.target = target
        self._node: str
        self._domain: Domain
        self._boot_before: str | None = None
        self._injected_at_s: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Find the one node that runs the VM, and the boot id that answers; raises UsageError when there is no such."""
        bed.topology.vm(self.target)
        self._node, self._domain = await self._find(bed)
        self._boot_before = await ping(bed, self.target)

    async def _find(self, bed: Bed) -> tuple[str, Domain]:
        found = await domains.where_runs(bed.nodes, self.target)
        running = domains.runners(found)
        if len(running) != 1:
            raise UsageError(f"{self.name} needs one node that runs VM {self.target}; Xen says: {found}")
        return next(iter(running.items()))

    async def order(self, bed: Bed, word: str, node: str, domain: Domain) -> None:
        """Write one word to the console of the guest."""
        tty = f"$(xenstore-read /local/domain/{domain.id}/console/tty)"
        await shell(bed, node, f"echo {word} > {tty}")

    @abstractmethod
    async def inject(self, bed: Bed) -> None:
        """Do it; each fault has its own way."""

    @abstractmethod
    async def confirm(self, bed: Bed) -> Proof:
        """Prove it by Xen's list and by the client port."""

    async def heal(self, bed: Bed) -> None:
        """Wait until the VM serves again on one node; raises TestbedError when it stays down."""
        await self.undo(bed)

        async def served() -> bool:
            running = domains.runners(await domains.where_runs(bed.nodes, self.target))
            return len(running) == 1 and await ping(bed, self.target) is not None

        try:
            await wait_until(served, what=f"VM {self.target} to serve again", timeout_s=SERVED_TIMEOUT_S, poll_s=POLL_S)
        except WaitTimeout as error:
            found = await domains.where_runs(bed.nodes, self.target)
            raise TestbedError(
                f"VM {self.target} does not serve after {self.name}; Xen says: {found}. Healing needs the product: "
                "it starts VMs, the testbed does not."
            ) from error

    async def undo(self, bed: Bed) -> None:
        """Take back what stays; nothing stays of an end that the product answers by a start."""


class _End(GuestFault):
    """A guest that ends by itself: a watcher in each dom0 lists the domains whenever one ends."""

    reason: ClassVar[int]
    word: ClassVar[str]

    async def prepare(self, bed: Bed) -> None:
        """Find the VM and start the watcher in each dom0."""
        await super().prepare(bed)
        await self.watch(bed)

    async def watch(self, bed: Bed) -> None:
        """Start the watcher in each dom0 that has none, and wait until the one beside the VM lists it."""
        for name, node in bed.nodes.items():
            if node.is_on:
                await shell(bed, name, _WATCH_ONCE)

        async def watching() -> bool:
            return any(one.name == in_tools(self.target) for one in await self._witnessed(bed, self._node))

        await wait_until(
            watching, what=f"the witness in node {self._node} to list {self.target}", timeout_s=SEEN_TIMEOUT_S
        )

    async def inject(self, bed: Bed) -> None:
        """Give the order."""
        await self.order(bed, self.word, self._node, self._domain)
        self._injected_at_s = time.monotonic()

    async def _witnessed(self, bed: Bed, node: str) -> tuple[Domain, ...]:
        if not bed.nodes[node].is_on:
            return ()
        return domains.parse_domains(await shell(bed, node, f"cat {WATCH_LOG} 2>/dev/null || true"))

    async def ended(self, bed: Bed, node: str, domain: Domain) -> int | None:
        """Wait until the watcher saw this domain shut down, and return Xen's reason; None when it was not seen."""

        async def reason() -> tuple[int] | None:
            seen = [one.reason for one in await self._witnessed(bed, node) if one.id == domain.id]
            return next(((code,) for code in seen if code is not None), None)

        try:
            found = await wait_until(
                reason, what="the end", timeout_s=SEEN_TIMEOUT_S, poll_s=POLL_S, tolerate=(TestbedError,)
            )
        except WaitTimeout:
            return None
        return None if found is None else found[0]

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when Xen gives the reason and the boot that answered before answers no more."""
        reason = await self.ended(bed, self._node, self._domain)
        boot = await ping(bed, self.target)
        evidence: dict[str, object] = {
            "node": self._node, "domain": self._domain.id, "reason_seen_by_dom0": reason, "reason_wanted": self.reason,
            "boot_before": self._boot_before, "boot_now": boot,
        }  # fmt: skip
        is_away = boot != self._boot_before
        nobody_knows = self._boot_before is None or (reason is None and is_away)  # it is away: nobody saw how it ended
        seen = None if nobody_knows else reason == self.reason and is_away
        return Proof.of(seen, self._injected_at_s, evidence)

    async def remove_instruments(self, bed: Bed) -> None:
        """End the watchers."""
        for name, node in bed.nodes.items():
            if node.is_on:
                with contextlib.suppress(TestbedError):  # it may be starting; the watcher ends by itself then
                    await shell(bed, name, f"{_UNWATCH}; true")


class GuestCrash(_End):
    """The VM's kernel panics."""

    name = "guest.crash"
    reason = domains.CRASH
    word = "crash"


class GuestShutdown(_End):
    """The VM shuts itself down in order, from inside, and nobody outside asked for it."""

    name = "guest.shutdown"
    reason = domains.POWEROFF
    word = "shutdown"

    async def undo(self, bed: Bed) -> None:
        """Start it, as a person would: the product leaves it off, once both nodes hold that, and refuses until then."""

        async def started() -> bool:
            if await ping(bed, self.target) is not None:
                return True
            for node in bed.nodes.values():
                order = ["avance", "vm", "start", self.target]
                if node.is_on and (await node.machine.guest.run(order, timeout_s=SERVED_TIMEOUT_S)).returncode == 0:
                    return True
            return False

        with contextlib.suppress(WaitTimeout):  # heal says what is so then
            await wait_until(
                started, what="a node to start it", timeout_s=SERVED_TIMEOUT_S, poll_s=START_POLL_S,
                tolerate=(TestbedError,),
            )  # fmt: skip


class GuestCrashLoop(GuestCrash):
    """The VM's kernel panics, and again each time it is served, up to a number of crashes."""

    name = "guest.crash_loop"

    def __init__(self, target: str, *, crashes: int = 3, patience_s: float = SERVED_TIMEOUT_S) -> None:
        super().__init__(target)
        if crashes < LOOP_CRASHES_MIN:
            raise UsageError(f"a loop has at least {LOOP_CRASHES_MIN} crashes, not {crashes}; one is guest.crash")
        if patience_s <= 0:
            raise UsageError(f"patience_s must be above 0, not {patience_s}")
        self.crashes = crashes
        self.patience_s = patience_s
        self._reasons: list[int | None] = []
        self._boots: list[str | None] = []
        self._stayed_down = False

    async def inject(self, bed: Bed) -> None:
        """Crash it as often as it is served again; returns after the last crash, or when it stays down."""
        for number in range(self.crashes):
            if number and not await self._served_again(bed):
                self._stayed_down = True
                return
            if number:
                bed.history.record("fault", "again", name=self.name, target=self.target)
            self._boots.append(await ping(bed, self.target))
            await self.order(bed, self.word, self._node, self._domain)
            if self._injected_at_s is None:
                self._injected_at_s = time.monotonic()
            self._reasons.append(await self.ended(bed, self._node, self._domain))

    async def _served_again(self, bed: Bed) -> bool:
        """Wait for a new boot that answers, and find where it runs; False when it does not come in time."""

        async def new_boot() -> bool:
            return await ping(bed, self.target) not in (None, *self._boots)

        try:
            await wait_until(new_boot, what="the next boot", timeout_s=self.patience_s, poll_s=POLL_S)
            self._node, self._domain = await self._find(bed)
            await self.watch(bed)  # its node may have started anew, and watchers end with their node
        except (WaitTimeout, UsageError):
            return False
        return True

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when every order was a crash in Xen's list, and there were at least two."""
        seen = sum(reason == self.reason for reason in self._reasons)
        evidence: dict[str, object] = {
            "crashes_ordered": len(self._reasons), "crashes_seen_by_dom0": seen, "crashes_asked": self.crashes,
            "boots": self._boots, "stayed_down": self._stayed_down, "boot_now": await ping(bed, self.target),
        }  # fmt: skip
        if seen == 0 or seen < len(self._reasons):
            return Proof.of(False, None, evidence)
        loops = None if self._boot_before is None or seen < LOOP_CRASHES_MIN else True  # it stayed down: nobody knows
        return Proof.of(loops, self._injected_at_s, evidence)

    async def undo(self, bed: Bed) -> None:
        """Say on each node, as a person would, that the guest is mended: a VM that dies too often is left until then.

        A node that has nothing to forget refuses, which is no failure.
        """
        for name, node in bed.nodes.items() if self._stayed_down else ():
            await node.machine.guest.run(["avance", "reset-device", name], timeout_s=COMMAND_S)


class GuestHang(GuestFault):
    """The VM spins on its processor with its network off and does nothing for anybody, while Xen sees it run."""

    name = "guest.hang"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._load_before: float | None = None

    async def prepare(self, bed: Bed) -> None:
        """Find the VM and measure how much it computes."""
        await super().prepare(bed)
        self._load_before = await self._load(bed)

    async def inject(self, bed: Bed) -> None:
        """Give the order."""
        await self.order(bed, "hang", self._node, self._domain)
        self._injected_at_s = time.monotonic()

    async def _load(self, bed: Bed) -> float | None:
        """The part of a processor that the domain takes in a window; None when it does not run any more."""
        first, since_s = await self._same(bed), time.monotonic()
        await pace.sleep(HANG_WINDOW_S)
        last, took_s = await self._same(bed), time.monotonic() - since_s
        return None if first is None or last is None else (last.cpu_s - first.cpu_s) / took_s

    async def _same(self, bed: Bed) -> Domain | None:
        found = domains.runners(await domains.where_runs(bed.nodes, self.target)).get(self._node)
        return found if found is not None and found.id == self._domain.id else None

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the domain runs on, computes as it did not before, and answers no more."""
        load, boot = await self._load(bed), await ping(bed, self.target)
        evidence: dict[str, object] = {
            "node": self._node,
            "processor_before": self._load_before,
            "processor_now": load,
            "boot_before": self._boot_before,
            "boot_now": boot,
        }
        before = self._load_before
        was_well = self._boot_before is not None and before is not None and before < SPINNING_MIN
        if not was_well or load is None:  # without a load the domain ended: nobody can say whether it hung
            return Proof.of(None, None, evidence)
        return Proof.of(boot is None and load >= SPINNING_MIN, self._injected_at_s, evidence)

    async def undo(self, bed: Bed) -> None:
        """Destroy the domain that hangs, if it is still the same one and answers nothing; the product starts it."""
        if not bed.nodes[self._node].is_on or await ping(bed, self.target) is not None:
            return
        if (domain := await self._same(bed)) is not None:
            await shell(bed, self._node, f"xl destroy {domain.id}", timeout_s=SERVED_TIMEOUT_S)


class GuestRefusesToDie(GuestFault):
    """The VM runs on although it is told to end: on its node no command of Xen's tools gets through."""

    name = "guest.refuses_to_die"

    async def inject(self, bed: Bed) -> None:
        """Stop the store on which every tool waits; the guest needs it only to begin and to end."""
        await shell(bed, self._node, "kill -STOP $(pidof xenstored)")
        self._injected_at_s = time.monotonic()

    async def confirm(self, bed: Bed) -> Proof:
        """Tell it to end: confirmed when the order does not come back and the same boot still answers the client."""
        argv = ["timeout", f"{pace.scaled(DESTROY_S):g}", "xl", "destroy", in_tools(self.target)]
        done = await bed.nodes[self._node].machine.guest.run(argv, timeout_s=COMMAND_S + DESTROY_S)
        boot, timed_out = await ping(bed, self.target), done.returncode == 124
        evidence: dict[str, object] = {
            "node": self._node,
            "order_to_end": "no answer" if timed_out else f"code {done.returncode}",
            "boot_before": self._boot_before,
            "boot_now": boot,
        }
        seen = None if self._boot_before is None else timed_out and boot == self._boot_before
        return Proof.of(seen, self._injected_at_s, evidence)

    async def undo(self, bed: Bed) -> None:
        """Let the store go on; a node that is starting is waited for."""

        async def goes_on() -> bool:
            if bed.nodes[self._node].is_on:
                await shell(bed, self._node, "kill -CONT $(pidof xenstored)")
            return True

        await wait_until(
            goes_on,
            what=f"xenstored of node {self._node} to go on",
            timeout_s=SERVED_TIMEOUT_S,
            poll_s=POLL_S,
            tolerate=(TestbedError,),
        )


FAULTS = (GuestCrash, GuestHang, GuestCrashLoop, GuestShutdown, GuestRefusesToDie)

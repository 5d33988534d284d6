"""One QEMU machine as an async context manager: start, stop, save, kill, and what it says on the way.

A `Machine` is one QEMU *process*: after a kill or for a restore the bed makes a new one from the same spec. It starts
paused with every socket connected, so that nothing the node writes is lost, and runs after `cont()`.

It must never load a memory image into a running QEMU (the guest's clock would stall for as long as it had run since),
never change hardware between save and restore (every device has a fixed address), and never call a SIGKILL a power
cut: the host's page cache survives it.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from typing import TYPE_CHECKING, NoReturn, Self

from testbed import pace
from testbed.errors import MachineError, SnapshotError, WaitTimeout
from testbed.node.agent import GuestAgent
from testbed.node.console import ConsoleReader, JournalReader
from testbed.node.control_port import ControlPort
from testbed.node.qmp import Qmp, QmpLost
from testbed.node.spec import MachineSpec, NbdDiskSpec, qemu_argv
from testbed.process import Child
from testbed.wait import OwnedTask, wait_for_record, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from testbed.history import History, HistoryRecord

START_TIMEOUT_S = 30.0  # QMP answers 0.1 s after the start on an idle host
SAVE_TIMEOUT_S = 120.0
RESTORE_TIMEOUT_S = 120.0
REAP_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0
YANK_TIMEOUT_S = 2.0  # out of band it takes some milliseconds
DEATH_NOTICE_S = 1.0
MIGRATION_BYTES_PER_S = 16 * 2**30  # the default of 128 MiB/s would be the bottleneck of a local file


def _exists(path: Path) -> bool:
    return path.exists()


def _size_bytes(path: Path) -> int:
    return path.stat().st_size


class Machine:
    """One QEMU process with QMP, console, journal, agent and control port; leaving the context kills and reaps it."""

    qmp: Qmp
    console: ConsoleReader
    journal: JournalReader
    guest: GuestAgent
    control: ControlPort

    def __init__(self, spec: MachineSpec, history: History) -> None:
        self.spec = spec
        self.name = spec.name
        self._history = history
        self._source = f"machine.{spec.name}"
        self._end_expected = False
        self._stack = contextlib.AsyncExitStack()
        self._child = Child(qemu_argv(spec), name=f"QEMU of node {spec.name}", log=spec.qemu_log)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            self._end_expected = True
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_expected = True
        if hasattr(self, "qmp"):
            self.qmp.expect_disconnect()
        try:
            await self._child.kill()  # first, because a wedged QEMU answers nobody; then its last output is read
            await self._drain()
        finally:
            await self._stack.aclose()

    async def _start(self) -> None:
        spec = self.spec
        spec.artefact_dir.mkdir(parents=True, exist_ok=True)
        spec.qemu_log.unlink(missing_ok=True)  # its tail explains this process, not an earlier one
        await self._stack.enter_async_context(self._child)
        self._history.record(self._source, "started", pid=self._child.pid, incoming=spec.incoming)
        await self._stack.enter_async_context(OwnedTask(self._watch(), name=f"reaper-{self.name}"))
        qmp = Qmp(
            spec.socket("qmp"),
            self._history,
            node=self.name,
            connect_timeout_s=START_TIMEOUT_S,
            process_alive=lambda: self.alive,
        )
        try:
            self.qmp = await self._stack.enter_async_context(qmp)
            zero_at_s = self._history.zero_at_s or time.monotonic()
            console = ConsoleReader(
                spec.socket("console"), self._history, spec.artefact_dir, node=self.name, zero_at_s=zero_at_s
            )
            self.console = await self._stack.enter_async_context(console)
            journal = JournalReader(spec.socket("journal"), self._history, spec.artefact_dir, node=self.name)
            self.journal = await self._stack.enter_async_context(journal)
            self.guest = await self._stack.enter_async_context(GuestAgent(spec.socket("agent"), node=self.name))
            await self.guest.open()
            self.control = await self._stack.enter_async_context(ControlPort(spec.socket("control"), node=self.name))
            await self.control.open()
            await self._enable_migration_events()
            if spec.incoming is not None:
                await self._load_memory(spec.incoming)
        except (QmpLost, WaitTimeout, OSError) as error:
            await self._raise_start_failure(error)

    async def _raise_start_failure(self, error: Exception) -> NoReturn:
        await self._reaped(1.0)
        if self.alive:
            raise MachineError(f"QEMU of node {self.name} started but did not answer: {error}") from error
        raise MachineError(self._death()) from error

    async def _watch(self) -> None:
        returncode = await self._child.wait()
        if not self._end_expected:
            self._history.record(self._source, "died", returncode=returncode, last_words=self._child.last_words())

    async def _reaped(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with pace.timeout(timeout_s):
                await self._child.wait()
        return not self.alive

    def _death(self) -> str:
        expected = "was ended on purpose" if self._end_expected else "died unexpectedly"
        return (
            f"QEMU of node {self.name} (pid {self._child.pid}) {expected} with code {self._child.returncode}; "
            f"the node is off. Its last words ({self.spec.qemu_log.name}):\n{self._child.last_words()}"
        )

    @property
    def pid(self) -> int:
        """The process id of QEMU."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """True while the QEMU process runs."""
        return self._child.alive

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, timeout_s: float = 10.0
    ) -> object:
        """Run a QMP command; raises MachineError with QEMU's last words when the process is gone."""
        if not self.alive:
            raise MachineError(self._death())
        try:
            return await self.qmp.execute(command, arguments, timeout_s=timeout_s)
        except QmpLost as error:
            if await self._reaped(DEATH_NOTICE_S):  # the stream ends a moment before the process can be reaped
                raise MachineError(self._death()) from error
            raise

    async def status(self) -> str:
        """Return QEMU's run state: `running`, `paused`, `shutdown`, `inmigrate`, `postmigrate` ..."""
        answer = await self.execute("query-status")
        assert isinstance(answer, dict), "query-status answers with an object"
        return str(answer["status"])

    async def cont(self) -> None:
        """Let the machine run."""
        await self.execute("cont")

    async def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Pause the machine: its clock stands still, and its disks are drained and flushed.

        When that wedges QEMU, its disks behind servers are yanked: what they owe fails. When that does not help it is
        killed, and MachineError says so.
        """
        try:
            await self.execute("stop", timeout_s=timeout_s)
        except QmpLost as error:
            if await self._yank():
                with contextlib.suppress(MachineError, WaitTimeout):
                    await self._wait_paused("paused after its disks were yanked")
                    return
            await self.kill()
            raise MachineError(
                f"Node {self.name} did not stop in {pace.scaled(timeout_s):g} s and was killed; the node is off, its "
                "console and journal until then are kept."
            ) from error

    async def _yank(self) -> list[str]:
        """Break the connections to the disk servers, past a wedged main loop, and return those that were broken."""
        broken = []
        for disk in self.spec.disks:
            if isinstance(disk, NbdDiskSpec):
                victim = {"type": "block-node", "node-name": disk.block_node}
                with contextlib.suppress(MachineError):
                    await self.qmp.execute("yank", {"instances": [victim]}, timeout_s=YANK_TIMEOUT_S, oob=True)
                    broken.append(disk.name)
        self._history.record(self._source, "yanked", disks=broken)
        return broken

    async def reset(self) -> None:
        """Press the reset button: memory content survives, the node boots again."""
        await self.execute("system_reset")

    async def kill(self) -> None:
        """End the node by SIGKILL of QEMU and reap it (a node kill, not a power cut); its last output is still read."""
        self._expect_end()
        returncode = await self._child.kill()
        self._history.record(self._source, "killed", pid=self._child.pid, returncode=returncode)
        await self._drain()

    async def quit(self) -> None:
        """End QEMU in an orderly way, its disks flushed; when it does not go, they are yanked, then it is killed."""
        self._expect_end()
        with contextlib.suppress(QmpLost):  # the end of the stream may come before the answer, and is the success sign
            await self.qmp.execute("quit", timeout_s=REAP_TIMEOUT_S)
        orderly = await self._reaped(REAP_TIMEOUT_S)
        if not orderly and await self._yank():
            await self._reaped(REAP_TIMEOUT_S)
        returncode = await self._child.kill()
        self._history.record(self._source, "quit", pid=self._child.pid, returncode=returncode, orderly=orderly)
        await self._drain()

    def _expect_end(self) -> None:
        if self.alive:
            self._end_expected = True
            self.qmp.expect_disconnect()

    async def _drain(self) -> None:
        await self.console.finish()
        await self.journal.finish()

    async def _enable_migration_events(self) -> None:
        capabilities = [{"capability": "events", "state": True}]
        await self.qmp.execute("migrate-set-capabilities", {"capabilities": capabilities})
        await self.qmp.execute("migrate-set-parameters", {"max-bandwidth": MIGRATION_BYTES_PER_S})

    async def save_memory(self, path: Path, *, timeout_s: float = SAVE_TIMEOUT_S) -> None:
        """Write memory and device state of the paused machine to a file; afterwards `cont` goes on, or `quit` leaves.

        The disks are not in it: copy them while the machine is still paused. Raises SnapshotError; the file then does
        not exist.
        """
        if await self.status() == "running":
            raise SnapshotError(f"Node {self.name} runs; stop it first, or its disks would not belong to its memory.")
        partial, whole = path.with_name(path.name + ".partial"), path.with_name(path.name + ".whole")
        whole.unlink(missing_ok=True)
        mark = self._history.mark()
        # "completed" comes before the last bytes are through the pipe; the shell renames when `cat` wrote them all.
        pipe = f"cat > {shlex.quote(str(partial))} && mv {shlex.quote(str(partial))} {shlex.quote(str(whole))}"

        async def written() -> bool:
            # Until `postmigrate` QEMU refuses `cont`: "Migration is not finalized yet".
            return await self.status() == "postmigrate" and _exists(whole)

        what = f"the memory of node {self.name} in {path.name}"
        try:
            await self.execute("migrate", {"uri": f"exec:{pipe}"})
            await self._migrated(what, mark, timeout_s)
            await wait_until(written, what=what, timeout_s=timeout_s, poll_s=0.01)
        except BaseException:  # also when cancelled: half a file must not look like a snapshot
            partial.unlink(missing_ok=True)
            whole.unlink(missing_ok=True)
            raise
        whole.rename(path)
        self._history.record(self._source, "memory_saved", path=path, size_bytes=_size_bytes(path))

    async def _load_memory(self, path: Path) -> None:
        if not _exists(path):
            raise SnapshotError(f"Node {self.name} cannot be restored: there is no file {path}. Boot it cold instead.")
        mark = self._history.mark()
        await self.execute("migrate-incoming", {"uri": f"exec:cat {shlex.quote(str(path))}"})
        try:
            await self._migrated(f"node {self.name} to be loaded from {path.name}", mark, RESTORE_TIMEOUT_S)
        except WaitTimeout as error:
            raise SnapshotError(f"Node {self.name} was not restored. {error}") from error

        await self._wait_paused("paused after its restore")
        self._history.record(self._source, "memory_loaded", path=path)

    async def _wait_paused(self, what: str) -> None:
        async def paused() -> bool:
            return await self.status() == "paused"

        await wait_until(paused, what=f"node {self.name} {what}", timeout_s=REAP_TIMEOUT_S, poll_s=0.02)

    async def _migrated(self, what: str, mark: int, timeout_s: float) -> None:
        """Wait for QEMU's event that the transfer is complete; a failure or the end of QEMU ends the wait at once."""

        def ended(entry: HistoryRecord) -> bool:
            if entry.source == self._source and entry.kind == "died":
                return True
            return entry.source == f"qmp.{self.name}" and _migration_status(entry) in {"completed", "failed"}

        entry = await wait_for_record(
            self._history, ended, what=what, timeout_s=timeout_s, after=mark,
            relevant=lambda seen: seen.source in {self._source, f"qmp.{self.name}"},
        )  # fmt: skip
        if entry.kind == "died":
            raise SnapshotError(f"A restore or save ended QEMU. {self._death()}")
        if _migration_status(entry) == "failed":
            try:
                reason = str(await self.execute("query-migrate"))
            except MachineError:  # a failed restore ends QEMU, whose last words say why
                await self._reaped(REAP_TIMEOUT_S)
                reason = self._child.last_words()
            raise SnapshotError(f"QEMU gave up on {what}; its reason: {reason}")


def _migration_status(entry: HistoryRecord) -> str | None:
    data = entry.fields.get("data")
    if entry.kind == "event" and entry.fields.get("event") == "MIGRATION" and isinstance(data, dict):
        return str(data.get("status"))
    return None

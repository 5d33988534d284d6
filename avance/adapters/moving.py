"""Live moves: the connection between the two nodes, and on each side the one xl that uses it.

The daemon makes the connection and keeps it. It gives xl the descriptor, watches by the kernel's counters whether
bytes move, and can end it for whoever holds it. So no byte of the domain passes through Python, and an xl that nobody
watches does not exist: it dies with the daemon.

On the receiving side xl holds its lock while it takes a domain in. So one domain moves after the other.

What became of a domain is never believed, but looked at. It must never destroy what it did not take in itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from avance.adapters.hypercall import XenDomain
from avance.adapters.process import Completed, run
from avance.config import Config
from avance.core.model import Outcome, VmId, VmSpec
from avance.core.results import Done
from avance.wire import derived, moving, xl
from avance.wire.moving import Side

Look = Callable[[VmId], Awaitable[list[XenDomain] | Done]]
Destroy = Callable[[VmId], Awaitable[Done]]

_ACCEPT_S = 20.0  # for the peer to connect, once it can; every time here but the pauses is multiplied by the dilation
_CONNECT_S = 15.0  # for the peer to listen, and to agree
_CONNECT_AGAIN_S = 0.2
_WORD_S = 2.0  # for the other side's word: whoever connects and is silent holds nobody up
_STALL_S = 5.0  # without a byte in either direction
_WATCH_S = 0.2
_GRACE_S = 10.0  # for xl to notice the end of the connection, and to let the domain run, or to destroy its copy
_CLOSED_S = 20.0  # for xl to end once the peer has closed: the sender's destroys the domain that has left
_TRANSFER_S = 120.0  # for a whole domain ...
_MIB_PER_S = 1.0  # ... and for its memory, over the slowest link that is worth waiting for
_SETTLED_S = 1.0  # after xl was killed: a guest that it has told to suspend still does
_GONE_S = 5.0  # a domain that left is listed until its last page is free
_GONE_POLL_S = 0.05
_BACKLOG = 8


class DomainMoves:
    """The moves of this node, at most one for each VM; `look` and `destroy` are the hypervisor's."""

    def __init__(self, config: Config, look: Look, destroy: Destroy) -> None:
        link = config.link(config.replication_link)
        self._own, self._peer = str(link.address.ip), str(link.peer_address)
        self._key = derived.of_moves(config.secret)
        self._slow = config.dilation
        self._look, self._destroy = look, destroy
        self._moves: dict[VmId, _Passage] = {}
        self._turn = asyncio.Lock()  # of the sender
        self._coming, self._came = 0, 0  # domains that are being taken in, and that were

    def has(self, vm: VmId) -> bool:
        """Say whether this VM's domain is on its way here or away."""
        return vm in self._moves

    def end(self) -> None:
        """Break off every move; each ends with its own outcome."""
        for move in self._moves.values():
            move.end("the move was broken off", _GRACE_S * self._slow)

    async def send(self, spec: VmSpec, name: str) -> Done:
        """Send the running domain; OK only when xl says so and nothing of it is here, FAILED only when it runs here."""
        vm = spec.name
        if self.has(vm):
            return Done(Outcome.UNKNOWN, f"{vm} is moving already")
        with self._begun(vm) as move:
            listed = await self._look(vm)
            if isinstance(listed, Done):
                return listed
            if not _runs(listed):
                return Done(Outcome.UNKNOWN, f"{vm} was not sent: there is not one domain of it that runs")
            try:
                async with self._turn_of(move), self._connected(spec, name, move) as line:
                    sent = await self._through(xl.send_argv(listed[0].number), line, spec, move)
            except OSError as error:
                sent = Completed(Outcome.FAILED, "", f"{vm} was not sent: {error}")
            return await self._left(vm, sent)

    async def receive(self, spec: VmSpec, name: str) -> Done:
        """Take the domain in; OK only when it is complete and stands still, FAILED only when nothing of it is here."""
        vm = spec.name
        if self.has(vm):
            return Done(Outcome.UNKNOWN, f"{vm} is moving already")
        with self._begun(vm) as move:
            cleared = await self._cleared(vm)
            if not cleared.ok:
                return cleared
            try:
                async with self._accepted(spec, name, move) as line:
                    came = await self._through(xl.receive_argv(), line, spec, move)
            except OSError as error:
                came = Completed(Outcome.FAILED, "", f"{vm} did not come: {error}")
            listed = await self._look(vm)
            if came.outcome is Outcome.OK and not isinstance(listed, Done) and _is_complete(listed):
                return Done(Outcome.OK)
            destroyed = await self._destroy(vm)
            said = came.detail or f"xl has taken {vm} in, but it does not stand still here"
            if destroyed.ok:
                return Done(Outcome.FAILED, said)
            return Done(Outcome.UNKNOWN, f"{said}; what came of it may be here still: {destroyed.detail}")

    @contextlib.contextmanager
    def _begun(self, vm: VmId) -> Iterator[_Passage]:
        self._moves[vm] = _Passage()
        try:
            yield self._moves[vm]
        finally:
            del self._moves[vm]

    async def _left(self, vm: VmId, sent: Completed) -> Done:
        """Look what became of a domain that was sent."""
        if sent.outcome is Outcome.UNKNOWN:
            await asyncio.sleep(_SETTLED_S * self._slow)
        deadline = asyncio.get_running_loop().time() + _GONE_S * self._slow
        while True:
            listed = await self._look(vm)
            if isinstance(listed, Done):
                return Done(Outcome.UNKNOWN, f"{sent.detail}; {listed.detail}")
            late = asyncio.get_running_loop().time() >= deadline
            if not listed or sent.outcome is not Outcome.OK or any(one.alive for one in listed) or late:
                break
            await asyncio.sleep(_GONE_POLL_S)
        if not listed:
            return sent.done if sent.outcome is Outcome.OK else Done(Outcome.UNKNOWN, f"{vm} is gone: {sent.detail}")
        if _runs(listed):
            return Done(Outcome.FAILED, sent.detail or f"{vm} runs here, although xl says that it has left")
        return Done(Outcome.UNKNOWN, f"{vm} is here, and does not run: {sent.detail or 'xl says that it has left'}")

    async def _cleared(self, vm: VmId) -> Done:
        """Clear away what is left of an earlier domain; one that lives is nobody's copy to destroy."""
        listed = await self._look(vm)
        if isinstance(listed, Done):
            return listed
        if any(domain.alive for domain in listed):
            return Done(Outcome.UNKNOWN, f"{vm} was not taken in: a domain of it is here already")
        cleared = await self._destroy(vm) if listed else Done(Outcome.OK)
        return cleared if cleared.ok else Done(Outcome.UNKNOWN, cleared.detail)

    # ---------------------------------------------------------------- the connection

    @contextlib.asynccontextmanager
    async def _turn_of(self, move: _Passage) -> AsyncIterator[None]:
        async with move.within(None, "no turn came"):  # every move before this one has its own limits
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.asynccontextmanager
    async def _connected(self, spec: VmSpec, name: str, move: _Passage) -> AsyncIterator[socket.socket]:
        """Connect to the peer, again and again until it listens and agrees.

        Raises:
            OSError: it did not in time, or the move was broken off.
        """
        limit_s, loop = _CONNECT_S * self._slow, asyncio.get_running_loop()
        with contextlib.ExitStack() as kept:
            async with move.within(limit_s, f"the peer did not agree to take it in within {limit_s:g} s"):
                while True:
                    line = kept.enter_context(socket.socket())
                    try:
                        line.setblocking(False)
                        line.bind((self._own, 0))
                        await loop.sock_connect(line, (self._peer, spec.port + moving.PORT_ABOVE))
                        await loop.sock_sendall(line, moving.word(self._key, Side.SENDER, name, spec.name))
                        await self._hear(line, Side.RECEIVER, name, spec.name)
                        break
                    except OSError as error:
                        move.seen = str(error)
                        kept.close()
                    await asyncio.sleep(_CONNECT_AGAIN_S)
            yield line

    @contextlib.asynccontextmanager
    async def _accepted(self, spec: VmSpec, name: str, move: _Passage) -> AsyncIterator[socket.socket]:
        """Wait for the peer to connect, and let nobody else in; nobody can connect any more afterwards.

        Raises:
            OSError: it did not in time, or the move was broken off.
        """
        limit_s = _ACCEPT_S * self._slow
        with contextlib.ExitStack() as kept:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._own, spec.port + moving.PORT_ABOVE))
                listener.listen(_BACKLOG)
                listener.setblocking(False)
                line = None
                while line is None:
                    before = self._came
                    try:
                        async with move.within(limit_s, f"the peer did not connect within {limit_s:g} s"):
                            line = kept.enter_context(await self._first(listener, spec, name, move))
                    except OSError:
                        if move.why or not (self._coming or self._came > before):
                            raise  # else it was another one's turn
            self._coming += 1
            try:
                yield line
            finally:
                self._coming, self._came = self._coming - 1, self._came + 1

    async def _first(self, listener: socket.socket, spec: VmSpec, name: str, move: _Passage) -> socket.socket:
        """Return the first connection on which the peer proves that it means this move."""
        loop = asyncio.get_running_loop()
        while True:
            line, (address, _) = await loop.sock_accept(listener)
            with contextlib.ExitStack() as closed:
                closed.enter_context(line)
                if address != self._peer:
                    move.seen = f"somebody connected from {address}, where the peer is not"
                    continue
                try:
                    await self._hear(line, Side.SENDER, name, spec.name)
                    await loop.sock_sendall(line, moving.word(self._key, Side.RECEIVER, name, spec.name))
                except OSError as error:
                    move.seen = str(error)
                    continue
                closed.pop_all()
                return line

    async def _hear(self, line: socket.socket, side: Side, name: str, vm: VmId) -> None:
        """Wait for the other side's word.

        Raises:
            OSError: it did not come in time, or was another one.
        """
        said, loop = b"", asyncio.get_running_loop()
        async with asyncio.timeout(_WORD_S * self._slow):
            while len(said) < moving.SIZE:
                part = await loop.sock_recv(line, moving.SIZE - len(said))
                if not part:
                    raise OSError("the other side closed the connection before it had proved who it is")
                said += part
        if not moving.is_word(said, self._key, side, name, vm):
            raise OSError("the other side did not prove that it is the peer, and means this move")

    async def _through(self, argv: Sequence[str], line: socket.socket, spec: VmSpec, move: _Passage) -> Completed:
        """Let xl use the connection, and see to its end; the connection is of no use to anybody afterwards."""
        limit_s = (_TRANSFER_S + spec.memory_mib / _MIB_PER_S) * self._slow
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(_STALL_S * self._slow * 1000))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # short words go to and fro while the domain waits
        line.setblocking(True)  # for xl
        try:
            async with move.within(None, "xl did not end", line), asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch(line, move, limit_s))
                done = await run(argv, timeout_s=limit_s + _GRACE_S + _CLOSED_S, connection=line)
                watching.cancel()
        except OSError as error:
            return Completed(Outcome.UNKNOWN, "", f"{error}; xl was killed, and what it did is unknown")
        finally:
            _shut(line)
        return done if not move.why or done.outcome is Outcome.OK else _because(move.why, done)

    async def _watch(self, line: socket.socket, move: _Passage, limit_s: float) -> None:
        """End a connection on which nothing moves, and an xl that stays although the peer has closed it."""
        loop = asyncio.get_running_loop()
        began = since = loop.time()
        moved = -1
        while True:
            try:
                both, now_moved = moving.progress(
                    line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, moving.TCP_INFO_BYTES)
                )
            except (OSError, ValueError) as error:
                return move.end(f"the connection cannot be watched: {error}", _GRACE_S * self._slow)
            if not both:
                return move.hurry(_CLOSED_S * self._slow)
            if now_moved != moved:
                moved, since = now_moved, loop.time()
            if loop.time() >= since + _STALL_S * self._slow:
                return move.end(f"nothing has moved for {_STALL_S * self._slow:g} s", _GRACE_S * self._slow)
            if loop.time() >= began + limit_s:
                return move.end(f"the move has taken more than {limit_s:g} s", _GRACE_S * self._slow)
            await asyncio.sleep(_WATCH_S)


class _Passage:
    """One domain on its way; `end` breaks off whatever it is doing. `seen`: the last thing that went wrong."""

    def __init__(self) -> None:
        self.why = ""
        self.seen = ""
        self._limit: asyncio.Timeout | None = None
        self._line: socket.socket | None = None

    def end(self, why: str, grace_s: float) -> None:
        """Break it off: at once, but an xl has so long to come to its end by itself."""
        if self.why:
            return
        self.why = why
        if self._line is not None:
            _shut(self._line)
        self.hurry(0.0 if self._line is None else grace_s)

    def hurry(self, limit_s: float) -> None:
        """Let what it is doing last no longer than that."""
        if self._limit is not None and not self._limit.expired():
            at = asyncio.get_running_loop().time() + limit_s
            when = self._limit.when()
            self._limit.reschedule(at if when is None else min(at, when))

    @contextlib.asynccontextmanager
    async def within(self, limit_s: float | None, late: str, line: socket.socket | None = None) -> AsyncIterator[None]:
        """Let a part of it last so long.

        Raises:
            OSError: it did not end in time, or the move is broken off.
        """
        if self.why:
            raise OSError(self.why)
        self._line = line
        try:
            async with asyncio.timeout(limit_s) as self._limit:
                yield
        except TimeoutError as error:
            raise OSError(self._reason(late)) from error
        finally:
            self._limit = self._line = None

    def _reason(self, late: str) -> str:
        return (self.why or late) + (f" ({self.seen})" if self.seen else "")


def _runs(listed: Sequence[XenDomain]) -> bool:
    return len(listed) == 1 and listed[0].alive and not listed[0].paused


def _is_complete(listed: Sequence[XenDomain]) -> bool:
    return len(listed) == 1 and listed[0].alive and listed[0].paused and not listed[0].ran


def _shut(line: socket.socket) -> None:
    """End the connection for whoever holds it."""
    with contextlib.suppress(OSError):  # the other side was first
        line.shutdown(socket.SHUT_RDWR)


def _because(why: str, done: Completed) -> Completed:
    return Completed(done.outcome, done.stdout, f"{why}; {done.detail}", done.code)

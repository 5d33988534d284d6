"""The data path of the bed's user-space Ethernet switch: ports, bridges, rules and the turn of its loop.

One AF_UNIX datagram socket per port (`s-<port>` here, `q-<port>` at the device: QEMU's `-netdev dgram`), one learning
bridge per segment, and rules on each directed port. The bed owns its wire so that a cut is silent and proves itself by
counters. It must never import scapy, use asyncio, block on a device that does not read, or drop a frame without
counting it. `in` is always from the device into the switch, `out` from the switch to the device.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from testbed.switch.groups import Groups
from testbed.switch.inject import Injections
from testbed.switch.pcapng import PcapngWriter
from testbed.switch.rules import Lane, RuleEngine
from testbed.switch.watch import SEEN_PERIOD_S, AddressWatch

QUEUE_FRAMES_MAX = 256  # the size of a virtio ring: a network card overflows there too
HELD_FRAMES_MAX = 20_000  # 30 MB of full frames, several seconds of a held DRBD link
PATH_BYTES_MAX = 107  # sun_path without its final zero
_FRAME_BYTES_MAX = 16_384  # any jumbo frame; QEMU sends no offloaded super-frames without vnet headers
_BATCH_FRAMES = 64  # fairness: then the other ports are looked at
_HEADER_BYTES = 14
_TICK_NS = int(SEEN_PERIOD_S * 1e9)

Handler = Callable[[int], None]


class Counters:
    """What one direction of a port did; frames and bytes count only what passed."""

    __slots__ = ("bytes", "dropped_absent", "dropped_queue", "dropped_rule", "frames", "last_ns")

    def __init__(self) -> None:
        """Start at zero."""
        self.frames = self.bytes = self.dropped_rule = self.dropped_queue = self.dropped_absent = self.last_ns = 0


class Port:
    """One port: its sockets, rules, counters and bounded queue towards the device."""

    def __init__(self, name: str, segment: str, directory: Path, number: int) -> None:
        """Bind the socket of the switch side; the device may come, go and come back at any time."""
        self.name = name
        self.segment = segment
        self.number = number
        self.in_open = self.out_open = True
        self.in_lane: Lane | None = None  # None while no rule is there: then frames take the short way
        self.out_lane: Lane | None = None
        self.counted_in, self.counted_out = Counters(), Counters()
        self.queue: deque[bytes] = deque()
        self.waits_for_room = False
        self.others: list[Port] = []
        self.table: dict[bytes, Port] = {}
        self.path = directory / f"s-{name}"
        self.peer_path = str(directory / f"q-{name}")
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.path.unlink(missing_ok=True)
        self.receiver.bind(str(self.path))
        # A second, connected socket sends: only a connected one reports by poll that the device has room again,
        # and connecting the bound one would shut out a device that restarts with a new socket.
        self.sender: socket.socket | None = None

    def connect(self) -> socket.socket | None:
        """A socket connected to the device, or None when nobody is there."""
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sender.connect(self.peer_path)
        except OSError:
            sender.close()
            return None
        self.sender = sender
        return sender


class SwitchCore:
    """The ports, the bridges and the loop turn; single-threaded, driven by `turn`."""

    def __init__(
        self, directory: Path, segments: dict[str, list[str]], *, queue_frames: int = QUEUE_FRAMES_MAX
    ) -> None:
        """Bind all ports; raises ValueError for an impossible configuration."""
        check_config(directory, segments)
        self.segments = segments
        self.ports: dict[str, Port] = {}
        self.tables: dict[str, dict[bytes, Port]] = {}
        self.watches: list[AddressWatch] = []
        self.groups: list[Groups] = []
        self.capture: PcapngWriter | None = None
        self.holding = False
        self.held: deque[tuple[Port, bytes]] = deque()
        self.stopping = False
        self.engine = RuleEngine()
        self.injections = Injections(self.engine, self._inject)
        self.queue_frames = queue_frames
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._next_tick_ns = 0
        for segment, names in segments.items():
            members = [Port(name, segment, directory, len(self.ports) + i) for i, name in enumerate(names)]
            table = self.tables[segment] = {}
            for port in members:
                port.others = [other for other in members if other is not port]
                port.table = table
                self.ports[port.name] = port
                self.add(port.receiver.fileno(), select.EPOLLIN, self._reader(port))

    def add(self, fd: int, mask: int, handler: Handler) -> None:
        """Call the handler when the file descriptor is ready."""
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """Wait for other conditions of a registered file descriptor."""
        self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Forget the file descriptor; call it before closing it."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def turn(self, timeout_s: float) -> int:
        """Handle what is ready, waiting at most this long for the first; returns how many descriptors were ready."""
        due_ns = None if self.holding else self.engine.next_due_ns
        if due_ns is None:
            ready = self._epoll.poll(timeout_s)
        else:  # epoll counts in milliseconds, which would make every delayed frame late; select in microseconds
            left_s = min(timeout_s, max((due_ns - time.monotonic_ns()) / 1e9, 0.0))
            select.select([self._epoll], [], [], left_s)
            ready = self._epoll.poll(0)
        for fd, mask in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(mask)
        now_ns = time.monotonic_ns()
        if due_ns is not None and due_ns <= now_ns and not self.holding:
            self.engine.fire(now_ns)
        if now_ns >= self._next_tick_ns:
            self._next_tick_ns = now_ns + _TICK_NS
            self.tick()
        return len(ready)

    def tick(self) -> None:
        """Send keep-alive aggregates and counts of multicasts, and flush the capture."""
        for watch in self.watches:
            watch.flush()
        for groups in self.groups:
            groups.flush(time.monotonic_ns())
        if self.capture is not None:
            self.capture.flush()

    def lane(self, port: Port, direction: str) -> Lane:
        """The lane of a directed port, made when the first rule needs it."""
        inbound = direction == "in"
        lane = port.in_lane if inbound else port.out_lane
        if lane is None:
            emit, drop = (self._enter, self._lost_in) if inbound else (self._depart, self._lost_out)
            lane = Lane(port.name, direction, partial(emit, port), partial(drop, port))
            if inbound:
                port.in_lane = lane
            else:
                port.out_lane = lane
        return lane

    def forget_lanes(self) -> None:
        """Let ports whose last rule has gone forward on the short way again."""
        for port in self.ports.values():
            if port.in_lane is not None and not port.in_lane.rules:
                port.in_lane = None
            if port.out_lane is not None and not port.out_lane.rules:
                port.out_lane = None

    def release(self) -> int:
        """End a hold: forward the held frames in their order and empty the queues; returns how many were held."""
        self.holding = False
        count = len(self.held)
        while self.held:
            port, frame = self.held.popleft()
            self._forward(port, frame)
        for port in self.ports.values():
            self.drain(port)
        return count

    def read_all(self) -> None:
        """Take in every frame that devices have sent until now, so that none stays in a kernel queue."""
        for port in self.ports.values():
            self._handlers[port.receiver.fileno()](select.EPOLLIN)

    def drain(self, port: Port) -> None:
        """Send what is queued towards the device until its socket is full again."""
        self._wait_for_room(port, wanted=False)
        while port.queue and not self.holding:
            if not port.out_open:  # a cable that was cut loses what had not left yet
                port.counted_out.dropped_rule += 1
                self._drop(port, port.queue.popleft(), f"dropped: cut out at {port.name}")
                continue
            if not self._send(port, port.queue[0]):
                self._wait_for_room(port, wanted=True)
                return
            port.queue.popleft()

    def close(self) -> None:
        """Close everything and remove the sockets of the ports; whoever controls the core is closed before."""
        if self.capture is not None:
            self.capture.close()
        for port in self.ports.values():
            port.receiver.close()
            if port.sender is not None:
                port.sender.close()
            port.path.unlink(missing_ok=True)
        self._epoll.close()

    def _reader(self, port: Port) -> Handler:
        receive, arrived = port.receiver.recv, self._arrived

        def read(_mask: int) -> None:
            try:
                for _ in range(_BATCH_FRAMES):
                    arrived(port, receive(_FRAME_BYTES_MAX))
            except BlockingIOError:
                return

        return read

    def _arrived(self, port: Port, frame: bytes) -> None:
        now_ns = time.monotonic_ns()
        counted = port.counted_in
        whole = len(frame) >= _HEADER_BYTES
        passes = port.in_open and whole
        for watch in self.watches:
            watch.frame(port.name, frame, now_ns, cut=not passes)
        if whole and frame[0] & 1:  # the group bit of the target: broadcast or multicast
            for groups in self.groups:
                groups.frame(port.name, frame, now_ns, cut=not passes)
        if not passes:
            counted.dropped_rule += 1
            self._record(port, frame, now_ns, inbound=True, comment=f"dropped: cut in at {port.name}")
        elif port.in_lane is not None:
            self.engine.run(port.in_lane, frame, now_ns)
        else:
            self._pass(port, frame, now_ns)

    def _enter(self, port: Port, frame: bytes) -> None:
        """Take in a frame that has come through the rules of its port."""
        if port.in_open:
            self._pass(port, frame, time.monotonic_ns())
        else:
            self._lost_in(port, frame, f"dropped: cut in at {port.name}")

    def _lost_in(self, port: Port, frame: bytes, comment: str) -> None:
        port.counted_in.dropped_rule += 1
        self._record(port, frame, time.monotonic_ns(), inbound=True, comment=comment)

    def _lost_out(self, port: Port, frame: bytes, comment: str) -> None:
        port.counted_out.dropped_rule += 1
        self._drop(port, frame, comment)

    def _inject(self, port: str, direction: str, frame: bytes) -> None:
        """Deal with a made frame as if a device had sent it; watches report only what devices really say."""
        target, now_ns = self.ports[port], time.monotonic_ns()
        if direction == "out":
            self._leave(target, frame)
        elif not target.in_open:
            self._lost_in(target, frame, f"dropped: cut in at {port}")
        elif target.in_lane is not None:
            self.engine.run(target.in_lane, frame, now_ns)
        else:
            self._pass(target, frame, now_ns)

    def _pass(self, port: Port, frame: bytes, now_ns: int) -> None:
        counted = port.counted_in
        counted.frames += 1
        counted.bytes += len(frame)
        counted.last_ns = now_ns
        if not frame[6] & 1:  # a group address is never a source
            port.table[frame[6:12]] = port
        if self.holding:
            if len(self.held) >= HELD_FRAMES_MAX:
                counted.dropped_queue += 1
                self._record(port, frame, now_ns, inbound=True, comment="dropped: too many held frames")
                return
            self.held.append((port, frame))
        if self.capture is not None:
            self._record(port, frame, now_ns, inbound=True, comment="held" if self.holding else "")
        if not self.holding:
            self._forward(port, frame)

    def _forward(self, port: Port, frame: bytes) -> None:
        target = port.table.get(frame[:6])
        if target is None:
            for other in port.others:
                self._leave(other, frame)
        elif target is not port:
            self._leave(target, frame)

    def _leave(self, port: Port, frame: bytes) -> None:
        if not port.out_open:
            port.counted_out.dropped_rule += 1
            self._drop(port, frame, f"dropped: cut out at {port.name}")
        elif port.out_lane is not None:
            self.engine.run(port.out_lane, frame, time.monotonic_ns())
        elif port.queue or not self._send(port, frame):
            self._queue(port, frame)

    def _depart(self, port: Port, frame: bytes) -> None:
        """Send a frame that has come through the rules of its port."""
        if not port.out_open:
            self._lost_out(port, frame, f"dropped: cut out at {port.name}")
        elif port.queue or not self._send(port, frame):
            self._queue(port, frame)

    def _queue(self, port: Port, frame: bytes) -> None:
        if len(port.queue) >= self.queue_frames:
            port.counted_out.dropped_queue += 1
            self._drop(port, frame, f"dropped: queue full at {port.name}")
        else:
            port.queue.append(frame)
            if not port.waits_for_room:
                self._wait_for_room(port, wanted=True)

    def _send(self, port: Port, frame: bytes) -> bool:
        """False means that the device has no room; an absent device is a counted drop and True."""
        counted = port.counted_out
        for _ in range(2):  # the second time on a fresh connection: the device may have come back
            sender = port.sender or port.connect()
            if sender is None:
                break
            try:
                sender.send(frame)
            except BlockingIOError:
                return False
            except OSError:
                self._wait_for_room(port, wanted=False)
                sender.close()
                port.sender = None
                continue
            counted.frames += 1
            counted.bytes += len(frame)
            counted.last_ns = time.monotonic_ns()
            return True
        counted.dropped_absent += 1
        self._drop(port, frame, f"dropped: no device at {port.name}")
        return True

    def _wait_for_room(self, port: Port, *, wanted: bool) -> None:
        sender = port.sender
        if sender is None or wanted == port.waits_for_room:
            return
        port.waits_for_room = wanted
        if wanted:
            self.add(sender.fileno(), select.EPOLLOUT, lambda _mask: self.drain(port))
        else:
            self.remove(sender.fileno())

    def _drop(self, port: Port, frame: bytes, comment: str) -> None:
        if self.capture is not None:
            self._record(port, frame, time.monotonic_ns(), inbound=False, comment=comment)

    def _record(self, port: Port, frame: bytes, now_ns: int, *, inbound: bool, comment: str) -> None:
        if self.capture is not None:
            self.capture.write(port.number, now_ns, frame, inbound=inbound, comment=comment)


def check_config(directory: Path, segments: dict[str, list[str]]) -> None:
    """Refuse a configuration that cannot work; raises ValueError with one sentence."""
    names = [name for members in segments.values() for name in members]
    if not names:
        raise ValueError('the configuration names no port; give {"segments": {"priv0": ["a.priv0", "b.priv0"]}}')
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the port {name} is named twice; a port belongs to one segment")
        if not name or "/" in name:
            raise ValueError(f"{name!r} cannot be a port name: it becomes a part of a socket's file name")
        if len(str(directory / f"s-{name}").encode()) > PATH_BYTES_MAX:
            raise ValueError(f"the socket path {directory}/s-{name} is over {PATH_BYTES_MAX} bytes; shorten --dir")

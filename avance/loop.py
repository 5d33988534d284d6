"""The decision loop: it waits for heartbeats, for events and for the next deadline, and for nothing else.

It has a thread of its own. So a turn costs a system call and little more, and no work of the daemon's other parts (an
import, the output of a tool) makes a heartbeat late. Whatever waits for the outside world is done in the other thread,
the asyncio loop; the two meet in `put` and in the commands that a turn hands over.

The hardware clock is read between the turns: it bounds for how long a machine that was paused may not know of it
(docs/decisions/0016-lease-in-the-path.md). It is read when it interrupts: once a second, and right after a pause. While
no interrupt comes it is read every 0.2 s. The core hears of it when its second has changed, at the next tick, and at
once when it disagrees with the monotonic clock.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Mapping
from math import ceil, inf

from avance.clock import HARDWARE_CLOCK_S, HardwareClock, now_s
from avance.core.events import Event, Tick

_EVENTS_MAX = 10_000  # waiting events; more would mean that the loop has stood still for minutes
_DISAGREE_S = 1.5  # two clocks, one of whole seconds: they are never further apart when nothing has happened
_EARLY_S = 0.1  # a reading that is due so soon is made at once
_INTERRUPT_S = 1.5  # a clock that has not interrupted for so long is read in short intervals
_MS_PER_S = 1000


class Loop:
    """Tells `turn` of one event after the other, in the order in which they came, and of ticks.

    `wake_at` gives the time of the next tick, and is asked after each turn.
    """

    def __init__(self, turn: Callable[[Event], None], wake_at: Callable[[float], float], clock: HardwareClock) -> None:
        self._turn = turn
        self._wake_at = wake_at
        self._clock = clock
        self._read: tuple[float, float] | None = None  # the hardware clock as it was read last, and when
        self._seen: tuple[float, float] | None = None  # the same, as the core knows it
        self._read_at = 0.0
        self._interrupted_at = -inf
        self._due = 0.0
        self.waiting: deque[Event] = deque()
        self._ready = select.poll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: int | None = None
        self._ending = False
        self.ended = threading.Event()  # `run` has come back, or has raised

    def put(self, event: Event) -> None:
        """Let an event be decided upon, from any thread.

        Raises:
            OverflowError: so many are waiting that the loop cannot be alive.
        """
        if len(self.waiting) >= _EVENTS_MAX:
            raise OverflowError(f"{_EVENTS_MAX} events are waiting for a decision")
        self.waiting.append(event)
        if threading.get_ident() != self._thread:
            os.eventfd_write(self._bell, 1)

    def end(self) -> None:
        """Let `run` come back after the turn that it is in; from any thread."""
        self._ending = True
        os.eventfd_write(self._bell, 1)

    def run(self, sockets: Mapping[int, Callable[[], None]]) -> None:
        """Serve until `end`; `sockets` says by descriptor who reads when something has come."""
        self._thread = threading.get_ident()
        readers = {**sockets, self._bell: self._rung}
        if self._clock.descriptor is not None:
            readers[self._clock.descriptor] = self._new_second
        for descriptor in readers:
            self._ready.register(descriptor, select.POLLIN)
        try:
            while not self._ending:
                rest_s = 0.0 if self.waiting else min(self._due, self._read_at) - now_s()
                for descriptor, _ in self._ready.poll(max(0, ceil(rest_s * _MS_PER_S))):
                    readers[descriptor]()
                self.once()
        finally:
            self.ended.set()

    def once(self) -> None:
        """Take the events that are waiting, look at the clocks, and tick when it is time."""
        for _ in range(len(self.waiting)):
            self._turn(self.waiting.popleft())
            self._due = min(self._due, self._wake_at(now_s()))  # however many come, no event puts a tick off
        now = now_s()
        if now >= self._read_at - _EARLY_S:  # awake anyway: a reading costs less than to be woken for one
            told = now - self._interrupted_at < _INTERRUPT_S
            self._read_at = self._interrupted_at + _INTERRUPT_S if told else now + HARDWARE_CLOCK_S
            self._look(now)
        if now >= self._due:
            self._tick()

    def _look(self, now: float) -> None:
        """Read the hardware clock: has its second changed, and does it disagree with the monotonic clock?"""
        read_s = self._clock.read_s()
        if read_s is None:
            return
        seen, self._read = self._seen, (read_s, now)
        if seen is not None and abs((read_s - seen[0]) - (now - seen[1])) >= _DISAGREE_S:
            self._due = now

    def _tick(self) -> None:
        """Tell that time has passed; the hardware clock belongs to it when the core does not know its second yet.

        The reading may be one interval old: the core judges by whole seconds, and what disagrees is told at once.
        """
        fresh = self._read is not None and (self._seen is None or self._read[0] != self._seen[0])
        self._seen = self._read if fresh else self._seen
        self._turn(Tick(self._read[0] if fresh and self._read is not None else None))
        self._due = self._wake_at(now_s())

    def _new_second(self) -> None:
        """Let the clock be read now; one that is broken is read in short intervals from now on."""
        if self._clock.heard():
            self._interrupted_at = self._read_at = now_s()
        elif self._clock.descriptor is not None:
            self._ready.unregister(self._clock.descriptor)

    def _rung(self) -> None:
        os.eventfd_read(self._bell)

    def close(self) -> None:
        """Close what it opened; it must have ended."""
        os.close(self._bell)

"""The decision loop tells events in order and ticks when it is asked to, and reads the hardware clock in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from avance import loop as module
from avance.clock import now_s
from avance.core.events import DiskStreamReset, Event, LinkChanged, Tick
from avance.core.model import LinkName
from avance.loop import Loop


class Clock:
    """Stands for the hardware clock."""

    def __init__(self, read_s: float | None = 1000.0) -> None:
        self.at_s = read_s
        self.reads = 0
        self.descriptor: int | None = None
        self.works = True
        self.interrupts = 0

    def heard(self) -> bool:
        """Take an interrupt, or break."""
        self.interrupts += 1
        if self.works and self.descriptor is not None:
            os.read(self.descriptor, 1)
        return self.works

    def read_s(self) -> float | None:
        """Return its seconds."""
        self.reads += 1
        return self.at_s


class Time:
    """Stands for monotonic time, which a test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 50.0
        monkeypatch.setattr(module, "now_s", lambda: self.now)


def loop(told: list[Event], clock: Clock, *, tick_s: float = 0.5) -> Loop:
    """Return a loop that notes what it tells."""
    return Loop(told.append, lambda now: now + tick_s, clock)  # type: ignore[arg-type]  # a stand-in


def carrier(number: int) -> LinkChanged:
    """Return one of many different events."""
    return LinkChanged(LinkName(f"link{number}"), carrier=True)


def test_events_are_told_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came first is decided first, before the tick that is due at the same time."""
    Time(monkeypatch)
    told: list[Event] = []
    one = loop(told, Clock())
    for number in range(5):
        one.put(carrier(number))
    one.once()
    assert told == [*(carrier(number) for number in range(5)), Tick(1000.0)]


def test_ticks_come_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tick comes at once, the next ones at the times that were asked for, and never before."""
    time, told = Time(monkeypatch), list[Event]()
    one = loop(told, Clock(None))
    for now, count in ((50.0, 1), (50.4, 1), (50.5, 2), (50.9, 2), (51.2, 3)):
        time.now = now
        one.once()
        assert told == [Tick()] * count


def test_no_event_puts_a_tick_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that come faster than ticks are asked for do not starve them: silence is noticed by ticks only."""
    time, told = Time(monkeypatch), list[Event]()
    one = loop(told, Clock(None), tick_s=0.1)
    for step in range(101):
        time.now = 50.0 + step * 0.05
        one.put(carrier(step))
        one.once()
    assert sum(isinstance(event, Tick) for event in told) >= 33


def test_event_may_ask_for_an_earlier_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an event begins is looked after soon, although the tick before it had asked for rest."""
    time, told, rests = Time(monkeypatch), list[Event](), [30.0, 0.1, 30.0]
    one = Loop(told.append, lambda now: now + rests.pop(0), Clock(None))  # type: ignore[arg-type]  # a stand-in
    one.once()
    one.put(carrier(1))
    one.once()
    time.now = 50.2
    one.once()
    assert told == [Tick(), carrier(1), Tick()]


def test_core_hears_each_second_of_the_hardware_clock_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read every 0.2 s; a reading that says nothing new is not told, and a new one waits for the next tick."""
    time, told, clock = Time(monkeypatch), list[Event](), Clock(1000.0)
    one = loop(told, clock)
    for step in range(41):
        time.now = 50.0 + step * 0.05
        clock.at_s = 1000.0 + (time.now - 49.9) // 1
        one.once()
    assert told == [Tick(1000.0), Tick(), Tick(1001.0), Tick(), Tick(1002.0)]
    assert clock.reads <= 21


def test_a_clock_that_stops_interrupting_is_read_in_short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing hides a pause: without interrupts for 1.5 s it is read every 0.2 s again."""
    time, clock = Time(monkeypatch), Clock()
    one = loop([], clock, tick_s=60.0)
    clock.descriptor, write_end = os.pipe()
    os.write(write_end, b"x")
    one._new_second()  # as `run` calls it
    reads = []
    for step in range(35):
        time.now = 50.0 + step * 0.1
        one.once()
        reads.append(clock.reads)
    os.close(clock.descriptor)
    os.close(write_end)
    assert reads[10] == 1, "it was read at its interrupt, and then not for a second"
    assert reads[-1] - reads[15] >= 9


@pytest.mark.parametrize("jump_s", [3.0, 60.0, -3600.0])
def test_disagreement_of_the_clocks_is_told_at_once(monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """A machine that was paused, or a clock that was set, is told at the next reading: 0.2 s at most, and once."""
    time, told, clock = Time(monkeypatch), list[Event](), Clock(1000.0)
    one = loop(told, clock, tick_s=30.0)
    one.once()
    time.now, clock.at_s = 50.2, 1000.0 + jump_s
    one.once()
    time.now = 50.4
    one.once()
    assert told == [Tick(1000.0), Tick(1000.0 + jump_s)]


def test_a_clock_that_gives_nothing_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hardware clock ticks carry none, and the one that comes back later is told."""
    time, told, clock = Time(monkeypatch), list[Event](), Clock(None)
    one = loop(told, clock)
    for step, read_s in enumerate((None, None, 1000.0, 1000.0)):
        time.now, clock.at_s = 50.0 + step * 0.5, read_s
        one.once()
    assert told == [Tick(), Tick(), Tick(1000.0), Tick()]


def test_too_many_waiting_events_end_the_daemon() -> None:
    """A loop that stands still for minutes is not worth keeping."""
    one = loop([], Clock())
    one.waiting.extend([Tick()] * 10_000)
    with pytest.raises(OverflowError):
        one.put(Tick())


def running(one: Loop, sockets: dict[int, Callable[[], None]], body: Callable[[], None]) -> None:
    """Run a loop in a thread beside a test, then end it."""
    thread = threading.Thread(target=one.run, args=(sockets,))
    thread.start()
    try:
        body()
    finally:
        one.end()
        thread.join(5.0)
    assert not thread.is_alive()
    one.close()


def test_event_from_another_thread_wakes_it() -> None:
    """It does not wait for its next tick."""
    told, happened, began = list[Event](), threading.Event(), now_s()

    def turn(event: Event) -> None:
        told.append(event)
        if isinstance(event, DiskStreamReset):
            happened.set()

    one = Loop(turn, lambda now: now + 60.0, Clock())  # type: ignore[arg-type]  # a stand-in

    def body() -> None:
        one.put(DiskStreamReset())
        assert happened.wait(5.0)

    running(one, {}, body)
    assert now_s() - began < 5.0
    assert sum(isinstance(event, DiskStreamReset) for event in told) == 1


def test_interrupt_of_the_clock_tells_of_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was paused knows it at the interrupt that waited for it, long before the next reading is due."""
    monkeypatch.setattr(module, "HARDWARE_CLOCK_S", 600.0)
    clock, first, paused = Clock(1000.0), threading.Event(), threading.Event()
    clock.descriptor, write_end = os.pipe()

    def turn(event: Event) -> None:
        first.set()
        if event == Tick(1009.0):
            paused.set()

    one = Loop(turn, lambda now: now + 60.0, clock)  # type: ignore[arg-type]  # a stand-in

    def body() -> None:
        assert first.wait(5.0)
        clock.at_s = 1009.0
        os.write(write_end, b"x")
        assert paused.wait(5.0)

    running(one, {}, body)
    os.close(clock.descriptor)
    os.close(write_end)


def test_broken_clock_is_let_alone() -> None:
    """One that is readable for ever and gives nothing does not keep the loop awake; it serves on."""
    happened, clock = threading.Event(), Clock()
    clock.descriptor, write_end = os.pipe()
    os.write(write_end, b"x")
    clock.works = False
    one = Loop(lambda event: happened.set() if event == carrier(1) else None, lambda now: now + 60.0, clock)  # type: ignore[arg-type]  # a stand-in

    def body() -> None:
        one.put(carrier(1))
        assert happened.wait(5.0)
        one.put(carrier(2))

    running(one, {}, body)
    os.close(clock.descriptor)
    os.close(write_end)
    assert clock.interrupts == 1


def test_socket_is_read_as_soon_as_something_comes() -> None:
    """Its reader is called in the loop's thread, and what it puts is told in the same round."""
    told, happened = list[Event](), threading.Event()
    read_end, write_end = os.pipe()

    def turn(event: Event) -> None:
        told.append(event)
        if event == carrier(1):
            happened.set()

    one = Loop(turn, lambda now: now + 60.0, Clock())  # type: ignore[arg-type]  # a stand-in

    def read() -> None:
        os.read(read_end, 1)
        one.put(carrier(1))

    def body() -> None:
        os.write(write_end, b"x")
        assert happened.wait(5.0)

    running(one, {read_end: read}, body)
    os.close(read_end)
    os.close(write_end)
    assert carrier(1) in told


def test_what_a_turn_raises_ends_the_run() -> None:
    """An unexpected error is not swallowed: it ends the daemon."""

    def turn(event: Event) -> None:
        raise RuntimeError("a defect")

    one = Loop(turn, lambda now: now + 60.0, Clock())  # type: ignore[arg-type]  # a stand-in
    with pytest.raises(RuntimeError, match="a defect"):
        one.run({})
    one.close()

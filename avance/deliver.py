"""The Call Home process: delivers the queue in order, with back-off; it touches nothing else of the product."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from avance.adapters.callhome import DEAD_LETTERS, QUEUE_DIR, Delivery, Reception, bury, deliver, waiting
from avance.clock import now_s
from avance.config import CONFIG_PATH, CallHome, parse
from avance.configuration import TWIN, Configuration
from avance.core.damper import HOUR_S, Damper, doubled
from avance.errors import AvanceError

_IDLE_S = 2.0
_FIRST_PAUSE_S = 1.0
_BACK_OFF_MAX_S = 60.0
_TRIES_MAX = 10  # answers without an acknowledgement, while others are taken: then it is this alert's fault


@dataclass(slots=True)
class Courier:
    """Which alert is tried next, and how long after the last one.

    One that the centre does not take holds nobody up: the next one is tried. `tries` counts the answers without an
    acknowledgement of each, and how many others had been taken at the first of them.
    """

    pause_s: float = _IDLE_S
    failures: int = 0
    taken: int = 0
    last: str = ""
    tries: dict[str, tuple[int, int]] = field(default_factory=dict)

    def choose(self, names: list[str]) -> str:
        """Return the next one after the last that was tried; behind the last one comes the first."""
        self.tries = {name: tried for name, tried in self.tries.items() if name in names}
        self.last = next((name for name in names if name > self.last), names[0])
        return self.last

    def rest(self) -> None:
        """Nothing waits."""
        self.pause_s, self.failures, self.last = _IDLE_S, 0, ""

    def ended(self, name: str, delivery: Delivery) -> bool:
        """Note what became of one; says whether it is a dead letter."""
        if delivery.said is Reception.TAKEN:
            self.pause_s, self.failures, self.taken = 0.0, 0, self.taken + 1
            return False
        if delivery.said is Reception.REFUSED:
            self.pause_s = 0.0
            return True
        self.pause_s = doubled(_FIRST_PAUSE_S, self.failures, _BACK_OFF_MAX_S)
        self.failures += 1
        if delivery.said is Reception.AWAY:
            self.last = ""
            return False
        count, taken_before = self.tries.get(name, (0, self.taken))
        self.tries[name] = (count + 1, taken_before)
        return count + 1 >= _TRIES_MAX and self.taken > taken_before


@dataclass(slots=True)
class _HourlyLog:
    """Says each thing once an hour, and at once when it is another thing than before."""

    said: str = ""
    damper: Damper = field(default_factory=lambda: Damper(1, HOUR_S))

    def say(self, text: str, about: str) -> None:
        now = now_s()
        if about != self.said or not self.damper.full(now):
            self.said, self.damper = about, self.damper.counted(now)
            print(f"call home: {text}", flush=True)


def _target(log: _HourlyLog) -> CallHome | None:
    try:
        raw = Configuration(CONFIG_PATH, TWIN).load(mend=False)
        return None if raw is None else parse(raw["node"], raw["site"], []).call_home
    except (OSError, ValueError, LookupError, TypeError, AvanceError) as error:
        log.say(f"the site cannot be read, so nothing is delivered: {error}", type(error).__name__)
        return None


def deliver_all(wait: Callable[[float], bool]) -> int:
    """Deliver until `wait(seconds)` says that it is time to stop.

    It waits until the node is paired, and for ever when the site refuses Call Home.
    """
    target: CallHome | None = None
    courier, log = Courier(), _HourlyLog()
    while not wait(courier.pause_s):
        names = waiting(QUEUE_DIR)
        if not names:
            courier.rest()
            continue
        target = _target(log)  # anew each time: the site may be another one by now
        if target is None:
            courier.pause_s = _BACK_OFF_MAX_S
            continue
        _one(target, courier, courier.choose(names), log)
    return 0


def _one(target: CallHome, courier: Courier, name: str, log: _HourlyLog) -> None:
    delivery = deliver(target, QUEUE_DIR / name)
    if courier.ended(name, delivery):
        try:
            bury(QUEUE_DIR, name, delivery.why)
        except OSError as error:
            courier.pause_s = _BACK_OFF_MAX_S
            log.say(f"{name} is refused ({delivery.why}), and cannot be put aside: {error}", "put aside")
            return
        log.say(f"{name} is refused and now in {DEAD_LETTERS}: {delivery.why}", f"refused {delivery.why}")
    elif delivery.said is not Reception.TAKEN:
        log.say(f"{name} not delivered, next try in {courier.pause_s:g} s: {delivery.why}", delivery.why)


def main() -> int:
    """Deliver until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    return deliver_all(stopped.wait)

"""The Call Home process: delivers the queue in order, with back-off; it touches nothing else of the product."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from avance.adapters.callhome import QUEUE_DIR, deliver, oldest
from avance.config import CONFIG_PATH, CallHome, parse
from avance.configuration import TWIN, Configuration
from avance.errors import AvanceError
from avance.wire.masked import Mask

_IDLE_S = 2.0
_BACK_OFF_MAX_S = 60.0


def _target() -> CallHome | None:
    raw = Configuration(CONFIG_PATH, TWIN).load(mend=False)
    return None if raw is None else parse(raw["node"], raw["site"], []).call_home


def deliver_all(wait: Callable[[float], bool]) -> int:
    """Deliver until `wait(seconds)` says that it is time to stop.

    It waits until the node is paired, and for ever when the site refuses Call Home.
    """
    target: CallHome | None = None
    pause_s = _IDLE_S
    while not wait(pause_s):
        path = oldest(QUEUE_DIR)
        if path is None:
            pause_s = _IDLE_S
            continue
        try:
            target = target or _target()
        except AvanceError as error:
            print(f"call home: nothing is delivered, next try in {_BACK_OFF_MAX_S:g} s: {error}", flush=True)
        if target is None:
            pause_s = _BACK_OFF_MAX_S
            continue
        failure = deliver(target, path)
        pause_s = 0.0 if failure is None else min(max(1.0, pause_s * 2), _BACK_OFF_MAX_S)
        if failure is not None:
            told = Mask([target.token]).text(failure)  # it quotes the service centre's answer
            print(f"call home: {path.name} not delivered, next try in {pause_s:g} s: {told}", flush=True)
    return 0


def main() -> int:
    """Deliver until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    return deliver_all(stopped.wait)

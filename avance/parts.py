"""What the core cannot see of its own node: gate, watchdog and files. Each that fails is told with its sentence.

It decides nothing: the core makes an alert of it, and the status shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from avance.core.events import PartSeen
from avance.core.model import NodePart

LOOK_S, LOOK_SOON_S = 5.0, 0.5
_WITHOUT = {
    NodePart.GATE: "The gate of the lease is not in place: {}. After a pause of this machine VMs and service address"
    " could still send for a moment; it is tried again",
    NodePart.WATCHDOG: "The watchdog does not protect: {}. A hung node would not be reset; look at device and driver",
}


class NodeParts:
    """Asks each part what is wrong with it.

    `problems` answer with a text, with an empty one while all is well, and with None while nobody knows.
    """

    def __init__(self, problems: dict[NodePart, Callable[[], str | None]]) -> None:
        self._problems = problems
        self._told: dict[NodePart, str] = {}

    def changed(self) -> Iterator[PartSeen]:
        """Yield what is another than it was the last time; the first time, what is known of each part."""
        for part, problem in self._problems.items():
            said = problem()
            if said is None:
                continue
            text = _WITHOUT.get(part, "{}").format(said) if said else ""
            if text != self._told.get(part):
                self._told[part] = text
                yield PartSeen(part, text)

    @property
    def pause_s(self) -> float:
        """Seconds to the next look; it comes soon until each part was told of, because nothing is protected before."""
        return LOOK_S if self._told.keys() == self._problems.keys() else LOOK_SOON_S

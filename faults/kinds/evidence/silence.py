"""The evidence that many faults of a node share: its ports at the switch were busy before, and are silent now.

The switch counts what enters at a port, so a node cannot pretend to be silent, and a node that was silent before the
fault proves nothing by being silent afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed import pace
from testbed.bed import Bed
from testbed.site import PRIVATE, PUBLIC

# A healthy node sends two heartbeats a second on each link, so two seconds without a single frame are no chance.
WINDOW_S = 2.0
LINKS = (PRIVATE, PUBLIC)


@dataclass
class PortSilence:
    """Counts the frames that a node sends on each link, in windows of the same length."""

    node: str
    before: dict[str, int] = field(default_factory=dict)

    async def note_healthy(self, bed: Bed) -> None:
        """Count in one window before the fault."""
        self.before = await self.count(bed)

    @property
    def was_busy(self) -> bool:
        """Every port of the node sent something before the fault."""
        return bool(self.before) and all(self.before.values())

    async def count(self, bed: Bed) -> dict[str, int]:
        """Count the frames that enter at the node's ports in one window from now on."""
        first = await self._frames(bed)
        await pace.sleep(WINDOW_S)
        last = await self._frames(bed)
        return {port: last[port] - first[port] for port in first}

    async def count_after(self, bed: Bed) -> dict[str, int]:
        """Count in one window after the fault, and in one more when a frame came that may have been on its way.

        A node that goes on sending is heard in both windows; what a dead one had still in its queues, in the first.
        """
        counts = await self.count(bed)
        return await self.count(bed) if any(counts.values()) else counts

    async def last_frames_at_s(self, bed: Bed) -> dict[str, float | None]:
        """When the last frame entered at each of the node's ports."""
        states = await bed.switch.ports()
        return {port: states[port].inward.last_s for port in self.ports}

    @property
    def ports(self) -> list[str]:
        """The node's ports at the switch."""
        return [f"{self.node}.{link}" for link in LINKS]

    async def _frames(self, bed: Bed) -> dict[str, int]:
        states = await bed.switch.ports()
        return {port: states[port].inward.frames for port in self.ports}

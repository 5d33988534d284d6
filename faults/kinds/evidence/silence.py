"""The evidence that many faults of a node share: it was heard at the switch before, and is silent on every link now.

The switch counts what enters at a port, so a node cannot pretend to be silent. To be heard on one link before is
enough: it shows that the node lived and spoke. A link that was silent before shows nothing; the evidence names it, and
it is not counted, but it must be silent afterwards, too. Silence never says that the machine stands still and not a
cable: each fault has evidence of its own for that, from the process table or the console.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed import pace
from testbed.bed import Bed

# A healthy node sends two heartbeats a second on each link, so two seconds without a single frame are no chance.
WINDOW_S = 2.0
HEARD_FRAMES_MIN = 3  # in one window; four are the heartbeats alone, and a single frame could be the last of its kind


@dataclass
class PortSilence:
    """Counts the frames that a node sends on each link, in windows of the same length."""

    node: str
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)

    async def note_healthy(self, bed: Bed) -> None:
        """Count in one window before the fault."""
        self.before = await self.count(bed)

    @property
    def was_heard(self) -> bool:
        """On one link or more the node sent enough before the fault that silence afterwards says something."""
        return any(frames >= HEARD_FRAMES_MIN for frames in self.before.values())

    async def falls_silent(self, bed: Bed) -> bool:
        """Count in one window after the fault, and say whether nothing came on any link.

        When a frame came, which may have been on its way, one more window counts: a node that goes on sending is heard
        in both, and what a dead one had still in its queues comes in the first.
        """
        self.after = await self.count(bed)
        if any(self.after.values()):
            self.after = await self.count(bed)
        return not any(self.after.values())

    def shown(self) -> dict[str, object]:
        """Return both windows as evidence, and the ports whose silence proves nothing."""
        not_counted = [port for port, frames in self.before.items() if frames < HEARD_FRAMES_MIN]
        return {
            "frames_in_2_s_before": self.before,
            "frames_in_2_s_after": self.after,
            "silent_before_and_not_counted": not_counted,
        }

    async def count(self, bed: Bed) -> dict[str, int]:
        """Count the frames that enter at the node's ports in one window from now on."""
        first = await self._frames(bed)
        await pace.sleep(WINDOW_S)
        last = await self._frames(bed)
        return {port: last[port] - first[port] for port in first}

    async def last_frames_at_s(self, bed: Bed) -> dict[str, float | None]:
        """When the last frame entered at each of the node's ports."""
        states = await bed.switch.ports()
        return {port: states[port].inward.last_s for port in bed.topology.ports(self.node)}

    async def _frames(self, bed: Bed) -> dict[str, int]:
        states = await bed.switch.ports()
        return {port: states[port].inward.frames for port in bed.topology.ports(self.node)}

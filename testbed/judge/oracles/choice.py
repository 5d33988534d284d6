"""After both nodes wrote alone: did a person choose a version, and is the other one kept? Pure.

The copy is read from outside, from the disks of the node whose version was given up. What has to be in it is judged
with the writes.
"""

from __future__ import annotations

from testbed.judge.finding import Finding, blind, failed, passed, together
from testbed.judge.oracle import Oracle
from testbed.judge.orders import choice_of
from testbed.judge.recorded import Recorded


class ChoiceKept:
    """Where the schedule says that a person chooses, somebody did, and the version that was given up is kept."""

    name = "choice"
    is_needed = True

    def judge(self, recorded: Recorded) -> Finding:
        """Look for the choice in the history, and for the copy in the readings."""
        choice = choice_of(recorded)
        if not recorded.records:
            return blind(self.name, "nothing was recorded")
        if choice is None:
            return passed(self.name, "no choice was to be made")
        if isinstance(choice, str):
            return failed(self.name, choice)
        return together(self.name, {vm: self._of_one(recorded, vm, choice.given_up) for vm in recorded.scene.vms})

    def _of_one(self, recorded: Recorded, vm: str, node: str) -> Finding:
        readings = recorded.readings_of(vm)
        if isinstance(readings, str):
            return blind(self.name, readings)
        copies = [one for one in readings if one.given_up_by == node]
        unread = [f"{one.reader} could not be read: {one.reason}" for one in copies if not one.complete]
        if unread:
            return blind(self.name, "; ".join(unread))
        if not copies:
            return failed(self.name, f"node {node}, whose version was given up, keeps no copy of it")
        writes = {one.reader: len(one.ids) for one in copies}
        return passed(
            self.name, f"the version of node {node} was given up, and {' and '.join(writes)} has it", **writes
        )


ORACLES: tuple[Oracle, ...] = (ChoiceKept(),)

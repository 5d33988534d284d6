"""What a person does at a node: one of the product's own orders. No fault, but a schedule needs it to go on.

Where the product waits for a person (both wrote alone, a node in quarantine, a peer that is off for certain), nothing
else ends the story; and a person may want the VMs on the other node. The order goes through the out-of-band channel;
that it arrived is read in the node's journal. A person who is refused waits and asks again. This module must never undo
what a person decided.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import ClassVar

from faults.fault import Proof
from faults.kinds.evidence.inside import check_node, check_number
from testbed.bed import Bed
from testbed.errors import MachineError, TestbedError, UsageError, WaitTimeout
from testbed.history import HistoryRecord
from testbed.topology import NODES
from testbed.wait import wait_for_record, wait_until

COMMAND_S = 20.0
ASK_AGAIN_S = 1.0
SEEN_TIMEOUT_S = 10.0  # the journal's line comes some milliseconds later


class PersonsOrder(StrEnum):
    """What a person may decide."""

    KEEP = "keep"
    MOVE = "move"
    OVERRIDE = "override"
    RESET_DEVICE = "reset-device"


class Whom(StrEnum):
    """Whose name the person types: that of the node where the order is given, or that of its peer."""

    OWN = "own"
    PEER = "peer"


class PersonOrders:
    """A person orders `keep`, `move`, `override` or `reset-device` on the node, and types a node's name for it."""

    name: ClassVar[str] = "person.orders"

    def __init__(self, target: str, *, order: PersonsOrder, whom: Whom = Whom.PEER, patience_s: float = 60.0) -> None:
        self.target = target
        self.order = order
        self.whom = whom
        self.patience_s = patience_s
        self._answers: list[str] = []
        self._given_at_s: float | None = None
        self._mark = 0
        check_number("patience_s", patience_s, 1, 600)

    @property
    def _typed(self) -> str:
        return next(name for name in NODES if (name == self.target) is (self.whom is Whom.OWN))

    async def prepare(self, bed: Bed) -> None:
        """Refuse a node that is off."""
        check_node(bed, self.target)

    async def inject(self, bed: Bed) -> None:
        """Give the order, and again while the product refuses it; raises when it is refused all the time."""
        self._mark = bed.history.mark()
        argv = ["avance", self.order.value, self._typed]

        async def taken() -> bool:
            at_s = time.monotonic()
            done = await bed.nodes[self.target].machine.guest.run(argv, timeout_s=COMMAND_S)
            self._answers.append((done.stdout + done.stderr).strip())
            self._given_at_s = at_s
            return done.returncode == 0

        try:
            await wait_until(
                taken, what=f"node {self.target} to take the order `{' '.join(argv)}`", timeout_s=self.patience_s,
                poll_s=ASK_AGAIN_S, tolerate=(MachineError, TestbedError),
            )  # fmt: skip
        except WaitTimeout as error:
            raise UsageError(f"{error} The node's last answer: {self._answers[-1:] or 'none'}") from error

    async def confirm(self, bed: Bed) -> Proof:
        """Confirmed when the node's journal, which comes by a way of its own, tells of the order."""
        told = {"order": self.order.value, "typed": self._typed, "given_at_s": self._given_at_s}  # judges read these
        evidence: dict[str, object] = {**told, "answers": self._answers}
        try:
            line = await wait_for_record(
                bed.history, self._tells, what=f"the journal of node {self.target} to tell of it",
                timeout_s=SEEN_TIMEOUT_S, after=self._mark,
            )  # fmt: skip
        except WaitTimeout:
            return Proof.of(False, None, evidence)
        return Proof.of(True, self._given_at_s, {**evidence, "journal_told_at_s": line.t_s})

    def _tells(self, record: HistoryRecord) -> bool:
        entry = record.fields.get("entry") if record.source == f"journal.{self.target}" else None
        event = entry.get("event") if isinstance(entry, dict) else None
        if not isinstance(event, dict):
            return False
        return (event.get("request"), event.get("node")) == (self.order.value, self._typed)

    async def heal(self, bed: Bed) -> None:
        """What a person decided stays."""


FAULTS = (PersonOrders,)

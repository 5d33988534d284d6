"""Defects of what is foreseen: they mislead people, and decide nothing."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_READINESS = "avance/core/readiness.py"
_REHEARSAL = "avance/core/rehearsal.py"

MUTANTS = (
    Mutant(
        "foreseen-with-a-bmc-that-is-gone",
        "a takeover is foreseen by a BMC that does not answer",
        (Edit(_READINESS, "            bmc=sight.parts.works(NodePart.BMC),\n", "            bmc=True,\n"),),
    ),
    Mutant(
        "foreseen-with-any-copy",
        "a takeover is foreseen with a copy that DRBD calls good and that is not mirrored any more",
        (Edit(_REHEARSAL, " | {vm for vm in units if not is_equal(sight, vm)}", ""),),
    ),
    Mutant(
        "foreseen-a-minute-ago",
        "what changes within the minute between two judgements is not foreseen",
        (Edit(_READINESS, "        if basis != self._basis or now", "        if not self._basis or now"),),
    ),
    Mutant(
        "memory-given-twice",
        "each VM is promised all the free memory of the backup",
        (Edit(_REHEARSAL, "                free_mib -= need_mib\n", "                need_mib = 0\n"),),
    ),
    Mutant(
        "filling-told-at-once",
        "each resynchronisation is told as a VM that is not ready",
        (Edit(_READINESS, "FILLS_S if lack == Lack.FILLING else TOLD_S", "TOLD_S"),),
    ),
)

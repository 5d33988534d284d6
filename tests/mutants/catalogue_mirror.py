"""Defects around the mirror of the data disks: the simulator has no disks below DRBD, so unit tests have to notice."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_HALVES, _ADAPTER, _UNIT = "avance/core/halves.py", "avance/adapters/mirror.py", "avance/core/unit.py"
_SIGHT = "avance/core/sight.py"
_BELOW = "the disks of the simulator have no halves"

MUTANTS = (
    Mutant(
        "old-mirror-half-taken",
        "a half that dropped out earlier is taken for the current one when the newer half is absent",
        (Edit(_HALVES, "half.complete and half.device in note.current and", "half.complete and"),),
        _BELOW,
    ),
    Mutant(
        "count-stands-still",
        "md never counts on while the mirror is in use: an older copy of a half has the count of the present one",
        (Edit("avance/adapters/mirror.py", "            for _ in range(md.COUNTS):\n", "            for _ in ():\n"),),
        _BELOW,
    ),
    Mutant(
        "older-clone-taken",
        "an older copy of the current half is taken for it, because it carries the right names",
        (Edit(_HALVES, " and half.events >= note.events\n", "\n"),),
        _BELOW,
    ),
    Mutant(
        "rebuilt-half-counts",
        "a half whose copy is not complete yet is taken for a current one",
        (Edit(_HALVES, "half.complete and half.device in note.current", "half.device in note.current"),),
        _BELOW,
    ),
    Mutant(
        "lived-alone-re-added",
        "a half that was used without the other is taken back by the bitmap, which knows nothing of its writes",
        (Edit(_HALVES, "slot.complete and not slot.alone:", "slot.complete:"),),
        _BELOW,
    ),
    Mutant(
        "foreign-disk-overwritten",
        "a disk of somebody else in the place of a half is overwritten",
        (
            Edit(
                _HALVES,
                "    if not isinstance(slot, Half) or slot.array not in (note.array, *note.former):\n",
                "    if not isinstance(slot, Half):\n",
            ),
        ),
        _BELOW,
    ),
    Mutant(
        "doubt-forgotten",
        "a half that may lack the last writes runs before the doubt is durable",
        (Edit(_ADAPTER, "        if plan.state is MirrorState.UNPROVEN:\n", "        if plan.state is None:\n"),),
        _BELOW,
    ),
    Mutant(
        "taken-back-while-broken",
        "a half is taken back when the only current one cannot be written any more",
        (Edit(_ADAPTER, 'if self._note is None or self._array_state() == "broken":', "if self._note is None:"),),
        _BELOW,
    ),
    Mutant(
        "doubt-connected",
        "a copy that may lack the last writes is connected without a full resynchronisation",
        (Edit(_UNIT, "        if around.unproven and not", "        if around.unproven and around.cut and not"),),
        _BELOW,
        ("tests/unit/avance/core/test_mirror.py",),
    ),
    Mutant(
        "last-copy-emptied",
        "old halves are emptied although the peer has no good copy",
        (Edit(_SIGHT, "copies.peer_is_good(record, peer, vm) for vm", "True for vm"),),
        _BELOW,
        ("tests/unit/avance/core/test_mirror.py",),
    ),
    Mutant(
        "doubt-served",
        "a copy that may lack the last writes is served, and gets the right to write alone",
        (Edit(_SIGHT, "        if self.unproven:\n            return True\n", ""),),
        _BELOW,
        ("tests/unit/avance/core/test_mirror.py",),
    ),
    Mutant(
        "doubt-called-good",
        "a node tells its peer that its copy is good although it may lack the last writes",
        (Edit(_SIGHT, " if self.unproven else copy\n", " if self.unproven and self.pairing.yields else copy\n"),),
        _BELOW,
        ("tests/unit/avance/core/test_mirror.py",),
    ),
    Mutant(
        "doubt-ended-by-itself",
        "an owner alone ends the doubt about its half although nobody has vouched for it",
        (Edit(_SIGHT, "self.solo and (override or record.chosen == record.epoch),", "record.solo(self.setup.me),"),),
        _BELOW,
        ("tests/unit/avance/core/test_mirror.py",),
    ),
)

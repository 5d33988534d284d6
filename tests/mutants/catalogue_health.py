"""Defects of health: who has the VMs, how long something counts, what is heard of sensors."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_HEALTH = "avance/core/health.py"
_MIGRATION = "avance/core/migration.py"
_UNITS = ("tests/unit/avance/core/test_health.py",)

MUTANTS = (
    Mutant(
        "ill-for-itself",
        "VMs leave a node that is ill, although the other node is as ill",
        (Edit(_HEALTH, "        if not theirs < mine or all(", "        if mine == (0, 0, 0) or all("),),
        units=_UNITS,
    ),
    Mutant(
        "better-for-a-moment",
        "VMs move as soon as the other node is in better health, be it for a moment",
        (
            Edit(
                _HEALTH,
                "(0.0 if mine[0] > theirs[0] else HELD_S * self.second_s)",
                "0.0",
            ),
        ),
        units=_UNITS,
    ),
    Mutant(
        "restarted-for-a-fan",
        "VMs are restarted on the other node for a fault that no client feels",
        (
            Edit(
                _HEALTH,
                "        if not live and not self.felt:\n",
                "        if False:\n",
            ),
        ),
        units=_UNITS,
    ),
    Mutant(
        "moved-again-and-again",
        "ports that fail in turn throw the VMs from node to node",
        (Edit(_HEALTH, "        if self._hourly.full(now):\n", "        if False:\n"),),
        units=_UNITS,
    ),
    Mutant(
        "taker-does-not-count",
        "only the node that hands over counts a move, so two nodes that move in turn never reach the limit",
        (
            Edit(
                _HEALTH,
                "(leaving and not self._left) or (owned and self._owned is False) or gave:",
                "(leaving and not self._left) or gave:",
            ),
        ),
        units=_UNITS,
    ),
    Mutant(
        "moved-before-the-copies-meet",
        "VMs move while the copies are not equal",
        (
            Edit(
                _MIGRATION,
                "    if record.peer_outdated or peer.record.peer_outdated or sight.behind or sight.peer_behind:\n",
                "    if False:\n",
            ),
            Edit(_MIGRATION, "    if not sight.units.synced().issuperset(sight.filled):\n", "    if False:\n"),
            Edit(
                _MIGRATION,
                "    if not all(copies.peer_is_good(record, peer, vm) for vm in sight.filled):\n",
                "    if False:\n",
            ),
        ),
        units=_UNITS,
    ),
    Mutant(
        "over-at-once",
        "a fan that stands still and turns in turn is a new story each time",
        (Edit(_HEALTH, "        return doubled(before.clear_s, ", "        return 0.0 * doubled(before.clear_s, "),),
        units=_UNITS,
    ),
    Mutant(
        "move-given-up-half-way",
        "a move stops when the copies are not equal any more, which its own first step brings about",
        (Edit(_HEALTH, "        if (leaving or moving) and self.going and theirs <= mine:\n", "        if False:\n"),),
        units=_UNITS,
    ),
    Mutant(
        "silent-sensors-are-sound",
        "a BMC that says nothing any more is taken for one that has nothing to say",
        (
            Edit(
                _HEALTH,
                "                found[HealthSensor.SOURCE, source] = conditions.SILENT\n",
                "                pass\n",
            ),
        ),
        units=_UNITS,
        beyond="its nodes have no BMC that speaks",
    ),
    Mutant(
        "persons-word-forgotten",
        "a person's word does not end the stop of automatic moves",
        (Edit("avance/core/operator.py", "            owners.health.anew()\n", ""),),
        units=_UNITS,
    ),
)

"""Defects of health: who has the VMs, how long something counts, what is heard of sensors."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_HEALTH = "avance/core/health.py"
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
                "        if not any(_kind(one) is Moves.RESTART for one in _more(self._ailments, peer)):\n",
                "        if not _more(self._ailments, peer):\n",
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
                "self._owned is not None and owned is not self._owned:",
                "self._owned and not owned:",
            ),
        ),
        units=_UNITS,
    ),
    Mutant(
        "moved-before-the-copies-meet",
        "VMs are handed over for health while the copies are not equal",
        (
            Edit(
                _HEALTH,
                "        if record.peer_outdated or peer.record.peer_outdated or sight.behind or sight.peer_behind:\n",
                "        if False:\n",
            ),
            Edit(_HEALTH, "        if not sight.units.synced().issuperset(units):\n", "        if False:\n"),
            Edit(
                _HEALTH,
                "        if not all(copies.peer_is_good(record, peer, vm) for vm in units):\n",
                "        if False:\n",
            ),
        ),
        units=_UNITS,
    ),
    Mutant(
        "over-at-once",
        "a fan that stands still and turns in turn is a new story each time",
        (Edit(_HEALTH, "    return 0.0 if counts is None else counts.clear_s\n", "    return 0.0\n"),),
        units=_UNITS,
    ),
    Mutant(
        "move-given-up-half-way",
        "a move stops when the copies are not equal any more, which its own first step brings about",
        (Edit(_HEALTH, "        if self.going and theirs <= mine:\n", "        if False:\n"),),
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
        (Edit("avance/core/operator.py", "            health.anew()\n", ""),),
        units=_UNITS,
    ),
)

"""Defects of what must be told: a guard that is missing, one copy only, the last disk."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_SIGHT, _PARTS, _REDUNDANCY = "avance/core/sight.py", "avance/core/own_parts.py", "avance/core/redundancy.py"
_CARE = "avance/core/care.py"
_IN_DOUBT = "        if self.parts.unguarded or peer.unguarded:\n"

MUTANTS = (
    Mutant(
        "protected-without-a-guard",
        "a node says protected although its own gate or watchdog does not do its work",
        (Edit(_SIGHT, _IN_DOUBT, "        if peer.unguarded:\n"),),
        units=("tests/unit/avance/core/test_own_parts.py",),
    ),
    Mutant(
        "peers-guard-forgotten",
        "a node says protected although its peer has told that its gate or watchdog does not do its work",
        (Edit(_SIGHT, _IN_DOUBT, "        if self.parts.unguarded:\n"),),
        units=("tests/unit/avance/core/test_own_parts.py",),
    ),
    Mutant(
        "guard-not-told-to-the-peer",
        "a node keeps to itself that its gate or watchdog does not do its work",
        (Edit(_SIGHT, "            unguarded=self.parts.unguarded,\n", ""),),
        units=("tests/unit/avance/core/test_own_parts.py",),
    ),
    Mutant(
        "guard-taken-for-granted",
        "a gate or watchdog that nobody has looked at counts as one that does its work",
        (
            Edit(
                _PARTS,
                "    _sound: set[NodePart] = field(default_factory=set)\n",
                "    _sound: set[NodePart] = field(default_factory=lambda: {*NodePart})\n",
            ),
        ),
        beyond="there a daemon looks at its guards in its first second",
    ),
    Mutant(
        "unknown-watchdog-counts-as-armed",
        "a watchdog that was never fed is told to the core as one that protects",
        (Edit("avance/parts.py", "            said = problem()\n", '            said = problem() or ""\n'),),
        beyond="it lies below the core",
    ),
    Mutant(
        "one-copy-is-silence",
        "a VM that has had one copy only for long raises no alert",
        (
            Edit(
                _REDUNDANCY, "        if alone_s >= _ONE_COPY_S * self.timers.second_s:\n", "        if alone_s < 0:\n"
            ),
        ),
        beyond="nothing but an alert follows from it",
    ),
    Mutant(
        "last-disk-is-silence",
        "nobody hears that the only copy is on the last disk",
        (Edit(_REDUNDANCY, "0 < facts.mirror.halves < facts.mirror.of", "facts.mirror.halves < 0"),),
        beyond="the simulator has no mirror",
    ),
    Mutant(
        "one-copy-counts-on",
        "short times on one copy add up to a long one",
        (Edit(_REDUNDANCY, "        self._since.pop(vm, None)\n        if f", "        if f"),),
        beyond="nothing but an alert follows from it",
    ),
    Mutant(
        "heard-peer-called-unheard",
        "the status of a node that starts says that its peer was not heard, although it was, and has another site",
        (Edit("avance/status.py", "    if not engine.liveness.peer_alive(now):\n", "    if now > 0.0:\n"),),
        beyond="such a start is over after 10 s, and the demand of the simulator is made later",
    ),
    Mutant(
        "one-vm-speaks-for-all",
        "where one VM runs, the status does not say what another one waits for",
        (Edit("avance/status.py", "    if not idle:\n", "    if len(idle) < len(units):\n"),),
    ),
    Mutant(
        "dead-record-is-silence",
        "a node whose record cannot be written says that it looks for its right, or that its VMs move",
        (
            Edit(
                "avance/status.py",
                "fails = engine.setup.peer_id, engine.sight.durable.failing_from_s is not None",
                "fails = engine.setup.peer_id, False",
            ),
        ),
    ),
    Mutant(
        "mismatch-told-once-for-ever",
        "the second time in which the two nodes hold different sites is not told",
        (Edit("avance/core/partner.py", '            draft.in_order("mismatch")\n', ""),),
        beyond="alerts are only counted in the simulator",
    ),
    Mutant(
        "failed-fence-told-once-for-ever",
        "the second loss of the peer in which its BMC does not answer is not told",
        (Edit("avance/core/engine.py", '"waits", "peer_resets", "fence_failed")', '"waits", "peer_resets")'),),
        beyond="alerts are only counted in the simulator",
        units=("tests/unit/avance/core/test_pairing.py",),
    ),
    Mutant(
        "dead-link-told-once-for-ever",
        "the second time in which the restart of the backup does not cure the private link is not told",
        (Edit("avance/core/units.py", '            draft.in_order("backup_down", "refused")\n', ""),),
        beyond="alerts are only counted in the simulator",
    ),
    Mutant(
        "missed-witness-is-silence",
        "nobody hears of a witness that has been of no use for long",
        (Edit(_CARE, "now - self._missed_from.get(name, now) >= limit_s", "limit_s < 0"),),
        beyond="nothing but an alert follows from it",
    ),
    Mutant(
        "silence-of-one-that-was-not-asked",
        "a node that was out of service for long says that it missed its witness",
        (Edit(_CARE, "        self._missed_from.clear()\n", "        return\n"),),
        beyond="nothing but an alert follows from it",
    ),
    Mutant(
        "missed-witness-told-late",
        "a calm node sleeps on when a witness has been silent for long enough to be told",
        (Edit(_CARE, "for missed in self._missed_from.values()]", "for missed in ()]"),),
        beyond="there an event comes in the next moment",
    ),
)

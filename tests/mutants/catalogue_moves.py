"""Defects of moves for health: what is looked at before VMs stop for it, what ends one that fails, what people hear."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_HANDOVER = "avance/core/handover.py"
_HEALTH = "avance/core/health.py"
_OFFERS = ("tests/unit/avance/core/test_handover_offers.py",)
_TOLD = ("tests/unit/avance/core/test_health_told.py",)
MUTANTS = (
    Mutant(
        "stops-before-it-asks",
        "VMs that run are stopped for a move although a record that it needs cannot be written",
        (
            Edit(
                _HANDOVER, "            if not self.marking and _serves(sight) and not", "            if False and not"
            ),
        ),
        units=_OFFERS,
    ),
    Mutant(
        "offer-answered-unproven",
        "a backup says that it could take the VMs and has not written its record for that",
        (
            Edit(
                _HANDOVER,
                "        self.offered_at = now if self.offered_at is None else self.offered_at\n"
                "        if not self._is_proven(sight):\n",
                "        self.offered_at = now if self.offered_at is None else self.offered_at\n        if False:\n",
            ),
        ),
        units=_OFFERS,
    ),
    Mutant(
        "old-write-proves",
        "a record that was written at any time before shows that it can be written now",
        (Edit(_HANDOVER, "saved_at is not None and saved_at >= self.offered_at", "saved_at is not None"),),
        units=_OFFERS,
    ),
    Mutant(
        "any-offer-answered",
        "what the peer says of another epoch counts as the answer to an offer",
        (Edit(_HANDOVER, "peer is not None and peer.offers == wanted:", "peer is not None and peer.offers:"),),
        units=_OFFERS,
    ),
    Mutant(
        "lost-disk-has-to-be-marked",
        "an owner whose disk is lost while its VMs move waits for ever for a mark on it",
        (
            Edit(
                _HANDOVER,
                "all(consent.marked(unit.disk) or _is_gone(unit.disk) for",
                "all(consent.marked(unit.disk) for",
            ),
        ),
        units=_OFFERS,
    ),
    Mutant(
        "stopped-and-silent",
        "an owner that has stopped its VMs for a move, and cannot write its record then, waits for its disk",
        (Edit(_HANDOVER, "(durable.served and not frozen and not moving)", "(durable.served and not frozen)"),),
        units=_OFFERS,
    ),
    Mutant(
        "given-and-used",
        "VMs come back while the record that gives them away may be on the disk",
        (Edit(_HANDOVER, "if reason is None and self.leaving and _may_be_given(sight):", "if False:"),),
        units=_OFFERS,
    ),
    Mutant(
        "move-without-an-end",
        "a move that does not come to its end keeps the VMs stopped",
        (Edit(_HANDOVER, "if late and not _may_be_given(sight) else None", "if False else None"),),
        units=_OFFERS,
    ),
    Mutant(
        "dead-record-stays-dead",
        "a record that failed and that nobody needs is never written again, so its node counts as ill for ever",
        (Edit("avance/core/durable.py", "        if ill and self.saving is None and", "        if False and"),),
    ),
    Mutant(
        "begun-and-not-counted",
        "only a move that succeeds counts, so one that fails is tried again and again",
        (
            Edit(
                _HEALTH,
                "(leaving and not self._left) or (owned and self._owned is False) or gave:",
                "self._owned is not None and owned is not None and owned is not self._owned:",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "offered-counts-as-begun",
        "VMs move although what was wrong is over, because it was there when the move was offered",
        (
            Edit(
                _HEALTH,
                "        if (leaving or moving) and self.going and theirs <= mine:\n",
                "        if self.going and theirs <= mine:\n",
            ),
        ),
        units=_OFFERS,
    ),
    Mutant(
        "raised-and-never-cleared",
        "what becomes worse or better before it is over is told to be over never",
        (
            Edit(
                _HEALTH,
                "    if before is not None:\n        alert =",
                "    if before is not None and after is None:\n        alert =",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "flaps-for-ever",
        "a sensor that comes and goes slowly is told each time",
        (Edit(_HEALTH, "came.recent(now) - 1, HOUR_S)", "0, HOUR_S)"),),
        units=_TOLD,
    ),
    Mutant(
        "first-reason-only",
        "people hear of the first thing that is against a move, and of no other one",
        (Edit(_HEALTH, "        if against not in self._told and now", "        if not self._told and now"),),
        units=_TOLD,
    ),
    Mutant(
        "kept-again-unsaid",
        "VMs that were kept once are kept the next time without a word",
        (
            Edit(
                _HEALTH,
                "        if not sight.durable.owner:\n            self._stays_for, self._told",
                "        if False:\n            self._stays_for, self._told",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "own-pause-is-silence",
        "a daemon that stood still takes that for the silence of its sensors, and for the time of a hold",
        (Edit(_HEALTH, "        if sight.liveness.lag_s:\n", "        if False:\n"),),
        units=_TOLD,
        beyond="its nodes have no BMC that speaks",
    ),
    Mutant(
        "new-daemon-is-well",
        "VMs are restarted because the daemon of the other node has just started, and has said nothing yet",
        (Edit(_HEALTH, "        due_s = max(due_s, self._peer_from_s + self._first_words_s(sight))\n", ""),),
        units=_TOLD,
        beyond="its nodes have no BMC that speaks",
    ),
    Mutant(
        "gone-copy-forgotten",
        "a node whose copy is gone counts as sound as soon as DRBD has left the peer",
        (Edit(_HEALTH, "if units[vm].dropped or _is_missing(units[vm])]", "if copies.is_lost(units[vm].disk)]"),),
        units=_TOLD,
    ),
    Mutant(
        "ills-not-said",
        "a node keeps what is wrong with it to itself, so both nodes take the other one for the better",
        (Edit("avance/wire/heartbeat.py", "    if view.ailments:\n", "    if False:\n"),),
        beyond="its heartbeats are no bytes in most histories",
    ),
    Mutant(
        "unreadable-is-mended",
        "a sensor that cannot be read any more is told to be in order again",
        (
            Edit(
                "avance/adapters/bmc_sensors.py",
                "self._words.get(one, SOUND) if word is None else word",
                "SOUND if word is None else word",
            ),
        ),
        beyond="no BMC of it has sensors",
    ),
    Mutant(
        "third-of-a-name-left-out",
        "of three sensors with one name and one number the third is never read",
        (
            Edit(
                "avance/wire/ipmi_sensors.py",
                ', f"{one.name} ({one.number:#04x}, unit {one.unit})")',
                ")",
            ),
        ),
        beyond="no BMC of it has sensors",
    ),
)

"""Defects of service: one fault stays, and nobody serves, or nobody is asked again."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_TAKEOVER, _RIGHTS, _ENGINE = "avance/core/takeover.py", "avance/core/rights.py", "avance/core/engine.py"
_ARBITRATION, _HANDOVER, _UNIT = "avance/core/arbitration.py", "avance/core/handover.py", "avance/core/unit.py"
_REGISTER, _PAIR = "avance/core/register.py", "avance/core/pair.py"
_CONSENTING = """\
        if around.consenting and not apart(disk):
            return c.DisconnectDisk(self.spec.name)
"""
_MARKS_FIRST = """\
        if around.consenting and not (apart(disk) and marked(disk)):
            return c.OutdateDisk(self.spec.name) if apart(disk) else c.DisconnectDisk(self.spec.name)
"""

MUTANTS = (
    Mutant(
        "untaught-counts-as-refused",
        "a witness that has lost what it knew counts as one that says no",
        (Edit(_ARBITRATION, "Word.UNTAUGHT: Answer.UNTAUGHT}", "Word.UNTAUGHT: Answer.REFUSED}"),),
    ),
    Mutant(
        "refusal-counts-as-silence",
        "a last man standing passes over a witness that says no",
        (
            Edit(
                _TAKEOVER,
                "        unheard = said <= {Answer.GRANTED, Answer.SILENT, Answer.UNTAUGHT}",
                "        unheard = said <= {*Answer}",
            ),
        ),
    ),
    Mutant(
        "fence-never-tried-again",
        "a power fence that failed once is given up, although the BMC is there again",
        (
            Edit(
                _ARBITRATION,
                "            self.power = Power.NOT_CUT\n\n    @property\n    def _again_s",
                "            pass\n\n    @property\n    def _again_s",
            ),
        ),
    ),
    Mutant(
        "fence-tried-without-a-pause",
        "a BMC that stays away is asked without end every 5 s",
        (Edit(_ARBITRATION, "self._failures - 1, self", "0, self"),),
    ),
    Mutant(
        "elected-survivor-waits",
        "the elected survivor that boots without anybody waits for its peer for ever",
        (
            Edit(
                _TAKEOVER, "    if not names and survivors(facts.record.arbiters) == (facts.me,):\n", "    if False:\n"
            ),
        ),
    ),
    Mutant(
        "anybody-boots-as-survivor",
        "an owner that boots alone takes the election of its peer for its own",
        (
            Edit(
                _TAKEOVER,
                "    if not names and survivors(facts.record.arbiters) == (facts.me,):\n",
                "    if not names and survivors(facts.record.arbiters):\n",
            ),
        ),
        beyond="in the simulator the owner is elected again before anything can happen",
    ),
    Mutant(
        "marks-before-the-consent",
        "a backup that is asked for consent marks its copy as outdated before its consent is durable",
        (
            Edit(
                _UNIT,
                _CONSENTING,
                _MARKS_FIRST,
            ),
        ),
    ),
    Mutant(
        "asks-for-what-it-cannot-keep",
        "an owner asks for consent although its own record cannot be written",
        (
            Edit(
                _RIGHTS,
                "            if proven_at is None or proven_at < self.unreplicated[1]:\n",
                "            if False:\n",
            ),
        ),
    ),
    Mutant(
        "owner-without-a-record-waits",
        "an owner whose record cannot be written keeps the service that it cannot give",
        (
            Edit(
                _HANDOVER,
                "        mute, peer_id = _cannot_record(sight, now, moving=self.moving), sight",
                "        mute, peer_id = None, sight",
            ),
        ),
    ),
    Mutant(
        "leaves-before-its-copies-are-marked",
        "an owner leaves the epoch by its word while its own copies could still be promoted",
        (
            Edit(
                _HANDOVER,
                "and not self.leaves and _all_marked(sight):",
                "and not self.leaves:",
            ),
        ),
    ),
    Mutant(
        "mute-backup-says-nothing",
        "a backup whose consent cannot be made durable leaves its owner without an answer",
        (Edit(_RIGHTS, "        self.left, self.left_at = peer.wants, now\n", "        return\n"),),
    ),
    Mutant(
        "word-is-not-kept",
        "a backup that has left the epoch by its word looks for the right to it all the same",
        (
            Edit(
                _RIGHTS,
                "        if self.left > sight.durable.record.epoch and not self.override:\n",
                "        if False:\n",
            ),
        ),
    ),
    Mutant(
        "word-given-where-a-later-run-could-break-it",
        "a backup gives its word where a later run of its daemon can get the right from a witness or a BMC",
        (
            Edit(
                _RIGHTS,
                "        if durable.taking or durable.record.arbiters or sight.setup.power or self.left",
                "        if durable.taking or self.left",
            ),
        ),
    ),
    Mutant(
        "old-word-believed",
        "a word counts although it was said before the question",
        (Edit(_RIGHTS, " and echoed_sent_s >= self.wants_from_s\n", "\n"),),
    ),
    Mutant(
        "doubt-never-ends",
        "a node whose disk may hold a right waits for ever beside a peer that needs an answer",
        (
            Edit(
                "avance/core/guard.py",
                "        elif standing.doubt_s >= self.timers.stop_s:\n",
                "        elif False:\n",
            ),
        ),
    ),
    Mutant(
        "hung-tools-are-waited-for",
        "an owner whose tools hang from its start on keeps the service that it cannot give",
        (Edit(_HANDOVER, "once and not runs and unit.is_stuck(now, wait_s)", "False"),),
    ),
    Mutant(
        "frozen-copy-is-not-read",
        "an owner whose daemon finds its writer frozen never reads its copy, so that its peer cannot consent",
        (Edit(_UNIT, "if disk.suspended and self.generations and not stays(disk):\n", "if disk.suspended:\n"),),
        units=("tests/unit/avance/core/test_units.py",),
    ),
    Mutant(
        "frozen-copy-counts-as-read",
        "a generation that was read while the writer stood still counts as the last one after it went on",
        (Edit("avance/core/consent.py", '!= "Connected" and not frozen\n', '!= "Connected"\n'),),
        units=("tests/unit/avance/core/test_units.py",),
        beyond="in the simulator such a writer is read again before it can be asked",
    ),
    Mutant(
        "endless-reconnect",
        "a writer meets its peer at once again, however often the link has failed to carry its data",
        (
            Edit(
                "avance/core/steadiness.py",
                "        return self.unsteady and now < self.fell_at + hold_s\n",
                "        return False\n",
            ),
        ),
    ),
    Mutant(
        "any-copy-of-an-owner-will-do",
        "an owner whose disk has met nobody since the start gets the right, although its peer may have newer data",
        (
            Edit(
                _TAKEOVER,
                "if situation is Situation.BOOT else (DiskState.UP_TO_DATE,)",
                "if situation is Situation.BOOT or record.owner == me else (DiskState.UP_TO_DATE,)",
            ),
        ),
    ),
    Mutant(
        "consents-to-what-nobody-compared",
        "a backup whose DRBD tools hang from the start consents although nobody has looked at its disk",
        (
            Edit(
                _RIGHTS, "        return copies.holds(theirs.generations, unit.generations)\n", "        return True\n"
            ),
        ),
    ),
    Mutant(
        "register-believes-a-lone-stranger",
        "the word of any one node is enough to teach a witness, whether or not it alone may write",
        (
            Edit(
                _REGISTER,
                "(alone and owner == node and (known.epoch, known.owner) == (epoch, owner))",
                "(not paired and (known.epoch, known.owner) == (epoch, owner))",
            ),
        ),
    ),
    Mutant(
        "lone-owner-does-not-teach",
        "a witness that lost what it knew stays untaught until both nodes are back",
        (Edit(_ENGINE, "paired=paired, alone=sight.solo, now=now", "paired=paired, now=now"),),
    ),
    Mutant(
        "witness-forgets-that-it-was-taught",
        "a witness that is started anew on the same machine grants nothing, although it knows everything",
        (Edit(_REGISTER, "taught=self.taught and newest,", "taught=False,"),),
    ),
    Mutant(
        "witness-trusts-an-older-storage",
        "a witness grants after a start of its machine, although its disk may have been set back",
        (Edit(_REGISTER, "taught=self.taught and newest,", "taught=self.taught,"),),
        beyond="the storage of the simulated witness is either whole or lost",
    ),
    Mutant(
        "refused-half-is-not-read",
        "a backup that DRBD refused does not look whether its copy has begun a generation of its own",
        (Edit(_UNIT, 'vain = self.settled[0] == "ConnectDisk" and', "vain = False and"),),
    ),
    Mutant(
        "waits-for-a-peer-with-another-site",
        "a node that starts beside a peer that must not be paired with waits for ever, also a lone owner",
        (
            Edit(
                _PAIR,
                "        return _without_peer(state, alone) if state is PairState.STARTING else Stay()\n",
                "        return Stay()\n",
            ),
        ),
    ),
    Mutant(
        "peer-with-another-site-is-not-waited-for",
        "a node that starts beside a peer with another site does not wait until that one may have been given the same",
        (Edit(_PAIR, "boot_wait_over=facts.waited)", "boot_wait_over=True)"),),
        beyond="there the nodes are given their sites before they start",
    ),
)

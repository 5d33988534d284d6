"""Defects around the data: consent, resynchronisation, diverged copies, restarts in the hope of a cure, quarantine."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_RIGHTS, _PAIR, _CURE = "avance/core/rights.py", "avance/core/pair.py", "avance/core/cure.py"
_UNIT, _DURABLE = "avance/core/unit.py", "avance/core/durable.py"
_OUTSIDE = "the simulator has a model of its own in this place"

MUTANTS = (
    Mutant(
        "consent-before-it-left",
        "the backup consents before its copy has left the replication",
        (
            Edit(
                _RIGHTS,
                "        apart = all(consent.apart(unit.disk) and not unit",
                "        apart = True or all(consent.apart(unit.disk) and not unit",
            ),
        ),
    ),
    Mutant(
        "right-without-consent",
        "an owner that asks its backup for consent takes the right at once",
        (
            Edit(
                _RIGHTS,
                '            draft.say(f"{reason}: the peer is asked for its consent to epoch {self.wants}")\n',
                "            given = consent.given(sight.durable.record, sight.setup.me)\n"
                '            sight.durable.wish(Wish(given, "taken"), draft)\n',
            ),
        ),
    ),
    Mutant(
        "lone-right-never-cleared",
        "the owner keeps the right to write alone when both copies are equal again",
        (
            Edit(
                _DURABLE,
                "quarantined or held.works  # ResumeDisk",
                "True or held.works  # ResumeDisk",
            ),
        ),
    ),
    Mutant(
        "cleared-on-the-backup-first",
        "the backup calls its copy good before the owner has given up the right to write alone",
        (
            Edit(
                _DURABLE,
                "        cure = 0 if held.together",
                "        outdated = outdated and not (held.together and not self.owner and held.whole)\n"
                "        cure = 0 if held.together",
            ),
        ),
    ),
    Mutant(
        "cleared-before-resync",
        "the owner gives up the right to write alone before the other copy is equal",
        (
            Edit(
                _DURABLE,
                "    return not held.whole or quarantined",
                "    return quarantined",
            ),
        ),
        units=("tests/unit/avance/core/test_holdings.py",),
    ),
    Mutant(
        "connecting-not-known",
        "a copy that was told to connect a moment ago counts as apart until DRBD reports otherwise",
        (
            Edit(
                "avance/core/unit.py",
                '            self.disk = replace(self.disk, connection="Connecting")',
                "            pass",
            ),
        ),
    ),
    Mutant(
        "contradiction-ignored",
        "DRBD connects without a resynchronisation although it knows of differences (docs/safety.md, S30)",
        (Edit(_UNIT, "if equal and disk.out_of_sync_kib > 0:", "if equal and disk.out_of_sync_kib < 0:"),),
    ),
    Mutant(
        "differences-called-in-sync",
        "copies count as equal although DRBD knows of differences",
        (
            Edit(
                "avance/core/model.py",
                "            and self.out_of_sync_kib == 0\n",
                "            and self.out_of_sync_kib >= 0\n",
            ),
        ),
    ),
    Mutant(
        "connects-before-agreement",
        "DRBD may connect before the daemons have compared their epochs (docs/safety.md, S29)",
        (
            Edit(
                _UNIT,
                "        if around.pair is not PairState.PAIRED or around.consenting or",
                "        if around.consenting or",
            ),
        ),
    ),
    Mutant(
        "split-not-detected",
        "two owners of one epoch are not taken for two nodes that wrote alone",
        (
            Edit(
                _PAIR,
                "    if theirs.epoch == mine.epoch and theirs.owner != mine.owner and None not in",
                "    if theirs.epoch == mine.epoch < 0 and None not in",
            ),
        ),
    ),
    Mutant(
        "split-by-epochs-not-detected",
        "an epoch beyond an exclusive right is simply followed",
        (
            Edit(
                _PAIR,
                "    if theirs.epoch < mine.epoch and mine.owner == facts.me and _beyond(mine, peer):\n",
                "    if theirs.epoch < mine.epoch < 0 and _beyond(mine, peer):\n",
            ),
            Edit(_PAIR, "    if mine.solo(facts.me):\n        reason =", "    if mine.epoch < 0:\n        reason ="),
        ),
    ),
    Mutant(
        "split-node-runs-on",
        "a node that knows that both wrote goes on to run its VMs",
        (
            Edit(
                "avance/core/goal.py",
                "    if sight.pairing.stopped or (sight.pairing.pair",
                "    if sight.pairing.pair is PairState.FENCED or (sight.pairing.pair",
            ),
        ),
    ),
    Mutant(
        "diverged-data-discarded",
        "after both wrote, one node takes the version of the other one without being told to",
        (
            Edit(
                _PAIR,
                "    if not facts.yielded or peer is None or peer.record.split or peer.record.epoch <= mine.epoch:\n",
                "    if peer is None or facts.me < facts.peer_id:\n",
            ),
        ),
    ),
    Mutant(
        "no-copy-kept",
        "the version that an operator gives up is overwritten before a copy of it is kept",
        (
            Edit(
                "avance/core/sight.py",
                "yielded=self.pairing.yields and self.units.kept(self.filled),",
                "yielded=self.pairing.yields,",
            ),
        ),
        units=("tests/unit/avance/core/test_operator.py",),
    ),
    Mutant(
        "blank-node-is-a-source",
        "a bare machine in the owner's place is taken for the owner",
        (
            Edit(
                _PAIR,
                "    return facts.record.epoch == 0 and peer.record.epoch > 0 and peer.record.owner == facts.me\n",
                "    return facts.record.epoch == 0 and peer.record.epoch < 0\n",
            ),
        ),
    ),
    Mutant(
        "restart-loop-on-cure",
        "the backup restarts again and again while the private link is down",
        (Edit(_CURE, "        if self.due and given and peer", "        if given and peer"),),
    ),
    Mutant(
        "cure-not-remembered",
        "the restart in the hope of a cure is not made durable, so it never comes",
        (
            Edit(
                _CURE,
                "        cured = replace(record, cure=record.epoch, ",
                "        cured = replace(record, cure=0, ",
            ),
        ),
    ),
    Mutant(
        "cure-at-each-fall",
        "the backup restarts again each time when a flapping private link falls",
        (Edit(_CURE, "not record.peer_outdated or record.cure != 0:\n", "not record.peer_outdated:\n"),),
    ),
    Mutant(
        "quarantine-never-trips",
        "a node that fails again and again is taken back each time",
        (Edit("avance/core/crashloop.py", "self._tripped or mean_s < self.mean_s", "self._tripped or mean_s < 0.0"),),
    ),
    Mutant(
        "other-configuration-ignored",
        "nodes with different configurations are paired",
        (Edit(_PAIR, "    if peer.config_hash != facts.config_hash and", "    if peer.config_hash == '' and"),),
    ),
    # ------------------------------------------------------------ below the core
    Mutant(
        "acknowledges-before-replicated",
        "DRBD acknowledges a write when it is on the wire (protocol A), not when it is on both disks",
        (Edit("avance/wire/drbd.py", "protocol C; allow", "protocol A; allow"),),
        _OUTSIDE,
    ),
    Mutant(
        "drbd-without-fencing",
        "DRBD does not freeze I/O when it loses the peer",
        (Edit("avance/wire/drbd.py", "fencing resource-and-stonith;", "fencing dont-care;"),),
        _OUTSIDE,
    ),
    Mutant(
        "no-answer-is-yes",
        "the fence-peer handler says yes when the daemon does not answer",
        (Edit("avance/fence_peer.py", "_DENIED = 1\n", "_DENIED = 4\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "bmc-said-so",
        "the adapter calls the peer off as soon as its BMC took the order",
        (Edit("avance/adapters/power.py", "if ipmi.is_off(line):", "if line:"),),
        _OUTSIDE,
    ),
    Mutant(
        "rotten-record-read",
        "a copy of the record whose checksum is wrong is believed",
        (
            Edit(
                "avance/wire/summed.py",
                "    if hashlib.sha256(line.encode()).hexdigest() != checksum:\n",
                "    if not checksum:\n",
            ),
        ),
        _OUTSIDE,
        units=("tests/unit/avance/wire/test_record.py",),
    ),
    Mutant(
        "old-record-comes-late",
        "a new record is written while an earlier write still hangs, and is replaced by it",
        (
            Edit(
                "avance/adapters/store.py",
                "            if self._late is not None:\n",
                "            if self._late is not None and self._deadline_s < 0:\n",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "witness-answers-before-durable",
        "the witness sends a grant although its disk did not take it",
        (
            Edit(
                "avance/witness.py",
                'because the state was not stored: {error}")\n                return None\n',
                'because the state was not stored: {error}")\n',
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "answer-to-another-question",
        "a node takes the witness's answer to another question for the answer to this one",
        (
            Edit(
                "avance/adapters/witness.py",
                "            elif (reply.boot, reply.number) != (sender.boot, sender.number):\n",
                "            elif reply.boot != sender.boot:\n",
            ),
        ),
        _OUTSIDE,
    ),
)

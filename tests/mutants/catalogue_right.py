"""Defects of arbitration: who may own the next epoch, and when the right is there."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_TAKEOVER, _RIGHTS = "avance/core/takeover.py", "avance/core/rights.py"
_ARBITRATION, _ENGINE, _SIGHT = "avance/core/arbitration.py", "avance/core/engine.py", "avance/core/sight.py"
_DURABLE = "avance/core/durable.py"
_AGAIN = "tests/unit/avance/core/test_heard_again.py"
_COPY = Edit(_TAKEOVER, "    if record.owner != me and record.peer_outdated:\n", "    if False:\n")
_GOOD = "(DiskState.UP_TO_DATE, DiskState.CONSISTENT) if situation is Situation.BOOT else (DiskState.UP_TO_DATE,)"
_USABLE = "        return disk.disk in GOOD or is_marked(disk)\n"

MUTANTS = (
    Mutant(
        "answers-before-durable",
        "fence-peer is answered while the record of the right is still on its way to the disk",
        (
            Edit(
                _RIGHTS,
                "        if sight.solo and sight.durable.record.epoch > 0:\n",
                "        if sight.solo or sight.durable.taking:\n",
            ),
        ),
    ),
    Mutant(
        "believes-before-durable",
        "a record counts as durable as soon as it is sent to the disk",
        (
            Edit(
                _DURABLE,
                "        self.saving = wish.record\n",
                "        self.saving = self.record = wish.record\n",
            ),
        ),
    ),
    Mutant(
        "unknown-save-counts",
        "a record whose saving ended unknown counts as durable",
        (
            Edit(
                _DURABLE,
                "        if not result.ok:\n            self.retry_at",
                '        if result.outcome == "FAILED":\n            self.retry_at',
            ),
        ),
    ),
    Mutant(
        "asks-without-a-record",
        "a node that cannot write its record takes the next epoch away from its peer, at the witness or by a power cut",
        (
            Edit(
                _RIGHTS,
                "            if self.wants == 0 and (proof :=",
                "            if self.wants < 0 and (proof :=",
            ),
        ),
    ),
    Mutant(
        "right-used-while-dropped",
        "the right to write alone is used while the record that ends it is on its way to the disk",
        (
            Edit(
                _DURABLE,
                "return (saving is None or saving.solo(me)) and (unsure is None or unsure.solo(me))",
                "return True",
            ),
        ),
    ),
    Mutant(
        "no-fencing",
        "fence-peer is answered with yes by a node that has no right",
        (Edit(_RIGHTS, "return DENIED_CODE if sight.pairing.stopped else None\n", "return CONSENTED_CODE\n"),),
    ),
    Mutant(
        "resumes-without-right",
        "frozen I/O goes on although this node has no right to write alone",
        (
            Edit(
                "avance/core/unit.py",
                "if frozen and good and around.solo:",
                "if frozen and good:",
            ),
        ),
    ),
    Mutant(
        "promotes-outdated",
        "an outdated copy is as good as any other when its node takes over",
        (
            _COPY,
            Edit(_TAKEOVER, _GOOD, "(DiskState.UP_TO_DATE, DiskState.CONSISTENT, DiskState.OUTDATED)"),
            Edit("avance/core/usable.py", _USABLE, "        return True\n"),
        ),
    ),
    Mutant(
        "promotes-inconsistent",
        "the target of a resynchronisation that did not end is as good as any other copy",
        (
            _COPY,
            Edit(_TAKEOVER, _GOOD, "(DiskState.UP_TO_DATE, DiskState.CONSISTENT, DiskState.INCONSISTENT)"),
            Edit("avance/core/usable.py", _USABLE, "        return True\n"),
        ),
    ),
    Mutant(
        "outdated-record-ignored",
        "a backup forgets that the owner recorded its copy as outdated",
        (_COPY,),
    ),
    Mutant(
        "short-takeover-wait",
        "with the arbiters' grant the backup waits for less than lease and watchdog of the old primary",
        (
            Edit(
                _TAKEOVER,
                "    until_s = facts.lost_at + timers.takeover_wait_s\n",
                "    until_s = facts.lost_at + timers.backup_delay_s\n",
            ),
        ),
    ),
    Mutant(
        "short-takeover-wait-by-policy",
        "by site policy the backup waits for less than lease and watchdog of the old primary",
        (Edit(_TAKEOVER, "        act_at += timers.takeover_wait_s\n", "        act_at += timers.lease_s\n"),),
    ),
    Mutant(
        "clock-not-started-anew",
        "a backup that hears the old primary while it waits, and so renews its lease by the echo, does not wait anew",
        (
            Edit(
                _RIGHTS,
                "            self.lost_at = max(self.lost_at, heard_at_s + sight.setup.timers.peer_lost_s)\n",
                "            self.lost_at = max(self.lost_at, 0.0)\n",
            ),
        ),
        units=(_AGAIN,),
    ),
    Mutant(
        "unbelieved-receipt-forgotten",
        "a heartbeat that is echoed before it is believed does not count for the wait of the backup",
        (
            Edit(
                _ENGINE,
                "                sight.liveness.receipt(link, now)\n",
                "                sight.liveness.silent(link, now)\n",
            ),
        ),
        units=("tests/unit/avance/core/test_sight.py",),
    ),
    Mutant(
        "echo-before-the-core",
        "a heartbeat is echoed while it still waits in the queue, before the core has heard of it",
        (
            Edit(
                "avance/adapters/heartbeat.py",
                "        self._unheard.append((event, port, (beat.view.boot, beat.sent_s)))\n",
                "        port.echo = (beat.view.boot, beat.sent_s)\n",
            ),
        ),
        beyond="the simulator has a channel of its own",
    ),
    Mutant(
        "echoes-while-it-decides",
        "a backup echoes the old primary while the record of its right is on the way to the disk",
        (
            Edit(
                _SIGHT,
                "        return self.durable.owner or not self.durable.taking\n",
                "        return self.durable.owner or not self.durable.taking or self.durable.saving is not None\n",
            ),
        ),
        units=(_AGAIN,),
    ),
    Mutant(
        "off-although-heard",
        "power that was read as off still counts after the peer was heard again",
        (Edit(_RIGHTS, "        self.arbitration.heard(heard_at_s)\n", ""),),
        units=(_AGAIN,),
    ),
    Mutant(
        "backup-does-not-wait",
        "the backup asks for the right as early as the owner of the running VMs",
        (
            Edit(
                _TAKEOVER,
                "    start_at = facts.lost_at + (0.0 if at_once else timers.backup_delay_s)\n",
                "    start_at = facts.lost_at + (0.0 if at_once else 0.0)\n",
            ),
        ),
    ),
    Mutant(
        "answer-not-awaited",
        "a witness that was asked and has not answered yet counts as agreeing",
        (
            Edit(
                _TAKEOVER,
                "    if any(facts.answers.get(name) is not Answer.GRANTED for name in names):\n",
                "    if any(facts.answers.get(name) is None for name in names):\n",
            ),
        ),
    ),
    Mutant(
        "silence-is-a-grant",
        "a witness that does not answer counts as agreeing",
        (Edit(_ARBITRATION, "self.answers[name] = Answer.SILENT\n", "self.answers[name] = Answer.GRANTED\n"),),
    ),
    Mutant(
        "refusal-is-a-grant",
        "a refusal of the witness counts as agreeing",
        (
            Edit(
                _ARBITRATION,
                "Word.REFUSED: Answer.REFUSED,",
                "Word.REFUSED: Answer.GRANTED,",
            ),
        ),
    ),
    Mutant(
        "one-of-two-arbiters",
        "while two witnesses are in office only the first one is asked",
        (
            Edit(
                _TAKEOVER,
                "    names = witnesses(facts.record.arbiters)\n    refusing",
                "    names = witnesses(facts.record.arbiters)[:1]\n    refusing",
            ),
        ),
    ),
    Mutant(
        "arbiters-in-one-step",
        "the arbiters change from the old ones to the new ones without a time when both are in office",
        (
            Edit(
                "avance/core/arbiters.py",
                "    return (*current, *(token for token in target if token not in current))\n",
                "    return target\n",
            ),
        ),
    ),
    Mutant(
        "old-grant-kept",
        "a grant that was not used is used at the next loss of the peer",
        (
            Edit(
                _ARBITRATION,
                "        self.answers, self._tries = {}, {}\n",
                "        self.answers, self._tries = dict(self.answers), {}\n",
            ),
        ),
    ),
    Mutant(
        "late-answer-taken",
        "an answer to a question that is no longer put is taken for one to the present question",
        (
            Edit(
                _ARBITRATION,
                "        if name not in self.answers:\n            return None  # an answer to",
                "        if name is None:\n            return None  # an answer to",
            ),
        ),
    ),
    Mutant(
        "teaches-while-asking",
        "a node tells the witness that it is paired while it puts a question or saves a grant",
        (
            Edit(
                _ENGINE,
                "            paired = sight.pairing.pair is PairState.PAIRED and not asks\n",
                "            paired = sight.pairing.pair is PairState.PAIRED or asks\n",
            ),
        ),
    ),
    Mutant(
        "survivor-ignored",
        "a node takes over although the other one is the elected survivor",
        (
            Edit(
                _TAKEOVER,
                "    others = [name for name in survivors(facts.record.arbiters) if name != facts.me]\n",
                "    others = list(survivors(()))\n",
            ),
        ),
    ),
    Mutant(
        "policy-beside-arbiters",
        "the site policy gives the right although a witness is in office",
        (
            Edit(
                _TAKEOVER,
                "    return _by_arbiters(facts, timers, now) if facts.record.arbiters else _without",
                '    return _by_arbiters(facts, timers, now) if facts.policy == "safety" else _without',
            ),
        ),
    ),
    Mutant(
        "order-is-confirmation",
        "a BMC that accepted the order counts as power that was read as off",
        (
            Edit(
                _ARBITRATION,
                "Power.OFF if result.ok else Power.FAILED",
                'Power.OFF if result.outcome != "UNKNOWN" else Power.FAILED',
            ),
        ),
    ),
    Mutant(
        "unreachable-bmc-is-off",
        "a BMC that does not answer counts as power that was read as off",
        (
            Edit(
                _ARBITRATION,
                "Power.OFF if result.ok else Power.FAILED",
                'Power.FAILED if result.outcome == "FAILED" else Power.OFF',
            ),
        ),
    ),
    Mutant(
        "late-off-is-early",
        "power that reads off too late to prove anything about the past counts as early proof",
        (
            Edit(
                _ARBITRATION,
                "        early = self._proof_until is not None and now < self._proof_until\n",
                "        early = self._proof_until is not None\n",
            ),
            Edit(_ARBITRATION, "        if now >= proof_until:\n            return []\n", ""),
        ),
    ),
    Mutant(
        "gateway-ignored",
        "by policy a node goes on although it is the one that is cut off from everybody",
        (Edit(_TAKEOVER, "    if facts.gateway is False:\n", "    if False:\n"),),
    ),
    Mutant(
        "cut-off-forgotten",
        "a backup that was cut off itself acts when it is back on the networks, as if it had only missed its peer",
        (Edit(_RIGHTS, "if now - from_s >= setup.timers.link_down_s and", "if False and"),),
    ),
    Mutant(
        "cut-off-seen-too-late",
        "a backup looks which node is cut off only when its peer may have gone on alone already",
        (Edit(_RIGHTS, ">= setup.timers.link_down_s and", ">= setup.timers.peer_lost_s and"),),
    ),
    Mutant(
        "searching-peer-forgotten",
        "a backup acts by policy although the peer's last word was that it looked for the right itself",
        (Edit(_TAKEOVER, "doubt = _SEARCHED if facts.searched else _UNHEARD", "doubt = _UNHEARD"),),
    ),
    Mutant(
        "claimed-address-ignored",
        "by policy the backup starts VMs although somebody still answers for their addresses",
        (Edit(_TAKEOVER, "    if facts.claimed:\n", "    if False:\n"),),
    ),
    Mutant(
        "boot-by-anybody",
        "alone at boot a node starts VMs although the last epoch belongs to the other one",
        (Edit(_TAKEOVER, "if not facts.owner:\n        return Refused(", "if False:\n        return Refused("),),
    ),
    Mutant(
        "boot-without-lone-right",
        "alone at boot an owner starts VMs although the other node may have gone on without it",
        (
            Edit(
                _TAKEOVER,
                '    if solo and (facts.policy == "availability" or not names):\n',
                '    if facts.policy == "availability" or not names:\n',
            ),
        ),
    ),
    Mutant(
        "boot-silence-is-a-grant",
        "alone at boot a silent witness is enough for an owner without the lone right",
        (
            Edit(
                _TAKEOVER,
                "        if not (unheard and mine and solo and facts.policy",
                "        if not (unheard and mine and facts.policy",
            ),
            Edit(
                _TAKEOVER,
                '    if solo and (facts.policy == "availability" or not names):\n',
                '    if solo or (facts.policy == "availability" and names):\n',
            ),
        ),
    ),
    Mutant(
        "epoch-granted-twice",
        "the witness gives an epoch that it gave away already to the other node too",
        (
            Edit(
                "avance/core/register.py",
                "epoch == self.known.epoch and node == self.known.owner",
                "epoch == self.known.epoch and node is not None",
            ),
        ),
    ),
    Mutant(
        "register-trusts-its-storage",
        "a witness grants after a start although nobody taught it what happened before",
        (Edit("avance/core/register.py", "    taught: bool = False\n", "    taught: bool = True\n"),),
    ),
    Mutant(
        "register-believes-one-node",
        "the word of one node is enough to teach a witness",
        (
            Edit(
                "avance/core/register.py",
                "            if any((one.epoch, one.owner) == (epoch, owner) for one in lessons):\n",
                "            if epoch:\n",
            ),
        ),
    ),
)

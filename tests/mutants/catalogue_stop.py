"""Defects of what ends a right: lease, watchdog, pause detection, the judgement of a newer epoch."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_LIVENESS, _GUARD, _PAIR = "avance/core/liveness.py", "avance/core/guard.py", "avance/core/pair.py"

MUTANTS = (
    Mutant(
        "lease-from-receipt",
        "the lease counts from when an echo came, not from when the echoed heartbeat was sent",
        (
            Edit(
                _LIVENESS,
                "        self.lease_from_s = max(echoed_sent_s, self.lease_from_s or echoed_sent_s)\n",
                "            self.lease_from_s = now\n",
            ),
        ),
    ),
    Mutant(
        "echo-not-needed",
        "any word from the peer renews link and lease, whether it hears this node or not",
        (
            Edit(
                _LIVENESS,
                "        if echoed_sent_s is None:\n            return\n",
                "        echoed_sent_s = now\n",
            ),
        ),
    ),
    Mutant(
        "repeated-echo-counts",
        "an echo that the peer repeats, because it hears nothing new, counts as new",
        (
            Edit(
                _LIVENESS,
                "        if entry.echoed_sent_s is None or echoed_sent_s > entry.echoed_sent_s:\n",
                "        if entry.echoed_sent_s is None or echoed_sent_s >= entry.echoed_sent_s:\n",
            ),
        ),
    ),
    Mutant(
        "lease-not-voided",
        "a node that stood still goes on by the lease of before",
        (Edit(_LIVENESS, "            self.void(now)\n", ""),),
        units=("tests/unit/avance/core/test_sight.py",),
    ),
    Mutant(
        "old-echo-after-a-pause",
        "after a pause of this node the echo of a heartbeat of before renews its lease",
        (
            Edit(
                _LIVENESS,
                "        if self._void_before_s is not None and echoed_sent_s < self._void_before_s:\n",
                "        if self._void_before_s is not None and echoed_sent_s < 0:\n",
            ),
        ),
    ),
    Mutant(
        "pause-not-detected",
        "a node does not notice that it stood still",
        (Edit("avance/core/pause.py", "return gap_s if gap_s > self.limit_s else 0.0", "return 0.0 * gap_s"),),
    ),
    Mutant(
        "vms-not-paused",
        "the VMs of a node without a right run on until its reset",
        (
            Edit(
                _GUARD,
                "        if runs and not entitled and not self.paused:\n",
                "        if runs and not entitled and self.feeds < 0:\n",
            ),
        ),
    ),
    Mutant(
        "vms-never-unpaused",
        "VMs that were paused stand still for ever, although the right is there again",
        (
            Edit(
                _GUARD,
                "        if self.paused is False or not proven or not standing.known or stopped:\n",
                "        if self.paused is not None or not proven or not standing.known or stopped:\n",
            ),
        ),
    ),
    Mutant(
        "no-reset-at-the-deadline",
        "a node without a right does not reset itself at its grant deadline",
        (
            Edit(
                _GUARD,
                "        return rightless and standing.lease_over and standing.lease_age_s >= self.timers.grant_s\n",
                "        return rightless and standing.lease_over and self.feeds < 0\n",
            ),
        ),
    ),
    Mutant(
        "watchdog-fed-without-right",
        "the watchdog is fed although the lease has ended and VMs may run here",
        (Edit(_GUARD, "watchdog or self._late or not right or", "watchdog or self._late or"),),
    ),
    Mutant(
        "watchdog-fed-late",
        "a loop that is always seconds late goes on to feed the watchdog",
        (Edit(_GUARD, "watchdog or self._late or not right or", "watchdog or not right or"),),
    ),
    Mutant(
        "watchdog-fed-to-the-end",
        "the watchdog is fed until the very end of the lease, so a pause that nobody notices breaks the wait",
        (
            Edit(
                _GUARD,
                "        fresh = standing.lease_valid and standing.lease_age_s < self.timers.link_down_s\n",
                "        fresh = standing.lease_valid\n",
            ),
        ),
    ),
    Mutant(
        "newer-owner-renews",
        "the echo of a peer that owns a newer epoch renews the lease of the old owner",
        (
            Edit(
                "avance/core/sight.py",
                "        return None if beaten and self.may_write else echoed_sent_s\n",
                "        return None if beaten and self.pairing.yields else echoed_sent_s\n",
            ),
        ),
    ),
    Mutant(
        "stale-epoch-accepted",
        "a node that may be writing follows a newer epoch without being fenced",
        (Edit(_PAIR, "    if facts.may_write:\n", "    if False:\n"),),
    ),
    Mutant(
        "newer-epoch-ignored",
        "an owner takes no notice of an epoch newer than its own",
        (
            Edit(
                _PAIR,
                "    if theirs.epoch <= mine.epoch or _blank_owner(facts, peer):\n",
                "    if theirs.epoch <= mine.epoch or _blank_owner(facts, peer) or mine.owner == facts.me:\n",
            ),
        ),
    ),
    Mutant(
        "pairs-with-one-that-decides",
        "a node that has just started pairs with a peer that may be saving its right to the next epoch",
        (
            Edit(
                _PAIR,
                "    if state is PairState.STARTING and peer.pair is PairState.WAITING:\n",
                "    if state is PairState.FENCED and peer.pair is PairState.WAITING:\n",
            ),
        ),
    ),
    Mutant(
        "lone-right-after-a-boot",
        "a node that was alone when it stopped goes on alone after a boot without asking anybody",
        (
            Edit(
                _PAIR,
                "    if state is PairState.STARTING and served and mine.solo(facts.me):\n",
                "    if state is PairState.STARTING and mine.solo(facts.me):\n",
            ),
        ),
    ),
    Mutant(
        "replays-accepted",
        "a heartbeat that was recorded and sent again counts as new",
        (
            Edit(
                "avance/wire/heartbeat.py",
                "        if beat.seq <= self._last_seq.get(link, -1):\n",
                "        if beat.seq < 0:\n",
            ),
        ),
    ),
    Mutant(
        "forgeries-accepted",
        "the authentication code of a heartbeat is not looked at",
        (
            Edit(
                "avance/wire/heartbeat.py",
                "    if not hmac.compare_digest(datagram[len(MAGIC) : head], ",
                "    if not hmac.compare_digest(hmac.digest(key, data, _HASH), ",
            ),
        ),
    ),
    Mutant(
        "own-name-accepted",
        "a clone that uses this node's own name is taken for its peer",
        (
            Edit(
                "avance/wire/heartbeat.py",
                "        if beat.view.node == self.me:\n",
                "        if beat.view.node == self.me and beat.seq < 0:\n",
            ),
            Edit(
                "avance/wire/heartbeat.py",
                "        if beat.view.node != self.peer:\n",
                "        if beat.view.node not in (self.me, self.peer):\n",
            ),
        ),
    ),
    Mutant(
        "gate-without-an-end",
        "what VMs and the service address send passes for ever, also from a machine that was frozen",
        (
            Edit(
                _GUARD,
                "None if standing.solo else standing.lease_until_s",
                "None",
            ),
        ),
    ),
    Mutant(
        "gate-open-for-anybody",
        "a node that has learnt of another owner sends on until it has released what it holds",
        (
            Edit(
                _GUARD, "PairState.SPLIT) or not standing.owner\n        unproven", "PairState.SPLIT)\n        unproven"
            ),
        ),
    ),
    Mutant(
        "gate-opened-by-a-new-daemon",
        "a daemon that has just started lets a VM send for the time of one lease, before its peer has confirmed it",
        (
            Edit(
                "avance/core/liveness.py",
                "            return None if self._void_before_s is None else 0.0\n",
                "            return None if self._anchor_s is None else self._anchor_s + self.timers.lease_s\n",
            ),
        ),
    ),
    Mutant(
        "gate-never-moved",
        "the gate closes at the end of the first lease, and renewals do not move it",
        (
            Edit(
                _GUARD,
                "        if until_s == last_s or 0.0 <= later_s < self.timers.heartbeat_s / 2:\n",
                "        if until_s == last_s or 0.0 <= later_s < inf:\n",
            ),
        ),
    ),
    Mutant(
        "stuck-io-not-noticed",
        "a VM whose I/O DRBD never ends stands still for ever",
        (Edit(_GUARD, "elif standing.stuck_looks >= _STUCK_LOOKS", "elif standing.stuck_looks >= 10**9"),),
    ),
)

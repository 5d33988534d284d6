"""Defects of damping: what repeats without an end, what never begins anew, and alerts that are lost or in the way."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_CURE, _RESTARTS, _HANDOVER = "avance/core/cure.py", "avance/core/restarts.py", "avance/core/handover.py"
_QUEUE, _DELIVER = "avance/adapters/callhome.py", "avance/deliver.py"
_BELOW = "alerts are only counted in the simulator"

MUTANTS = (
    Mutant(
        "no-damping",
        "a damper is never full: alerts and junk are told each time",
        (
            Edit(
                "avance/core/damper.py",
                "        return len(self.times) >= self.most and now < self.free_at\n",
                "        return False\n",
            ),
        ),
        _BELOW,
        units=("tests/unit/avance/core/test_grouping.py", "tests/unit/avance/core/test_strangers.py"),
    ),
    Mutant(
        "damped-for-ever",
        "what has repeated too often never begins anew",
        (Edit("avance/core/damper.py", " and now < self.free_at\n", "\n"),),
        _BELOW,
        units=("tests/unit/avance/core/test_grouping.py", "tests/unit/avance/core/test_strangers.py"),
    ),
    Mutant(
        "cures-not-counted",
        "a backup restarts for each cut of a cable that comes and goes",
        (Edit(_CURE, "cures=record.cures + 1)", "cures=record.cures)"),),
    ),
    Mutant(
        "cures-counted-for-ever",
        "three restarts for a cure in the whole life of a node, and never one more, whatever a person says",
        (Edit(_CURE, "        return self.anew or now >= ", "        return now < 0.0 and now >= "),),
    ),
    Mutant(
        "vm-never-left",
        "a guest that dies at each boot is started again and again",
        (
            Edit(
                _RESTARTS,
                "        return bool(self.failures) and self.count(vm, now) >= (",
                "        return bool(self.failures) and self.count(vm, now) < -(",
            ),
        ),
    ),
    Mutant(
        "vm-left-for-ever",
        "a VM that was left is never tried again, however long ago it failed",
        (
            Edit(
                _RESTARTS,
                "    return 0 if damper is None else damper.recent(now)\n",
                "    return 0 if damper is None else len(damper.times)\n",
            ),
        ),
    ),
    Mutant(
        "failures-outlive-the-right",
        "a VM that failed on a node is not started there when that node takes over, although nobody else is left",
        (Edit(_RESTARTS, "        if self.away and sight.durable.owner:\n", "        if False:\n"),),
    ),
    Mutant(
        "vm-thrown-back",
        "two nodes throw a VM that fails to each other for ever",
        (
            Edit(_RESTARTS, " or any(_left_there(peer, vm) or vm in peer.unmade for vm in failed)", ""),
            Edit(_RESTARTS, "_ELSEWHERE = 1  #", "_ELSEWHERE = FAILURES_MAX  #"),
        ),
    ),
    Mutant(
        "left-for-a-failed-creation",
        "a VM that could not be created five times is not started for an hour, also when the cause has gone",
        (
            Edit(_RESTARTS, "self.count(vm, now) >= (_ELSE", "self.times(vm, now) >= (_ELSE"),
            Edit(
                _RESTARTS,
                "            self._count(self.in_vain, command.vm, now)\n",
                "            self._count(self.failures, command.vm, now)\n",
            ),
        ),
    ),
    Mutant(
        "unmade-counts-as-left",
        "a guest that dies once is left where it runs, because the other node could not create it",
        (
            Edit(
                _RESTARTS,
                "        left = tuple(vm for vm in failing if self.left(vm, now))\n",
                "        left = failing\n",
            ),
        ),
    ),
    Mutant(
        "never-created-elsewhere",
        "a VM that cannot be created on its node is never tried on the other one",
        (
            Edit(
                _RESTARTS,
                "        return self.times(vm, now) >= FAILURES_MAX\n",
                "        return self.count(vm, now) >= FAILURES_MAX\n",
            ),
        ),
    ),
    Mutant(
        "moved-while-it-runs",
        "a VM that runs is stopped and handed over, because its creation failed before",
        (
            Edit(_RESTARTS, " or any(unit.state is VmState.RUNNING for unit in units.values()):", ":"),
            Edit(_RESTARTS, "            self.in_vain.pop(command.vm, None)\n", "            pass\n"),
        ),
        units=("tests/unit/avance/core/test_restarts.py",),
    ),
    Mutant(
        "moved-without-a-mark",
        "an owner whose VM fails gives the right away while its own copy may still be served",
        (
            Edit(
                _HANDOVER,
                "        tied = tied or (self.moving and not all("
                "consent.marked(unit.disk) or _is_gone(unit.disk) for unit in units))\n",
                "",
            ),
        ),
        units=("tests/unit/avance/core/test_restarts.py",),
    ),
    Mutant(
        "dead-domain-holds-the-disk",
        "a node demotes a disk that a dead domain still holds open, in vain, and resets itself in the end",
        (
            Edit(
                "avance/core/vm.py",
                "    (S.STANDBY, T.STOP): (S.STOPPING, Action.DESTROY),\n",
                "    (S.STANDBY, T.STOP): (S.DEMOTING, Action.DEMOTE),\n",
            ),
        ),
    ),
    Mutant(
        "consent-asked-while-moving",
        "an owner that lets go of its copies to hand a VM over asks the peer for consent, and keeps the right",
        (Edit("avance/core/engine.py", "        if not self.handover.moving:  #", "        if True:  #"),),
        units=("tests/unit/avance/core/test_restarts.py",),
    ),
    Mutant(
        "critical-dropped-for-junk",
        "a critical alert finds no room in a queue that is full of others",
        (Edit(_QUEUE, 'QUEUE_MAX if alert.severity == "critical" else ', 'QUEUE_MAX if alert.severity == "" else '),),
        _BELOW,
    ),
    Mutant(
        "refused-alert-blocks",
        "an alert that the service centre refuses is tried for ever, and nobody behind it is",
        (
            Edit(
                _DELIVER,
                "        if delivery.said is Reception.REFUSED:\n"
                "            self.pause_s = 0.0\n            return True\n",
                "",
            ),
            Edit(_DELIVER, "next((name for name in names if name > self.last), names[0])", "names[0]"),
        ),
        _BELOW,
    ),
    Mutant(
        "reset-without-a-word",
        "a node that resets itself leaves no reason behind",
        (Edit("avance/adapters/watchdog.py", "        leave(REASON, reason)\n", ""),),
        "the machine of the simulator keeps no files",
    ),
    Mutant(
        "reset-before-the-last-word",
        "the reset comes before the heartbeat that says why",
        (
            Edit(
                "avance/core/decision.py",
                "        return Decision((*self.commands, *ending), ",
                "        return Decision((*ending, *self.commands), ",
            ),
        ),
    ),
    Mutant(
        "cures-a-link-that-works",
        "a backup restarts for the cure of a link that is good again, and only held back because it fell",
        (
            Edit(
                "avance/core/cure.py",
                "_fell(sight) and not sight.liveness.returns(sight.setup.replication_link):\n",
                "_fell(sight):\n",
            ),
        ),
        beyond="a restart that was not needed harms nobody there",
        units=("tests/unit/avance/core/test_cure.py",),
    ),
)

"""Defects about VMs that are to be off: by a person, by their guests; and about what they hold up."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_ENDS = "avance/core/ends.py"
_TESTS = ("tests/unit/avance/core/test_ends.py",)
_XEN = "the simulator knows neither Xen nor its tools"
_FILES = "the simulator has its own definitions, and an own rule for memory"

MUTANTS = (
    Mutant(
        "off-is-started",
        "a VM that is to be off is started by whoever owns the right",
        (Edit(_ENDS, "        if unit.spec.runs:\n            return pair\n", "        return pair\n"),),
    ),
    Mutant(
        "shutdown-from-inside-is-a-crash",
        "a guest that has switched itself off is started again, and counted as a failure",
        (
            Edit(
                _ENDS,
                "        off = not event.running and event.ended is DomainEnd.POWEROFF and unit.spec.runs\n",
                "        off = False\n",
            ),
        ),
    ),
    Mutant(
        "unknown-end-is-a-wish",
        "a domain of whose end nobody knows the reason counts as switched off by its guest",
        (
            Edit(
                _ENDS,
                "event.ended is DomainEnd.POWEROFF and unit.spec.runs",
                "event.ended in (DomainEnd.POWEROFF, DomainEnd.UNKNOWN) and unit.spec.runs",
            ),
        ),
    ),
    Mutant(
        "reboot-is-a-failure",
        "a guest that restarts itself counts as one that died, and its VM is left after five times",
        (Edit(_ENDS, "        if event.ended is DomainEnd.REBOOT:\n", "        if event.ended is None:\n"),),
    ),
    Mutant(
        "reason-destroyed-before-it-counts",
        "what is left of a guest that switched itself off is destroyed before both nodes hold that it is off",
        (
            Edit(
                _ENDS,
                "        if unit.spec.name in self.off:\n            return Goal.HOLD\n",
                "        if unit.spec.name in self.off:\n            return Goal.STOP\n",
            ),
        ),
    ),
    Mutant(
        "late-guest-is-destroyed",
        "a guest that is asked to shut down is destroyed at once",
        (
            Edit(
                _ENDS,
                "_LEFT_ALONE = (Wanted.SHUT_DOWN, Wanted.OFF_BY_GUEST)",
                "_LEFT_ALONE = (Wanted.OFF_BY_GUEST,)",
            ),
        ),
    ),
    Mutant(
        "started-since-is-stopped",
        "a VM that was started since its guest had switched itself off is destroyed by the late news",
        (
            Edit(
                _ENDS,
                "_LEFT_ALONE = (Wanted.SHUT_DOWN, Wanted.OFF_BY_GUEST)",
                "_LEFT_ALONE = (Wanted.SHUT_DOWN,)",
            ),
        ),
    ),
    Mutant(
        "late-guest-is-not-told",
        "nobody hears that a guest has not shut down",
        (
            Edit(
                _ENDS,
                "        if not stop.late and now >= stop.since_s +",
                "        if now < 0 and now >= stop.since_s +",
            ),
        ),
    ),
    Mutant(
        "own-end-needs-the-peer",
        "a guest that switches itself off while the peer is away is never agreed on",
        (Edit(_ENDS, "c.ProposeWanted(vm, wanted, alone)", "c.ProposeWanted(vm, wanted, alone=False)"),),
    ),
    Mutant(
        "arrives-and-is-destroyed",
        "a VM that is to be off and arrives by a live move is destroyed before it goes on",
        (Edit(_ENDS, "if pair is not Goal.RUN or unit.state in _COMING:", "if pair is not Goal.RUN:"),),
        beyond="it is off in the end either way",
        units=_TESTS,
    ),
    Mutant(
        "protected-waits-for-what-is-off",
        "a pair is not protected while a VM is to be off",
        (
            Edit(
                "avance/core/sight.py", " for name, unit in units.items() if unit.spec.runs)\n", " for name in units)\n"
            ),
        ),
        units=_TESTS,
    ),
    Mutant(
        "one-copy-of-what-is-off",
        "nobody hears that a VM that is off has one copy only",
        (Edit("avance/core/sight.py", "VmState.RUNNING or not unit.spec.runs)\n", "VmState.RUNNING)\n"),),
        units=_TESTS,
    ),
    Mutant(
        "failing-vm-waits-for-what-is-off",
        "a VM that fails here is not tried on the other node while another one is to be off",
        (
            Edit(
                "avance/core/restarts.py",
                "        wanted = [vm for vm in filled if units[vm].spec.runs]\n",
                "        wanted = filled\n",
            ),
        ),
        units=_TESTS,
    ),
    Mutant(
        "copy-of-what-is-off-left-behind",
        "the right goes to a node whose copy of a VM that is off is not good",
        (
            Edit(
                "avance/core/restarts.py",
                "if sight.units.synced().issuperset(filled):",
                "if sight.units.synced().issuperset(failed):",
            ),
            Edit(
                "avance/core/restarts.py",
                "copies.peer_is_good(record, peer, vm) for vm in filled)",
                "True for vm in failed)",
            ),
        ),
        units=_TESTS,
    ),
    Mutant(
        "start-remembers-failures",
        "a VM that was left is not tried when a person stops and starts it",
        (Edit("avance/core/roster.py", "spec.runs and not known.spec.runs:", "spec.runs and known.spec.runs:"),),
        units=_TESTS,
    ),
    Mutant(
        "move-waits-for-what-is-off",
        "a live move never ends, because a VM that is off does not leave",
        (
            Edit(
                "avance/core/migration.py",
                "        return not unit.spec.runs and unit.state is VmState.STANDBY and unit.move != self.moves\n",
                "        return unit.move != unit.move\n",
            ),
        ),
        units=_TESTS,
    ),
    Mutant(
        "asked-on-its-way",
        "a guest is asked to shut down while its VM is about to move",
        (Edit("avance/core/goal.py", "pairs is Goal.RUN and not migration.moves and", "pairs is Goal.RUN and"),),
        beyond="a guest that is asked too early is off in the end as well",
        units=_TESTS,
    ),
    Mutant(
        "hangs-for-what-is-off",
        "an owner hands over because its tools hang, although no VM needs them",
        (
            Edit(
                "avance/core/handover.py",
                "    needed = {name: unit for name, unit in units.items() if unit.spec.runs}\n",
                "    needed = units\n",
            ),
        ),
        units=_TESTS,
    ),
    Mutant(
        "dying-domain-says-why",
        "a domain that is being destroyed counts as one that its guest has just ended",
        (
            Edit(
                "avance/adapters/hypercall.py",
                '    if entry["dying"]:\n',
                '    if not entry["dying"] and entry["dying"]:\n',
            ),
        ),
        beyond=_XEN,
    ),
    Mutant(
        "older-domain-says-why",
        "what is left of an earlier domain says why the last one ended",
        (Edit("avance/adapters/xen.py", "newest = max(dead,", "newest = min(dead,"),),
        beyond=_XEN,
        units=("tests/unit/avance/adapters/test_domain_ends.py",),
    ),
    Mutant(
        "suspend-is-an-order",
        "a domain that is suspended to move counts as one that its guest has switched off",
        (
            Edit(
                "avance/adapters/hypercall.py",
                "_ENDS = {0: DomainEnd.POWEROFF,",
                "_ENDS = {2: DomainEnd.POWEROFF, 0: DomainEnd.POWEROFF,",
            ),
        ),
        beyond=_XEN,
    ),
    Mutant(
        "removed-vms-give-memory",
        "the memory of a VM that was removed counts as free",
        (
            Edit(
                "avance/adapters/xen.py",
                "self._ours().items() if vm in self._specs for domain",
                "self._ours().items() for domain",
            ),
        ),
        beyond=_XEN,
        units=("tests/unit/avance/adapters/test_domain_ends.py",),
    ),
    Mutant(
        "memory-overcommitted",
        "a VM is to run although a node has no memory for it",
        (Edit("avance/documents.py", '    return "" if need <= room else', '    return "" if need or room else'),),
        beyond=_FILES,
    ),
    Mutant(
        "unread-memory-is-enough",
        "a node that cannot tell how much memory it has agrees to a start",
        (
            Edit(
                "avance/documents.py",
                "    room, node = room_mib(), after.node\n    if room is None:\n",
                "    room, node = room_mib() or need, after.node\n    if room is None:\n",
            ),
        ),
        beyond=_FILES,
    ),
    Mutant(
        "change-starts-a-vm",
        "a definition that says nothing of it starts a VM that is to be off",
        (Edit("avance/changes.py", "    return [{**wanted, **definition,", "    return [{**definition,"),),
        beyond=_FILES,
    ),
    Mutant(
        "stopped-while-it-writes",
        "a person hears that a VM is off while a node still is a writer of its volume",
        (
            Edit(
                "avance/vm_list.py",
                '    return "stopping" if writes else "off"\n',
                '    return "stopping" if not writes and writes else "off"\n',
            ),
        ),
        beyond="the simulator has no persons who wait",
    ),
    Mutant(
        "restart-leaves-it-off",
        "a restart whose guest does not shut down leaves the VM to be off",
        (
            Edit(
                "avance/vm_life.py",
                '        if "error" in stopped and self._vm(name)["wanted"] == Wanted.RUNNING:\n',
                '        if "error" in stopped:\n',
            ),
        ),
        beyond="the simulator has no persons who wait",
    ),
)

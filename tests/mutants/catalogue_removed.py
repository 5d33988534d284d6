"""Defects of what becomes of VMs that are added, changed or removed while the pair lives."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_SIGHT, _ENGINE, _UNITS = "avance/core/sight.py", "avance/core/engine.py", "avance/core/units.py"
_OUTSIDE = "the simulator has a machine of its own in the place of adapters and files"
_LEFTOVER = ("tests/unit/avance/core/test_leftover.py",)
_ROSTER = ("tests/unit/avance/core/test_roster.py",)
_BUSY = "record, busy = self.durable.record, vm in self.units.leftovers and self.units.leftovers[vm].busy\n"

MUTANTS = (
    Mutant(
        "outcome-of-a-removed-vm-counts",
        "the outcome of a command of a VM that was removed meanwhile is taken for that of a VM",
        (
            Edit(
                _ENGINE,
                "            case _ if command.vm not in sight.units.by_name:\n"
                "                sight.units.done_in_vain(command.vm)\n",
                "",
            ),
        ),
        units=_ROSTER,
    ),
    Mutant(
        "disk-of-a-removed-vm-goes-at-once",
        "the disk of a removed VM leaves the peer before the peer has removed the VM",
        (Edit(_SIGHT, "disk=harmless", "disk=True"),),
        units=_LEFTOVER,
    ),
    Mutant(
        "record-names-a-removed-vm",
        "the record says for ever what the newest data of a removed VM were, so a later VM of that name is refused",
        (
            Edit(
                "avance/core/holdings.py",
                "    return tuple(pair for pair in record.generations if pair[0] in sight.units.by_name)\n",
                "    return record.generations\n",
            ),
        ),
        units=_LEFTOVER,
    ),
    Mutant(
        "removed-vm-writes-nothing",
        "the domain of a removed VM does not count as one that may write, so nothing stops it when the right ends",
        (
            Edit(
                _SIGHT,
                "        return self.durable.served and any(left.runs for left in units.leftovers.values())\n",
                "        return False\n",
            ),
        ),
        units=_LEFTOVER,
    ),
    Mutant(
        "taken-away-under-a-command",
        "what is left of a removed VM is taken away while a command of it is under way, and comes back",
        (Edit(_SIGHT, _BUSY, "record, busy = self.durable.record, False\n"),),
        units=_LEFTOVER,
    ),
    Mutant(
        "removed-vm-is-gone-after-a-restart",
        "a daemon that was started anew takes it for granted that the domain of a removed VM is gone",
        (Edit(_ENGINE, "{} if new else {vm: Leftover() for vm in setup.removed}", "{}"),),
        "in the simulator a domain is looked for within a second",
        units=_LEFTOVER,
    ),
    Mutant(
        "peers-word-of-a-removed-vm-counts",
        "what the peer still says of a VM that was removed here keeps the others from being protected",
        (
            Edit(
                _SIGHT,
                "peer is not None and any(name in self.units.by_name for name in peer.record.behind)",
                "peer is not None and bool(peer.record.behind)",
            ),
        ),
        "there the peer follows within a second",
        units=_ROSTER,
    ),
    Mutant(
        "new-volume-holds-back-the-others",
        "a VM whose volume is just being made keeps the owner of others from going on without its peer",
        (
            Edit(
                _SIGHT, "for name in self.units.by_name if not self._is_blank(name)]", "for name in self.units.by_name]"
            ),
        ),
        units=_ROSTER,
    ),
    Mutant(
        "written-volume-counts-as-new",
        "a volume of which the peer has data counts as one that holds nothing",
        (Edit(_SIGHT, "DiskState.INCONSISTENT) and theirs.generations in _BLANK", "DiskState.INCONSISTENT)"),),
        "there a node has read the generation of its own copy before",
        units=_ROSTER,
    ),
    Mutant(
        "peers-note-of-a-volume-ignored",
        "a volume that the peer has noted as written counts as new while the peer has not looked at its disks",
        (Edit(_SIGHT, "for record in (self.durable.record, peer.record)):", "for record in (self.durable.record,)):"),),
        "a record that knows nothing, a bad copy and a peer that has just started have to come together",
        units=_ROSTER,
    ),
    Mutant(
        "unseen-volume-counts-as-new",
        "a volume counts as new while nobody can ask DRBD about it",
        (Edit(_SIGHT, "bare = unit.disk_known and (unit.disk is None or", "bare = (unit.disk is None or"),),
        "a record that knows nothing, a bad copy and a peer that has just started have to come together",
        units=_ROSTER,
    ),
    Mutant(
        "lone-right-waits-for-a-removed-vm",
        "the right to write alone stays for ever while the domain of a removed VM cannot be destroyed",
        (
            Edit(
                "avance/core/holdings.py",
                "    return bool(left) and (peer is None or any(vm in peer.vms for vm in left))\n",
                "    return bool(left)\n",
            ),
        ),
    ),
    Mutant(
        "lone-right-ends-beside-a-removed-vm",
        "the right to write alone ends while a removed VM may still write alone, and the peer could serve it",
        (Edit("avance/core/holdings.py", "(units.works or _may_be_served(sight))", "units.works"),),
        "the peer takes over in the second between a removal and the end of the domain",
        units=_LEFTOVER,
    ),
    Mutant(
        "command-of-a-removed-vm-forgotten",
        "the right to write alone ends while a command of a removed VM is on its way",
        (Edit(_UNITS, " or any(left.busy for left in self.leftovers.values())", ""),),
        "nothing that the simulator shows follows from it: the volume of a removed VM is served by nobody",
        units=_ROSTER,
    ),
    Mutant(
        "lone-right-waits-for-a-new-volume",
        "the right to write alone stays for ever while a node cannot make the volume of a VM that was added",
        (Edit("avance/core/holdings.py", "synced.issuperset(sight.filled)", "synced.issuperset(units.by_name)"),),
    ),
    Mutant(
        "hand-over-waits-for-a-new-volume",
        "an owner that cannot write its record waits for a volume that was never made, and nobody serves",
        (
            Edit(
                "avance/core/handover.py",
                "    for name in sight.filled:\n        has_all",
                "    for name in sight.units.by_name:\n        has_all",
            ),
        ),
    ),
    Mutant(
        "halves-wait-for-a-new-volume",
        "old mirror halves are not emptied because the peer has no good copy of a volume that needs them to be made",
        (Edit(_SIGHT, "vm) for vm in self.filled),\n", "vm) for vm in units),\n"),),
    ),
    Mutant(
        "restart-elsewhere-waits-for-a-new-volume",
        "a VM that cannot be created here is not tried on the other node while a volume cannot be made",
        (Edit("avance/core/restarts.py", "filled = sight.filled\n", "filled = [*units]\n"),),
    ),
    Mutant(
        "choice-waits-for-a-new-volume",
        "after a person's choice a node waits for a copy of a volume that was never made",
        (Edit(_SIGHT, "self.units.kept(self.filled),", "self.units.kept(self.units.by_name),"),),
    ),
    Mutant(
        "lost-volume-group-has-no-volumes",
        "where the volume group cannot be listed, the volume of a removed VM counts as gone",
        (
            Edit(
                "avance/adapters/drbd.py",
                "        if listed.outcome is not Outcome.OK:\n"
                "            return listed.done\n"
                "        if listed.detail:\n",
                "        if listed.detail and listed.outcome is Outcome.OK:\n",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "removal-that-failed-is-done",
        "what could not be taken away of a removed VM is not tried again",
        (Edit("avance/leftovers.py", "        return done.ok\n", "        return True\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "forgets-a-removal-that-goes-on",
        "a node takes definitions that forget a VM of which something is left there",
        (Edit("avance/apply.py", "        if vm not in tombstones:\n", "        if vm in new:\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "name-of-a-removed-vm-is-free",
        "a new VM gets the name of one that was removed and is still being taken away",
        (Edit("avance/definitions.py", "        if names.count(name) > 1:\n", "        if False:\n"),),
        _OUTSIDE,
    ),
)

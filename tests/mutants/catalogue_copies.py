"""Defects about which copy is good: whose right it is, which disk is ours, what is not known."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_RIGHTS, _HOLDINGS, _GUARD = "avance/core/rights.py", "avance/core/holdings.py", "avance/core/guard.py"
_SIGHT = "avance/core/sight.py"
_PARTNER = "avance/core/partner.py"
_HANDED = "avance/core/handover.py"
_USABLE = "avance/core/usable.py"
_PROMOTABLE = "        return disk.disk in GOOD or is_marked(disk)\n"
_HANDOVER = "tests/unit/avance/core/test_handover.py"
_DOUBT = "tests/unit/avance/core/test_copies_in_doubt.py"
_COPIES, _UNIT, _GOAL = "avance/core/copies.py", "avance/core/unit.py", "avance/core/goal.py"

MUTANTS = (
    Mutant(
        "consent-without-good-copy",
        "a backup gives up the only good copy for an owner whose own copy is gone, and that owner asks for it",
        (
            Edit(_RIGHTS, " and all(_owner_is_good(sight, name) for name in sight.filled)", ""),
            Edit(_RIGHTS, "    if any(not sight.is_good(name)", "    if any(False"),
            Edit(
                "avance/core/consent.py",
                "    if view is None or view.disk not in _USABLE:\n",
                "    if view is None or view.disk not in (*_USABLE, DiskState.DISKLESS):\n",
            ),
            Edit(_HANDED, "            if not sure:\n", "            if True:\n"),
        ),
    ),
    Mutant(
        "unknown-counted-as-stopped",
        "a node that cannot tell whether its domains run goes on as if none ran",
        (
            Edit(_GUARD, "        return self.may_write or not self.known\n", "        return self.may_write\n"),
            Edit(
                "avance/core/pair.py",
                "    if not facts.known:\n        return Stay()",
                "    if False:\n        return Stay()",
            ),
        ),
    ),
    Mutant(
        "record-not-tied-to-generation",
        "any disk is taken for the one that this node had",
        (Edit(_COPIES, "    return not known or known in generations\n", "    return True\n"),),
    ),
    Mutant(
        "lost-disk-forgotten",
        "a disk that was lost while the other copy went on is not noted as behind",
        (Edit(_HOLDINGS, "not newer) or _was_left(sight, name):\n", "not newer):\n"),),
    ),
    Mutant(
        "filled-copy-forgotten",
        "a copy is not behind one that became whole in the moment in which the connection ended",
        (Edit(_HOLDINGS, "        return theirs.disk in _WHOLE\n", "        return False\n"),),
        "one direction of the link, the disk and the end of the filling have to meet in one moment",
    ),
    Mutant(
        "source-is-behind-what-it-fills",
        "a copy whose disk is lost while it fills the other one counts as behind that one",
        (Edit(_HOLDINGS, "    if view.peer_disk is DiskState.INCONSISTENT:\n", "    if view.peer_disk is None:\n"),),
    ),
    Mutant(
        "behind-copy-served",
        "a copy that is behind is promoted",
        (Edit(_USABLE, "is DiskRole.PRIMARY or around.behind:\n", "is DiskRole.PRIMARY:\n"),),
    ),
    Mutant(
        "behind-copy-believed",
        "a copy that is behind counts as good again as soon as DRBD calls both equal",
        (
            Edit(_HOLDINGS, "unit.disk.in_sync and unit.resynced\n", "unit.disk.in_sync\n"),
            Edit(_UNIT, "            if not around.target and disk.disk in", "            if False and disk.disk in"),
            Edit(_UNIT, "whole and doubtful:\n", "whole and doubtful and self.resynced:\n"),
        ),
    ),
    Mutant(
        "hand-over-before-stopped",
        "the right is handed over while a VM may still run here",
        (Edit(_HANDED, "stopped = sight.sure and not sight.may_write and not tied\n", "stopped = True\n"),),
        units=(_HANDOVER,),
    ),
    Mutant(
        "handed-over-while-attaching",
        "the right is handed over, or consent given, while DRBD has not yet said what became of the own disk",
        (
            Edit(
                _UNIT,
                '        return self.busy not in (None, "PrepareVolume") or attached\n',
                "        return self.busy is not None\n",
            ),
        ),
    ),
    Mutant(
        "started-without-data",
        "a domain is created although its data cannot be read any more",
        (Edit(_UNIT, "around.goal is Goal.RUN and data\n", "around.goal is Goal.RUN\n"),),
    ),
    Mutant(
        "outdated-meets-a-writer-without-a-disk",
        "an outdated copy connects to a writer that has no copy of its own, and becomes another version",
        (
            Edit(_USABLE, "        return not (around.solo and (gone or is_marked(disk)))\n", "        return True\n"),
            Edit(_USABLE, "    return not gone and (harmless or", "    return not gone and (True or"),
        ),
    ),
    Mutant(
        "half-made-counts-as-running",
        "a domain whose creation was killed half-way, and that stands still, counts as running",
        (Edit(_UNIT, "            if self.half_made:\n", "            if False:\n"),),
    ),
    Mutant(
        "foreign-disk-attached",
        "a disk with other data than this node had is attached although nobody knows its data",
        (Edit(_GOAL, "    return bool(found) and found[0] in theirs\n", "    return True\n"),),
        units=(_HANDOVER,),
    ),
    Mutant(
        "lost-disk-of-a-lone-owner-forgotten",
        "a lone owner whose disk is lost takes its copy for the good one, although DRBD mirrors on to a silent peer",
        (
            Edit(
                _HOLDINGS,
                '    if view.connection == "Connected":  # however',
                "    if sight.durable.record.solo(sight.setup.me) and sight.pairing.pair is not PairState.PAIRED:\n"
                '        return False\n    if view.connection == "Connected":  # however',
            ),
        ),
    ),
    Mutant(
        "served-copy-judged-by-its-generation",
        "the writer's own copy counts as another disk when DRBD has begun generations that the record does not know",
        (
            Edit(_SIGHT, "        if unit.serves:\n", "        if False:\n"),
            Edit(_UNIT, 'or disk.replication == "SyncTarget":', 'or disk.replication in ("SyncSource", "SyncTarget"):'),
        ),
        units=(_DOUBT,),
    ),
    Mutant(
        "newer-copy-believed-when-durable",
        "an owner promotes its older disk while the record that says so is still on its way to the disk",
        (Edit(_SIGHT, "        return older or copies.is_behind(", "        return copies.is_behind("),),
    ),
    Mutant(
        "handed-over-without-everything",
        "an owner that wrote alone gives the right to a peer that was left behind, when its own disk is lost",
        (
            Edit(_HANDED, "    if not held and vm not in facts.guests:", "    if False:"),
            Edit(_HANDED, "    if not copies.is_ours(copies", "    if False and not copies.is_ours(copies"),
        ),
    ),
    Mutant(
        "doubt-ends-by-an-old-disk",
        "a copy that may lack something counts as good as soon as the peer's is as old, or older",
        (Edit(_COPIES, "    return newer and all(", "    return newer or all("),),
    ),
    Mutant(
        "outdated-copy-never-served",
        "a right that was handed back, or for which a person vouches, does not make an outdated copy the writer's",
        (Edit(_USABLE, _PROMOTABLE, "        return disk.disk in GOOD\n"),),
    ),
    Mutant(
        "override-believes-a-silent-peer",
        "what the peer said last still counts after a person has vouched that it is off",
        (Edit(_PARTNER, "None if forget else self.view\n", "self.view\n"),),
        units=(_DOUBT,),
    ),
    Mutant(
        "unknown-attach-forgotten",
        "the right is handed over although an attach whose outcome is not known may still come",
        (Edit(_UNIT, "        if outcome is not Outcome.FAILED and", "        if outcome is Outcome.OK and"),),
        units=(_DOUBT,),
    ),
    Mutant(
        "consent-before-reading",
        "a backup consents by the generation that it read before the connection ended; its own copy may be newer",
        (Edit(_RIGHTS, "and not unit.read_apart:\n        return False\n", "and False:\n        return False\n"),),
    ),
    Mutant(
        "newer-data-of-its-own-forgotten",
        "a backup consents to an owner whose copy lacks what this backup's copy has",
        (
            Edit(
                _RIGHTS,
                "        return copies.holds(theirs.generations, mine.generations)\n",
                "        return True\n",
            ),
        ),
        units=(_DOUBT,),
    ),
    Mutant(
        "unread-disk-promoted",
        "a disk that the daemon found attached is served before anybody has read which data it holds",
        (
            Edit(_RIGHTS, "behind=sight.behind | sight.unread,", "behind=sight.behind,"),
            Edit(_UNIT, " and not (around.solo and around.unread)", ""),
        ),
    ),
    Mutant(
        "guest-leaves-its-host",
        "a lone owner without a disk disconnects from the only good copy, because its heartbeats do not arrive",
        (Edit(_UNIT, "around.solo and disk.disk in GOOD  # without", "around.solo  # without"),),
    ),
    Mutant(
        "guest-keeps-the-right",
        "a lone owner without a disk keeps the right although the peer's copy has taken each of its writes",
        (Edit(_HANDED, "    if not held and vm not in facts.guests:", "    if not held:"),),
    ),
    Mutant(
        "broken-stream-remembered",
        "what DRBD said before its stream of events broke still counts as what happened since",
        (Edit(_UNIT, "self.connected()  # DRBD may", "pass  # DRBD may"),),
        units=(_DOUBT,),
    ),
    Mutant(
        "definitions-not-compared",
        "disks connect although the two nodes hold different definitions of their VMs",
        (Edit(_UNIT, " and around.agreed and", " and"),),
        beyond="the VMs of the simulator have no ports that could be mixed up",
        units=("tests/unit/avance/core/test_goal.py",),
    ),
    Mutant(
        "unheard-definitions-agreed",
        "a peer that was not heard counts as one with the same definitions",
        (
            Edit(
                _SIGHT,
                "return peer is not None and peer.config_hash == self.config_hash",
                "return peer is None or peer.config_hash == self.config_hash",
            ),
        ),
        beyond="the VMs of the simulator have no ports that could be mixed up",
        units=("tests/unit/avance/core/test_goal.py",),
    ),
    Mutant(
        "number-by-order",
        "minor and port of a VM follow the order of the definitions",
        (
            Edit(
                "avance/definitions.py",
                "[_with_number(entry, free) for entry in vms]",
                "[{**entry, NUMBER: place} if isinstance(entry, dict) else entry for place, entry in enumerate(vms)]",
            ),
        ),
        beyond="the VMs of the simulator have no ports that could be mixed up",
    ),
    Mutant(
        "kept-version-behind",
        "after a split, the version that a person kept goes on to count as behind the other one",
        (Edit("avance/core/operator.py", ", chosen=epoch, behind=(), generations=ours\n", ", chosen=epoch\n"),),
    ),
    Mutant(
        "given-up-version-is-vouched",
        "the version that a person gave up counts as good and as newer until it is replaced",
        (
            Edit(
                _COPIES,
                "    return vm in peer.record.discard or record.chosen > peer.record.epoch\n",
                "    return False\n",
            ),
            Edit(_COPIES, "        or vm in record.discard\n", ""),
        ),
    ),
    Mutant(
        "given-up-disk-is-foreign",
        "a disk whose data were given up, and whose node restarts before the copies meet, is refused for ever",
        (Edit(_GOAL, "    if vm in record.discard:\n", "    if False:\n"),),
        units=(_DOUBT,),
    ),
    Mutant(
        "other-version-is-the-newest",
        "while both nodes wait for a person's choice, a node notes the other version as the newest data",
        (Edit(_COPIES, "record.split or peer.record.split or is_given_up", "is_given_up"),),
    ),
)

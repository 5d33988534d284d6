"""Defects of what stands between the decisions and the outside world: adapters, files that are kept twice, parts."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_OUTSIDE = "the simulator has a machine of its own in the place of adapters and files"
_CONTRACT = ("tests/unit/avance/adapters/test_contract.py",)
_TWICE = "avance/twice.py"

MUTANTS = (
    Mutant(
        "adapter-raises",
        "an adapter raises for a full file system, and that ends the daemon",
        (
            Edit(
                "avance/adapters/xen.py",
                "        except (OSError, ValueError) as error:  # ValueError: it has letters that no file can hold\n",
                "        except LookupError as error:\n",
            ),
        ),
        _OUTSIDE,
        units=_CONTRACT,
    ),
    Mutant(
        "child-is-waited-for",
        "a program counts as ended only when its pipes are closed, which any child of it can hold open",
        (
            Edit(
                "avance/adapters/process.py",
                "            if ended:\n                return None\n",
                "            if ended and self._out.over and self._err.over:\n                return None\n",
            ),
        ),
        _OUTSIDE,
        units=_CONTRACT,
    ),
    Mutant(
        "cut-line-counts",
        "a line that was cut in the middle is taken for a whole one",
        (
            Edit(
                "avance/adapters/process.py",
                '            *whole, self._rest = (self._rest + part).split(b"\\n")\n',
                '            whole, self._rest = (self._rest + part).split(b"\\n"), b""\n',
            ),
        ),
        _OUTSIDE,
        units=("tests/unit/avance/adapters/test_drbd.py",),
    ),
    Mutant(
        "unlooked-disk-is-blank",
        "a disk at which blkid could not look counts as blank, and is overwritten",
        (Edit("avance/data_disks.py", "known.code == _NO_SIGNATURE", "known.outcome is Outcome.FAILED"),),
        _OUTSIDE,
    ),
    Mutant(
        "second-copy-never-read",
        "a start reads the first copy of the record only",
        (
            Edit(
                _TWICE,
                "        for path in self._paths:\n            try:\n                raw = read_small(path)\n",
                "        for path in self._paths[:1]:\n            try:\n                raw = read_small(path)\n",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "older-copy-stays",
        "a copy that could not be written keeps the older record, which a later start may find",
        (Edit(_TWICE, "                raise why\n            remove_durably(path)\n", "                raise why\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "bad-copy-not-mended",
        "a start acts on the good copy and leaves the other one as it is",
        (Edit(_TWICE, "        if worse and mend:\n", "        if worse and not mend:\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "newer-format-passed-over",
        "a newer record of a later release is passed over in favour of an older one",
        (Edit(_TWICE, "any(seq > newest for seq in later)", "False"),),
        _OUTSIDE,
    ),
    Mutant(
        "lost-address-stays-lost",
        "a service address that somebody took away is not put back",
        (
            Edit(
                "avance/core/address.py",
                "        if self.held and not present:\n            self.held = False\n",
                "        if self.held and not present:\n",
            ),
        ),
        "nobody takes an address away from a machine of the simulator",
    ),
    Mutant(
        "lost-gate-stays-lost",
        "the gate of the lease is not put back on a device that was made anew",
        (
            Edit(
                "avance/adapters/gate.py",
                "if self.problem is not None or not await asyncio.to_thread(self._is_whole):",
                "if self.problem is not None:",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "link-falls-too-often",
        "a link that has fallen a thousand times ends the daemon",
        (Edit("avance/core/damper.py", "_STEPS_MAX = 64", "_STEPS_MAX = 10**6"),),
        "no history is long enough",
        units=("tests/unit/avance/core/test_liveness.py",),
    ),
    Mutant(
        "held-back-boot-follows-a-later-one",
        "words of an earlier run of the peer's daemon, held back on their way, are heard after those of a later run",
        (Edit("avance/wire/heartbeat.py", "if beat.echo[1] < self._echoed_s:\n", "if False:\n"),),
        beyond="the simulator's wires hold nothing back for so long",
    ),
    Mutant(
        "question-has-the-number-of-another",
        "a late answer to a question that is over is given to who asked something else since",
        (
            Edit(
                "avance/requests.py",
                "        self._asked = ask = self._asked + 1\n",
                "        ask = max(self._open, default=0) + 1\n",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "resource-file-is-waited-for",
        "on a system disk that hangs, the resource file of a VM is written anew in one more thread each time",
        (Edit("avance/adapters/drbd.py", "        if vm in self._writing:\n", "        if not vm:\n"),),
        beyond="it lies below the core",
    ),
    Mutant(
        "unread-sensors-are-sound",
        "a BMC of which no sensor can be read is told as one that finds nothing wrong",
        (
            Edit(
                "avance/adapters/bmc_sensors.py",
                "        if all(word is None for word in words.values()):\n",
                "        if False:\n",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "late-answer-of-the-bmc-counts",
        "the answer to an earlier question is taken for that to the present one, of another sensor",
        (Edit("avance/adapters/bmc_sensors.py", "(kind, number) == (_RESPONSE, self._number)", "kind == _RESPONSE"),),
        _OUTSIDE,
    ),
    Mutant(
        "hung-readings-add-up",
        "a reading that hangs in the kernel gets one more beside it in each period",
        (Edit("avance/adapters/bmc_sensors.py", "acquire(blocking=False):", "acquire(blocking=False) and not self:"),),
        _OUTSIDE,
    ),
    Mutant(
        "unavailable-reading-counts",
        "what a BMC still shows of a sensor that it cannot read counts",
        (Edit("avance/wire/ipmi_sensors.py", "body[1] & _UNAVAILABLE or not body[1] & _SCANNED", "False"),),
        _OUTSIDE,
    ),
    Mutant(
        "hot-is-warm",
        "of several limits that are crossed the least one is told",
        (
            Edit(
                "avance/wire/ipmi_sensors.py", "in _KINDS[sensor.kind][2] if", "in reversed(_KINDS[sensor.kind][2]) if"
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "bridge-is-up-for-its-own-vm",
        "the public network of a primary counts as up without its card, because the wire of a VM keeps the bridge up",
        (
            Edit(
                "avance/network_devices.py",
                "        uplinks = _ports(device, root)\n",
                "        uplinks = [device] if _ports(device, root) else []\n",
            ),
        ),
        _OUTSIDE,
    ),
)

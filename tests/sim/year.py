"""Hours of trouble for both daemons, with their real journals: do files and memory stop growing?

A cable comes and goes, and a stranger sends junk each second. What an hour of it leaves in the files has a bound; what
it leaves in the memory of an engine must not grow with the hours. So nobody has to live a year: when one more hour
changes nothing, no later one does. What each node tells goes into its own queue of alerts, the real one. `python -m
tests.sim.year --hours 24` lives a day in minutes and prints each hour.
"""

from __future__ import annotations

import argparse
import pickle
import pickletools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from avance import deliver as courier
from avance import journal as journal_module
from avance.adapters import callhome
from avance.adapters.callhome import AlertQueue, Delivery, Reception, waiting
from avance.core import commands as c
from avance.core import events as e
from avance.core.model import NodeId
from avance.wire.callhome import told
from testbed.world.service_centre.store import parse_alert
from tests.playbook import BIZ, PRIV, A, B
from tests.sim.rows import WITNESS, Row
from tests.unit.avance.tape import Tape

HOUR_S = 3600.0
SWING = 16  # values that come and go; 12 falls of a cable an hour, each kept for good, are more in two hours
TURN_S = 300.0  # from one fall of a cable to the next
SHORT_S, LONG_S = 2.5, 6.0  # one that is only suspected, and one after which the link is down
LINE_BYTES_MAX = 64 << 10  # a line of inputs that begins anew with the state of an engine
JOURNAL_BYTES, INPUTS_BYTES = 128 << 10, 512 << 10  # so small that each is full many times


@dataclass(frozen=True)
class HourEnd:
    """Where both nodes stand after an hour: bytes in all files, and the number of values in what is in memory."""

    files_bytes: int
    values: dict[str, int]
    alerts: int

    @property
    def text(self) -> str:
        """One line for a person."""
        values = ", ".join(f"{node} {count} values" for node, count in self.values.items())
        return f"{self.files_bytes >> 10} KiB in files; {values}; {self.alerts} alerts"


class Queues:
    """The real queue of alerts of each node, in a directory of its own, by the clock of the simulated world."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.clock_s, self.skipped_s = 0.0, 0.0
        self.of = {node: AlertQueue(directory / node, node) for node in (A, B)}
        self._directory, self._patch = directory, patch
        patch.setattr(callhome, "now_s", lambda: self.clock_s + self.skipped_s)
        patch.setattr(callhome, "write_durably", lambda path, raw: path.write_bytes(raw))

    def tell(self, at: float, node: NodeId, command: c.SendAlert) -> None:
        """Take one alert as the daemon does, when its time has come, and what was held until then."""
        self.clock_s = at
        queue = self.of[node]
        queue._tell_held()
        assert queue._write(command.alert, command.epoch, "then") == "", "there is room for it"

    def stories(self, node: NodeId) -> set[tuple[str, str]]:
        """Return what the alerts that wait are about."""
        place = self._directory / node
        return {told((place / name).read_bytes())[0] for name in waiting(place)}

    @property
    def files_bytes(self) -> int:
        """What the files of both hold."""
        return sum(path.stat().st_size for path in self._directory.glob("*/*"))

    def delivered(self, node: NodeId) -> list[tuple[str, str]]:
        """Let the service centre be there again, after some more tries; returns what it takes, as it comes."""
        place, taken, away = self._directory / node, list[tuple[str, str]](), [Reception.AWAY] * 20
        turns = iter(range(500))

        def deliver(_: object, path: Path) -> Delivery:
            if away:
                return Delivery(away.pop(), "nobody answers")
            parse_alert(path.read_bytes())  # as the service centre reads it
            taken.append(told(path.read_bytes())[0])
            path.unlink()
            return Delivery(Reception.TAKEN)

        self._patch.setattr(courier, "QUEUE_DIR", place)
        self._patch.setattr(courier, "deliver", deliver)
        self._patch.setattr(courier, "_target", lambda _: object())
        courier.deliver_all(lambda _: next(turns, None) is None)
        return taken


class Trouble:
    """A protected pair that lives in trouble, its journals in a directory, its alerts in the queues."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch, queues: Queues | None = None) -> None:
        """Begin, with small bounds for the files; `patch` has to be undone at the end."""
        patch.setattr(journal_module, "JOURNAL_BYTES_MAX", JOURNAL_BYTES)
        patch.setattr(journal_module, "INPUTS_BYTES_MAX", INPUTS_BYTES)
        self.directory = directory
        self._queues = queues
        self._row = Row(WITNESS)
        self._row.world.tracing = False
        Tape(directory).over(patch)

    def hour(self) -> HourEnd:
        """Live one hour; returns what it leaves when all has been well for a while."""
        world = self._row.world
        for turn in range(int(HOUR_S / TURN_S)):
            cut = self._row.breaks("link.cut", ("a.priv0", "b.biz0")[turn % 2])
            self._stands(SHORT_S if turn % 3 else LONG_S)
            self._row.heals(cut)
            self._stands(TURN_S - LONG_S)
        alerts = len(world.alerts)
        self._tell()
        for kept in (world.alerts, world.commands, world.milestones, world.trace, world.recorded):
            kept.clear()  # the simulator's own notes
        files = sum(path.stat().st_size for path in self.directory.iterdir())
        return HourEnd(files, {node: self._values(node) for node in sorted(world.machines)}, alerts)

    def primary_dies(self, seconds: float) -> None:
        """The one thing that matters in all this: the primary loses its power, and comes back so much later."""
        dead = self._row.off(A)
        self._row.passes(seconds)
        assert self._row.served_by() == B, self._row.world.summary()
        self._row.heals(dead)
        self._row.recovers()

    def _tell(self) -> None:
        for at, node, command in self._row.world.commands:
            if self._queues is not None and isinstance(command, c.SendAlert):
                self._queues.tell(at, node, command)

    def _stands(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            for machine in self._row.world.machines.values():
                if machine.daemon is not None:
                    for link in (PRIV, BIZ):
                        machine.daemon.deliver(e.DatagramsRefused(link, "not a heartbeat", 1000))
            self._row.passes(1.0)
        self._row.passes(seconds - int(seconds))

    def _values(self, node: str) -> int:
        """Return of how many values a node's engine and receiver are made, whatever these are."""
        daemon = next(one.daemon for name, one in self._row.world.machines.items() if name == node)
        assert daemon is not None, f"no daemon lives on {node}"
        kept = (daemon.engine, daemon.receiver, daemon.echo)
        return sum(1 for _ in pickletools.genops(pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)))


# Two files of each kind and node, each full and one line over it.
FILES_BYTES_MAX = 2 * 2 * (JOURNAL_BYTES + INPUTS_BYTES + 2 * LINE_BYTES_MAX)


def complaint(hours: list[HourEnd]) -> str:
    """Say what has grown beyond its bound, or nothing; the first hour is the one in which all begins."""
    for number, hour in enumerate(hours, start=1):
        if hour.files_bytes > FILES_BYTES_MAX:
            return f"after hour {number} the files hold {hour.files_bytes} bytes, the bound is {FILES_BYTES_MAX}"
    for node, first in hours[0].values.items():
        last = hours[-1].values[node]
        if last > first + SWING:
            return f"what {node} keeps in memory grew from {first} to {last} values in {len(hours) - 1} hours"
    return ""


def main(argv: list[str] | None = None) -> int:
    """Live so many hours; 0 when nothing has grown."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.year", description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    given = parser.parse_args(argv)
    hours: list[HourEnd] = []
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        trouble = Trouble(Path(name), patch)
        for number in range(given.hours):
            hours.append(trouble.hour())
            print(f"hour {number + 1}: {hours[-1].text}", flush=True)
    said = complaint(hours)
    print(said or f"nothing has grown in {given.hours} hours")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())

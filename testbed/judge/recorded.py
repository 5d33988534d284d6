"""Everything that was recorded of a run and may be judged, in memory and in the files of the run.

The records of the history and the client's books have files of their own; `recorded.json` holds the rest: which time
counts, how the bed was built, and what was read back at the end. Judges get what `load` reads from these files, so a
run can be judged again whatever became of the first judge. It must never leave out what a judge may need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from testbed import history
from testbed.client import ledger
from testbed.client.ledger import Entry
from testbed.history import HistoryRecord
from testbed.replica.compare import Comparison, ReplicaReport
from testbed.replica.reading import Reading
from testbed.topology import NODES, Topology, Vm

RECORDS, RECORDED = "timeline.jsonl", "recorded.json"


def book_file(vm: Vm) -> str:
    """The name of the file with the client's book of a VM: `ledger.jsonl`, or `ledger@web1.jsonl`."""
    return f"{vm.of('ledger')}.jsonl"


@dataclass(frozen=True)
class Scene:
    """What the oracles must know of the bed."""

    topology: Topology = field(default_factory=Topology)
    dilation: float = 1.0  # of the run: a slower pair is seen less often

    @property
    def node_ports(self) -> Mapping[str, Sequence[str]]:
        """All ports of each node."""
        return {node: self.topology.ports(node) for node in NODES}

    @property
    def client_ports(self) -> Mapping[str, Sequence[str]]:
        """The ports of each node on the networks of clients."""
        return {node: self.topology.client_ports(node) for node in NODES}

    @property
    def vms(self) -> tuple[str, ...]:
        """The names of the VMs."""
        return tuple(vm.name for vm in self.topology.guests)

    @property
    def vm_macs(self) -> Mapping[str, str]:
        """The VMs by their MAC addresses."""
        return {vm.mac: vm.name for vm in self.topology.guests}


@dataclass(frozen=True)
class Recorded:
    """A run as its judges see it; times are those of the records' clock.

    `replicas` and `readings` are those of each VM, or a sentence when there are none: why not. `records` are all of the
    run, also those before and after the time that is judged, and `books` are what the client wrote to each VM.
    `choice_expected`: both nodes are forced to run, and a person chooses one of the two versions.
    """

    scene: Scene
    since_s: float
    until_s: float
    replicas: Mapping[str, ReplicaReport | str] | str
    readings: Mapping[str, tuple[Reading, ...]] | str
    overlap_allowed_s: float = 0.0
    duplicates_allowed: bool = False  # after faults that make the network duplicate requests
    choice_expected: bool = False
    records: tuple[HistoryRecord, ...] = ()
    books: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    def replicas_of(self, vm: str) -> ReplicaReport | str:
        """What comparing the copies of a VM's disk showed, or why nobody compared."""
        return self.replicas if isinstance(self.replicas, str) else self.replicas[vm]

    def readings_of(self, vm: str) -> tuple[Reading, ...] | str:
        """What was read back of a VM's writes, or why nothing was."""
        return self.readings if isinstance(self.readings, str) else self.readings[vm]

    @property
    def seen(self) -> list[HistoryRecord]:
        """The records of the time that is judged."""
        return [record for record in self.records if self.since_s <= record.t_s and _began(record) <= self.until_s]

    def write(self, directory: Path) -> None:
        """Write everything but records and books."""
        fields = asdict(replace(self, records=(), books={}))
        del fields["records"], fields["books"]
        (directory / RECORDED).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def load(directory: Path) -> Recorded:
    """Read a run back from its files; a run that broke off before the client began has no book."""
    fields = json.loads((directory / RECORDED).read_text(encoding="utf-8"))
    scene = Scene(Topology(**fields["scene"]["topology"]), fields["scene"]["dilation"])
    files = {vm.name: directory / book_file(vm) for vm in scene.topology.guests}
    return Recorded(
        **{
            **fields,
            "scene": scene,
            "replicas": _of_each_vm(fields["replicas"], _report),
            "readings": _of_each_vm(fields["readings"], _readings),
        },
        records=history.load(directory / RECORDS),
        books={name: ledger.load(file).entries() for name, file in files.items() if file.exists()},
    )


def _of_each_vm(fields: Any, read: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - unchecked JSON
    return fields if isinstance(fields, str) else {vm: read(value) for vm, value in fields.items()}


def _began(record: HistoryRecord) -> float:
    """When what a record tells began: an aggregate that ends behind the time that is judged still belongs to it."""
    first_s = record.fields.get("first_s")
    return first_s if isinstance(first_s, float) else record.t_s


def _report(fields: Any) -> ReplicaReport | str:  # noqa: ANN401 - unchecked JSON
    if isinstance(fields, str):
        return fields
    compared = {key: tuple(map(_comparison, fields[key])) for key in ("nodes", "halves")}
    listed = {key: tuple(fields[key]) for key in ("problems", "dirty")}
    return ReplicaReport(**{**fields, **compared, **listed})


def _comparison(fields: Mapping[str, Any]) -> Comparison:
    return Comparison(**{**fields, "ranges": tuple((offset, count) for offset, count in fields["ranges"])})


def _readings(fields: Any) -> tuple[Reading, ...]:  # noqa: ANN401 - unchecked JSON
    return tuple(Reading(**{**one, "ids": tuple(one["ids"]), "totals": tuple(one["totals"])}) for one in fields)

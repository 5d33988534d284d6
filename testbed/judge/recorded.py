"""Everything that was recorded of a run and may be judged, in memory and in the files of the run.

The records of the history and the client's book have files of their own; `recorded.json` holds the rest: which time
counts, how the bed was built, and what was read back at the end. Judges get what `load` reads from these files, so a
run can be judged again whatever became of the first judge. It must never leave out what a judge may need.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from testbed import history, site
from testbed.client import ledger
from testbed.client.ledger import Entry
from testbed.history import Record
from testbed.replica.compare import Comparison, ReplicaReport
from testbed.replica.reading import Reading

RECORDS, BOOK, RECORDED = "timeline.jsonl", "ledger.jsonl", "recorded.json"


@dataclass(frozen=True)
class Scene:
    """What the oracles must know of the bed: nodes with their ports (all, and those of clients), and the one VM."""

    node_ports: Mapping[str, Sequence[str]]
    client_ports: Mapping[str, Sequence[str]]
    vm: str
    vm_macs: Collection[str]
    dilation: float = 1.0  # of the run: a slower pair is seen less often


def bed_scene(dilation: float = 1.0) -> Scene:
    """The bed as the oracles must know it."""
    return Scene(
        node_ports={node: [f"{node}.{link}" for link in (site.PRIVATE, site.PUBLIC)] for node in site.NODES},
        client_ports={node: [f"{node}.{site.PUBLIC}"] for node in site.NODES},
        vm=site.VM_NAME,
        vm_macs=[site.VM_MAC],
        dilation=dilation,
    )


@dataclass(frozen=True)
class Recorded:
    """A run as its judges see it; times are those of the records' clock.

    `replicas` and `readings` are a sentence when there are none: why not. `records` are all of the run, also those
    before and after the time that is judged, and `book` is what the client wrote.
    """

    scene: Scene
    since_s: float
    until_s: float
    replicas: ReplicaReport | str
    readings: tuple[Reading, ...] | str
    overlap_allowed_s: float = 0.0
    duplicates_allowed: bool = False  # after faults that make the network duplicate requests
    records: tuple[Record, ...] = ()
    book: tuple[Entry, ...] = ()

    @property
    def seen(self) -> list[Record]:
        """The records of the time that is judged."""
        return [record for record in self.records if self.since_s <= record.t_s and _began(record) <= self.until_s]

    def write(self, directory: Path) -> None:
        """Write everything but records and book."""
        fields = asdict(replace(self, records=(), book=()))
        del fields["records"], fields["book"]
        (directory / RECORDED).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def load(directory: Path) -> Recorded:
    """Read a run back from its files; a run that broke off before the client began has no book."""
    fields = json.loads((directory / RECORDED).read_text(encoding="utf-8"))
    book = directory / BOOK
    return Recorded(
        **{
            **fields,
            "scene": Scene(**fields["scene"]),
            "replicas": _report(fields["replicas"]),
            "readings": _readings(fields["readings"]),
        },
        records=history.load(directory / RECORDS),
        book=ledger.load(book).entries() if book.exists() else (),
    )


def _began(record: Record) -> float:
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


def _readings(fields: Any) -> tuple[Reading, ...] | str:  # noqa: ANN401 - unchecked JSON
    if isinstance(fields, str):
        return fields
    return tuple(Reading(**{**one, "ids": tuple(one["ids"]), "totals": tuple(one["totals"])}) for one in fields)

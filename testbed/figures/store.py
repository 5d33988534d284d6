"""The testbed's own memory of what was measured: one SQLite file in the user's cache, so that versions can be compared.

A run goes in whole or not at all, also when its writer is killed or two write at once. Runs whose host was too noisy or
whose fault was not proven are kept, because they were run, and marked as not comparable. It must never mix accelerators
or dilations in one series, guess a value that was not measured, or write into a file of a newer schema.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from testbed.errors import TestbedError, UsageError
from testbed.figures.statistics import Value
from testbed.host.places import cache_directory
from testbed.judge import host_gate
from testbed.judge.result import LEDGER_COUNTS
from testbed.judge.verdict import Verdict
from testbed.process import run

if TYPE_CHECKING:
    from types import TracebackType

    from testbed.judge.result import Result

SCHEMA = 1  # kept in the file as user_version; a change of the tables raises it
BUSY_TIMEOUT_S = 30.0  # a writer needs milliseconds; this is for a disk that stalls
GIT_TIMEOUT_S = 10.0
COMPARABLE = {Verdict.PASS, Verdict.FAIL}
CONDITION = "host."  # metrics of this name are conditions of a run, not results
HOST_FIGURES = {
    "probe_lateness_p99_s": "s",
    "switch_lateness_median_s": "s",
    "switch_lateness_max_s": "s",
    "steal": "share",
    "cpu_pressure_some": "share",
    "busy": "share",
}
_TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    scenario TEXT NOT NULL, fault TEXT NOT NULL,
    image TEXT NOT NULL, revision TEXT NOT NULL, versions TEXT NOT NULL,
    accelerator TEXT NOT NULL, dilation REAL NOT NULL,
    seed INTEGER NOT NULL, started_wall TEXT NOT NULL,
    verdict TEXT NOT NULL, comparable INTEGER NOT NULL
) STRICT;
CREATE TABLE samples (
    run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    name TEXT NOT NULL, unit TEXT NOT NULL, value REAL NOT NULL, censored INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) STRICT;
"""
_INSERT = """
INSERT INTO runs (digest, scenario, fault, image, revision, versions, accelerator, dilation, seed, started_wall,
    verdict, comparable)
VALUES (:digest, :scenario, :fault, :image, :revision, :versions, :accelerator, :dilation, :seed, :started_wall,
    :verdict, :comparable)
ON CONFLICT (digest) DO NOTHING
"""
_SELECT = """
SELECT r.scenario, r.fault, r.image, r.revision, r.versions, r.accelerator, r.dilation, r.seed, r.started_wall,
    r.verdict, r.comparable, s.name, s.unit, s.value, s.censored
FROM runs r LEFT JOIN samples s ON s.run = r.id ORDER BY r.started_wall, r.id, s.rowid
"""


@dataclass(frozen=True)
class StoredRun:
    """What was run, of which version, under what conditions, and what came of it; texts that nobody knows are empty."""

    scenario: str
    fault: str
    image: str
    revision: str
    versions: str
    accelerator: str
    dilation: float
    seed: int
    started_wall: str
    verdict: str
    comparable: bool

    @property
    def version(self) -> str:
        """What tells one version from another: the image's hash, which covers the product inside, else the revision."""
        return self.image or self.revision or "unknown"


@dataclass(frozen=True)
class Sample:
    """One measured figure of a run; a censored value is only known to be at least this much."""

    name: str
    unit: str
    value: Value


_RUN_COLUMNS = tuple(field.name for field in fields(StoredRun))


class Series(NamedTuple):
    """What may be compared with each other: the same metric of the same experiment under the same conditions."""

    scenario: str
    fault: str
    accelerator: str
    dilation: float
    metric: str
    unit: str

    def text(self) -> str:
        """A heading for people."""
        what = self.scenario if not self.fault else f"{self.scenario} ({self.fault})"
        return f"{what}, {self.metric}, accelerator {self.accelerator}, dilation {self.dilation:g}"


class SeriesPoint(NamedTuple):
    """One run's value in a series."""

    run: StoredRun
    value: Value


class MetricStore:
    """The open metric store; a context manager."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else default_path()

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are begun by hand: only so does a writer take its lock before it reads.
            self._db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                self._db.execute("PRAGMA foreign_keys = ON")
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def _prepare(self) -> None:
        """Make the tables of a new file; refuse a file of a newer schema before anything is written."""
        version = self._schema()
        if version == 0:
            with self._transaction():
                if self._schema() == 0:  # another writer may have been first
                    for statement in _TABLES.strip().split(";\n"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {SCHEMA}")
            version = self._schema()
        if version != SCHEMA:
            raise UsageError(
                f"The metric store {self.path} has schema {version}; this testbed knows {SCHEMA}. Nothing was changed. "
                "Use the newer testbed that wrote it, or set AVANCE_CACHE to another directory."
            )

    def _schema(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; the lock is taken at the beginning, so that two writers wait for each other."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _unusable(self, error: Exception) -> TestbedError:
        return TestbedError(
            f"The metric store {self.path} cannot be used: {error}. No figure was kept; if the file is damaged, move "
            "it away and a new one is made."
        )

    def add(self, run: StoredRun, samples: Iterable[Sample], *, digest: str | None = None) -> bool:
        """Store one run with its figures; False when this very run is already there.

        Raises TestbedError when the file cannot be written; then nothing of the run is in it.
        """
        kept = list(samples)
        if digest is None:
            digest = _digest([asdict(run), [(sample.name, *sample.value) for sample in kept]])
        try:
            with self._transaction():
                done = self._db.execute(_INSERT, {**asdict(run), "digest": digest, "comparable": int(run.comparable)})
                if not done.rowcount:
                    return False
                rows = [(done.lastrowid, s.name, s.unit, float(s.value.at), int(s.value.censored)) for s in kept]
                self._db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return True

    def record(self, result: Result | Mapping[str, Any], *, revision: str = "") -> bool:
        """Store a judged result, or the document that one was written as; False when it is already there."""
        document = dict(result) if isinstance(result, Mapping) else asdict(result)
        document = json.loads(json.dumps(document, default=str))  # as it reads in result.json, so that both are one
        try:
            return self.add(run_of(document, revision=revision), samples_of(document), digest=_digest(document))
        except (KeyError, TypeError, ValueError) as error:
            raise TestbedError(f"This is no result of a run, so it was not stored: {error!r}.") from error

    def series(self, *, scenario: str = "", metric: str = "") -> dict[Series, list[SeriesPoint]]:
        """Return everything that was stored, oldest first, by what may be compared; the filters are beginnings."""
        found: dict[Series, list[SeriesPoint]] = {}
        for row in self._rows():
            known = dict(zip(_RUN_COLUMNS, row, strict=False))
            made = StoredRun(**{**known, "comparable": bool(known["comparable"])})
            name, unit, value, censored = row[len(_RUN_COLUMNS) :]
            if name is not None and made.scenario.startswith(scenario) and name.startswith(metric):
                key = Series(made.scenario, made.fault, made.accelerator, made.dilation, name, unit)
                found.setdefault(key, []).append(SeriesPoint(made, Value(value, bool(censored))))
        return dict(sorted(found.items(), key=lambda item: item[0][:4]))

    def _rows(self) -> list[Any]:
        try:
            return self._db.execute(_SELECT).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error


def default_path() -> Path:
    """Where the store of this user lies."""
    return cache_directory() / "metrics.sqlite"


def run_of(document: Mapping[str, Any], *, revision: str = "") -> StoredRun:
    """Return what a result document says about its run; raises KeyError, TypeError or ValueError for another one."""
    versions = document["versions"]
    faults = document["faults"]
    return StoredRun(
        scenario=str(document["scenario"]) + _size(document.get("topology", {})),
        fault=" + ".join(str(fault["name"]) for fault in faults),
        image=str(versions.get("image", "")),
        revision=revision or str(versions.get("revision", "")),
        versions=json.dumps(versions, sort_keys=True),
        accelerator=str(document["accel"]),
        dilation=float(document["dilation"]),
        seed=int(document["seed"]),
        started_wall=str(document["started_wall"]),
        verdict=str(document["verdict"]),
        comparable=_is_comparable(document),
    )


def _size(topology: Mapping[str, Any]) -> str:
    """What tells a larger bed's series from the usual one's, for example ` on 8 vms, 5 networks`."""
    known = {name: topology.get(name, 1) for name in ("vms", "networks", "processors")}
    larger = ", ".join(f"{count} {name}" for name, count in known.items() if count > 1)
    return f" on {larger}" if larger else ""


def _is_comparable(document: Mapping[str, Any]) -> bool:
    """A failure of safety stands on a noisy host and with an unproven fault as well, but its times say nothing."""
    proven = all(fault["verdict"] == "confirmed" for fault in document["faults"])
    noisy = host_gate.reasons(document["host"], float(document["dilation"]))
    return document["verdict"] in COMPARABLE and proven and not noisy


def samples_of(document: Mapping[str, Any]) -> list[Sample]:
    """Return the figures of a result document; one that has neither a value nor a limit is unknown and left out."""
    limits = document.get("limits_s", {})
    times = {f"phase.{name}": (at, limits.get(name)) for name, at in document["phases_s"].items()}
    times["outage"] = (document["outage_s"], limits.get("outage"))
    samples = []
    for name, (at, limit) in times.items():
        if at is not None:
            samples.append(Sample(name, "s", Value(float(at))))
        elif limit is not None:
            samples.append(Sample(name, "s", Value(float(limit), censored=True)))
    counts = {f"ledger.{name}": document["ledger"].get(name) for name in LEDGER_COUNTS}
    counts["dual_active"] = document["dual_active"]
    samples += [Sample(name, "", Value(float(count))) for name, count in counts.items() if count is not None]
    host = document["host"]
    if host.get("memory_peak_mib") is not None:
        samples.append(Sample("memory_peak", "MiB", Value(float(host["memory_peak_mib"]))))
    samples += [
        Sample(f"{CONDITION}{name.removesuffix('_s')}", unit, Value(float(host[name])))
        for name, unit in HOST_FIGURES.items()
        if host.get(name) is not None
    ]
    speed = host.get("speed") or {}
    samples += [
        Sample(f"{CONDITION}speed_{name}", "of the reference", Value(float(speed[name])))
        for name in ("median", "lowest")
        if speed.get(name) is not None
    ]
    return samples


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


async def git_revision(directory: Path) -> str:
    """Return the revision of a checkout, with a `+` when files differ from it; empty when git does not know."""
    try:
        done = await run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"], timeout_s=GIT_TIMEOUT_S, cwd=directory
        )
    except TestbedError:
        return ""
    return done.stdout.strip()

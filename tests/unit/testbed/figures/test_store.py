"""Proves the metric store: whole runs or nothing, two writers, a killed writer, newer files, and what is compared."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import TestbedError, UsageError
from testbed.figures import store as metrics
from testbed.figures.statistics import Value
from testbed.figures.store import MetricStore, Sample, Series, git_revision, run_of, samples_of
from testbed.judge.result import FaultResult, Result
from testbed.judge.verdict import Verdict
from testbed.process import Child, run
from testbed.vocabulary import PHASES
from testbed.wait import wait_until

ROOT = Path(__file__).resolve().parents[4]


def result(seed: int = 7, **changes: object) -> Result:
    """A run in which all went well, with changes."""
    made = Result("primary-crash", "tcg", 1.0, seed, "2026-01-01T00:00:00+00:00", verdict=Verdict.PASS)
    made.faults = [FaultResult("node.kill", "a", "confirmed", 4.2, {})]
    made.phases_s, made.outage_s, made.dual_active = dict.fromkeys(PHASES, 5.0), 14.2, 0
    made.ledger = {"acknowledged": 100, "lost": 0, "stale": None, "verdict": "clean"}
    made.host = {"probe_lateness_p99_s": 0.01, "steal": None, "memory_peak_mib": 1500}
    made.versions = {"image": "1a9e", "product": "0.1"}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store is made, in a directory that is not there yet."""
    return tmp_path / "cache" / "metrics.sqlite"


def names_and_values(made: Result) -> dict[str, Value]:
    """The figures of a result."""
    return {sample.name: sample.value for sample in samples_of(json.loads(json.dumps(made.__dict__, default=vars)))}


def test_a_result_becomes_phases_outage_counts_and_conditions(path: Path) -> None:
    """Each figure has its unit and the run has all that tells it from others; what nobody knows is not there."""
    with MetricStore(path) as store:
        assert store.record(result(), revision="abc+")
        found = store.series()
    assert {(key.metric, key.unit): points[0].value for key, points in found.items()} == {
        **{(f"phase.{name}", "s"): Value(5.0) for name in PHASES},
        ("outage", "s"): Value(14.2),
        ("ledger.acknowledged", ""): Value(100.0),
        ("ledger.lost", ""): Value(0.0),
        ("dual_active", ""): Value(0.0),
        ("memory_peak", "MiB"): Value(1500.0),
        ("host.probe_lateness_p99", "s"): Value(0.01),
    }
    made = next(iter(found.values()))[0].run
    assert (made.scenario, made.fault, made.image, made.revision) == ("primary-crash", "node.kill", "1a9e", "abc+")
    assert (made.accelerator, made.dilation, made.seed, made.verdict) == ("tcg", 1.0, 7, "pass")
    assert json.loads(made.versions) == {"image": "1a9e", "product": "0.1"}
    assert made.comparable


def test_what_did_not_come_in_time_is_stored_as_greater_than_its_limit() -> None:
    """A phase and an outage with a limit are censored; a phase without one is unknown and no figure."""
    made = result(verdict=Verdict.FAIL, outage_s=None, limits_s={"redundancy": 240.0, "outage": 118.5})
    made.phases_s |= {"redundancy": None, "promote": None}
    found = names_and_values(made)
    assert (found["phase.redundancy"], found["outage"]) == (Value(240.0, True), Value(118.5, True))
    assert "phase.promote" not in found
    assert run_of(made.__dict__ | {"faults": []}).comparable


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": Verdict.INVALID_HOST},
        {"verdict": Verdict.INCONCLUSIVE},
        {"verdict": Verdict.FAIL, "host": {"probe_lateness_p99_s": 9.0}},
        {"verdict": Verdict.FAIL, "faults": [FaultResult("node.kill", "a", "mismatch", None, {})]},
    ],
    ids=["invalid host", "inconclusive", "violation on a noisy host", "violation with an unproven fault"],
)
def test_a_run_whose_times_say_nothing_is_stored_and_marked(path: Path, changes: dict[str, object]) -> None:
    """It is there with its verdict, and not comparable."""
    with MetricStore(path) as store:
        store.record(result(7, **changes))
        points = next(iter(store.series().values()))
    assert [(point.run.verdict, point.run.comparable) for point in points] == [(changes["verdict"], False)]


def test_accelerators_and_dilations_are_never_in_one_series(path: Path) -> None:
    """The same experiment under other conditions is another series."""
    with MetricStore(path) as store:
        for seed, (accel, dilation) in enumerate([("tcg", 1.0), ("kvm", 1.0), ("tcg", 4.0), ("tcg", 1.0)]):
            store.record(result(seed, accel=accel, dilation=dilation))
        found = store.series(metric="outage")
    assert {(key.accelerator, key.dilation): len(points) for key, points in found.items()} == {
        ("tcg", 1.0): 2,
        ("kvm", 1.0): 1,
        ("tcg", 4.0): 1,
    }
    assert Series("a", "", "tcg", 4.0, "m", "s").text() == "a, m, accelerator tcg, dilation 4"


def test_a_larger_bed_is_a_series_of_its_own() -> None:
    """Its VMs share what one had alone; the default bed keeps its name."""
    document = result().__dict__ | {"faults": []}
    plain = run_of(document).scenario
    assert run_of(document | {"topology": {"vms": 1, "networks": 1}}).scenario == plain
    assert run_of(document | {"topology": {"vms": 8, "networks": 5}}).scenario == f"{plain} on 8 vms, 5 networks"


def test_the_same_run_is_stored_once(path: Path, tmp_path: Path) -> None:
    """A result and the file that it was written as are the same run."""
    result().write(tmp_path / "result.json")
    with MetricStore(path) as store:
        assert store.record(result())
        assert not store.record(json.loads((tmp_path / "result.json").read_text(encoding="utf-8")))
        assert [len(points) for points in store.series(metric="outage").values()] == [1]


def test_filters_are_beginnings_and_the_oldest_is_first(path: Path) -> None:
    """A series is in the order in which the runs were made, not in that in which they were stored."""
    with MetricStore(path) as store:
        for seed, day in ((1, "03"), (2, "01"), (3, "02")):
            store.record(result(seed, started_wall=f"2026-01-{day}T00:00:00+00:00"))
        ((_, points),) = store.series(scenario="primary", metric="outage").items()
        assert [point.run.seed for point in points] == [2, 3, 1]
        assert store.series(scenario="other") == {}
        assert set(store.series(metric="phase.")) == {key for key in store.series() if key.metric[:6] == "phase."}


def test_what_is_no_result_is_refused_and_changes_nothing(path: Path) -> None:
    """The sentence names what is missing."""
    with MetricStore(path) as store:
        with pytest.raises(TestbedError, match="no result of a run"):
            store.record({"scenario": "x"})
        assert store.series() == {}


def test_a_run_goes_in_whole_or_not_at_all(path: Path) -> None:
    """A figure that the table refuses takes the run back out."""
    with MetricStore(path) as store:
        twice = [Sample("outage", "s", Value(1.0)), Sample("outage", "s", Value(2.0))]
        with pytest.raises(TestbedError, match="No figure was kept"):
            store.add(run_of(result().__dict__ | {"faults": []}), twice)
        assert store._db.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_newer_file_is_refused_and_untouched(path: Path) -> None:
    """An old testbed does not guess what a newer one means."""
    with MetricStore(path) as store:
        store.record(result())
        store._db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with (
        pytest.raises(UsageError, match=r"has schema 2; this testbed knows 1\. Nothing was changed"),
        MetricStore(path),
    ):
        pass
    assert path.read_bytes() == before


def test_a_damaged_file_is_an_error_with_a_way_out(path: Path) -> None:
    """What is no database is not overwritten."""
    path.parent.mkdir()
    path.write_text("no database" * 50, encoding="ascii")
    with pytest.raises(TestbedError, match="move it away"), MetricStore(path):
        pass
    assert path.read_text(encoding="ascii").startswith("no database")


def test_a_writer_that_is_killed_leaves_nothing_half(path: Path, tmp_path: Path) -> None:
    """Killed between the run and its figures, with pages already on disk: the next one finds neither, and writes."""
    with MetricStore(path) as store:
        store.record(result(1))
    text = (
        "import pathlib, signal, sys\n"
        "from testbed.figures.store import MetricStore\n"
        f"with MetricStore(pathlib.Path({str(path)!r})) as store:\n"
        "    store._db.execute('PRAGMA cache_size = 1')\n"
        "    store._db.execute('BEGIN IMMEDIATE')\n"
        "    for n in range(2000):\n"
        "        store._db.execute('INSERT INTO runs SELECT NULL, ?, scenario, fault, image, revision, versions,'\n"
        "            ' accelerator, dilation, seed, started_wall, verdict, comparable FROM runs WHERE id = 1',\n"
        "            [str(n)])\n"
        "    print('half', flush=True)\n"
        "    signal.pause()\n"
    )
    log, before = tmp_path / "log", path.stat().st_size

    async def killed() -> None:
        async def half() -> bool:
            return "half" in log.read_text(encoding="utf-8")

        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with Child([sys.executable, "-c", text], name="writer", log=log, env=environment) as child:
            await wait_until(half, what="a transaction that is half done", timeout_s=100, poll_s=0.02)
            await child.kill()

    asyncio.run(killed())
    assert path.stat().st_size > before, "nothing had reached the file, so this kill proves nothing"
    with MetricStore(path) as store:
        assert store._db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.record(result(2))


def test_two_writers_wait_for_each_other(path: Path, tmp_path: Path) -> None:
    """Two processes make the same new file and write into it at once: every run of both is there."""
    text = (
        "import pathlib, sys\n"
        "from testbed.figures.store import MetricStore, Sample, StoredRun\n"
        "from testbed.figures.statistics import Value\n"
        "for seed in range(8):\n"
        f"    with MetricStore(pathlib.Path({str(path)!r})) as store:\n"
        "        run = StoredRun('s', '', sys.argv[1], '', '{}', 'tcg', 1.0, seed, '', 'pass', True)\n"
        "        store.add(run, [Sample('m', 's', Value(float(seed)))])\n"
    )

    async def both() -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with asyncio.TaskGroup() as group:
            for name in ("one", "two"):
                group.create_task(run([sys.executable, "-c", text, name], timeout_s=60, env=environment))

    asyncio.run(both())
    with MetricStore(path) as store:
        ((_, points),) = store.series().items()
    found = {(point.run.image, point.run.seed) for point in points}
    assert found == {(name, seed) for name in ("one", "two") for seed in range(8)}


class _Overtaken(MetricStore):
    """A store whose file another writer makes at the last moment."""

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with MetricStore(self.path), super()._transaction():
            yield


def test_two_makers_of_a_file_make_it_once(path: Path) -> None:
    """Between the look at a new file and its lock another writer made the tables: they are used."""
    with _Overtaken(path) as store:
        assert store.record(result())


def test_a_store_of_its_own_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AVANCE_CACHE moves it, as it moves images and snapshots."""
    monkeypatch.setenv("AVANCE_CACHE", str(tmp_path))
    with MetricStore() as store:
        assert store.path == tmp_path / "metrics.sqlite" == metrics.default_path()


def test_a_directory_without_a_repository_has_no_revision(tmp_path: Path) -> None:
    """Nobody knows, so the text is empty; a missing git is no error either."""
    assert asyncio.run(git_revision(tmp_path)) == ""


@pytest.mark.skipif(shutil.which("git") is None, reason="the host has no git")
def test_a_checkout_that_differs_from_its_revision_says_so(tmp_path: Path) -> None:
    """The mark tells that the revision alone does not describe what ran."""

    async def scenario() -> list[str]:
        git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@invalid"]
        (tmp_path / "file").write_text("one", encoding="ascii")
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
            await run([*git, *words], timeout_s=100)
        clean = await git_revision(tmp_path)
        (tmp_path / "file").write_text("two", encoding="ascii")
        return [clean, await git_revision(tmp_path)]

    clean, changed = asyncio.run(scenario())
    assert len(clean) >= 12
    assert changed == f"{clean}+"


def test_the_version_is_the_image_before_the_revision() -> None:
    """The hash of the image covers the product inside; figures without an image go by the revision."""
    made = run_of(result().__dict__ | {"faults": []}, revision="abc")
    assert made.version == "1a9e"
    assert sqlite3.sqlite_version_info >= (3, 37), "tables with types need it"

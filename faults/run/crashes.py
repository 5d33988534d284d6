"""Crash after crash of the primary under write load: not one acknowledged write lost, stale or on one node only.

Each crash is a power cut that loses what was not flushed, on a restored pair, at a random phase of the heartbeats. A
result of the same image that is already there is kept, so that what was interrupted goes on where it was. It must
never count a crash that was not proven, and never turn a time into a pass or a fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from faults.schedule.schedule import Schedule, expand, load
from testbed.bed.session import fix_dilation
from testbed.errors import TestbedError
from testbed.figures.statistics import Value, summarise
from testbed.figures.store import MetricStore, git_revision, run_of, samples_of
from testbed.judge.result import SCHEMA
from testbed.judge.verdict import Verdict
from testbed.node import image
from testbed.progress import Progress
from testbed.site import ROOT

PLAN = ROOT / "faults" / "schedules" / "A1.jsonl"
SEED_BITS = 32
TRIES = 3  # a run that said nothing is run again
FIGURES = ("phase.detect", "phase.decide", "phase.promote", "phase.vm_start", "phase.service_up", "phase.redundancy",
           "outage")  # fmt: skip

Document = Mapping[str, Any]  # a result as it stands in result.json


def plan_of(number: int) -> Schedule:
    """Return the crash with this number; it strikes at another phase of the heartbeats than the others."""
    return expand(Random(f"crash/{number}").getrandbits(SEED_BITS), load(PLAN))


def wrongs(document: Document) -> list[str]:
    """Return which promise a crash broke; times, and a host that was too busy, are none."""
    ledger, findings = document["ledger"], {one["oracle"]: one for one in document["findings"]}
    found = [f"{ledger[key]} acknowledged writes {key}" for key in ("lost", "stale") if ledger.get(key) != 0]
    if document["dual_active"] != 0:
        found.append(f"two nodes active: {document['dual_active']}")
    for oracle in ("replicas_equal", "writes", "failovers"):
        finding = findings.get(oracle, {"verdict": "not asked", "text": ""})
        if finding["verdict"] != Verdict.PASS:
            found.append(f"{oracle} {finding['verdict']}: {finding['text']}")
    if document["verdict"] == Verdict.FAIL:
        found += [reason for reason in document["reasons"] if reason not in found]
    return found


def says_something(document: Document) -> bool:
    """Say whether the crash was proven and looked at to the end; what was found then may still be wrong."""
    proven = [fault["verdict"] == "confirmed" for fault in document["faults"]]
    return bool(proven) and all(proven) and not document.get("broken")


def kept(directory: Path, image_hash: str) -> Document | None:
    """Return the result that an earlier call has left here: of this schema and image, and one that said something."""
    try:
        document: Document = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = document.get("schema") == SCHEMA and document["versions"].get("image") == image_hash
    return document if is_ours and says_something(document) else None


def report(documents: Sequence[Document]) -> str:
    """Return what many crashes came to, as a table."""
    acknowledged = sum(int(one["ledger"].get("acknowledged") or 0) for one in documents)
    broken = {number: wrongs(one) for number, one in enumerate(documents, start=1)}
    good = sum(not found for found in broken.values())
    lines = [f"{len(documents)} crashes of the primary, {acknowledged} acknowledged writes, {good} without any mistake"]
    for dilation in sorted({float(one["dilation"]) for one in documents}):  # never mixed
        alike = [one for one in documents if one["dilation"] == dilation]
        lines.append(f"  dilation {dilation:g}: {len(alike)} crashes")
        for figure in FIGURES:
            values = [sample.value for one in alike for sample in samples_of(one) if sample.name == figure]
            lines.append(f"  {figure:<18} {text_of(values)}")
    noisy = sum(not run_of(one).comparable for one in documents)
    lines.append(f"  {noisy} of them on a host that was too busy for their times to mean anything")
    return "\n".join([*lines, *(f"  crash {number}: {text}" for number, found in broken.items() for text in found)])


def text_of(values: Sequence[Value]) -> str:
    """Return the distribution of a figure in one line."""
    if not values:
        return "never reached"
    summary = summarise(values)
    return f"min {summary.min.text()}, {summary.text('s')}"


async def main(out: Path, runs: int) -> int:
    """Crash so often; returns 0 when no crash broke a promise, 1 when one did, 3 when one never said anything."""
    from faults.run.scenario import run_schedule  # noqa: PLC0415 - imports the whole bed

    progress, revision = Progress(), await git_revision(ROOT)
    image_hash = (await image.ensure()).hash
    await fix_dilation(progress)
    documents: list[Document] = []
    silent = 0
    for number in range(1, runs + 1):
        directory = out / f"{number:03}"
        document = kept(directory, image_hash)
        for attempt in range(TRIES if document is None else 0):
            progress.say(f"crash {number} of {runs}" + (f", try {attempt + 1}" if attempt else ""))
            try:
                made = await run_schedule(plan_of(number), directory)
            except TestbedError as error:
                progress.say(f"the bed broke: {error}")
                continue
            with MetricStore() as store:
                store.record(made, revision=revision)
            if says_something(asdict(made)):
                document = kept(directory, image_hash)
                break
        if document is None:
            silent += 1
            continue
        documents.append(document)
        for text in wrongs(document):
            progress.say(f"crash {number}: {text}")
    print(report(documents))
    (out / "crashes.txt").write_text(report(documents) + "\n", encoding="utf-8")
    if silent:
        print(f"{silent} crashes were never proven")
    return 1 if any(wrongs(one) for one in documents) else 3 if silent else 0

"""The verb `alarms`: what the alerts of finished runs are worth, as text, and as a page of the documents.

It reads and runs nothing. A run that proved nothing is left out and counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.progress import Progress

ALL_WELL, NOT_WELL, SAID_NOTHING = 0, 1, 3


def register(verbs: Any) -> None:  # noqa: ANN401 - argparse does not publish the type of its sub-parsers
    """Add the verb."""
    verb = verbs.add_parser(
        "alarms",
        help="judge the alerts of finished runs; exit code 0 aims reached, 1 not, 3 no run could be counted",
    )
    verb.add_argument("directory", type=Path, nargs="+", help="of one run, or of many at any depth")
    verb.add_argument("--markdown", type=Path, metavar="FILE", default=None, help="write the figures as a page, too")
    verb.set_defaults(act=_alarms)


def _alarms(args: argparse.Namespace) -> int:
    from faults.alarms import told  # noqa: PLC0415 - the registry imports scapy: `testbed doctor` must not
    from faults.alarms.finished import read_run, results_below  # noqa: PLC0415 - as above
    from faults.alarms.score import score  # noqa: PLC0415 - as above
    from faults.alarms.table import BY_FAULT  # noqa: PLC0415 - as above

    paths, progress = results_below(args.directory), Progress()
    progress.say(f"read {len(paths)} results ...")
    runs = sorted((read_run(path) for path in paths), key=lambda run: run.name)
    found = score(runs, BY_FAULT)
    print(told.report(found))
    if args.markdown is not None:
        try:
            args.markdown.write_text(told.measured(found), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--markdown {args.markdown} cannot be written: {error.strerror}.") from error
        progress.say(f"wrote {args.markdown}")
    if not found.runs:
        return SAID_NOTHING
    return ALL_WELL if told.is_good(found) else NOT_WELL

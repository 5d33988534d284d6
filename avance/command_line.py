"""The verbs of the `avance` command: run the daemon or a witness, pair a node, protect a VM, show the status, decide
what only a person may, look into a journal. What has to start fast does not come here (`avance/__main__.py`).
"""

from __future__ import annotations

import argparse
import sys
from math import inf
from pathlib import Path
from typing import Any

from avance.parsed import Json
from avance.show_status import main as show_status
from avance.socket_line import ask

_OPERATOR_VERBS = {
    "override": "go on without the peer NODE, which is off for certain and stays off",
    "reset-device": "take NODE back, which failed too often; on NODE itself: what was left there is tried again",
    "keep": "after both nodes wrote alone: keep the data of NODE",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 refused."""
    parser = argparse.ArgumentParser(prog="avance", description="One highly available server out of two machines.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="the daemon (started by the supervisor)")
    verbs.add_parser("callhome", help="deliver queued alerts (started by the supervisor)")
    status = verbs.add_parser("status", help="what this node knows of the pair")
    status.add_argument("--json", action="store_true", help="the whole document, for programs")
    pair = verbs.add_parser("pair", help="tell this node its site; the same file on both nodes")
    pair.add_argument("--node", required=True, help="the name of this node in the site file")
    pair.add_argument("--site", required=True, type=Path, help="site file, schema avance.site/1")
    vm = verbs.add_parser("vm", help="virtual machines").add_subparsers(dest="vm_verb", required=True)
    protect = vm.add_parser("protect", help="protect a VM; the same definition on both nodes")
    protect.add_argument("--file", required=True, type=Path, help="definition of the VM")
    witness = verbs.add_parser("witness", help="give each epoch to one node; on a third machine, by its supervisor")
    witness.add_argument("--listen", required=True, metavar="ADDR:PORT", help="IPv4 address and UDP port")
    witness.add_argument("--state", required=True, type=Path, metavar="FILE", help="what it must never forget")
    witness.add_argument("--secret-file", required=True, type=Path, metavar="FILE", help="its own secret")
    witness.add_argument("--dilation", type=float, default=1.0, metavar="D", help="as in the site file; default 1")
    for verb, told in _OPERATOR_VERBS.items():
        verbs.add_parser(verb, help=told).add_argument("name", metavar="NODE", help="its name, typed in full")
    replay = verbs.add_parser("replay", help="decide a recorded journal again, and say why it did or did not fail over")
    replay.add_argument("journal", type=Path, metavar="JOURNAL", help="journal.jsonl, with its inputs.jsonl beside it")
    replay.add_argument("--why", action="store_true", help="every decision in plain words, not only the summary")
    replay.add_argument("--from", dest="from_s", type=float, default=0.0, metavar="S", help="show from S seconds on")
    replay.add_argument("--until", dest="until_s", type=float, default=inf, metavar="S", help="show until S seconds")
    timers = verbs.add_parser("timers", help="the worst-case recovery time, with every term")
    timers.add_argument("--site", type=Path, help="a site file instead of the one in use")
    secret = verbs.add_parser("secret", help="print what a witness, or the BMC of a node, has to be given")
    secret.add_argument("kind", choices=("witness", "bmc"))
    secret.add_argument("name", metavar="NAME", help="of the witness, or of the node")
    secret.add_argument("--site", type=Path, help="a site file instead of the one in use")
    args = parser.parse_args(argv)
    if args.verb == "replay":
        from avance.replay import main as replay_main  # noqa: PLC0415 - only replay pays for these imports

        return replay_main(args.journal, why=args.why, from_s=args.from_s, until_s=args.until_s)
    if args.verb == "timers":
        from avance.show_timers import main as show_timers  # noqa: PLC0415 - only this verb pays for these imports

        return show_timers(args.site)
    if args.verb == "secret":
        from avance.show_secret import main as show_secret  # noqa: PLC0415 - only this verb pays for these imports

        return show_secret(args.kind, args.name, args.site)
    if args.verb == "run":
        from avance.daemon import main as run  # noqa: PLC0415 - only the daemon pays for these imports

        return run()
    if args.verb == "status":  # in another spelling than the one that is told apart before
        return show_status(for_programs=args.json)
    if args.verb == "callhome":
        from avance.deliver import main as deliver  # noqa: PLC0415 - only the deliverer pays for these imports

        return deliver()
    if args.verb == "witness":
        return _witness(args)
    return _ask_daemon(args)


def _witness(args: argparse.Namespace) -> int:
    from avance.errors import ConfigError  # noqa: PLC0415 - only the witness pays for these imports
    from avance.witness import main as witness  # noqa: PLC0415

    try:
        return witness(args.listen, args.state, args.secret_file, args.dilation)
    except ConfigError as error:
        print(f"avance: {error}", file=sys.stderr)
        return 2


def _ask_daemon(args: argparse.Namespace) -> int:
    try:
        answer = ask(_request(args))
    except (OSError, ValueError) as error:
        print(f"avance: {error}", file=sys.stderr)
        return 1
    if "error" in answer:
        print(f"avance: {answer['error']}", file=sys.stderr)
        return 2
    print(answer["ok"])
    return 0


def _request(args: argparse.Namespace) -> dict[str, Any]:
    if args.verb == "pair":
        return {"op": "pair", "node": args.node, "site": _read_json(args.site)}
    if args.verb == "vm":
        return {"op": "protect", "vm": _read_json(args.file)}
    return {"op": args.verb, "node": args.name}


def _read_json(path: Path) -> Json:
    from avance.given import read_given  # noqa: PLC0415 - only the verbs that change something pay for it

    try:
        return read_given(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}; nothing was changed") from error

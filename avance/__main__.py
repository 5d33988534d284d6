"""The `avance` command: run the daemon or a witness, pair a node, protect a VM, show the status, decide what only a
person may, look into a journal.

What only talks to the daemon's control socket imports little, because start-up time is expensive in dom0.
"""

from __future__ import annotations

import argparse
import json
import sys
from math import inf
from pathlib import Path
from typing import Any

from avance.client import ask
from avance.parsed import Json

_OPERATOR_VERBS = {
    "override": "go on without the peer NODE, which is off for certain and stays off",
    "reset-device": "take NODE back, which failed too often",
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
    witness.add_argument("--secret-file", required=True, type=Path, metavar="FILE", help="the secret of the site file")
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
    args = parser.parse_args(argv)
    if args.verb == "replay":
        from avance.replay import main as replay_main  # noqa: PLC0415 - only replay pays for these imports

        return replay_main(args.journal, why=args.why, from_s=args.from_s, until_s=args.until_s)
    if args.verb == "timers":
        from avance.show_timers import main as show_timers  # noqa: PLC0415 - only this verb pays for these imports

        return show_timers(args.site)
    if args.verb == "run":
        from avance.daemon import main as run  # noqa: PLC0415 - only the daemon pays for these imports

        return run()
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
    if args.verb != "status":
        print(answer["ok"])
    elif args.json:
        print(json.dumps(answer))
    else:
        print(status_text(answer))
    return 0


def _request(args: argparse.Namespace) -> dict[str, Any]:
    if args.verb == "pair":
        return {"op": "pair", "node": args.node, "site": _read_json(args.site)}
    if args.verb == "vm":
        return {"op": "protect", "vm": _read_json(args.file)}
    if args.verb in _OPERATOR_VERBS:
        return {"op": args.verb, "node": args.name}
    return {"op": "status"}


def _read_json(path: Path) -> Json:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); nothing was changed") from error


def status_text(status: dict[str, Any]) -> str:
    """Return the status as a person wants to read it: the one fact that matters first."""
    if status["pair"] == "UNPAIRED":
        return "NOT PAIRED: run `avance pair` on both nodes"
    word = "PROTECTED" if status["protected"] else "NOT PROTECTED"
    links = ", ".join(f"{name} {state}" for name, state in status["links"].items())
    address = status["service_address"]
    lines = [
        f"{word}: node {status['node']} is {status['role']}, pair {status['pair']}, epoch {status['epoch']}",
        f"links:           {links}",
        f"service address: {address['address']}" + (" (here)" if address["held"] else ""),
        f"call home:       {status['call_home']['queued']} alerts waiting",
        f"arbitration:     {_arbitration_text(status)}",
        f"watchdog:        {_watchdog_text(status['watchdog'])}",
        f"gate:            {status['gate']['problem'] or 'in place'}",
        f"data disks:      {_mirror_text(status['mirror'])}",
    ]
    if status["quarantined"]:
        lines.append("QUARANTINED: a node failed too often; `avance reset-device NODE` takes it back")
    if status["rejected"]:
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(status["rejected"].items()))
        lines.append(f"refused datagrams: {refused}")
    for name, vm in status["vms"].items():
        disks = f"{vm.get('disk', '?')}/{vm.get('peer_disk', '?')}, {vm.get('connection', '?')}"
        lines.append(f"vm {name}: {vm['state']}, disks {disks}")
    if status["dilation"] != 1.0:
        lines.append(f"all times are multiplied by {status['dilation']:g} (declared dilation)")
    return "\n".join(lines)


def _arbitration_text(status: dict[str, Any]) -> str:
    words = status["arbitration"]
    means = ", ".join(words["arbiters"]) or f"policy {words['policy']}"
    lease = "" if words["lease_s"] is None or words["solo"] else f", lease {words['lease_s']:.1f} s"
    hole = ", HOLE OPEN: a cut of every link can lead to two writers" if words["hole"] == "open" else ""
    return means + (", this node may write alone" if words["solo"] else "") + lease + hole


def _watchdog_text(watchdog: dict[str, Any]) -> str:
    if not watchdog["configured"]:
        return "off"
    return watchdog["problem"] or ("armed" if watchdog["armed"] else "not armed yet")


def _mirror_text(mirror: dict[str, Any]) -> str:
    detail = f": {mirror['detail']}" if mirror["detail"] else ""
    if mirror["state"] == "CURRENT":
        return f"{mirror['halves']} of {mirror['of']} halves{detail}"
    return f"{mirror['state']}, {mirror['halves']} of {mirror['of']} halves{detail}"


if __name__ == "__main__":
    sys.exit(main())

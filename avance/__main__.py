"""The `avance` command: run the daemon, pair a node, protect a VM, show the status.

Everything but `run` and `callhome` only talks to the daemon's control socket, and imports little, because start-up
time is expensive in dom0.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from avance.client import ask
from avance.parsed import Json


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
    args = parser.parse_args(argv)
    if args.verb == "run":
        from avance.daemon import main as run  # noqa: PLC0415 - only the daemon pays for these imports

        return run()
    if args.verb == "callhome":
        from avance.deliver import main as deliver  # noqa: PLC0415 - only the deliverer pays for these imports

        return deliver()
    return _ask_daemon(args)


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
    ]
    for name, vm in status["vms"].items():
        disks = f"{vm.get('disk', '?')}/{vm.get('peer_disk', '?')}, {vm.get('connection', '?')}"
        lines.append(f"vm {name}: {vm['state']}, disks {disks}")
    if status["dilation"] != 1.0:
        lines.append(f"all times are multiplied by {status['dilation']:g} (declared dilation)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

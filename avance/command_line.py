"""The verbs of the `avance` command: run the daemon or a witness, pair a node, change the definitions of the pair, show
the status, decide what only a person may, look into a journal. What has to start fast does not come here
(`avance/__main__.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from math import inf
from pathlib import Path
from typing import Any

from avance.parsed import Json
from avance.show_status import main as show_status
from avance.socket_line import ANSWER_S, ask

_AGREED = ("vm", "site", "definitions", "leave")  # for these the daemon waits for the other node
_AGREED_S = 1800.0  # longer than any daemon waits for that, whatever its dilation
_TOLD = ("health", "readiness")  # parts of the status
_LIFE_S = 18000.0  # longer than it waits until a VM is off, and runs again
_LIFE_VERBS = {
    "start": "let a VM run",
    "stop": "ask the guest of a VM to shut down; it stays off until it is started",
    "power-off": "end a VM at once, as by a power cut; it stays off until it is started",
    "restart": "stop a VM, and start it",
}
_OPERATOR_VERBS = {
    "override": "go on without the peer NODE, which is off for certain and stays off",
    "reset-device": "take NODE back, which failed too often; on NODE itself: what was left there is tried again",
    "move": "let the VMs run on NODE from now on; they move there while they run",
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
    health = verbs.add_parser("health", help="what is wrong with each node, and what to do")
    health.add_argument("--json", action="store_true", help="the whole document, for programs")
    ready = verbs.add_parser("readiness", help="what would happen if the primary died now")
    ready.add_argument("--json", action="store_true", help="the whole document, for programs")
    pair = verbs.add_parser("pair", help="tell this node its site; the same file on both nodes")
    pair.add_argument("--node", required=True, help="the name of this node in the site file")
    pair.add_argument("--site", required=True, type=Path, help="site file, schema avance.site/1")
    _add_definition_verbs(verbs)
    witness = verbs.add_parser("witness", help="give each epoch to one node; on a third machine, by its supervisor")
    witness.add_argument("--listen", required=True, metavar="ADDR:PORT", help="IPv4 address and UDP port")
    witness.add_argument("--state", required=True, type=Path, metavar="FILE", help="what it must never forget")
    witness.add_argument("--secret-file", required=True, type=Path, metavar="FILE", help="its own secret")
    witness.add_argument("--dilation", type=float, default=1.0, metavar="D", help="as in the site file; default 1")
    for verb, told in _OPERATOR_VERBS.items():
        verbs.add_parser(verb, help=told).add_argument("name", metavar="NODE", help="its name, typed in full")
    verbs.add_parser("leave", help="let the VMs run on the other node, and wait for it; then switch this one off")
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


def _add_definition_verbs(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Add what changes the definitions of the pair; each is given once, on either node."""
    alone = argparse.ArgumentParser(add_help=False)
    alone.add_argument("--one-node", action="store_true", help="while the other node is silent: it takes it later")
    vm = verbs.add_parser("vm", help="virtual machines").add_subparsers(dest="vm_verb", required=True)
    for verb, told in (
        ("add", "protect another VM"),
        ("change", "give a VM another definition, which counts from its next start"),
    ):
        one = vm.add_parser(verb, help=told, parents=[alone])
        one.add_argument("--file", required=True, type=Path, help="definition of the VM")
    remove = vm.add_parser("remove", help="remove a VM and its volume from both nodes", parents=[alone])
    remove.add_argument("name", metavar="NAME", help="of the VM, typed in full")
    remove.add_argument("--delete-volume", action="store_true", help="yes, all data of the VM may be deleted")
    for verb, told in _LIFE_VERBS.items():
        one = vm.add_parser(verb, help=told, parents=[alone])
        one.add_argument("name", metavar="NAME", help="of the VM")
        if verb in ("stop", "restart"):
            one.add_argument("--now", action="store_true", help="end it at once, without asking its guest")
    listed = vm.add_parser("list", help="what each VM does, and where; the same on either node")
    listed.add_argument("--json", action="store_true", help="the whole document, for programs")
    site = verbs.add_parser("site", help="the site of the pair").add_subparsers(dest="site_verb", required=True)
    change = site.add_parser("change", help="give the pair another site", parents=[alone])
    change.add_argument("--site", required=True, type=Path, help="site file, schema avance.site/1")
    definitions = verbs.add_parser("definitions", help="which site and VMs count here, and what an agreement waits for")
    definitions.add_argument("--json", action="store_true", help="the whole document, for programs")
    definitions.add_argument("take", nargs="?", choices=("take",), help="give up ours, and take the other node's")


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
        answer = ask(_request(args), answer_s=_answer_s(args))
    except (OSError, ValueError) as error:
        print(f"avance: {error}", file=sys.stderr)
        return 1
    if "error" in answer:
        print(f"avance: {answer['error']}", file=sys.stderr)
        return 2
    if getattr(args, "json", False) and getattr(args, "take", None) is None:
        print(json.dumps(answer))
        return 0
    print(answer["ok"])
    return 0


def _answer_s(args: argparse.Namespace) -> float:
    if getattr(args, "vm_verb", "") in _LIFE_VERBS:
        return _LIFE_S
    return _AGREED_S if args.verb in _AGREED else ANSWER_S


def _request(args: argparse.Namespace) -> dict[str, Any]:
    if args.verb == "pair":
        return {"op": "pair", "node": args.node, "site": _read_json(args.site)}
    if args.verb == "vm" and args.vm_verb == "remove":
        volume = {"delete_volume": args.delete_volume}
        return {"op": "vm-remove", "name": args.name, **volume, "one_node": args.one_node}
    if args.verb == "vm" and args.vm_verb == "list":
        return {"op": "vm-list", "words": not args.json}
    if args.verb == "vm" and args.vm_verb in _LIFE_VERBS:
        verb, now = args.vm_verb, args.vm_verb == "power-off" or getattr(args, "now", False)
        op = "vm-stop" if verb == "power-off" else f"vm-{verb}"
        return {"op": op, "name": args.name, "now": now, "one_node": args.one_node}
    if args.verb == "vm":
        return {"op": f"vm-{args.vm_verb}", "vm": _read_json(args.file), "one_node": args.one_node}
    if args.verb == "site":
        return {"op": "site-change", "site": _read_json(args.site), "one_node": args.one_node}
    if args.verb in _TOLD:
        return {"op": args.verb, "words": not args.json}
    if args.verb == "definitions":
        return {"op": "definitions-take"} if args.take else {"op": "definitions", "words": not args.json}
    return {"op": args.verb, "node": getattr(args, "name", "")}


def _read_json(path: Path) -> Json:
    from avance.given import read_given  # noqa: PLC0415 - only the verbs that change something pay for it

    try:
        return read_given(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}; nothing was changed") from error

"""The verbs that look into a bed that is up: `exec`, `console` and `status`.

They ask the process of `testbed up` and print what it answers. They must never start anything themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from testbed.by_hand import terminal
from testbed.by_hand.orders import ask, control_socket
from testbed.errors import TestbedError
from testbed.host import speed_work
from testbed.host.places import running_bed
from testbed.host.speed import of_loop

EXEC_TIMEOUT_S = 600.0
ANSWER_MORE_S = 90.0  # who has the role is asked first; then the agent may take its time to say that it gave up
EXIT_NOT_RUN = 255  # as ssh has it: every other code is the command's own
SIGNAL_BASE = 128
STATUS_TIMEOUT_S = 120.0


def register(verbs: Any) -> None:  # noqa: ANN401 - argparse does not publish the type of its sub-parsers
    """Add the verbs."""
    node = {"metavar": "NODE", "help": "a, b, or who has the role now: primary, backup"}
    run = verbs.add_parser(
        "exec",
        usage="testbed exec [-h] [--timeout S] NODE -- COMMAND [ARGUMENT ...]",
        help="run a command in a node of the bed that is up; its exit code is the command's",
        description="Runs COMMAND in the node, without a shell and without input, prints what it wrote when it has "
        "ended, and ends with its exit code (128 + N when signal N ended it). 255: it was not run, or what came of it "
        "is unknown.",
    )
    run.add_argument("node", **node)
    run.add_argument("--timeout", type=float, default=EXEC_TIMEOUT_S, metavar="S", help="wait so long (%(default)g)")
    run.add_argument("command", nargs="+", metavar="COMMAND", help="the command and its arguments, after --")
    run.set_defaults(act=_exec)
    console = verbs.add_parser(
        "console",
        help=f"sit at the serial console of a node of the bed that is up; {terminal.LEAVE_NAME} leaves it",
        description=f"Shows the last lines and then all that comes, over restarts of the node. {terminal.LEAVE_NAME} "
        "leaves it. What is typed goes to the node; no login waits there, but three times Ctrl-A leads to the "
        "hypervisor (then h shows its keys) and back.",
    )
    console.add_argument("node", **node)
    console.set_defaults(act=_console)
    status = verbs.add_parser("status", help="how the bed that is up is: nodes, VM, faults, dilation, host")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(act=_status)


def _exec(args: argparse.Namespace) -> int:
    order = {"order": "exec", "node": args.node, "argv": args.command, "timeout_s": args.timeout}
    try:
        answer = asyncio.run(ask(control_socket(), order, timeout_s=args.timeout + ANSWER_MORE_S))
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return EXIT_NOT_RUN
    except KeyboardInterrupt:
        print("testbed: nobody waits for the command any more; it may still run in the node", file=sys.stderr)
        return EXIT_NOT_RUN
    sys.stderr.write(answer["stderr"])
    sys.stdout.write(answer["stdout"])
    code: int = answer["code"]
    return code if code >= 0 else SIGNAL_BASE - code


def _console(args: argparse.Namespace) -> int:
    try:
        asyncio.run(terminal.attach(control_socket(), {"order": "console", "node": args.node}))
    except KeyboardInterrupt:  # only where the input is no terminal: there the key is one like any other
        print("testbed: left the console", file=sys.stderr)
    return 0


def _status(args: argparse.Namespace) -> int:
    answer = asyncio.run(ask(control_socket(), {"order": "status"}, timeout_s=STATUS_TIMEOUT_S))
    del answer["ok"]
    found = {"held_by": running_bed(), "host_speed": round(speed(), 2), **answer}
    print(json.dumps(found, indent=1) if args.json else text(found))
    return 0


def speed() -> float:
    """The speed of this host now, by the shorter of two looks (`testbed.host.speed` says what it is)."""
    return of_loop(speed_work.ROUND_ADDITIONS, min(speed_work.rounds(2)))


def text(found: dict[str, Any]) -> str:
    """Return the status for a person."""
    faults = [f"  {number}: {words}" for number, words in found["faults"].get("armed", {}).items()]
    lines = [
        f"bed: {found['held_by']}; it was brought to: {found['stage']}",
        f"host: speed {found['host_speed']:.2f}, dilation {found['dilation']:g}, {found['accelerator']}",
        f"image: {found['image']}; files: {found['artefacts']}",
        f"VM: {found['vm']}",
        *(line for name, node in found["nodes"].items() for line in _node_lines(name, node)),
        *(["faults, by the number for `testbed heal`:", *faults] if faults else ["faults: none by hand"]),
    ]
    return "\n".join(lines)


def _node_lines(name: str, node: dict[str, Any]) -> list[str]:
    machine = node["machine"] if node["pid"] is None else f"{node['machine']}, QEMU pid {node['pid']}"
    lines = [f"node {name}: {machine}"]
    if node["problem"]:
        lines.append(f"  product: {node['problem']}")
    if (told := node["product"]) is not None:
        protected = "protected" if told["protected"] else "NOT protected"
        lines.append(f"  product: {told['role']}, {told['pair']}, epoch {told['epoch']}, {protected}")
        links = ", ".join(f"{link} {state}" for link, state in told.get("links", {}).items())
        lines += [f"  links: {links}"] if links else []
        for vm, one in told.get("vms", {}).items():
            disks = f"disk {one.get('disk', '-')}, the peer's {one.get('peer_disk', '-')}"
            lines.append(f"  VM {vm}: {one['state']}; {disks}, {one.get('connection', '-')}")
    return lines

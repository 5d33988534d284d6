"""The `testbed` command: look at the host, bring a bed up, and whatever verbs other packages add.

Verbs of other packages come through the entry point group `testbed.verbs`: each names a function that takes the
sub-parsers and adds its own; so this package never imports them. In the same way `testbed.up` names context managers
that take the bed, and the orders that it takes by hand, while it is up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import signal
import sys
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from pathlib import Path

from testbed import pace
from testbed.bed import Session
from testbed.bed.session import describe
from testbed.by_hand import desk
from testbed.by_hand import verbs as by_hand_verbs
from testbed.errors import HostError, TestbedError, UsageError
from testbed.figures import history
from testbed.host import doctor
from testbed.out_directory import made
from testbed.replica import look as replica_look
from testbed.site import SiteOptions
from testbed.topology import NETWORKS_MAX, VMS_MAX, Topology

EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 1, 2, 130
EXIT_UNREAD = 141  # as a shell says it of a program that SIGPIPE ended
RUN_DIR = Path("build/bed")


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns 0 when it did what it says, 1 when it failed, 2 when it was refused.

    Who reads its output need not read all of it: `testbed list | head` ends without a word, with 141.
    """
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        return EXIT_UNREAD


def _main(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="testbed", description="Two Xen nodes in QEMU, their wires and their world.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("doctor", help="look whether this host can run the bed, and say what is missing")
    check.set_defaults(act=lambda _args: doctor.main(RUN_DIR))
    up = verbs.add_parser("up", help="bring a protected pair up and keep it until Ctrl-C")
    up.add_argument("--out", type=Path, default=RUN_DIR, help="directory for consoles, journals and the history")
    up.add_argument("--cold", action="store_true", help="boot it instead of using the snapshot")
    up.add_argument("--networks", type=int, default=1, help=f"public networks, 1 to {NETWORKS_MAX}; default 1")
    up.add_argument("--vms", type=int, default=1, help=f"protected VMs, 1 to {VMS_MAX}; default 1")
    up.add_argument("--power", action="store_true", help="tell the nodes of their BMCs: sensors, and the other's power")
    pace.add_option(up)
    up.set_defaults(act=_up)
    by_hand_verbs.register(verbs)
    history.register(verbs)
    look = verbs.add_parser("replicas", help="compare the nodes' copies of a VM's disk; exit code 0 equal, 1 not")
    look.add_argument("directory", type=Path, help="where the disks are: as files, or as sockets of a bed that is up")
    look.add_argument("vm", nargs="?", default=Topology().guests[0].name, help="which VM's disk; default %(default)s")
    look.set_defaults(act=lambda args: replica_look.main(args.directory, args.vm))
    for entry in entry_points(group="testbed.verbs"):
        entry.load()(verbs)
    args = parser.parse_args(argv)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited from a script that started it in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Through asyncio's own handler of SIGINT, which cancels the run and so ends children in order, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    try:
        pace.choose(args)
        code: int = args.act(args)
    except (HostError, UsageError) as error:
        print(f"testbed: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("testbed: interrupted; every process of the bed is ended", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _is_unread() -> bool:
    """Whether nobody reads our output any more; then what is left of it goes nowhere, instead of raising at the end."""
    here = sys.stdout.fileno()
    look = select.poll()
    look.register(here, 0)  # errors are told unasked: a pipe without a reader is one
    if not look.poll(0):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, here)
    os.close(nowhere)
    return True


def _up(args: argparse.Namespace) -> int:
    site = SiteOptions(networks=args.networks, vms=args.vms, power=args.power)

    async def stay() -> None:
        async with Session(made(args.out), site) as session, desk.serving(session.bed) as orders:
            await session.protect(cold=args.cold)
            async with AsyncExitStack() as stack:
                for entry in entry_points(group="testbed.up"):
                    await stack.enter_async_context(entry.load()(session.bed, orders))
                print(await describe(session.bed), flush=True)
                await asyncio.Event().wait()

    asyncio.run(stay())
    return 0


if __name__ == "__main__":
    sys.exit(main())

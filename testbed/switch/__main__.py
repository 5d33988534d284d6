"""The user-space Ethernet switch of the bed as a program: `python -m testbed.switch --dir DIR --config JSON`.

It joins the data path to the socket that controls it, and turns until its owner leaves. It must never outlive its bed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from testbed.switch.control import SwitchControl
from testbed.switch.core import SwitchCore
from testbed.switch.watch import SEEN_PERIOD_S


def main(arguments: list[str]) -> int:
    """Run the switch until its owner quits, closes the control connection, or a signal asks it to end."""
    parser = argparse.ArgumentParser(prog="python -m testbed.switch", description="user-space Ethernet switch")
    parser.add_argument("--dir", required=True, type=Path, help="short private directory for the sockets")
    parser.add_argument("--config", required=True, help='JSON, such as {"segments": {"priv0": ["a.priv0", "b.priv0"]}}')
    options = parser.parse_args(arguments)
    try:
        core = SwitchCore(options.dir, json.loads(options.config)["segments"])
        control = SwitchControl(core, options.dir / "control")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        print(f"switch: cannot start: {error!r}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        while not core.stopping:
            core.turn(SEEN_PERIOD_S)
    finally:
        control.close()
        core.close()
    return 0


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

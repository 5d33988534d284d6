"""DRBD's fence-peer handler (drbd.conf(5), 'handlers'): puts the question to the daemon and exits with its answer.

It must never decide: no answer, for whatever reason, is exit code 1, "handler broken": I/O stays frozen.
"""

from __future__ import annotations

import os
import sys

from avance.client import ask

_DENIED = 1
_ANSWER_S = 900.0  # longer than the daemon's own deadline at the highest dilation (20 s x 40): the daemon decides


def main() -> int:
    """Ask for the resource that DRBD names in the environment."""
    try:
        answer = ask({"op": "fence-peer", "resource": os.environ.get("DRBD_RESOURCE", "")}, timeout_s=_ANSWER_S)
    except (OSError, ValueError):
        return _DENIED
    code = answer.get("code", _DENIED)
    return code if isinstance(code, int) else _DENIED


if __name__ == "__main__":
    sys.exit(main())

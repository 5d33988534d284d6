"""DRBD's fence-peer handler (drbd.conf(5), 'handlers'): puts the question to the daemon and exits with its answer.

It must never decide: no answer, or one that is not understood, is exit code 1, "handler broken": I/O stays frozen.
DRBD waits with frozen I/O while this starts, so it imports next to nothing, and an answer is compared as text. That
takes a third of the time (docs/measurements/crashes.md, "The handler's start").
"""

import os
import sys

import avance
from avance.socket_line import exchange

_DENIED = 1
_ANSWERS = {f'{{"code": {code}}}': code for code in range(3, 8)}  # as the daemon's control socket writes them
_ANSWER_S = 900.0  # longer than the daemon's own deadline at the highest dilation (20 s x 40): the daemon decides
_ANSWER_BYTES = 1024


def main(path: str = avance.CONTROL_SOCKET) -> int:
    """Ask for the resource that DRBD names in the environment."""
    try:
        return _ANSWERS.get(_ask(path, os.environ.get("DRBD_RESOURCE", "")), _DENIED)
    except OSError:
        return _DENIED


def _ask(path: str, resource: str) -> str:
    request = f'{{"op": "fence-peer", "resource": "{resource}"}}'.encode(errors="replace")
    return exchange(path, request, answer_s=_ANSWER_S, bytes_max=_ANSWER_BYTES)


if __name__ == "__main__":
    sys.exit(main())

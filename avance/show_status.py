"""`avance status`: prints what the daemon says of the pair, as its document or in words for people.

The daemon makes both, so this needs no parser: it costs the start of the interpreter and little more, on a node where
each import takes long.
"""

import sys
from _json import scanstring  # the compiled part of json alone

import avance
from avance.socket_line import ANSWER_S, exchange

_ERROR, _WORDS = '{"error": "', '{"ok": "'  # as the daemon's control socket writes them


def main(*, for_programs: bool, path: str = avance.CONTROL_SOCKET) -> int:
    """Print the status; returns the exit code: 0 done, 1 nobody answered, 2 refused."""
    request = b'{"op": "status"}' if for_programs else b'{"op": "status", "words": true}'
    try:
        answer = exchange(path, request, answer_s=ANSWER_S)
    except OSError as error:
        return _failed(str(error), 1)
    if answer.startswith(_ERROR):
        return _failed(scanstring(answer, len(_ERROR))[0], 2)
    if answer.startswith(_WORDS):
        answer = scanstring(answer, len(_WORDS))[0]
    sys.stdout.write(f"{answer}\n")
    return 0


def _failed(text: str, code: int) -> int:
    sys.stderr.write(f"avance: {text}\n")
    return code

"""What ipmi_sim runs when somebody asks for the power of the node: hands the question to the bed, prints its answer.

`python -P -S -m testbed.bmc.chassis SOCKET get power` or `... set power 0`. ipmi_sim does nothing else until this ends,
so it imports little and has a time limit. It must never answer by itself: no answer is a failed command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from testbed.socket_line import exchange

LIMIT_S = 25.0  # the bed switches a node on in well under a second; a busy host may take much longer


def ask(path: str, question: str) -> tuple[bool, str]:
    """Ask the bed; returns whether it was done, and the text for ipmi_sim; raises OSError without a whole answer."""
    answer = exchange(path, question.encode(), timeout_s=LIMIT_S)
    verdict, _, text = answer.decode(errors="replace").strip().partition(" ")
    return verdict == "ok", text


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when the bed has done it; ipmi_sim answers any other with an error."""
    try:
        done, text = ask(arguments[0], " ".join(arguments[1:]))
    except (OSError, IndexError) as error:
        done, text = False, f"the bed did not answer: {error}"
    print(text)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The verbs that break a bed by hand while `testbed up` holds it: `inject` and `heal`."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from testbed.by_hand.orders import ask, control_socket
from testbed.errors import UsageError

CODES = {"confirmed": 0, "mismatch": 1, "inconclusive": 3}


def register(verbs: Any) -> None:  # noqa: ANN401 - argparse does not publish the type of its sub-parsers
    """Add the verbs."""
    inject = verbs.add_parser("inject", help="inject a fault into the bed that is up, and prove it (see `list`)")
    inject.add_argument("fault")
    inject.add_argument("target", help="for example primary, a.priv0, primary/daemon")
    inject.add_argument("with_", metavar="name=value", nargs="*", help="parameters of the fault")
    inject.set_defaults(act=_inject)
    heal = verbs.add_parser("heal", help="take back a fault of `inject` by its number, or all of them")
    heal.add_argument("number", nargs="?", type=int, default=None)
    heal.set_defaults(act=_heal)


def parameters(words: list[str]) -> dict[str, object]:
    """Return parameters as a schedule would hold them: numbers and booleans as such, everything else as text."""
    found: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r} is no parameter; write name=value, for example direction=in.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found[name] = value
    return found


def _inject(args: argparse.Namespace) -> int:
    order = {"order": "inject", "fault": args.fault, "target": args.target, "with": parameters(args.with_)}
    answer = asyncio.run(ask(control_socket(), order))
    print(json.dumps(answer["evidence"], indent=1))
    print(f"{answer['number']}: {answer['fault']} is {answer['verdict']}; `testbed heal {answer['number']}` ends it")
    return CODES[answer["verdict"]]


def _heal(args: argparse.Namespace) -> int:
    answer = asyncio.run(ask(control_socket(), {"order": "heal", "number": args.number}))
    healed, armed = ", ".join(answer["healed"]) or "nothing", ", ".join(answer["armed"].values()) or "none"
    print(f"healed: {healed}; still there: {armed}")
    return 0

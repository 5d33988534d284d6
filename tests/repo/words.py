"""The words that product, bed and documents share: functions from texts to words that nobody publishes. Pure.

What Python code spells in a place of its own (a state, a milestone, a phase, the code of an alert) has a type of
`testbed.vocabulary`, and mypy refuses what is not in it. This is for the places that have no type: documents, literals
that stand alone, and the product's own list of alerts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

# Literals in capital letters that are no states: events and orders of QEMU, signals, SQL, HTTP, the guest's protocol,
# what a usage calls its arguments, and names of our own constants.
OTHER_LITERALS = frozenset({
    "RESET", "RESUME", "SHUTDOWN", "STOP", "SUSPEND", "WAKEUP", "WATCHDOG", "POWERDOWN", "MIGRATION", "CONT", "KILL",
    "BEGIN", "COMMIT", "IMMEDIATE", "ROLLBACK", "POST", "PING", "PONG", "COMMAND", "FILE", "NODE", "PROGRAM",
    "DIFFERENT", "FAIL", "QEMU", "PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "ESHUTDOWN", "ROOT", "PORTS",
    "FAULTS", "ORACLES",
})  # fmt: skip
# Words of documents that stand in no source: abbreviations, names of the kernel, of tools, and of files.
OTHER_WORDS = frozenset({
    "ACPI", "CHANGELOG", "DHCP", "FATAL", "FUSE", "GROUP", "PART", "SIGHUP", "SMBIOS", "TRAP",
    "drbd_determine_dev_size", "drbd_send_and_submit", "drbd_suspend_io", "mod_rq_state", "receive_sizes",
    "tl_restart", "want_replacement",
})  # fmt: skip
CAPITALS = re.compile(r"[A-Z]{4,}( [A-Z]{4,})*")
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
NAME = re.compile(r"\b(?:[A-Z]{4,}|[a-z]+(?:_[a-z0-9]+)+)\b")


def strange_literals(path: str, source: str, published: Iterable[str]) -> Iterator[str]:
    """Literals in capital letters that are neither states that the product publishes nor known to be something else."""
    known = {*published, *OTHER_LITERALS}
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CAPITALS.fullmatch(node.value):
            for word in node.value.split():
                if word not in known:
                    yield f"{path}:{node.lineno}: {word} is no state that the product publishes"


def strange_phases(path: str, text: str, phases: Iterable[str]) -> Iterator[str]:
    """Figures of phases, such as `"phase.detect"`, that are of no phase."""
    for name in re.findall(r"[\"`]phase\.(\w+)[\"`]", text):
        if name not in phases:
            yield f"{path}: there is no phase {name}"


def strange_words(path: str, text: str, known: frozenset[str]) -> Iterator[str]:
    """Words in capital letters, and names in code, that stand nowhere in the sources."""
    inside = " ".join(part for match in CODE.finditer(text) for part in match.groups() if part)
    capitals = {word for word in NAME.findall(text) if word.isupper()}
    for word in sorted(capitals | set(NAME.findall(inside))):
        if word not in known and word not in OTHER_WORDS:
            yield f"{path}: {word} stands nowhere in the sources"


def words_of(sources: Mapping[str, str]) -> frozenset[str]:
    """Every word of every source, and the names of the files."""
    texts = [*sources.values(), *(path.replace("/", " ").replace(".", " ") for path in sources)]
    return frozenset(word for text in texts for word in re.findall(r"[A-Za-z0-9_]+", text))


def listed(text: str, begin: str, end: str) -> list[str]:
    """The words of a list in a document: capitals or code between two pieces of its text."""
    part = text.partition(begin)[2].partition(end)[0]
    assert part, f"the document has no list that begins with {begin!r}"
    return re.findall(r"`(\w+)`", part) or re.findall(r"\b[A-Z]{4,}\b", part)


def alert_codes(
    alerts: str, requests: Iterable[str], parts: Iterable[str] = (), conditions: Iterable[str] = ()
) -> set[str]:
    """The codes that the product can send, from the source of its alerts.

    An operator's are made of the requests; a code that only ends with a word begins with the name of a part of a node.
    `conditions` are those that the table of conditions (avance/core/conditions.py) gives to alerts.
    """
    codes: set[str] = set(conditions)
    for node in ast.walk(ast.parse(alerts)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Alert":
            code = node.args[1]
            if isinstance(code, ast.Constant):
                codes.add(str(code.value))
            elif isinstance(code, ast.JoinedStr) and isinstance(end := code.values[-1], ast.Constant):
                codes |= {f"{part}{end.value!s}" for part in parts}
            elif isinstance(code, ast.Name):
                codes |= {f"operator_{request.replace('-', '_')}" for request in requests}
    return codes

"""A stand-in for xl(1) 4.17 that moves a domain as xl does, over the same transport, without Xen.

A program of its own: `fake_xl.py DIRECTORY VERB ...`. The domains of node a, which sends, and of node b, which
receives, are in two files of the directory; others say what goes wrong. It must never know the product.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

BANNER, READY, GO, REPORT = b"banner", b"ready", b"go", b"report"
CONFIG_BYTES = 16
PAGES_BYTES = 1 << 20
PARTS = 16
DRIBBLE_S = 0.2


class Broken(Exception):
    """The other side is gone."""


class Place:
    """The directory with the domains, and with what goes wrong."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def domains(self, node: str) -> list[dict[str, Any]]:
        """Return the domains of a node: number, state in the letters of xl, VM, whether it ever ran."""
        found: list[dict[str, Any]] = json.loads((self._directory / f"{node}.json").read_text())
        return found

    def keep(self, node: str, domains: list[dict[str, Any]]) -> None:
        """Let these be the domains of a node."""
        part = self._directory / f"{node}.{os.getpid()}"
        part.write_text(json.dumps(domains))
        part.replace(self._directory / f"{node}.json")

    def change(self, node: str, number: int, **what: Any) -> None:  # noqa: ANN401 - values of JSON
        """Change one domain."""
        self.keep(node, [one | what if one["number"] == number else one for one in self.domains(node)])

    def remove(self, node: str, number: int) -> None:
        """Let a domain be gone."""
        self.keep(node, [one for one in self.domains(node) if one["number"] != number])

    def note(self, text: str) -> None:
        """Tell the test how far this is."""
        with (self._directory / "notes").open("a") as notes:
            notes.write(f"{text} {os.getpid()}\n")

    def locked(self) -> TextIO:
        """Wait for the lock of all xl programs of node b, and return what holds it."""
        lock = (self._directory / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def wrong(self, verb: str) -> str:
        """Return what goes wrong."""
        path = self._directory / f"{verb}.wrong"
        return path.read_text() if path.exists() else ""


def read(descriptor: int, size: int) -> bytes:
    """Read exactly so much."""
    said = b""
    while len(said) < size:
        part = os.read(descriptor, size - len(said))
        if not part:
            raise Broken
        said += part
    return said


def write(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BrokenPipeError as error:
        raise Broken from error


def expect(descriptor: int, word: bytes) -> None:
    """Read this word."""
    if read(descriptor, len(word)) != word:
        raise Broken


def hang() -> None:
    """Never do anything again, whatever becomes of the connection."""
    while True:
        signal.pause()


def transport(rune: str) -> tuple[int, int]:
    """Start the shell that carries what is said and heard, as xl does: no descriptor is closed for it."""
    (its_in, to), (back, its_out) = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.dup2(its_in, 0)
        os.dup2(its_out, 1)
        os.execvp("sh", ["sh", "-c", rune])
    os.close(its_in)
    os.close(its_out)
    return to, back


def migrate(place: Place, number: int, rune: str) -> int:
    """Send a domain of node a."""
    wrong = place.wrong("migrate")
    if wrong == "hangs at once":
        hang()
    to, back = transport(rune)
    try:
        expect(back, BANNER)
        [sent] = [one for one in place.domains("a") if one["number"] == number]
        write(to, sent["vm"].encode().ljust(CONFIG_BYTES))
        for _ in range(PARTS):
            write(to, b"p" * (PAGES_BYTES // 2 // PARTS))
            if wrong == "dribbles":
                select.select([], [], [], DRIBBLE_S)
        place.note("half")
        if wrong == "stalls":
            read(back, 1)  # nothing comes, so this ends with the connection
        if wrong == "hangs in the middle":
            hang()
        place.change("a", number, state="s")
        if wrong == "waits while the domain is suspended":
            place.note("suspended")
            read(back, 1)
        if wrong == "is killed while the domain is suspended":
            os.kill(os.getpid(), signal.SIGKILL)
        write(to, b"p" * (PAGES_BYTES // 2))
        expect(back, READY)
    except Broken:
        os.close(to)
        place.change("a", number, state="b")
        print("Migration failed, resuming at sender.", file=sys.stderr)
        return 1
    try:
        write(to, GO)
        expect(back, REPORT)
        if wrong == "loses the report":
            raise Broken
    except Broken:
        print("** Migration failed during final handshake **", file=sys.stderr)
        return 1
    if wrong != "does not destroy":
        place.remove("a", number)
    return 3 if wrong == "complains afterwards" else 0


def receive(place: Place) -> int:
    """Take in a domain of node b; xl holds its lock while it does."""
    wrong = place.wrong("receive")
    place.note("receives")
    if wrong == "hangs at once":
        hang()
    write(1, BANNER)
    number = 0
    try:
        name = read(0, CONFIG_BYTES).decode().strip()
        lock = place.locked()
        number = 7 + len(place.domains("b"))
        place.keep("b", [*place.domains("b"), {"number": number, "state": "p", "vm": name, "ran": False}])
        if wrong == "hangs in the middle":
            place.note("half")
            hang()
        read(0, PAGES_BYTES // 2)
        if wrong == "fails in the middle":
            return 1
        read(0, PAGES_BYTES // 2)
        lock.close()
        write(1, READY)
        expect(0, GO)
    except Broken:
        place.remove("b", number)
        return 1
    if wrong == "lets it run":
        place.change("b", number, state="b", ran=True)
    if wrong == "leaves nothing":
        place.remove("b", number)
    write(1, REPORT)
    return 0


def destroy(place: Place, number: int) -> int:
    """Destroy a domain, wherever it is."""
    place.note(f"destroys {number}")
    if place.wrong("destroy"):
        return 1
    for node in ("a", "b"):
        place.remove(node, number)
    return 0


def main(directory: str, verb: str, *words: str) -> int:
    """Do what xl does."""
    place = Place(directory)
    if verb == "migrate":
        assert words[:3] == ("-p", "-s", ""), words
        return migrate(place, int(words[3]), words[4])
    if verb == "migrate-receive":
        assert words == ("-e", "-p"), words
        return receive(place)
    assert verb == "destroy", verb
    return destroy(place, int(words[0]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

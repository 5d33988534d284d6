"""The one filter between what outside programs print and what is kept or sent: no secret of the site passes. Pure.

drbdadm, for one, prints the whole command line of a drbdsetup that failed, with the shared secret in it. Texts are
filtered where the core hears of them, in the fields that are for people; values that decide something are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from avance.core.events import ChangeAsked, CommandDone, DiskStreamReset, DocumentHeard, Event, MirrorChanged, PartSeen

MARK = "(secret)"
_PIECE = 8  # so many letters of a secret in a row are hidden: a text may have been cut inside one
_LEAST = 4  # a shorter secret would be hidden in ordinary words
_CUT = re.compile(r"\s|\\[nrt]")  # where a text is cut into lines, also when it was quoted since


class Mask:
    """Replaces secrets by a mark: in any case, cut into lines, and also a part of one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        whole = [_CUT.sub("", secret).lower() for secret in secrets]
        self._pieces = frozenset(
            text[start : start + _PIECE]
            for text in whole
            if len(text) >= _LEAST
            for start in range(max(1, len(text) - _PIECE + 1))
        )
        self._sizes = sorted({len(piece) for piece in self._pieces})

    def text(self, text: str) -> str:
        """Return the text with a mark in the place of each secret."""
        letters, places = _squeezed(text)
        shown: list[str] = []
        at = 0
        for first, last in self._found(letters):
            shown += [text[at : places[first]], MARK]
            at = places[last] + 1
        return "".join(shown) + text[at:]

    def event(self, event: Event) -> Event:
        """Return the event with its texts for people filtered."""
        match event:
            case CommandDone(_, result):
                detail = self.text(result.detail)
                return event if detail == result.detail else replace(event, result=replace(result, detail=detail))
            case MirrorChanged(view):
                return MirrorChanged(replace(view, detail=self.text(view.detail)))
            case DiskStreamReset(why):
                return DiskStreamReset(self.text(why))
            case ChangeAsked(text=text):
                return replace(event, text=self.text(text))
            case DocumentHeard(problem=problem):
                return replace(event, problem=self.text(problem))
            case PartSeen(part, problem, name):
                return PartSeen(part, self.text(problem), name)
            case _:
                return event

    def _found(self, letters: str) -> list[tuple[int, int]]:
        """Return the first and the last letter of each stretch that is hidden, in order."""
        stretches: list[tuple[int, int]] = []
        for start in range(len(letters)):
            for size in self._sizes:
                if letters[start : start + size] in self._pieces:
                    joined = bool(stretches) and start <= stretches[-1][1] + 1
                    first, last = stretches.pop() if joined else (start, start)
                    stretches.append((first, max(last, start + size - 1)))
        return stretches


def _squeezed(text: str) -> tuple[str, list[int]]:
    """Return the letters without what cuts them into lines, in lower case, and where each one stands."""
    cut = {place for found in _CUT.finditer(text) for place in range(*found.span())}
    places = [place for place in range(len(text)) if place not in cut]
    return "".join(text[place].lower()[0] for place in places), places

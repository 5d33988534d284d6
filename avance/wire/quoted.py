"""What others have said, as it may stand in a sentence: short, and without signs that steer a terminal."""

from __future__ import annotations

LETTERS_MAX = 120


def quoted(text: str, letters_max: int = LETTERS_MAX) -> str:
    """Return the start of a text without blanks around it; what is no letter in it is replaced."""
    text = text.strip()
    cut = text if len(text) <= letters_max else f"{text[:letters_max]} ..."
    return printable(cut)


def printable(text: str) -> str:
    """Return a text that a terminal and a file can take: it goes into logs, alerts and the status."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)

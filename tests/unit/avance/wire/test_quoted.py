"""Words of others are quoted so that nobody is harmed by them."""

from __future__ import annotations

from avance.wire.quoted import LETTERS_MAX, printable, quoted


def test_long_words_are_cut() -> None:
    """A sentence stays a sentence."""
    assert quoted("x" * LETTERS_MAX) == "x" * LETTERS_MAX
    assert quoted(" " + "x" * 100_000) == "x" * LETTERS_MAX + " ..."


def test_signs_that_are_no_letters_are_replaced() -> None:
    """Nothing moves a cursor, and everything can be written to a file."""
    assert printable("a\x1b[2J\0\ud800b\n\tc") == "a\ufffd[2J\ufffd\ufffdb\n\tc"
    assert quoted("\x07x") == "\ufffdx"

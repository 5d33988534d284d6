"""The words before a move: each proves the secret, the move, the VM and who speaks."""

from __future__ import annotations

import pytest

from avance.wire import derived, moving
from avance.wire.moving import Side
from tests.playbook import DB, WEB
from tests.unit.avance.site import SECRET

KEY = derived.of_moves(bytes.fromhex(SECRET))


@pytest.mark.parametrize("side", Side)
def test_each_side_is_understood(side: Side) -> None:
    """What a side says has the fixed size and is taken for what it is."""
    said = moving.word(KEY, side, "boot.1", WEB)
    assert len(said) == moving.SIZE
    assert moving.is_word(said, KEY, side, "boot.1", WEB)


@pytest.mark.parametrize(
    "other",
    [
        moving.word(KEY[::-1], Side.SENDER, "boot.1", WEB),
        moving.word(KEY, Side.RECEIVER, "boot.1", WEB),
        moving.word(KEY, Side.SENDER, "boot.2", WEB),
        moving.word(KEY, Side.SENDER, "boot.1", DB),
        moving.word(KEY, Side.SENDER, "boot.1", WEB)[:-1],
        moving.word(KEY, Side.SENDER, "boot.1", WEB).replace(b" 1", b" 2"),
        b"",
    ],
    ids=["secret", "side", "move", "vm", "cut", "version", "nothing"],
)
def test_another_word_is_none(other: bytes) -> None:
    """Another secret, side, move, VM or version proves nothing."""
    assert not moving.is_word(other, KEY, Side.SENDER, "boot.1", WEB)


def test_texts_cannot_be_shifted() -> None:
    """The end of one text is never taken for the beginning of the next."""
    assert moving.word(KEY, Side.SENDER, "m", WEB) != moving.word(KEY, Side.SENDER, 'm", "x', WEB)


def test_nothing_secret_is_said() -> None:
    """Neither the key nor the names are in what goes over the wire."""
    said = moving.word(KEY, Side.SENDER, "boot.1", WEB)
    assert KEY not in said
    assert b"boot.1" not in said

"""Two copies are worth two: one bad copy harms nobody, none can bring back what is older, and each has its sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avance.errors import StoreError
from avance.twice import TwoCopies
from avance.wire.summed import UnknownFormat, seal, unseal

NAMES = ("copy.a", "copy.b")
LOST = "nothing is known; put a copy back"


def decode(raw: bytes) -> tuple[int, str]:
    """Return the number and the word of a copy."""
    version, seq, word = unseal(raw).split(" ")
    if version != "v1":
        raise UnknownFormat(f"format {version}", int(seq))
    return int(seq), word


def copy(seq: int, word: str, version: str = "v1") -> bytes:
    """Return the bytes of a copy."""
    return seal(f"{version} {seq} {word}")


def twice(directory: Path) -> TwoCopies[str]:
    """Return what is kept there."""
    return TwoCopies((directory / NAMES[0], directory / NAMES[1]), decode, LOST)


def spoil(path: Path, how: str) -> None:
    """Let a copy be as a bad disk, a power cut, a later release or a person leaves it."""
    whole = path.read_bytes().rstrip(b"\n")
    path.unlink()
    match how:
        case "torn":
            path.write_bytes(whole[:40])
        case "empty":
            path.touch()
        case "cannot be read":
            path.symlink_to("/proc/self/mem")
        case "older":
            path.write_bytes(copy(1, "old"))
        case "older, of a later release":
            path.write_bytes(copy(1, "old", "v2"))
        case "odd content":
            path.write_bytes(seal("x"))
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "missing":
            pass
        case _:
            raise AssertionError(how)


BAD = ("torn", "empty", "cannot be read", "older", "older, of a later release", "odd content", "pipe", "missing")


@pytest.mark.parametrize("bad", NAMES)
@pytest.mark.parametrize("how", BAD)
def test_one_bad_copy_is_survived_and_mended(tmp_path: Path, bad: str, how: str) -> None:
    """Whichever copy it is: the other one counts, it is told, and then there are two good copies again."""
    other = tmp_path / next(name for name in NAMES if name != bad)
    twice(tmp_path).save(copy(2, "new"))
    spoil(tmp_path / bad, how)
    kept = twice(tmp_path)
    assert kept.load(mend=True) == (2, "new")
    assert (kept.problem, str(tmp_path / bad) in kept.found) == ("", True)
    assert kept.found.endswith("; it was written anew from the other copy")
    other.unlink()
    assert twice(tmp_path).load(mend=True) == (2, "new"), "it is worth as much as the other one was"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("torn", "damaged (its checksum is wrong: it was torn, or has rotten)"),
        ("cannot be read", "cannot be read (Input/output error)"),
        ("older", "was older"),
        ("older, of a later release", "is of a later release (format v2)"),
        ("missing", "was missing"),
    ],
)
def test_each_illness_has_its_sentence(tmp_path: Path, how: str, why: str) -> None:
    """A person hears what happened to the copy."""
    twice(tmp_path).save(copy(2, "new"))
    spoil(tmp_path / NAMES[1], how)
    kept = twice(tmp_path)
    kept.load(mend=True)
    assert why in kept.found


def test_nothing_was_ever_there(tmp_path: Path) -> None:
    """A new node has none, and that is no damage."""
    assert twice(tmp_path).load(mend=True) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["torn", "cannot be read", "odd content"])
def test_two_bad_copies_are_refused(tmp_path: Path, how: str) -> None:
    """Damage is never taken for a new node; both are named, with what it means."""
    twice(tmp_path).save(copy(2, "new"))
    for name in NAMES:
        spoil(tmp_path / name, how)
    with pytest.raises(StoreError, match=f"copy.a .* and .*copy.b .*: {LOST}"):
        twice(tmp_path).load(mend=True)
    (tmp_path / NAMES[0]).unlink()
    with pytest.raises(StoreError, match=LOST):
        twice(tmp_path).load(mend=True)


def test_a_newer_copy_of_a_later_release_is_not_passed_over(tmp_path: Path) -> None:
    """What it says counts, and this release cannot read it."""
    twice(tmp_path).save(copy(2, "new"))
    (tmp_path / NAMES[0]).write_bytes(copy(3, "newer", "v2"))
    with pytest.raises(StoreError, match=f"copy.a is of a later release .*: {LOST}"):
        twice(tmp_path).load(mend=True)


def test_newer_copy_wins_and_the_older_one_cannot_come_back(tmp_path: Path) -> None:
    """A power cut came between the two copies; what was acted upon once must not be undone by a later bad sector."""
    kept = twice(tmp_path)
    kept.save(copy(2, "old"))
    older = (tmp_path / NAMES[1]).read_bytes()
    kept.save(copy(3, "new"))
    (tmp_path / NAMES[1]).write_bytes(older)
    assert twice(tmp_path).load(mend=True) == (3, "new")
    spoil(tmp_path / NAMES[0], "cannot be read")
    assert twice(tmp_path).load(mend=True) == (3, "new")


@pytest.mark.parametrize("bad", NAMES)
def test_copy_that_cannot_be_written_is_taken_away(tmp_path: Path, bad: str) -> None:
    """One copy took the new text: the other one must not keep the old; it is told, and made anew once that works."""
    kept = twice(tmp_path)
    kept.save(copy(2, "old"))
    (tmp_path / bad).write_bytes(copy(2, "old"))  # too small to be written in its place ...
    (tmp_path / f"{bad}.part").mkdir()  # ... and a new one cannot be made
    kept.save(copy(3, "new"))
    assert not (tmp_path / bad).exists()
    assert f"{bad} cannot be written (Is a directory): there is one copy only" in kept.problem
    (tmp_path / f"{bad}.part").rmdir()
    kept.save(copy(4, "newest"))
    assert (kept.problem, (tmp_path / bad).exists()) == ("", True)


def test_nothing_is_taken_away_when_nothing_was_written(tmp_path: Path) -> None:
    """A disk that refuses both leaves what is there."""
    kept = twice(tmp_path)
    for name in NAMES:
        (tmp_path / name).write_bytes(copy(2, "old"))
        (tmp_path / f"{name}.part").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        kept.save(copy(3, "new"))
    assert twice(tmp_path).load(mend=True) == (2, "old")


def test_copy_that_cannot_be_mended_is_told(tmp_path: Path) -> None:
    """The node starts with one copy, and says what to do."""
    twice(tmp_path).save(copy(2, "new"))
    spoil(tmp_path / NAMES[0], "directory")
    kept = twice(tmp_path)
    assert kept.load(mend=True) == (2, "new")
    assert kept.found == ""
    assert "copy.a cannot be read" in kept.problem or "it is no file" in kept.problem
    assert kept.problem.endswith("look at the disk before that one is lost, too")


def test_a_reader_mends_nothing(tmp_path: Path) -> None:
    """Another process that only reads must not write over what the daemon is writing just now."""
    twice(tmp_path).save(copy(2, "new"))
    spoil(tmp_path / NAMES[0], "torn")
    torn = (tmp_path / NAMES[0]).read_bytes()
    assert twice(tmp_path).load(mend=False) == (2, "new")
    assert (tmp_path / NAMES[0]).read_bytes() == torn

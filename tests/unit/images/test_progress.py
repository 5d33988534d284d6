"""Tests of the progress lines; they must never wait for a clock."""

from images.progress import Progress


def test_a_line_carries_the_elapsed_time() -> None:
    """Each event is one whole line."""
    said: list[str] = []
    Progress(said.append).say("hello")
    assert said[0].startswith("images [")
    assert said[0].endswith("hello\n")


def test_a_cancelled_build_stays_cancelled() -> None:
    """Steps that ask later learn of it too."""
    progress = Progress(print)
    assert not progress.is_cancelled()
    progress.cancel()
    assert progress.is_cancelled()

"""Proves the helper of ipmi_sim against a listener of our own: it hands on, prints, and never answers by itself."""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.bmc.chassis import main


@contextmanager
def bed_that_answers(answer: bytes) -> Iterator[tuple[Path, list[bytes]]]:
    """Listen for one question and give this answer."""
    asked: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="tb-") as directory, socket.socket(socket.AF_UNIX) as listener:
        path = Path(directory) / "chassis"
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(100))
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield path, asked
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "code", "printed"),
    [
        (b"ok power:1\n", 0, "power:1\n"),
        (b"ok\n", 0, "\n"),
        (b"error the node does not start\n", 1, "the node does not start\n"),
        (b"", 1, "the bed did not answer: the other side closed the connection without a line\n"),
        (b"ok", 1, "the bed did not answer: .* in the middle of a line, after 2 bytes\n"),
        (b"x" * 2_000_000, 1, "the bed did not answer: a line came that has more than 1048576 bytes\n"),
        (b"\xff\xfe\n", 1, "\n"),
    ],
)
def test_the_answer_of_the_bed_is_handed_on(
    answer: bytes, code: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a whole line that begins with ok is a success; a bed that hangs up has not answered."""
    with bed_that_answers(answer) as (path, asked):
        assert main([str(path), "get", "power"]) == code
    assert asked == [b"get power\n"]
    assert re.fullmatch(printed, capsys.readouterr().out)


def test_without_a_bed_the_command_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens, or no socket was named: the power command failed, and the status is unknown."""
    assert main([str(tmp_path / "nobody"), "get", "power"]) == 1
    assert main([]) == 1
    assert capsys.readouterr().out.count("the bed did not answer") == 2

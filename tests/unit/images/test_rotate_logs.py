"""The logs of a node are bounded, whoever writes them and however much."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from avance.adapters.process import run
from images import product

NODE = product.NODE_FILES
SCRIPT = NODE / "usr/lib/node/rotate-logs"


def rotate(limit: int, *directories: Path) -> None:
    """Run the script once."""
    completed = asyncio.run(run(["sh", str(SCRIPT), str(limit), *map(str, directories)], timeout_s=100))
    assert completed.code == 0


def test_long_log_keeps_its_end_and_goes_on(tmp_path: Path) -> None:
    """Its writer appends on, without a word of it; a short log and what is no log are left alone."""
    log, short, other = tmp_path / "a.log", tmp_path / "guest-my vm.log", tmp_path / "data"
    short.write_bytes(b"x" * 100)
    other.write_bytes(b"x" * 5000)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old" + b"x" * 500 + b"new")
        rotate(100, tmp_path, tmp_path / "absent")
        writer.write(b"newer")
    assert log.read_bytes() == b"newer"
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 97 + b"new"
    assert (short.stat().st_size, other.stat().st_size) == (100, 5000)
    assert len(list(tmp_path.iterdir())) == 4


def test_every_log_is_appended_to() -> None:
    """A service that wrote from a place of its own would leave a hole where the log was cut."""
    for path in sorted((NODE / "etc/sv").rglob("run")):
        for target in re.findall(r"(\S*>+) */run/log/\S+\.log", path.read_text(encoding="utf-8")):
            assert target.endswith(">>"), f"{path}: {target}"


def test_what_the_product_needs_is_apart_from_logs() -> None:
    """Neither can take the room of the other."""
    stage = (NODE / "etc/runit/1").read_text(encoding="utf-8")
    for place in ("/run/avance", "/run/log"):
        assert re.search(rf"^mount -t tmpfs -o mode=0755,size=\d+m \w+ {place}$", stage, re.MULTILINE)

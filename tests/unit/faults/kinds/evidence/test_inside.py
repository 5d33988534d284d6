"""Proves that what is started inside a node to last ends for sure, and what is refused before; the host is the node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.kinds.evidence import inside
from testbed.errors import UsageError
from testbed.wait import wait_until
from tests.unit.faults.kinds.inner_bed import InnerBed


def test_a_lasting_command_ends_with_all_its_processes(tmp_path: Path) -> None:
    """Also with those that it started itself, and a second end is harmless."""

    async def story(name: str) -> list[int]:
        bed = InnerBed().bed
        counts = [await inside.lasting(bed, "a", name)]
        await inside.start_lasting(bed, "a", name, ["sh", "-c", "sleep 60 & sleep 60 & wait"], limit_s=50)

        async def all_there() -> bool:
            return await inside.lasting(bed, "a", name) == 4  # timeout, the shell, two sleepers

        await wait_until(all_there, what="four processes", timeout_s=100, poll_s=0.02)
        await inside.end_lasting(bed, "a", name)
        counts.append(await inside.lasting(bed, "a", name))
        await inside.end_lasting(bed, "a", name)
        return counts

    assert asyncio.run(story(str(tmp_path))) == [0, 0]


def test_a_lasting_command_ends_by_itself_at_its_limit(tmp_path: Path) -> None:
    """Nobody has to come back for it."""

    async def story(name: str) -> None:
        bed = InnerBed().bed
        await inside.start_lasting(bed, "a", name, ["sleep", "60"], limit_s=0.1)

        async def gone() -> bool:
            return await inside.lasting(bed, "a", name) == 0

        await wait_until(gone, what="the end by the limit", timeout_s=100, poll_s=0.05)
        await inside.end_lasting(bed, "a", name)

    asyncio.run(story(str(tmp_path)))


def test_a_node_that_is_not_there_or_off_is_refused() -> None:
    """The sentence says what is possible, and what to do."""
    with pytest.raises(UsageError, match="no node 'c'; possible are a, b"):
        inside.check_node(InnerBed().bed, "c")
    with pytest.raises(UsageError, match="Node a is off"):
        inside.check_node(InnerBed(is_on=False).bed, "a")


@pytest.mark.parametrize("value", [0.5, 11, True, float("nan")])
def test_a_setting_outside_its_limits_is_refused(value: float) -> None:
    """The limits are named; no truth value is a number."""
    inside.check_number("share", 1, 1, 10)
    with pytest.raises(UsageError, match=r"share is .*; possible is 1 to 10"):
        inside.check_number("share", value, 1, 10)


def test_figures_are_read_by_name() -> None:
    """Lines of another form say nothing."""
    assert inside.figures("MemTotal:  12 kB\nMemFree: 7 kB\n\nodd line\n") == {"MemTotal": 12, "MemFree": 7}


def test_a_program_runs_and_the_boot_has_a_name() -> None:
    """The node's Python is used, and the name comes without its line end."""

    async def story() -> tuple[str, str]:
        bed = InnerBed().bed
        return await inside.program(bed, "a", "import sys; print(sys.argv[1])", "hi"), await inside.boot_id(bed, "a")

    said, boot = asyncio.run(story())
    assert said == "hi\n"
    assert len(boot) == 36

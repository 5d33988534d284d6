"""Silence proves something only of a node that talked before."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from faults.kinds.evidence import silence
from faults.kinds.evidence.silence import HEARD_FRAMES_MIN, PortSilence
from testbed.bed import Bed
from tests.unit.faults.kinds.node.node_bed import BOTH, CountingSwitch, counted_bed


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders here are busier than a node, so that its two seconds can be shorter."""
    monkeypatch.setattr(silence, "WINDOW_S", 0.02)


@pytest.mark.parametrize(
    ("talking", "each_look", "heard", "not_counted"),
    [
        (BOTH, 4, True, []),
        (("a.priv0",), 4, True, ["a.biz0"]),
        (BOTH, HEARD_FRAMES_MIN - 1, False, ["a.priv0", "a.biz0"]),  # so few could be the last ones by chance
        ((), 4, False, ["a.priv0", "a.biz0"]),
    ],
)
def test_a_node_was_heard_when_one_of_its_ports_was(
    talking: tuple[str, ...], each_look: int, heard: bool, not_counted: list[str]
) -> None:
    """The evidence names the ports whose silence proves nothing."""

    async def story() -> PortSilence:
        async with counted_bed(talking) as fake:
            cast("CountingSwitch", fake.switch).each_look = each_look
            ports = PortSilence("a")
            await ports.note_healthy(cast("Bed", fake))
            return ports

    ports = asyncio.run(story())
    assert ports.was_heard is heard
    assert ports.shown()["silent_before_and_not_counted"] == not_counted


def test_a_port_that_goes_on_is_counted_afterwards() -> None:
    """The second window counts its own frames, not those of the first."""

    async def story() -> tuple[dict[str, int], dict[str, int]]:
        async with counted_bed(BOTH) as fake:
            ports = PortSilence("a")
            await ports.note_healthy(cast("Bed", fake))
            fake.is_mute = True
            await asyncio.sleep(0.05)
            return ports.before, await ports.count(cast("Bed", fake))

    before, after = asyncio.run(story())
    assert all(before.values())
    assert after == {"a.priv0": 0, "a.biz0": 0}


class _Script(PortSilence):
    """Ports that count what they are told to."""

    def __init__(self, *windows: int) -> None:
        super().__init__("a")
        self.left = list(windows)

    async def count(self, bed: Bed) -> dict[str, int]:
        """The next window."""
        return {"a.priv0": self.left.pop(0), "a.biz0": 0}


@pytest.mark.parametrize(
    ("windows", "counted", "left"),
    [((0, 9), 0, 1), ((1, 0), 0, 0), ((5, 6), 6, 0)],
    ids=["silent", "straggler", "talks"],
)
def test_a_frame_that_was_on_its_way_is_no_sign_of_life(windows: tuple[int, ...], counted: int, left: int) -> None:
    """Silence is believed at once, one late frame is given a second window, and who talks on is heard in both."""
    ports = _Script(*windows)
    assert asyncio.run(ports.falls_silent(cast("Bed", None))) is (counted == 0)
    assert ports.after["a.priv0"] == counted
    assert len(ports.left) == left

"""Self-test of the probe by levels: a real kernel behind a real switch, and defects that only some levels may show."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed.client.levels import ProbeLevels, Targets, tcp_orders
from testbed.client.probe import Probe
from testbed.client.tcp_probe import TcpProbe
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.process import Child
from testbed.switch.client import Direction, Switch
from testbed.wait import wait_for_record, wait_until
from tests.integration.testbed.client import netns_server as server

pytestmark = pytest.mark.selftest

SEGMENTS = {"biz0": ["a.biz0", "client.biz0", "tcp.biz0"]}
CLIENT_IP, CLIENT_MAC = "10.77.0.100", "02:77:00:00:01:00"
BELOW, ABOVE = ("l2", "l3"), ("tcp_new", "tcp_long")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class World:
    """The switch, the levels, and the service with its planted defects."""

    switch: Switch
    history: History
    levels: ProbeLevels
    service: int
    delay: Path

    async def change(self, kind: str, *names: str, after: int) -> None:
        """Wait until each of these levels has said up or down since the mark."""
        for name in names:
            await wait_for_record(
                self.history,
                lambda r, name=name: (r.source, r.kind) == (f"probe.{name}", kind),  # type: ignore[misc]
                what=f"{name} {kind}",
                timeout_s=20,
                after=after,
            )

    async def are_up(self, *names: str) -> None:
        """Wait until all these levels are up at once."""

        async def all_up() -> bool:
            return all(self.levels.is_up(name) for name in names)

        await wait_until(all_up, what=f"{names} up", timeout_s=20, poll_s=0.02)


def with_world(story: Callable[[World], Awaitable[None]]) -> None:
    """Run the story against a fresh world with all levels up."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            directory = Path(name)
            delay = directory / "delay"
            delay.write_text("0")
            own, remote = directory / "q-a.biz0", directory / "s-a.biz0"
            argv = [sys.executable, "-m", server.__name__, str(own), str(remote), str(delay)]
            log = directory / "server.log"
            orders = tcp_orders(
                directory, "tcp.biz0", ip="10.77.0.101", mac="02:77:00:00:01:01", prefix=24, target=server.IP,
                port=server.PORT, scale=0.2,
            )  # fmt: skip
            async with (
                Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch,
                Child(argv, name="server", log=log, cwd=ROOT) as child,
                Endpoint(directory, "client.biz0", CLIENT_MAC, CLIENT_IP, 24, None) as client,
            ):

                async def begun() -> bool:
                    return (log.exists() and "\n" in log.read_text()) or not child.alive

                await wait_until(begun, what="the server", timeout_s=20, poll_s=0.02)
                first = log.read_text()
                if first.startswith("impossible"):
                    pytest.skip(first)
                targets = Targets(server.IP, None, "10.77.0.200")
                async with (
                    Probe(client, server.IP, server.PORT, "u", ledger=None, history=history) as udp,
                    ProbeLevels(
                        client, targets, udp=udp, history=history, scale=0.2,
                        tcp=lambda changes: TcpProbe(orders, log=directory / "tcp", changes=changes, history=history),
                    ) as levels,
                ):  # fmt: skip
                    assert levels.tcp_problem is None
                    world = World(switch, history, levels, int(first.split()[1]), delay)
                    await world.are_up(*BELOW, *ABOVE)
                    await story(world)

    asyncio.run(run())


def test_a_cut_link_is_an_outage_of_every_level() -> None:
    """Nothing answers; after it each level has an outage with both ends, and the long connection survives."""

    async def story(world: World) -> None:
        mark = world.history.mark()
        cut_at_s = await world.switch.cut("a.biz0", Direction.BOTH)
        await world.change("down", *BELOW, *ABOVE, after=mark)
        await world.switch.heal("a.biz0", Direction.BOTH)
        await world.are_up(*BELOW, *ABOVE)
        summaries = world.levels.summary(since_s=cut_at_s)
        assert set(summaries) == {*BELOW, *ABOVE, "udp"}
        for name in (*BELOW, *ABOVE):
            outage = summaries[name].outage
            assert outage is not None, name
            assert outage.duration_s is not None, name
        fields: dict[str, Any] = world.levels.fields(since_s=cut_at_s, zero_at_s=cut_at_s)
        assert fields["tcp_long"]["connection"] == {"fate": "survived"}

    with_world(story)


def test_a_hung_service_is_an_outage_above_its_kernel_only() -> None:
    """The stopped process still has its connections taken by its kernel, and still L7 is down and L2 and L3 are not."""

    async def story(world: World) -> None:
        mark = world.history.mark()
        good = world.levels.summary()["tcp_new"].good
        os.kill(world.service, signal.SIGSTOP)
        await world.change("down", *ABOVE, after=mark)
        # The kernel of the hung service takes a hundred connections more: none of them is an answer.
        assert world.levels.summary()["tcp_new"].good - good < 30
        await world.are_up(*BELOW)
        os.kill(world.service, signal.SIGCONT)
        await world.are_up(*BELOW, *ABOVE)

    with_world(story)


def test_a_slow_service_is_told_apart_from_a_dead_one() -> None:
    """Answers after 0.7 s are right and late: slow service above, none below."""

    async def story(world: World) -> None:
        mark = world.history.mark()
        began_s = world.history.record("test", "slow").t_s
        world.delay.write_text("0.7")
        await world.change("down", *ABOVE, after=mark)

        async def served_slowly() -> bool:
            found = world.levels.summary(since_s=began_s)
            return all(found[name].slow >= 5 for name in (*ABOVE, "udp"))

        await wait_until(served_slowly, what="slow answers", timeout_s=20)
        await world.are_up(*BELOW)
        world.delay.write_text("0")
        await world.are_up(*BELOW, *ABOVE)
        fields: dict[str, Any] = world.levels.fields(since_s=began_s, zero_at_s=began_s)
        assert fields["tcp_long"]["connection"] == {"fate": "survived"}

    with_world(story)


def test_a_dead_service_ends_the_long_connection() -> None:
    """The service's process dies: the old connection is closed, a new one is refused until there is a service."""

    async def story(world: World) -> None:
        mark = world.history.mark()
        killed_at_s = world.history.record("test", "kill").t_s
        os.kill(world.service, signal.SIGKILL)
        await world.change("down", *ABOVE, after=mark)
        await world.are_up(*BELOW)

        async def refused() -> bool:
            fields: dict[str, Any] = world.levels.fields(since_s=killed_at_s, zero_at_s=killed_at_s)
            connection = fields["tcp_long"]["connection"]
            assert connection["fate"] in {"closed", "reset"}
            assert connection["reconnected_s"] is None
            return connection["tries_in_vain"] > 0 and "connection refused" in fields["tcp_new"]["bad_because"]

        await wait_until(refused, what="a connection that is refused", timeout_s=20, poll_s=0.02)

    with_world(story)


def test_a_slow_link_is_slow_service_on_every_level() -> None:
    """Frames that are 0.7 s late make every level slow, those below the service too."""

    async def story(world: World) -> None:
        began_s = world.history.record("test", "slow").t_s
        rule, _ = await world.switch.rule_add("a.biz0", Direction.OUT, "delay", settings={"delay_s": 0.7})

        async def served_slowly() -> bool:
            found = world.levels.summary(since_s=began_s)
            return all(found[name].slow >= 5 for name in (*BELOW, "tcp_long", "udp"))

        await wait_until(served_slowly, what="slow answers", timeout_s=20)
        await world.switch.rule_remove(rule)
        await world.are_up(*BELOW, *ABOVE)

    with_world(story)


def test_a_flapping_link_is_one_outage_with_flaps() -> None:
    """What works for less than five answers in a row does not end the outage, and each time is counted."""

    async def story(world: World) -> None:
        mark = world.history.mark()
        settings = {"down_s": 0.6, "up_s": 0.1}
        rule, began_s = await world.switch.rule_add("a.biz0", Direction.OUT, "flap", settings=settings)
        await world.change("down", *BELOW, after=mark)

        async def flapped() -> bool:
            return sum(world.levels.summary(since_s=began_s)[name].flaps for name in BELOW) > 0

        await wait_until(flapped, what="a flap", timeout_s=20)
        await world.switch.rule_remove(rule)
        await world.are_up(*BELOW, *ABOVE)

    with_world(story)


def test_a_lossy_link_costs_answers_below_tcp_and_time_above() -> None:
    """A lost echo is lost, a lost segment comes again: the long connection loses nothing."""

    async def story(world: World) -> None:
        settings = {"probability": 0.4}
        rule, began_s = await world.switch.rule_add("a.biz0", Direction.OUT, "loss", settings=settings, seed=7)

        async def lost() -> bool:
            return world.levels.summary(since_s=began_s)["l3"].failed_total_s > 0

        await wait_until(lost, what="a lost echo", timeout_s=20)
        await world.switch.rule_remove(rule)
        await world.are_up(*BELOW, *ABOVE)
        fields: dict[str, Any] = world.levels.fields(since_s=began_s, zero_at_s=began_s)
        assert fields["tcp_long"]["connection"] == {"fate": "survived"}
        assert fields["tcp_long"]["bad_because"].keys() <= {"not connected"}

    with_world(story)

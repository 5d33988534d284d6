"""Tests of testbed.client.levels: ARP and echo against hosts behind a real switch; real TCP is in tests/selftest."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from testbed.client.levels import ProbeLevels, Targets, tcp_orders
from testbed.client.tcp_probe import TcpProbe
from testbed.history import History
from testbed.lan.endpoint import Endpoint
from testbed.switch.client import Direction, Switch
from testbed.wait import wait_for_record
from tests.integration.testbed.client.stub_workload import IP, MAC
from tests.unit.testbed.wire import SEGMENTS

CLIENT_IP, CLIENT_MAC = "10.77.0.100", "02:77:00:00:01:00"
SERVICE_IP, SERVICE_MAC = "10.77.0.10", "52:54:00:77:00:02"
LEVELS = ("l2", "l2_service", "l3")


def test_levels_below_tcp_and_a_reason_instead_of_tcp() -> None:
    """Each level goes up, down by a cut of its own port only, and up again; the missing TCP is said, not hidden."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            directory = Path(name)
            good = tcp_orders(directory, "tcp.biz0", mac=MAC, ip="10.77.0.101", prefix=24, target=IP, port=7000)
            orders = replace(good, mac="03:77:00:00:01:01")  # no host gives an interface a multicast address
            async with (
                Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch,
                Endpoint(directory, "client.biz0", CLIENT_MAC, CLIENT_IP, 24, None) as client,
                Endpoint(directory, "a.biz0", MAC, IP, 24, None),
                Endpoint(directory, "b.biz0", SERVICE_MAC, SERVICE_IP, 24, None),
                ProbeLevels(
                    client, Targets(IP, SERVICE_IP, "10.77.0.200"), udp=None, history=history, scale=0.2,
                    tcp=lambda changes: TcpProbe(orders, log=directory / "tcp", changes=changes, history=history),
                    timeout_s=0.6,
                ) as levels,
            ):  # fmt: skip

                async def change(kind: str, level: str, after: int) -> None:
                    await wait_for_record(
                        history,
                        lambda r: (r.source, r.kind) == (f"probe.{level}", kind),
                        what=f"{level} {kind}",
                        timeout_s=100,
                        after=after,
                    )

                for level in LEVELS:
                    await change("up", level, 0)
                mark = history.mark()
                cut_at_s = await switch.cut("a.biz0", Direction.BOTH)
                for level in ("l2", "l3"):
                    await change("down", level, mark)
                await switch.heal("a.biz0", Direction.BOTH)
                for level in ("l2", "l3"):
                    await change("up", level, mark)
                summary = levels.summary(since_s=cut_at_s)
                fields = levels.fields(since_s=cut_at_s, zero_at_s=cut_at_s)
        assert set(summary) == set(LEVELS)
        outage = summary["l2"].outage
        assert outage is not None
        assert outage.duration_s is not None
        assert str(fields["tcp"]).startswith("not available, because this host does not give a ")
        assert [r.fields["why"] for r in history if r.kind == "not_available"] == [levels.tcp_problem]

    asyncio.run(run())

"""Tests of testbed.client.probe: against a stand-in workload behind a real switch, with planted defects."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.client.ledger import Datagram, Ledger, ReadBack, read_back
from testbed.client.outage import AttemptOutcome
from testbed.client.probe import Probe
from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.judge.oracles.dual_active import dual_active
from testbed.judge.oracles.writes import SetFull, classify
from testbed.judge.sightings import sightings
from testbed.judge.verdict import Verdict
from testbed.lan.endpoint import Endpoint
from testbed.replica.reading import from_service
from testbed.switch.client import Direction, Switch
from testbed.wait import wait_for_record
from tests.integration.testbed.client.stub_workload import IP, MAC, PORT, StubWorkload
from tests.unit.testbed.wire import SEGMENTS

CLIENT_IP, CLIENT_MAC = "10.77.0.100", "02:77:00:00:01:00"


def judged(ledger: Ledger, found: ReadBack) -> SetFull:
    """The book against what was read back at its end."""
    reading = from_service("the service", time.monotonic(), found)
    return classify(ledger.entries(), [reading], duplicates_allowed=False)


@dataclass
class Bed:
    """A switch, a client and a workload on node a."""

    directory: Path
    switch: Switch
    client: Endpoint
    workload: StubWorkload
    history: History

    def probe(self, ledger: Ledger | None, timeout_s: float = 2.0) -> Probe:
        """A probe at 100 requests a second."""
        return Probe(
            self.client, IP, PORT, "run", ledger=ledger, history=self.history, interval_s=0.01, timeout_s=timeout_s
        )


def with_bed(scenario: Callable[[Bed], Awaitable[None]]) -> None:
    """Run the scenario on a fresh bed."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            directory = Path(name)
            async with (
                Switch(directory, SEGMENTS, history=history, log=directory / "log") as switch,
                Endpoint(directory, "client.biz0", CLIENT_MAC, CLIENT_IP, 24, None, history=history) as client,
                Endpoint(directory, "a.biz0", MAC, IP, 24, None) as server,
            ):
                await scenario(Bed(directory, switch, client, StubWorkload(server), history))

    asyncio.run(run())


def test_a_healthy_service_has_every_acknowledged_write() -> None:
    """Writes are acknowledged, found again at their place, and the run is clean."""

    async def scenario(bed: Bed) -> None:
        with Ledger() as ledger:
            async with bed.probe(ledger) as probe:
                assert await probe.wait_first_ok(20) > 0
                await probe.stop()
            assert all(attempt.outcome is not None for attempt in probe.attempts)
            found = await read_back(bed.client, IP, PORT, timeout_s=100)
            verdict = judged(ledger, found)
        assert verdict.verdict is Verdict.PASS
        assert verdict.acknowledged >= 5
        assert verdict.foreign == 0

    with_bed(scenario)


def test_a_forgotten_acknowledged_write_is_found() -> None:
    """The planted violation: the service acknowledges a write that it does not keep."""

    async def scenario(bed: Bed) -> None:
        bed.workload.forgets = {2}
        with Ledger() as ledger:
            async with bed.probe(ledger) as probe:
                await probe.wait_first_ok(20)
                await probe.stop()
            found = await read_back(bed.client, IP, PORT, timeout_s=100)
            verdict = judged(ledger, found)
        assert (verdict.verdict, verdict.lost) == (Verdict.FAIL, 1)

    with_bed(scenario)


def test_an_outage_is_seen_to_begin_and_to_end() -> None:
    """A cut makes requests unknown; after it the outage has an end, and the history shows down and up."""

    async def scenario(bed: Bed) -> None:
        with Ledger() as ledger:
            async with bed.probe(ledger, timeout_s=0.2) as probe:
                await wait_for_record(bed.history, lambda r: r.kind == "up", what="the service", timeout_s=100)
                cut_at_s = await bed.switch.cut("a.biz0", Direction.BOTH)
                await wait_for_record(bed.history, lambda r: r.kind == "down", what="the outage", timeout_s=100)
                healed_at_s = await bed.switch.heal("a.biz0", Direction.BOTH)
                outage = await probe.wait_recovered(20, since_s=cut_at_s)
                await probe.stop()
        assert outage.started_at_s is not None
        assert outage.ended_at_s is not None
        assert outage.ended_at_s > healed_at_s
        assert outage.started_at_s < healed_at_s
        assert AttemptOutcome.INFO in {attempt.outcome for attempt in probe.attempts}
        kinds = [r.kind for r in bed.history if r.source == "probe" and r.kind in {"up", "down"}]
        assert kinds[:3] == ["up", "down", "up"]

    with_bed(scenario)


def test_refused_writes_fail_and_each_err_finds_its_own_request() -> None:
    """An ERR names no request, and still every one is booked as refused, none as unknown."""

    async def scenario(bed: Bed) -> None:
        bed.workload.refuses = True
        with Ledger() as ledger:
            async with bed.probe(ledger) as probe:
                for _ in range(3):
                    mark = bed.history.mark()
                    await wait_for_record(
                        bed.history, lambda r: r.kind == "fail", what="a refusal", timeout_s=100, after=mark
                    )
                await probe.stop()
            assert {entry.outcome for entry in ledger.entries()} == {AttemptOutcome.FAIL}
        assert probe.summary().good == 0

    with_bed(scenario)


def test_an_answer_after_the_limit_is_late_and_still_acknowledged() -> None:
    """Requests held in the switch are first unknown, then booked as acknowledged late."""

    async def scenario(bed: Bed) -> None:
        with Ledger() as ledger:
            async with bed.probe(ledger, timeout_s=0.1) as probe:
                await probe.wait_first_ok(20)
                await bed.switch.hold()
                await wait_for_record(bed.history, lambda r: r.kind == "info", what="an unknown write", timeout_s=100)
                await bed.switch.release()
                await wait_for_record(bed.history, lambda r: r.kind == "late", what="a late answer", timeout_s=100)
                await probe.stop()
            assert any(entry.is_late and entry.outcome is AttemptOutcome.OK for entry in ledger.entries())

    with_bed(scenario)


def test_a_silent_service_is_a_time_out_that_says_so() -> None:
    """The error tells how many requests went unanswered."""

    async def scenario(bed: Bed) -> None:
        bed.workload.mute = 10**6
        async with bed.probe(None) as probe:
            with pytest.raises(WaitTimeout, match=r"none of \d+ requests was answered"):
                await probe.wait_first_ok(0.2)

    with_bed(scenario)


class DeafClient:
    """An endpoint whose requests are never answered."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.ports = 0

    def free_port(self) -> int:
        """Another port at each call."""
        self.ports += 1
        return self.ports

    def listen(self, port: int, handler: Callable[[Datagram, float], None]) -> None:
        """Nothing will come."""

    def stop_listening(self, port: int) -> None:
        """Nothing came."""

    def udp_send(self, dst_ip: str, dst_port: int, src_port: int, payload: bytes) -> None:
        """Note that something was sent."""
        self.sent.set()


def test_a_request_in_flight_at_the_end_is_unknown_and_no_outage() -> None:
    """A probe that is ended in haste books its open writes as unknown, but does not call the service down."""

    async def run() -> None:
        ledger, client = Ledger(), DeafClient()
        async with Probe(client, IP, PORT, "run", ledger=ledger, timeout_s=1000.0) as probe, asyncio.timeout(100):
            await client.sent.wait()
        assert {entry.outcome for entry in ledger.entries()} == {AttemptOutcome.INFO}
        assert {attempt.outcome for attempt in probe.attempts} == {None}

    asyncio.run(run())


def test_a_ping_probe_writes_nothing_and_notices_a_new_boot() -> None:
    """Without a ledger it only pings; a restarted service is recorded."""

    async def scenario(bed: Bed) -> None:
        async with bed.probe(None) as probe:
            await probe.wait_first_ok(20)
            bed.workload.boot = "other"
            await wait_for_record(
                bed.history, lambda r: r.kind == "boot" and r.fields["boot"] == "other", what="the boot", timeout_s=100
            )
        assert bed.workload.log == []
        assert probe.boots == ["b00t", "other"]
        assert probe.pong_totals == sorted(probe.pong_totals)
        assert {total for _, total in probe.pong_totals} == {0}

    with_bed(scenario)


def test_two_ports_that_claim_one_address_are_one_violation() -> None:
    """The planted violation: a second node announces the VM's address while the first one serves it."""

    async def scenario(bed: Bed) -> None:
        await bed.switch.watch(ips=[IP])
        async with Endpoint(bed.directory, "b.biz0", MAC, IP, 24, None) as twin:
            for host in (bed.workload.host, twin, bed.workload.host):
                mark = bed.history.mark()
                host.announce()
                await wait_for_record(
                    bed.history, lambda r: r.kind == "claim", what="the claim", timeout_s=100, after=mark
                )
        ports = {"a": ["a.biz0"], "b": ["b.biz0"]}
        overlaps = dual_active(sightings(bed.history), ports, 0.0, merge_gap_s=60.0)  # a slow host must not split them
        assert [(overlap.address, overlap.nodes) for overlap in overlaps] == [(IP, ("a", "b"))]

    with_bed(scenario)

"""The oracles see what is planted on a real switch: two hosts with one address, and one multicast too many."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.history import History
from testbed.judge.finding import Finding
from testbed.judge.oracles.multicasts import PER_SECOND_MAX
from testbed.judge.panel import ORACLES, ask
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict
from testbed.lan.endpoint import Endpoint
from testbed.switch.client import Direction, Switch
from testbed.topology import PREFIX, PRIVATE, Topology
from testbed.wait import wait_for_record, wait_until

pytestmark = [pytest.mark.selftest, pytest.mark.timeout(60)]
WAIT_S = 10.0
BED = Topology()
VM = BED.guests[0]
Deed = Callable[[Switch, History, Path], Awaitable[None]]


def judged(deed: Deed, *, watch: bool = True) -> dict[str, Finding]:
    """What all oracles say of a time in which this was done on a switch of the bed's shape."""

    async def run() -> dict[str, Finding]:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            directory = Path(name)
            async with Switch(directory, BED.segments, history=history, log=directory / "log") as switch:
                if watch:
                    await switch.watch(macs=[VM.mac], ips=[BED.service, VM.address])
                    await switch.count_multicasts()
                since_s = time.monotonic()
                await deed(switch, history, directory)
                until_s = time.monotonic()
                if watch:
                    await switch.count_multicasts()
                found = ask(
                    Recorded(
                        Scene(), since_s, until_s, replicas="there are no disks", readings="nobody wrote",
                        records=tuple(history),
                    ),
                    ORACLES,
                )  # fmt: skip
            return {finding.oracle: finding for finding in found}

    return asyncio.run(run())


def vm_at(directory: Path, node: str) -> Endpoint:
    """A host that pretends to be the VM at a node's port."""
    return Endpoint(directory, f"{node}.{VM.network.name}", VM.mac, VM.address, PREFIX, None)


async def claims(history: History, port: str, after: int) -> None:
    """Wait until the switch has reported a claim of the VM's address at the port."""
    wanted = {"ip": VM.address, "port": port}.items()
    await wait_for_record(
        history,
        lambda entry: entry.kind == "claim" and wanted <= entry.fields.items(),
        what=f"a claim at {port}",
        timeout_s=WAIT_S,
        after=after,
    )


async def _both_answer(_switch: Switch, history: History, directory: Path) -> None:
    async with vm_at(directory, "a") as one, vm_at(directory, "b") as other:
        for host, port in ((one, "a.biz0"), (other, "b.biz0"), (one, "a.biz0")):
            mark = history.mark()
            host.announce()
            await claims(history, port, mark)


async def _one_answers(_switch: Switch, history: History, directory: Path) -> None:
    async with vm_at(directory, "a") as one:
        for _ in range(2):
            mark = history.mark()
            one.announce()
            await claims(history, "a.biz0", mark)


async def _cut_one_answers(switch: Switch, history: History, directory: Path) -> None:
    await switch.cut("b.biz0", Direction.IN)
    await _both_answer(switch, history, directory)


def test_two_nodes_that_answer_for_one_address_are_caught() -> None:
    """Planted: two hosts with the VM's MAC and IPv4 address, seen through the switch only."""
    found = judged(_both_answer)["dual_active"]
    assert found.verdict is Verdict.FAIL
    assert found.text.startswith("nodes a and b both used")


def test_one_node_that_answers_is_no_violation() -> None:
    """The same with one of them: the oracle does not cry at every claim."""
    assert judged(_one_answers)["dual_active"].verdict is Verdict.PASS


def test_a_node_that_answers_behind_a_cut_is_caught_and_told_apart() -> None:
    """It did use the address; the evidence says that no client could see it."""
    found = judged(_cut_one_answers)["dual_active"]
    assert found.verdict is Verdict.FAIL
    overlaps = found.evidence["overlaps"]
    assert isinstance(overlaps, list)
    assert {row[0]: row[-1] for row in overlaps}[VM.address] is False


def test_a_switch_that_was_not_asked_to_watch_leaves_its_oracles_blind() -> None:
    """Nothing was seen, and nobody says that nothing happened."""

    async def nothing(_switch: Switch, _history: History, _directory: Path) -> None:
        return

    found = judged(nothing, watch=False)
    assert {finding.verdict for finding in found.values()} == {Verdict.INCONCLUSIVE}


def _multicasts(count: int, source: str) -> Deed:
    """Send so many broadcasts in a row from node a's private port."""

    async def deed(switch: Switch, _history: History, directory: Path) -> None:
        frame = b"\xff" * 6 + bytes.fromhex(source.replace(":", "")) + b"\x88\xb5" + bytes(46)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as device:
            device.settimeout(WAIT_S)
            for _ in range(count):
                device.sendto(frame, str(directory / f"s-a.{PRIVATE}"))

        async def taken() -> bool:
            return (await switch.ports())[f"a.{PRIVATE}"].inward.frames == count

        await wait_until(taken, what=f"{count} frames in the switch", timeout_s=WAIT_S, poll_s=0.01)

    return deed


@pytest.mark.parametrize(
    ("count", "source", "state"),
    [
        (PER_SECOND_MAX, BED.node_macs["a"][PRIVATE], Verdict.PASS),
        (PER_SECOND_MAX + 1, BED.node_macs["a"][PRIVATE], Verdict.FAIL),
        (PER_SECOND_MAX + 1, VM.mac, Verdict.PASS),
    ],
)
def test_one_multicast_too_many_is_caught(count: int, source: str, state: Verdict) -> None:
    """Ten in a second are allowed, eleven are not, and the VM's own do not count."""
    assert judged(_multicasts(count, source))["multicasts"].verdict is state

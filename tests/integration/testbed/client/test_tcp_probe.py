"""Tests of testbed.client.tcp_probe with its real program: a missing or dead probe is never silent."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.client.tcp_probe import TcpProbe
from testbed.history import History
from testbed.wait import wait_for_record
from tests.unit.testbed.client.test_tcp_probe import orders


def test_a_probe_that_cannot_be_says_why() -> None:
    """The program's refusal is the problem, and the context still opens."""

    async def run() -> str | None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name:
            impossible = replace(orders(Path(name)), mac="03:77:00:00:01:01")
            async with TcpProbe(impossible, log=Path(name) / "log", changes={}) as probe:
                return probe.problem

    assert str(asyncio.run(run())).startswith("this host does not give a ")


def test_a_probe_that_dies_does_not_look_like_an_outage() -> None:
    """From then on there is a problem with its reason, and no attempt counts as bad for it."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="tb-") as name, History() as history:
            log = Path(name) / "log"
            async with TcpProbe(orders(Path(name)), log=log, changes={}, history=history) as probe:
                if probe.problem is not None:
                    pytest.skip(probe.problem)
                os.kill(probe.pid, signal.SIGKILL)
                await wait_for_record(history, lambda r: r.kind == "ended", what="the end of the probe", timeout_s=100)
                assert "ended during the run" in str(probe.problem)
                before = probe.attempts["tcp_new"].summary()
                assert before == probe.attempts["tcp_new"].summary()

    asyncio.run(run())

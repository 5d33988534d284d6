"""The probes of all VMs of a bed, asked as one: it is up when all are, and away as long as the slowest VM.

It must never let a VM that serves speak for one that does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from testbed.client.outage import Outage, OutageSummary, longest
from testbed.client.probe import Probe
from testbed.errors import first_error


class Probes:
    """Running probes by the name of their VM, at least one."""

    def __init__(self, by_vm: Mapping[str, Probe]) -> None:
        assert by_vm, "a bed has at least one VM"
        self._by_vm = dict(by_vm)

    @property
    def is_up(self) -> bool | None:
        """True while each VM serves, False while any does not, None while nobody knows."""
        said = {probe.is_up for probe in self._by_vm.values()}
        return False if False in said else None if None in said else True

    async def wait_first_ok(self, timeout_s: float) -> None:
        """Wait until each VM has answered several requests in a row; raises WaitTimeout."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for probe in self._by_vm.values():
                    tasks.create_task(_first_ok(probe, timeout_s))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def stop(self) -> None:
        """Send no more requests, and wait until each one was answered or its time has run out."""
        async with asyncio.TaskGroup() as tasks:
            for probe in self._by_vm.values():
                tasks.create_task(probe.stop())

    def summaries(self, *, since_s: float) -> dict[str, OutageSummary]:
        """The client's view of each VM until now."""
        return {name: probe.summary(since_s=since_s) for name, probe in self._by_vm.items()}

    def outage(self, *, since_s: float) -> Outage | None:
        """The longest outage of any VM; one without an end counts as the longest."""
        return longest(summary.outage for summary in self.summaries(since_s=since_s).values())


async def _first_ok(probe: Probe, timeout_s: float) -> None:
    await probe.wait_first_ok(timeout_s)

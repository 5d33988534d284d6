"""Which nodes run a VM, as Xen says in each dom0 over the out-of-band channel, without the product.

A node with a control port answers by a hypercall and xenstored, in some milliseconds; others by `xl list -v`.

It serves the question whether the same VM runs twice. A node that cannot be asked is unknown, never "no"; a domain
that was destroyed and is not gone yet has lost its name, so it is listed as NAMELESS and counts as no VM.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed import pace
from testbed.errors import GuestCommandError, TestbedError
from testbed.history import History
from testbed.node.node import Node
from testbed.vocabulary import in_tools

NAMELESS = "(null)"
LIST_LIMIT_S = 10.0  # inside the node, so that none is left behind
LIST_TIMEOUT_S = 15.0
COLUMNS_MIN = 8
WATCH_INTERVAL_S = 2.0  # an answer of the control port costs dom0 some milliseconds of its processor
PROGRAM_INTERVAL_S = 15.0  # each `xl list` costs about half a second, which a takeover needs
# libxl's names are poweroff 0, reboot 1, suspend 2, crash 3, watchdog 4 (xen/include/public/sched.h).
POWEROFF, CRASH = 0, 3


@dataclass(frozen=True)
class Domain:
    """One line of `xl list -v`; `reason` is Xen's code of why it shut down, None while it did not."""

    name: str
    id: int
    flags: str
    cpu_s: float
    reason: int | None

    @property
    def is_running(self) -> bool:
        """It is neither shut down nor crashed nor dying."""
        return not set("scd") & set(self.flags)


def parse_domains(text: str) -> tuple[Domain, ...]:
    """Read one or several listings of `xl list -v`; lines that are no domains, such as headings, are left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < COLUMNS_MIN or not words[1].isdigit():
            continue
        name, number, _, _, flags, cpu, _, reason = words[:COLUMNS_MIN]
        found.append(Domain(name, int(number), flags, float(cpu), int(reason) if reason.isdigit() else None))
    return tuple(found)


async def domains(node: Node) -> tuple[Domain, ...]:
    """List the domains of one node; raises MachineError when it is off, and when Xen or xenstored does not answer."""
    return (await _look(node))[0]


async def _look(node: Node) -> tuple[tuple[Domain, ...], dict[str, str]]:
    """Return the domains, and who writes each replicated volume: both nodes' roles by the number of its device."""
    question = node.image.questions.get("domains")
    roles: dict[str, str] = {}
    if question is not None:
        listed, roles = _answered(await node.machine.control.ask(question, timeout_s=LIST_TIMEOUT_S), node.name)
    else:
        argv = ["timeout", f"{pace.scaled(LIST_LIMIT_S):g}", "xl", "list", "-v"]
        listed = parse_domains(await node.machine.guest.must_succeed(argv, timeout_s=LIST_TIMEOUT_S))
    if not listed:
        raise GuestCommandError(f"Xen on node {node.name} names no domain, not even dom0.")
    return listed, roles


def _answered(answer: dict[str, Any], node: str) -> tuple[tuple[Domain, ...], dict[str, str]]:
    try:
        listed = tuple(
            Domain(one["name"], int(one["id"]), one["flags"], float(one["cpu_s"]), one["reason"])
            for one in answer["domains"]
        )
        return listed, {str(minor): str(roles) for minor, roles in answer.get("roles", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GuestCommandError(f"Node {node} answered with no list of domains: {str(answer)[:200]}") from error


async def where_runs(nodes: Mapping[str, Node], vm: str) -> dict[str, Domain | str | None]:
    """Return for each node the running domain of this VM, None when it has none, or a text: why nobody knows."""
    found: dict[str, Domain | str | None] = {}
    for node in nodes.values():
        if not node.is_on:
            found[node.name] = None
            continue
        try:
            listed = await domains(node)
        except TestbedError as error:
            found[node.name] = str(error)
            continue
        found[node.name] = next((one for one in listed if one.name == in_tools(vm) and one.is_running), None)
    return found


async def watch(nodes: Mapping[str, Node], history: History) -> None:
    """Record what Xen lists on each node, now and then, until it is cancelled; a node that is off is passed over.

    The records (`guests domains` with node, asked_s, name, id and state of each domain, and DRBD's roles) are for the
    oracles that look for a VM that runs twice, and for two writers. They find what lasts; between two looks they are
    blind.
    """
    async with asyncio.TaskGroup() as tasks:
        for node in nodes.values():
            tasks.create_task(_watch_node(node, history))


async def _watch_node(node: Node, history: History) -> None:
    interval_s = WATCH_INTERVAL_S if "domains" in node.image.questions else PROGRAM_INTERVAL_S
    while True:
        asked_s = time.monotonic()
        with contextlib.suppress(TestbedError):
            if node.is_on:
                found, roles = await _look(node)
                listed = [{"name": one.name, "id": one.id, "state": one.flags} for one in found]
                history.record("guests", "domains", node=node.name, asked_s=asked_s, domains=listed, roles=roles)
        await asyncio.sleep(max(0.1, pace.scaled(interval_s) - (time.monotonic() - asked_s)))


def runners(found: Mapping[str, Domain | str | None]) -> dict[str, Domain]:
    """Keep the nodes that certainly run it."""
    return {node: one for node, one in found.items() if isinstance(one, Domain)}

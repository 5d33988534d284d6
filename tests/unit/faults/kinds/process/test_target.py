"""Proves which process a target means, what cannot be done to it, and that a number is never taken for a process."""

from __future__ import annotations

import asyncio

import pytest

from faults.kinds.process.target import Table, Target, check_target, find, look, parse_table, parse_target
from testbed.errors import UsageError
from tests.unit.faults.kinds.inner_bed import HostAgent, InnerBed


def line(pid: int, name: str, *, state: str = "S", start: int = 100) -> str:
    """One line of /proc/<pid>/stat as Linux 6.1 writes it, shortened behind the start time."""
    return f"{pid} ({name}) {state} 1 143 143 0 -1 4194304 1 2 0 0 30 12 0 0 10 -10 3 0 {start} 1000 9059"


TEXT = "\n".join(
    [
        line(143, "python3"),
        line(205, "drbd_w_web"),
        line(209, "drbd_r_web"),
        line(212, "drbd_a_web"),
        line(213, "drbd_as_web"),
        line(115, "drbd-reissue"),
        line(237, "1.xvda-0"),
        line(238, "vif1.0-q0-guest-rx"),
        line(239, "vif1.0-q0-dealloc"),
        line(300, "a) strange (name"),
        "301 (cut off",
        "daemon 143",
    ]
)


def names(table: Table, part: str) -> list[str]:
    """The names of the processes of a part."""
    return [process.name for process in table.members(part)]


def test_each_part_has_its_processes() -> None:
    """The daemon by its supervisor's word, kernel threads by the names that the kernel gives them."""
    table = parse_table(TEXT)
    assert names(table, "daemon") == ["python3"]
    assert names(table, "guest") == ["1.xvda-0", "vif1.0-q0-guest-rx", "vif1.0-q0-dealloc"]
    assert names(table, "replication") == ["drbd_w_web", "drbd_r_web", "drbd_a_web"]
    assert table.processes[300].name == "a) strange (name"
    assert 301 not in table.processes
    assert (table.processes[143].cpu_ticks, table.processes[143].start_ticks) == (42, 100)


def test_a_number_with_another_start_is_another_process() -> None:
    """Neither a successor nor a zombie is the process that was meant."""
    old = parse_table(TEXT).members("daemon")[0]
    assert parse_table(line(143, "python3")).now(old) == old
    assert parse_table(line(143, "python3", start=101)).now(old) is None
    assert parse_table(line(143, "python3", state="Z")).now(old) is None
    assert parse_table("").now(old) is None


@pytest.mark.parametrize("text", ["daemon", "daemon 0", "daemon x", "daemon 77"])
def test_a_daemon_that_does_not_run_is_not_found(text: str) -> None:
    """The supervisor names none while it starts one, or one that is gone."""
    assert parse_table(text).members("daemon") == ()


@pytest.mark.parametrize("text", ["a", "a/", "a/kernel", "/daemon/x"])
def test_a_target_of_another_form_is_refused(text: str) -> None:
    """The possible ones are named."""
    assert parse_target("b/guest") == Target("b", "guest")
    with pytest.raises(UsageError, match=r"possible: .*/daemon, .*/guest, .*/replication"):
        parse_target(text)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("a/guest", r"process\.stop is not possible for a/guest\. A paravirtual VM .* process\.slow.*guest\.\*"),
        ("a/replication", r"belong to the kernel.* process\.slow, link\.match_drop"),
        ("c/daemon", r"no node 'c'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(target: str, message: str) -> None:
    """Kernel threads ignore signals, and a node has to exist."""
    with pytest.raises(UsageError, match=message):
        check_target(InnerBed().bed, parse_target(target), "process.stop", ("daemon",))


def test_an_image_that_names_no_daemon_is_refused() -> None:
    """The field of the manifest is named."""
    with pytest.raises(UsageError, match=r"product\.daemon"):
        check_target(InnerBed(daemon=None).bed, Target("a", "daemon"), "process.kill", ("daemon",))


@pytest.mark.parametrize(("part", "why"), [("guest", "no VM runs there"), ("replication", "nothing is replicated")])
def test_a_node_without_such_a_process_is_refused(part: str, why: str) -> None:
    """What is not there cannot be slowed."""
    inner = InnerBed(HostAgent(lambda _argv: line(1, "runit")))
    with pytest.raises(UsageError, match=why):
        asyncio.run(find(inner.bed, Target("a", part), "process.slow"))


def test_the_look_reads_a_real_process_table() -> None:
    """This host's own kernel and shell give what the parser wants; there is no such supervisor here."""
    table = asyncio.run(look(InnerBed().bed, "a"))
    assert 1 in table.processes
    assert table.daemon_pid is None

"""Proves the verbs that look into a bed that is up: what they ask for, what they print, and their exit codes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.by_hand import terminal, verbs
from testbed.errors import GuestCommandError, TestbedError, UsageError
from testbed.host import speed_work

DONE = {"node": "b", "code": 0, "stdout": "Domain-0\n", "stderr": "a warning\n"}
PRODUCT = {
    "role": "primary", "pair": "PAIRED", "epoch": 3, "protected": True, "links": {"biz0": "UP", "priv0": "DOWN"},
    "vms": {"web": {"state": "RUNNING", "disk": "Diskless", "peer_disk": "UpToDate", "connection": "Connected"}},
}  # fmt: skip
STATUS = {
    "stage": "protected", "artefacts": "somewhere", "image": "1ma9e", "accelerator": "tcg", "dilation": 2,
    "vm": "answers the client, in 7 ms", "faults": {"armed": {"2": "disk.gone on a"}},
    "nodes": {
        "a": {"machine": "running", "pid": 4711, "product": PRODUCT, "problem": ""},
        "b": {"machine": "off", "pid": None, "product": None, "problem": ""},
    },
}  # fmt: skip


def parse(*argv: str) -> argparse.Namespace:
    """What the verbs make of a command line."""
    parser = argparse.ArgumentParser()
    verbs.register(parser.add_subparsers(dest="verb", required=True))
    return parser.parse_args(list(argv))


class Bed:
    """A bed that answers each order with the same answer or error, and remembers them."""

    def __init__(self, answer: dict[str, Any] | BaseException) -> None:
        self.answer = answer
        self.asked: list[tuple[Mapping[str, object], float]] = []

    async def ask(self, socket: Path, order: Mapping[str, object], *, timeout_s: float) -> dict[str, Any]:
        """Take an order."""
        assert socket == Path("socket")
        self.asked.append((order, timeout_s))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return {"ok": True, **self.answer}


def run(monkeypatch: pytest.MonkeyPatch, bed: Bed, *argv: str) -> int:
    """Run a verb beside such a bed."""
    monkeypatch.setattr(verbs, "ask", bed.ask)
    monkeypatch.setattr(verbs, "control_socket", lambda: Path("socket"))
    monkeypatch.setattr(verbs, "running_bed", lambda: "testbed up, pid 12, since 14:07:40 (3 min)")
    args = parse(*argv)
    code: int = args.act(args)
    return code


@pytest.mark.parametrize(("code", "ends_with"), [(0, 0), (7, 7), (-9, 137)])
def test_exec_ends_with_the_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, ends_with: int
) -> None:
    """Both outputs go where they belong; a signal is told as a shell tells it."""
    bed = Bed({**DONE, "code": code})
    assert run(monkeypatch, bed, "exec", "--timeout", "5", "primary", "--", "xl", "list", "--long") == ends_with
    ((order, timeout_s),) = bed.asked
    assert order == {"order": "exec", "node": "primary", "argv": ["xl", "list", "--long"], "timeout_s": 5.0}
    assert timeout_s > 60.0  # the node's own limit is told first
    assert capsys.readouterr() == ("Domain-0\n", "a warning\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UsageError("There is no node 'c'."), "testbed: There is no node 'c'.\n"),
        (GuestCommandError("its outcome is unknown"), "testbed: its outcome is unknown\n"),
        (KeyboardInterrupt(), "it may still run in the node\n"),
    ],
)
def test_a_command_that_was_not_run_has_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, words: str
) -> None:
    """It cannot be mistaken for a code of the command."""
    assert run(monkeypatch, Bed(error), "exec", "c", "--", "true") == 255
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(words)


def test_console_attaches_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order names the node."""
    attached: list[object] = []

    async def attach(socket: Path, order: object) -> None:
        attached.append((socket, order))

    monkeypatch.setattr(terminal, "attach", attach)
    assert run(monkeypatch, Bed({}), "console", "b") == 0
    assert attached == [(Path("socket"), {"order": "console", "node": "b"})]


def test_status_is_text_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who holds the bed, host, VM, both nodes and the faults each have a line."""
    monkeypatch.setattr(verbs, "speed", lambda: 0.5)
    assert run(monkeypatch, Bed(STATUS), "status") == 0
    assert capsys.readouterr().out.splitlines() == [
        "bed: testbed up, pid 12, since 14:07:40 (3 min); it was brought to: protected",
        "host: speed 0.50, dilation 2, tcg",
        "image: 1ma9e; files: somewhere",
        "VM: answers the client, in 7 ms",
        "node a: running, QEMU pid 4711",
        "  product: primary, PAIRED, epoch 3, protected",
        "  links: biz0 UP, priv0 DOWN",
        "  VM web: RUNNING; disk Diskless, the peer's UpToDate, Connected",
        "node b: off",
        "faults, by the number for `testbed heal`:",
        "  2: disk.gone on a",
    ]


def test_a_silent_product_and_no_faults_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing in the status is not left out in silence."""
    silent = {"machine": "paused", "pid": 1, "product": None, "problem": "not asked: its machine stands still"}
    run(monkeypatch, Bed({**STATUS, "faults": {"armed": {}}, "nodes": {"a": silent}}), "status")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "node a: paused, QEMU pid 1",
        "  product: not asked: its machine stands still",
        "faults: none by hand",
    ]


def test_status_is_json_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of the answer is lost; holder and speed are added."""
    monkeypatch.setattr(verbs, "speed", lambda: 0.5)
    run(monkeypatch, Bed(STATUS), "status", "--json")
    more = {"held_by": "testbed up, pid 12, since 14:07:40 (3 min)", "host_speed": 0.5}
    assert json.loads(capsys.readouterr().out) == STATUS | more


def test_an_error_of_the_status_is_for_the_command_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """`testbed` turns it into a sentence and a code."""
    with pytest.raises(TestbedError, match="went down"):
        run(monkeypatch, Bed(TestbedError("The bed went down")), "status")


def test_the_speed_is_that_of_the_quicker_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that was disturbed says nothing about the host; twice the time is half the speed."""
    monkeypatch.setattr(speed_work, "rounds", lambda count: [0.4, 0.1][:count])
    assert verbs.speed() == 0.5

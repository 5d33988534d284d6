"""Proves the `testbed` command: its verbs, its exit codes, and one sentence for a person instead of a traceback."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self

import pytest

from testbed import __main__ as command
from testbed.by_hand.orders import SOCKET, Orders
from testbed.errors import HostError, MachineError, UsageError
from testbed.site import SiteOptions
from tests.unit.testbed.small_image import own_host


@pytest.fixture(autouse=True)
def as_before(tmp_path: Path) -> Iterator[None]:
    """Give the signal handlers back, which the command sets for its process."""
    before = signal.getsignal(signal.SIGTERM)
    FakeSession.sockets = tmp_path
    with own_host(tmp_path):
        yield
    signal.signal(signal.SIGTERM, before)


class FakeSession:
    """Stands for a session that ends as the test wants; `ended` shows that its end was reached."""

    ends_with: BaseException | None = None
    ended = False
    arguments: tuple[Path, SiteOptions, bool] | None = None
    sockets: Path

    def __init__(self, out: Path, site: SiteOptions) -> None:
        self.out, self.site = out, site
        self.bed = SimpleNamespace(sockets=self.sockets)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.sleep(0)  # an orderly end has to be able to wait
        FakeSession.ended = True

    async def protect(self, *, cold: bool) -> None:
        """End as planned, or get the bed up."""
        FakeSession.arguments = (self.out, self.site, cold)
        assert (self.sockets / SOCKET).exists(), "a bed on its way up can already be looked at"
        if FakeSession.ends_with is not None:
            raise FakeSession.ends_with


BESIDE: list[str] = []


@asynccontextmanager
async def beside(_bed: object, orders: Orders) -> AsyncIterator[None]:
    """Stands for what another package does while a bed is up."""
    BESIDE.append(f"begins, {orders.takes('exec')}")
    try:
        yield
    finally:
        BESIDE.append("ends")


def while_up(*, group: str) -> Iterable[object]:
    """The entry points of this host, but for one of the test's own beside a bed that is up."""
    return [SimpleNamespace(load=lambda: beside)] if group == "testbed.up" else entry_points(group=group)


def up(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, *arguments: str) -> int:
    """Run `testbed up` with a session that ends with this error."""

    async def describe(_bed: object) -> str:
        signal.raise_signal(signal.SIGTERM)  # nobody stops a bed that is up, but a person
        return "protected"

    monkeypatch.setattr(FakeSession, "ends_with", error)
    monkeypatch.setattr(FakeSession, "ended", False)
    monkeypatch.setattr(command, "Session", FakeSession)
    monkeypatch.setattr(command, "describe", describe)
    monkeypatch.setattr(command, "entry_points", while_up)
    return command.main(["up", *arguments])


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (HostError("QEMU is missing. Install it."), 2, "testbed: QEMU is missing. Install it.\n"),
        (UsageError("There is no such thing."), 2, "testbed: There is no such thing.\n"),
        (MachineError("Node a died."), 1, "testbed: Node a died.\n"),
        (KeyboardInterrupt(), 130, "testbed: interrupted; every process of the bed is ended\n"),
    ],
    ids=["host", "usage", "failed", "interrupted"],
)
def test_an_error_is_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    sentence: str,
) -> None:
    """2 is refused, 1 is failed, 130 is interrupted; the session was ended in each case."""
    assert up(monkeypatch, error) == code
    assert capsys.readouterr().err == sentence
    assert FakeSession.ended


def test_sigterm_ends_a_bed_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A polite kill runs the orderly end, and the exit code says that it was interrupted."""
    BESIDE.clear()
    assert up(monkeypatch, None) == 130
    assert FakeSession.ended
    assert BESIDE == ["begins, True", "ends"]
    assert "every process of the bed is ended" in capsys.readouterr().err


def test_a_bed_in_the_background_of_a_script_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell starts it there with SIGINT ignored; a polite kill ends it all the same."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert up(monkeypatch, None) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert FakeSession.ended


def test_up_takes_directory_and_cold_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options reach the session; the site is the product's default."""
    up(monkeypatch, None, "--out", str(tmp_path / "somewhere"), "--cold")
    assert FakeSession.arguments == (tmp_path / "somewhere", SiteOptions(), True)


def test_up_takes_a_topology(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Networks and VMs are counted, BMCs are wanted or not; what a site does not have is refused before it starts."""
    up(monkeypatch, None, "--networks", "2", "--vms", "8", "--power")
    assert FakeSession.arguments == (command.RUN_DIR, SiteOptions(networks=2, vms=8, power=True), False)
    assert up(monkeypatch, None, "--vms", "9") == 2
    assert "vms is 9; a site has 1 to 8 of them." in capsys.readouterr().err


def test_a_programming_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no person is meant to read keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        up(monkeypatch, ZeroDivisionError())


def test_help_names_the_verbs_of_all_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """The verbs of fault injection come through the entry point."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    verbs = "doctor up exec console status history run demo bench list replay shrink inject heal"
    for verb in verbs.split():
        assert f"\n    {verb} " in text


def test_a_broken_pipe_that_is_not_our_output_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A programming error somewhere in the bed keeps its traceback."""
    with pytest.raises(BrokenPipeError):
        up(monkeypatch, BrokenPipeError())


@pytest.mark.parametrize("arguments", [[], ["fly"]], ids=["none", "unknown"])
def test_without_a_known_verb_it_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2 and the possible verbs are shown."""
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "doctor" in capsys.readouterr().err

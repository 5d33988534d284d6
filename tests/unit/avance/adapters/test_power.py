"""The peer's power on a stand-in of ipmitool: only a power that was read back as off confirms anything."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

import pytest

from avance.adapters import power as module
from avance.adapters.power import PeerBmc
from avance.config import BmcConfig
from avance.core.model import Outcome
from avance.core.results import Done, PowerRead
from avance.wire import ipmi
from tests.unit.avance.adapters.tools import Tools

ON, OFF = "Chassis Power is on\n", "Chassis Power is off\n"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A node with ipmitool, and short deadlines."""
    monkeypatch.setattr(module, "CUT_S", 10.0)
    return Tools(tmp_path, monkeypatch, "ipmitool")


def bmc() -> PeerBmc:
    """Return the adapter for the BMC of node b."""
    return PeerBmc(BmcConfig(ipaddress.IPv4Address("10.77.0.32"), "admin", "s3cret"), 1.0)


@pytest.mark.parametrize(("text", "detail"), [(ON, "on"), (OFF, "off")])
def test_power_is_read(tools: Tools, text: str, detail: str) -> None:
    """The answer is the outcome's detail."""
    tools.says("ipmitool", text)
    assert asyncio.run(bmc().read()) == PowerRead(Outcome.OK, detail, off=detail == "off")


def test_silent_bmc_is_unknown(tools: Tools) -> None:
    """A question that failed says nothing about the power."""
    tools.ends("ipmitool", 1)
    assert asyncio.run(bmc().read()).outcome is Outcome.UNKNOWN


def test_hanging_bmc_is_unknown_at_the_deadline(tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer in time is no answer."""
    monkeypatch.setattr(module, "READ_S", 0.1)
    (tmp_path / "ipmitool").write_text("#!/bin/sh\nexec sleep 600\n")
    done = asyncio.run(bmc().read())
    assert done.outcome is Outcome.UNKNOWN
    assert "did not end" in done.detail


def says(tmp_path: Path, *answers: str, then: str = "exec sleep 600") -> None:
    """Let stdbuf, and so what it starts, print these lines one after the other, and go on until it is ended."""
    printed = "".join(f"echo '{answer}'\n" for answer in answers)
    script = tmp_path / "stdbuf"
    noted = f'echo "$*" >> {tmp_path}/calls\necho $$ > {tmp_path}/pid\ncat /proc/self/fd/0 > {tmp_path}/given\n'
    script.write_text(f"#!/bin/sh\n{noted}{printed}{then}\n")
    script.chmod(0o755)


def test_cut_is_confirmed_by_reading(tmp_path: Path, tools: Tools) -> None:
    """The order is given, then the power is read until it is off; ipmitool is ended then."""
    says(tmp_path, "Chassis Power Control: Down/Off", "Chassis Power is on", "Chassis Power is off")
    assert asyncio.run(bmc().cut()) == Done(Outcome.OK, "off")
    assert tools.calls[0].endswith("exec /proc/self/fd/0")
    assert (tmp_path / "given").read_text() == ipmi.CUT_SCRIPT
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


@pytest.mark.parametrize("answers", [(), ("Chassis Power Control: Down/Off",), ("Chassis Power is on",) * 3])
@pytest.mark.parametrize("then", ["exec sleep 600", "exit 1"], ids=["hangs", "ends"])
def test_accepted_order_confirms_nothing(
    tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...], then: str
) -> None:
    """A BMC that takes the order but never says off has not cut anything for certain."""
    if "sleep" in then:
        monkeypatch.setattr(module, "CUT_S", 0.7)  # far more than a slow host needs to say all
    says(tmp_path, *answers, then=then)
    done = asyncio.run(bmc().cut())
    assert done.outcome is Outcome.UNKNOWN
    assert done.detail.endswith(f"said last: {answers[-1] if answers else 'nothing'}")


def test_refused_order_is_still_looked_at(tmp_path: Path, tools: Tools) -> None:
    """Who is off already is confirmed off, although the order failed."""
    says(tmp_path, "Set Chassis Power Control to Down/Off failed: Command not supported", "Chassis Power is off")
    assert asyncio.run(bmc().cut()) == Done(Outcome.OK, "off")


def test_cut_that_cannot_be_started_failed(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was ordered then, and the outcome says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    done = asyncio.run(bmc().cut())
    assert done.outcome is Outcome.FAILED
    assert "was not started, so it did nothing" in done.detail


def test_password_travels_in_the_environment(tmp_path: Path, tools: Tools) -> None:
    """The password is where ipmitool looks for it, and in no argument."""
    (tmp_path / "ipmitool").write_text('#!/bin/sh\necho "$*" > "$0.args"; echo "Chassis Power is $IPMI_PASSWORD"\n')
    done = asyncio.run(bmc().read())
    assert "no power status: 'Chassis Power is s3cret'" in done.detail
    assert "s3cret" not in (tmp_path / "ipmitool.args").read_text()


def test_node_without_ipmitool_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing program is no crash of the daemon, and no knowledge either."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(bmc().read()).outcome is Outcome.UNKNOWN


def test_bmc_that_stays_silent_is_told(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of one look, but of three; and it is in order again with the first answer. Nothing is said before a look."""
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    peer, seen = bmc(), list[str | None]()
    answers = ["fails", "fails", "fails", "on", "fails", "fails", "on"]

    async def read() -> PowerRead:
        seen.append(peer.problem)
        if len(seen) > len(answers):
            raise TimeoutError
        word = answers[len(seen) - 1]
        return PowerRead(Outcome.OK, word) if word == "on" else PowerRead(Outcome.UNKNOWN, "no answer")

    monkeypatch.setattr(peer, "read", read)
    with pytest.raises(TimeoutError):
        asyncio.run(peer.follow())
    assert seen[:3] == [None] * 3
    assert "does not answer this node (no answer)" in str(seen[3])
    assert seen[4:] == ["", "", "", ""]


@pytest.mark.parametrize(
    "ipmitool", [None, "exit 1", "head -c 70000 /dev/zero | tr '\\0' x", "printf 'Chassis Power is'"]
)
def test_bmc_that_cannot_be_asked_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ipmitool: str | None
) -> None:
    """A program that is not there, fails, prints without an end or is cut: it is told, and the look goes on."""
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    tools = Tools(tmp_path, monkeypatch, "ipmitool")
    assert tools.calls == []
    (tmp_path / "ipmitool").unlink()
    if ipmitool is None:
        monkeypatch.setenv("PATH", str(tmp_path))  # this machine may have one, which would ask the network
    else:
        (tmp_path / "ipmitool").write_text(f"#!/bin/sh\n{ipmitool}\n")
        (tmp_path / "ipmitool").chmod(0o755)
    peer = bmc()

    looks = iter(range(3))

    async def pause(_: float) -> None:
        if next(looks, None) is None:
            raise TimeoutError

    monkeypatch.setattr(asyncio, "sleep", pause)
    with pytest.raises(TimeoutError):
        asyncio.run(peer.follow())
    assert "does not answer this node" in str(peer.problem)

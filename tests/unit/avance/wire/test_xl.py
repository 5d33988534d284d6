"""Xen's words: the domain's configuration, and `xl list` as captured on Xen 4.17."""

from __future__ import annotations

from pathlib import Path

import pytest

from avance.wire import xl
from tests.playbook import WEB, spec

HEAD, DOM0 = (Path(__file__).parent / "data" / "xl-list-4.17.txt").read_text().splitlines()


def line(state: str, name: str = "web") -> str:
    """Return a line in the columns of the capture."""
    return f"{name:<40} {3:>5} {96:>5} {1:>5}     {state}       0.1"


def test_captured_list() -> None:
    """The capture of a node without VMs shows the control domain only."""
    assert xl.parse_list(f"{HEAD}\n{DOM0}\n") == [xl.Domain("Domain-0", running=True)]


@pytest.mark.parametrize(
    ("state", "running"),
    [("r-----", True), ("-b----", True), ("------", True), ("--p---", True),
     ("---s--", False), ("----c-", False), ("-----d", False), ("---sc-", False)],
)  # fmt: skip
def test_dead_domain_does_not_run(state: str, running: bool) -> None:
    """A domain that is shut down, crashed or dying is listed but does not run; a paused one does."""
    assert xl.parse_list(f"{HEAD}\n{DOM0}\n{line(state)}\n")[1] == xl.Domain("web", running, "p" in state)


@pytest.mark.parametrize(
    "text", ["", "\n", "xl: cannot connect", f"{HEAD}\nweb 3 96\n", f"{HEAD}\nweb 3 96 1 run 0.1\n"]
)
def test_other_text_is_an_error(text: str) -> None:
    """A list of another shape is never read as `no domain`."""
    with pytest.raises(ValueError, match="domain list"):
        xl.parse_list(text)


def test_config_never_restarts_by_itself() -> None:
    """Xen leaves every decision on a dead domain to this product, and the disk is the replicated one."""
    text = xl.domain_config(spec())
    for event in ("poweroff", "reboot", "watchdog", "crash"):
        assert f'on_{event} = "destroy"' in text
    assert 'disk = ["phy:/dev/drbd0,xvda,w"]' in text
    assert 'vif = ["mac=00:16:3e:77:00:20,bridge=biz0"]' in text
    compile(text, "domain configuration", "exec")


def test_argument_vectors() -> None:
    """The commands are those of xl(1); no xl process stays behind."""
    assert xl.create_argv("/run/x.cfg") == ["xl", "create", "-q", "-e", "/run/x.cfg"]
    assert xl.destroy_argv(WEB) == ["xl", "destroy", "web"]
    assert xl.pause_argv(WEB) == ["xl", "pause", "web"]
    assert xl.unpause_argv(WEB) == ["xl", "unpause", "web"]

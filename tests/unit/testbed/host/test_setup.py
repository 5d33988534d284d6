"""The set-up of a host knows what is missing, asks for root the right way, and does nothing twice."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from testbed.errors import HostError
from testbed.host import setup
from testbed.host.setup import HostPackage


def test_only_fully_installed_packages_count() -> None:
    """A package that was removed or half configured is installed again."""
    output = "gcc installed\ncpio config-files\nmake half-configured\nunknown\n"
    assert setup.installed_packages(output) == {"gcc"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', True),
        ('ID=debian\nVERSION_ID="13"\n', False),
        ('ID=ubuntu\nVERSION_ID="12"\nID_LIKE=debian\n', False),
        ("", False),
    ],
)
def test_only_debian_12_is_debian_12(text: str, expected: bool) -> None:
    """Packages are installed automatically only on the system they were chosen for."""
    assert setup.is_debian_12(text) is expected


def test_missing_commands_are_named(tmp_path: Path) -> None:
    """Elsewhere than on Debian 12 a person learns which commands are needed."""
    (tmp_path / "have").write_text("#!/bin/sh\n")
    (tmp_path / "have").chmod(0o755)
    packages = [HostPackage("one", "why", ("have", "lack")), HostPackage("two", "why")]
    assert setup.missing_commands(packages, str(tmp_path)) == ["lack"]


def test_apt_runs_without_questions() -> None:
    """The lists are fetched first, nothing is asked, and nothing unnecessary is installed."""
    update, install = setup.apt_commands(["sudo", "-n"], ["cpio"])
    assert update[:4] == ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    assert update[-1] == "update"
    assert install[-4:] == ["install", "-y", "--no-install-recommends", "cpio"]


@pytest.mark.parametrize(
    ("euid", "sudo_present", "sudo_without_password", "terminal", "expected"),
    [
        (0, False, False, False, []),
        (1000, True, True, False, ["sudo", "-n"]),
        (1000, True, False, True, ["sudo"]),
    ],
)
def test_root_is_reached_the_quietest_way(
    *, euid: int, sudo_present: bool, sudo_without_password: bool, terminal: bool, expected: list[str]
) -> None:
    """Root needs no sudo, a password-free sudo asks nothing, a terminal may be asked."""
    assert expected == setup.privilege_prefix(
        euid=euid, sudo_present=sudo_present, sudo_without_password=sudo_without_password, terminal=terminal
    )


@pytest.mark.parametrize("sudo_present", [False, True])
def test_no_way_to_root_is_an_error(*, sudo_present: bool) -> None:
    """Without root and without a usable sudo a person is told so."""
    with pytest.raises(HostError, match="cannot be installed"):
        setup.privilege_prefix(euid=1000, sudo_present=sudo_present, sudo_without_password=False, terminal=False)


def test_stamp_changes_with_each_input(tmp_path: Path) -> None:
    """A step runs again when any of its inputs changed, and not otherwise."""
    stamp = tmp_path / "stamp"
    first = setup.digest({"lock": "a", "python": "b"})
    assert not setup.is_current(stamp, first)
    stamp.write_text(first)
    assert setup.is_current(stamp, setup.digest({"python": "b", "lock": "a"}))
    assert not setup.is_current(stamp, setup.digest({"lock": "ab", "python": ""}))


def test_linter_settings_do_not_reinstall_the_project() -> None:
    """Only the tables that change the installed project count."""
    base = '[build-system]\nrequires = []\n[project]\nname = "x"\n'
    same = base + "[tool.ruff]\nline-length = 99\n"
    other = base + '[project.scripts]\na = "b:c"\n'
    assert setup.project_tables(base) == setup.project_tables(same)
    assert setup.project_tables(base) != setup.project_tables(other)


def test_every_package_has_a_reason() -> None:
    """Nothing is installed on somebody's host without saying why, and nothing twice."""
    assert all(package.reason for package in setup.PACKAGES)
    assert len({package.name for package in setup.PACKAGES}) == len(setup.PACKAGES)


def test_failed_command_shows_its_last_line() -> None:
    """A failing step names its exit code and last words, and its output is in the log."""
    log = io.StringIO()
    argv = [sys.executable, "-c", "print('working'); print('no space left'); raise SystemExit(3)"]
    with pytest.raises(HostError, match=r"exit code 3: 'no space left'"):
        setup.run_logged(argv, what="step", log=log)
    assert "working\nno space left" in log.getvalue()


def test_silent_command_is_reported_and_stopped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that says nothing still yields signs of life, and ends at its limit."""
    monkeypatch.setattr(setup, "HEARTBEAT_S", 0.1)
    argv = [sys.executable, "-c", "import sys; sys.stdin.read(); import signal; signal.pause()"]
    with pytest.raises(HostError, match="stopped after"):
        setup.run_logged(argv, what="step", log=io.StringIO(), limit_s=0.5)
    assert "..." in capsys.readouterr().out


def test_second_setup_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two set-ups of one tree at the same time are refused."""
    monkeypatch.setattr(setup, "LOG", tmp_path / "setup.log")
    with setup.only_setup(), pytest.raises(HostError, match="another set-up"), setup.only_setup():
        raise AssertionError("a second set-up was let in")


def test_linked_environment_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .venv that is a link belongs to another tree: it is refused, and stays as it is."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "python").touch()
    (tmp_path / ".venv").symlink_to(tmp_path / "other")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    with pytest.raises(HostError, match="would be emptied"):
        setup.set_up_venv(io.StringIO())
    assert (tmp_path / "other" / "python").exists()

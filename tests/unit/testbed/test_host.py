"""Proves the host facts: the accelerator is found by booting, one bed at a time, and only dead runs are swept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from testbed import host
from testbed.errors import HostError, UsageError
from testbed.host import (
    HostSample,
    bed_sockets,
    between,
    choose_accelerator,
    find_qemu,
    host_lock,
    probe_kvm,
    running_bed,
    socket_dir,
)
from testbed.process import Child
from testbed.wait import wait_until

ROOT = Path(__file__).resolve().parents[3]
needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"
)


def program(path: Path, text: str) -> str:
    """Make an executable that prints a text."""
    path.write_text(f"#!/bin/sh\necho '{text}'\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


def test_a_new_enough_qemu_is_accepted(tmp_path: Path) -> None:
    """The version is read from QEMU itself."""
    qemu = asyncio.run(find_qemu(program(tmp_path / "qemu", "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)")))
    assert qemu.version == (7, 2, 22)
    assert qemu.text() == "7.2.22"


def test_an_old_qemu_is_refused_with_the_reason(tmp_path: Path) -> None:
    """The text names the version found and the one needed."""
    with pytest.raises(HostError, match=r"version 6\.2\.0; the bed needs 7\.2"):
        asyncio.run(find_qemu(program(tmp_path / "qemu", "QEMU emulator version 6.2.0")))


def test_a_missing_qemu_names_the_package(tmp_path: Path) -> None:
    """The way out stands in the error."""
    with pytest.raises(HostError, match=r"Install Debian's qemu-system-x86"):
        asyncio.run(find_qemu(str(tmp_path / "nothing")))


@needs_qemu
def test_the_probe_passes_where_the_accelerator_works() -> None:
    """The boot sector comes up under TCG, which works everywhere: a failure under KVM is then KVM's."""

    async def scenario() -> host.Accelerator:
        return await probe_kvm(await find_qemu(), None, accel="tcg")

    assert "a boot sector booted under TCG" in asyncio.run(scenario()).reason


@needs_qemu
def test_a_guest_that_hangs_fails_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sector that loops for ever is a verdict at the deadline, as is a kernel that hangs in the boot ROM."""
    monkeypatch.setattr(host, "BOOT_SECTOR", bytes.fromhex("ebfe").ljust(510, b"\0") + b"\x55\xaa")
    monkeypatch.setattr(host, "PROBE_TIMEOUT_S", 0.2)

    async def scenario() -> host.Accelerator:
        return await probe_kvm(await find_qemu(), None, accel="tcg")

    assert "a boot sector did not come up" in asyncio.run(scenario()).reason


@needs_qemu
def test_the_verdict_is_cached_for_the_same_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second question is answered from the file; another image is probed anew."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    monkeypatch.setattr(host, "PROBE_TIMEOUT_S", 3.0)
    asyncio.run(choose_accelerator(tmp_path, image_hash="one", device=Path("/dev/null")))
    path = tmp_path / "accel.json"
    (cached,) = json.loads(path.read_text(encoding="utf-8")).items()
    path.write_text(json.dumps({cached[0]: {**cached[1], "reason": "from the cache"}}), encoding="utf-8")
    same = asyncio.run(choose_accelerator(tmp_path, image_hash="one", device=Path("/dev/null")))
    other = asyncio.run(choose_accelerator(tmp_path, image_hash="two", device=Path("/dev/null")))
    assert same.reason == "from the cache"
    assert other.reason != "from the cache"
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 2


@needs_qemu
def test_a_damaged_cache_costs_only_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no JSON, or JSON of another shape, is replaced."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    monkeypatch.setattr(host, "PROBE_TIMEOUT_S", 3.0)
    path = tmp_path / "accel.json"
    for content in ("{", "[1]", "{}"):
        path.write_text(content, encoding="utf-8")
        asyncio.run(choose_accelerator(tmp_path, device=Path("/dev/null")))
        assert len(json.loads(path.read_text(encoding="utf-8"))) == 1


def test_without_the_device_it_is_tcg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is booted when KVM cannot even be opened."""
    monkeypatch.delenv("AVANCE_ACCEL", raising=False)
    chosen = asyncio.run(choose_accelerator(tmp_path, device=tmp_path / "kvm"))
    assert (chosen.name, chosen.reason) == ("tcg", f"{tmp_path / 'kvm'} cannot be opened")


def test_tcg_can_be_demanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins without a probe."""
    monkeypatch.setenv("AVANCE_ACCEL", "tcg")
    assert asyncio.run(choose_accelerator(tmp_path)).reason == "demanded by AVANCE_ACCEL"
    assert not (tmp_path / "accel.json").exists()


def test_a_demand_for_kvm_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KVM that does not work is an error with the reason, not a silent fall-back."""
    monkeypatch.setenv("AVANCE_ACCEL", "kvm")
    with pytest.raises(HostError, match=r"demands KVM, which does not work here: .* cannot be opened"):
        asyncio.run(choose_accelerator(tmp_path, device=tmp_path / "kvm"))


def test_another_word_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error does not select an accelerator."""
    monkeypatch.setenv("AVANCE_ACCEL", "kmv")
    with pytest.raises(UsageError, match=r"AVANCE_ACCEL is 'kmv'"):
        asyncio.run(choose_accelerator(tmp_path))


def fake_proc(directory: Path, stat: str, pressure_us: int | None) -> Path:
    """A /proc with the two files that are read."""
    (directory / "pressure").mkdir(parents=True)
    (directory / "stat").write_text(f"cpu  {stat}\ncpu0 1 1 1 1\n", encoding="ascii")
    if pressure_us is not None:
        text = f"some avg10=0.72 avg60=1.59 avg300=1.39 total={pressure_us}\nfull avg10=0.00 total=0\n"
        (directory / "pressure" / "cpu").write_text(text, encoding="ascii")
    return directory


def test_host_noise_is_the_share_between_two_samples(tmp_path: Path) -> None:
    """Steal and busy are shares of all ticks, pressure is a share of the time."""
    begin = HostSample.take(fake_proc(tmp_path / "1", "100 0 0 100 0 0 0 0 0 0", 1_000_000))
    end = HostSample.take(fake_proc(tmp_path / "2", "150 0 0 140 0 0 0 10 0 0", 3_000_000))
    noise = between(
        begin, HostSample(begin.t_s + 4.0, end.pressure_us, end.steal_ticks, end.busy_ticks, end.total_ticks)
    )
    assert noise == {"duration_s": 4.0, "cpu_pressure_some": 0.5, "steal": 0.1, "busy": 0.6}


def test_a_host_without_pressure_figures_says_so(tmp_path: Path) -> None:
    """A missing figure is None and never 0."""
    sample = HostSample.take(fake_proc(tmp_path / "1", "1 0 0 1 0 0 0 0 0 0", None))
    assert between(sample, sample)["cpu_pressure_some"] is None
    assert between(sample, sample)["steal"] is None


def test_a_second_bed_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    """The error names what the holder does, its pid and since when it has been there, and the way out."""
    path = tmp_path / "lock"
    with host_lock("testbed demo --out x", path):
        holder = rf"testbed demo --out x, pid {os.getpid()}, since \d\d:\d\d:\d\d \(0 min\)"
        assert re.fullmatch(holder, running_bed(path) or "")
        words = rf"{holder}\. .*`testbed status` shows how it is.*Wait until"
        with pytest.raises(HostError, match=words), host_lock("second", path):
            pass
    assert running_bed(path) is None


def test_a_stale_lock_file_is_harmless(tmp_path: Path) -> None:
    """What a dead run left in the file does not keep the next one out."""
    path = tmp_path / "lock"
    path.write_text("999999 a run that was killed long ago, with a long name\n", encoding="ascii")
    with host_lock("next", path):
        words = path.read_text(encoding="ascii").split()
        assert (words[0], words[2:]) == (str(os.getpid()), ["next"])


def test_a_holder_that_wrote_nothing_readable_is_told_by_what_there_is(tmp_path: Path) -> None:
    """It has just begun, or is of another version; the refusal must not become an error of its own."""
    path = tmp_path / "lock"
    with host_lock("x", path):
        path.write_text("", encoding="ascii")
        assert running_bed(path) == "pid unknown: it has just started"
        path.write_text("4711 testbed\n", encoding="ascii")
        assert running_bed(path) == "pid 4711"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/somewhere/bin/testbed", "up", "--cold"], "testbed up --cold"),
        (["/somewhere/testbed/__main__.py", "run", "x y"], "testbed run 'x y'"),
        (["/somewhere/pytest/__main__.py", "tests/" * 100], ("pytest " + "tests/" * 100)[: host.COMMAND_SHOWN_CHARS]),
    ],
    ids=["script", "module", "long"],
)
def test_the_lock_names_what_a_person_typed(monkeypatch: pytest.MonkeyPatch, argv: list[str], shown: str) -> None:
    """A program or a module, with its arguments; never so long that it would not fit."""
    monkeypatch.setattr(sys, "argv", argv)
    assert host.this_command() == shown


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    """SIGKILL of the holder is enough: nobody has to clean up by hand."""
    path = tmp_path / "lock"
    text = (
        "import pathlib, signal\n"
        "from testbed.host import host_lock\n"
        f"with host_lock('x', pathlib.Path({str(path)!r})): signal.pause()\n"
    )

    async def scenario() -> tuple[str | None, str | None]:
        async def held() -> str | None:
            return running_bed(path)

        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with Child([sys.executable, "-c", text], name="holder", log=tmp_path / "log", env=environment) as child:
            holder = await wait_until(held, what="the lock to be held", timeout_s=100, poll_s=0.02)
            await child.kill()
            return holder, running_bed(path)

    before, after = asyncio.run(scenario())
    assert before is not None
    assert before.startswith("x, pid")
    assert after is None


def test_the_lock_is_in_the_private_directory_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its place does not depend on the working directory."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert host.lock_path() == tmp_path / f"avance-testbed-{os.getuid()}.lock"


def test_the_sweep_removes_only_what_dead_runs_left(tmp_path: Path) -> None:
    """A living owner, a missing mark and other directories are left alone; a reused pid does not protect."""
    owners = {"tb-dead": "999999999 1", "tb-reused": f"{os.getpid()} 1", "tb-nomark": None, "other": "999999999 1"}
    for name, owner in owners.items():
        (tmp_path / name).mkdir()
        if owner is not None:
            (tmp_path / name / "owner").write_text(owner, encoding="ascii")
    with socket_dir(tmp_path) as mine:
        removed = host.sweep_socket_dirs(tmp_path)
        assert [path.name for path in removed] == ["tb-dead", "tb-reused"]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["other", "tb-nomark", mine.name])


def test_a_socket_directory_is_private_and_short_lived(tmp_path: Path) -> None:
    """Nobody else can enter it, and it is gone afterwards, also after an error."""

    def fail_inside() -> None:
        with socket_dir(tmp_path) as path:
            assert path.stat().st_mode & 0o777 == 0o700
            raise HostError("something failed")

    with pytest.raises(HostError, match=r"something failed"):
        fail_inside()
    assert list(tmp_path.iterdir()) == []


def test_the_sockets_of_the_running_bed_are_found(tmp_path: Path) -> None:
    """They belong to the process that holds the lock; without a bed, and for a stranger's directory, there are none."""
    lock = tmp_path / "lock"
    assert bed_sockets(tmp_path, lock) is None
    with host_lock("testbed", lock), socket_dir(tmp_path) as mine:
        stranger = tmp_path / "tb-stranger"
        stranger.mkdir()
        (stranger / "owner").write_text("1 1\n", encoding="ascii")
        assert bed_sockets(tmp_path, lock) == mine
    assert bed_sockets(tmp_path, lock) is None

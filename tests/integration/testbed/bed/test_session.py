"""Proves that a run begins only where it can succeed, and touches nothing where it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import pace
from testbed.bed import session
from testbed.bed.bed import Bed, Stage
from testbed.bed.session import Session
from testbed.errors import HostError, ImageError, SlowHostError, UsageError
from testbed.history import History
from testbed.host import speedometer
from testbed.host.places import host_lock
from testbed.host.speed import Measured
from testbed.node import image
from testbed.node.image import Image
from testbed.node.node import Node
from testbed.progress import Progress
from testbed.site import SiteOptions
from tests.unit.testbed.small_image import all_gone, cold_bed, own_host, small_image

SMALL_ROOM = 1 << 20  # the unit tests run on hosts that are too small for a pair


@pytest.fixture(autouse=True)
def host(tmp_path: Path, credentials_cache: Path) -> Iterator[None]:
    """A host with an image, a cache and room enough, which nobody else uses."""

    async def found() -> Image:
        return small_image(tmp_path / "image")

    with own_host(tmp_path) as patch:
        patch.setenv("AVANCE_CACHE", str(credentials_cache))
        patch.setenv(pace.VARIABLE, "")
        patch.setattr(image, "ensure", found)
        patch.setattr(session, "MEMORY_MIN_BYTES", SMALL_ROOM)
        patch.setattr(session, "DISK_MIN_BYTES", SMALL_ROOM)
        yield


async def enter(out: Path, site: SiteOptions | None = None) -> list[int]:
    """Begin a session, and return the processes of its world."""
    async with Session(out, site or SiteOptions(), progress=Progress(quiet=True)) as opened:
        assert opened.bed.stage is Stage.COLD
        assert [entry.kind for entry in opened.history if entry.source == "switch"][:1] == ["started"]
        return [opened.bed.switch.pid, opened.bed.outside.pid]


def test_a_session_gives_a_cold_bed_and_ends_it(tmp_path: Path) -> None:
    """The directory holds the history, and afterwards no process of the world is left."""
    pids = asyncio.run(enter(tmp_path / "run"))
    assert "started" in (tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8")
    asyncio.run(all_gone(pids))


def test_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    """What a run made, a run may remove: nothing of the old one is mistaken for the new."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("history.jsonl", "result.json"):
        (out / name).write_text("old\n", encoding="ascii")
    asyncio.run(enter(out))
    assert not (out / "result.json").exists()
    assert "old" not in (out / "history.jsonl").read_text(encoding="utf-8")


def test_a_directory_that_no_run_made_is_not_touched(tmp_path: Path) -> None:
    """Somebody's files are refused with a way out, and all are still there."""
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter-1").write_text("years of work", encoding="ascii")
    with pytest.raises(HostError, match="is not empty and no run made it; choose another directory, or empty it"):
        asyncio.run(enter(out))
    assert [path.name for path in out.iterdir()] == ["chapter-1"]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """The sentence names it, and the file stays."""
    out = tmp_path / "notes"
    out.write_text("x", encoding="ascii")
    with pytest.raises(HostError, match="notes is a file; choose another directory"):
        asyncio.run(enter(out))
    assert out.read_text(encoding="ascii") == "x"


def test_the_files_of_a_running_bed_are_not_removed(tmp_path: Path) -> None:
    """A second run into the same directory is refused before it clears anything."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "history.jsonl").write_text("under way\n", encoding="ascii")
    with host_lock("the first"), pytest.raises(HostError, match=r"Another test bed runs .*the first"):
        asyncio.run(enter(out))
    assert (out / "history.jsonl").read_text(encoding="ascii") == "under way\n"


def test_a_running_bed_is_named_before_anything_else_is_found_wanting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory that the other bed uses, or an image that is not there, is not what a person has to hear of."""

    async def broken() -> Image:
        raise ImageError("no mirror")

    monkeypatch.setattr(image, "ensure", broken)
    monkeypatch.setattr(session, "MEMORY_MIN_BYTES", 1 << 60)
    with host_lock("the first"), pytest.raises(HostError, match=r"Another test bed runs .*the first"):
        asyncio.run(enter(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("MEMORY_MIN_BYTES", r"Only \d+ MiB of memory are available; a pair needs \d+ MiB. End something else"),
        ("DISK_MIN_BYTES", r"Only \d+ MiB are free under /.*; a run needs \d+ MiB. Make room first"),
    ],
)
def test_too_little_room_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    """The text says how much there is and how much is needed, and nothing was made."""
    monkeypatch.setattr(session, limit, 1 << 60)
    with pytest.raises(HostError, match=message):
        asyncio.run(enter(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_larger_nodes_need_more_room_and_an_image_that_is_made_for_them(tmp_path: Path) -> None:
    """What this computer or the image has not is refused before anything is made."""
    with pytest.raises(HostError, match=r"a pair needs 6\d{4} MiB. End something else"):
        asyncio.run(enter(tmp_path / "run", SiteOptions(memory_mib=32768)))
    with pytest.raises(UsageError, match="networks is 5; the node image has bridges for 2"):
        asyncio.run(enter(tmp_path / "run", SiteOptions(networks=5)))
    assert not (tmp_path / "run").exists()


def test_without_an_image_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that cannot be built ends the session before the run directory is touched."""

    async def broken() -> Image:
        raise ImageError("no mirror")

    monkeypatch.setattr(image, "ensure", broken)
    with pytest.raises(ImageError, match="no mirror"):
        asyncio.run(enter(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cold", [True, False])
def test_a_cold_boot_is_a_boot_without_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cold: bool
) -> None:
    """The wish reaches the bed."""
    asked: list[tuple[Stage, bool]] = []

    async def reach(_bed: Bed, stage: Stage, *, use_snapshot: bool = False) -> None:
        asked.append((stage, use_snapshot))

    monkeypatch.setattr(Bed, "reach", reach)
    unopened = Session(tmp_path / "run", SiteOptions(), progress=Progress(quiet=True))
    unopened.bed = cold_bed(tmp_path, tmp_path, History())
    asyncio.run(unopened.protect(cold=cold))
    assert asked == [(Stage.PROTECTED, not cold)]


def test_the_description_tells_a_person_where_everything_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses, roles, process ids and the directory stand in it."""

    async def status(node: Node) -> dict[str, object]:
        return {"role": "primary" if node.name == "a" else "backup", "epoch": 3}

    class FakeMachine:
        pid = 4711

    async def scenario() -> str:
        async with Session(tmp_path / "run", SiteOptions(), progress=Progress(quiet=True)) as opened:
            return await session.describe(opened.bed)

    monkeypatch.setattr(Node, "status", status)
    monkeypatch.setattr(Node, "machine", FakeMachine())
    lines = asyncio.run(scenario()).splitlines()
    assert "VM 10.77.0.20, service address 10.77.0.10" in lines[0]
    assert lines[1] == "  node a: primary, epoch 3, QEMU pid 4711"
    assert lines[2].startswith("  node b: backup")
    assert "testbed status, exec NODE -- COMMAND, console NODE, inject FAULT TARGET, heal" in lines[3]
    assert str(tmp_path / "run") in lines[4]


def bed_of(out: Path, site: SiteOptions) -> Bed:
    """Begin a session and return its bed, which is over again."""

    async def begun() -> Bed:
        async with Session(out, site, progress=Progress(quiet=True)) as opened:
            assert pace.dilation() == opened.bed.options.site.dilation, "the waits of the harness have another pace"
            return opened.bed

    return asyncio.run(begun())


def measured(monkeypatch: pytest.MonkeyPatch, found: float) -> None:
    """Let the host have this speed."""

    async def measure(*, tcg: bool = True) -> Measured:
        return Measured(found, found if tcg else None)

    monkeypatch.setattr(speedometer, "measure", measure)


@pytest.mark.parametrize(
    ("found", "site", "by_hand", "dilation"),
    [
        (1.0, SiteOptions(), "", 1.0),
        (0.3, SiteOptions(), "", 4.0),
        (0.3, SiteOptions(dilation=2.0), "", 2.0),
        (0.3, SiteOptions(), "auto", 4.0),
        (0.3, SiteOptions(dilation=2.0), "8", 8.0),
        (0.01, SiteOptions(), "16", 16.0),
    ],
)
def test_the_dilation_is_chosen_once_and_handed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: float, site: SiteOptions, by_hand: str, dilation: float
) -> None:
    """By hand first, then the schedule's, then what the host needs; site and waits have the same one."""
    measured(monkeypatch, found)
    monkeypatch.setenv(pace.VARIABLE, by_hand)
    assert bed_of(tmp_path / "run", site).options.site.dilation == dilation
    assert pace.dilation() == 1.0


def test_a_host_that_is_too_slow_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, and before anything was started."""
    measured(monkeypatch, 0.1)
    with pytest.raises(SlowHostError, match=r"too slow for a pair: its speed 0\.1 is below 1/8.*end other programs"):
        bed_of(tmp_path / "run", SiteOptions())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["history.jsonl"]


def test_a_campaign_has_one_dilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured once, and every later session takes it; one by hand is not measured at all."""
    monkeypatch.setenv(pace.VARIABLE, "auto")
    measured(monkeypatch, 0.3)
    assert asyncio.run(session.fix_dilation(Progress(quiet=True))) == 4.0
    measured(monkeypatch, 1.0)
    assert asyncio.run(session.fix_dilation(Progress(quiet=True))) == 4.0

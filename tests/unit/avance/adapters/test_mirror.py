"""The mirror adapter beside a stand-in for md: what it assembles, takes back and notes, and in which order."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from avance import data_disks, files
from avance.adapters import mirror as module
from avance.core.halves import Note, begun
from avance.core.model import MirrorState, Outcome
from avance.wire import md
from tests.unit.avance.adapters.fake_md import FakeMd
from tests.unit.avance.adapters.mirror_life import Life, degraded, loses_its_first_half, makes_its_mirror, whole
from tests.unit.avance.adapters.tools import until
from tests.unit.avance.superblocks import FAULTY, superblock

FOREIGN = "f" * 32


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMd:
    """Two blank disks; looks come quickly, because these files tell nobody of a change."""
    monkeypatch.setattr(module, "_LOOK_S", 0.05)
    monkeypatch.setattr(module, "_RETRY_S", 0.02)
    monkeypatch.setattr(data_disks, "_READ_S", 20.0)
    return FakeMd(tmp_path, lambda programs: monkeypatch.setenv("PATH", programs, prepend=":"))


def test_a_new_node_makes_its_mirror_and_notes_it(fake: FakeMd) -> None:
    """First that it is being made, then the array, and only then that both halves are current."""
    note = makes_its_mirror(fake)
    array, device, events = fake.label(fake.disks[0])
    assert note.array == array
    assert device in note.current
    assert len(note.current) == 2
    assert note.events <= events
    assert note.seq == 2
    assert [call.split()[:2] for call in fake.calls if not call.startswith("blkid")] == [
        ["mdadm", "--create"],
        ["wipefs", "-aq"],
        ["vgcreate", "-y"],
        ["vgchange", "-ay"],
    ]


def test_a_lost_half_is_told_before_anything_else_and_then_noted(fake: FakeMd) -> None:
    """The report does not wait for the system disk; the note names the survivor and its count."""
    note = loses_its_first_half(fake)
    assert note.current == (fake.label(fake.disks[1])[1],)
    assert note.events == fake.label(fake.disks[1])[2] - 1
    assert note.seq > 2


def test_the_old_half_alone_is_not_assembled(fake: FakeMd) -> None:
    """Its newer other half is absent: this node has no copy, and says which half it refused."""
    note = degraded(fake)
    fake.give(fake.disks[0])
    fake.take(fake.disks[1])
    life, before = Life(fake), len(fake.calls)

    async def story() -> None:
        refused = await life.mirror.ready()
        assert refused.outcome is Outcome.FAILED
        assert "no current half" in refused.detail
        await asyncio.sleep(0.3)

    life.lives(story)
    assert life.said[-1].state is MirrorState.OLD
    assert "vdb a half with event count" in life.said[-1].detail
    assert fake.calls[before:] == []
    assert life.note == note


def test_an_older_copy_of_a_half_is_known_by_its_count(fake: FakeMd, monkeypatch: pytest.MonkeyPatch) -> None:
    """md counts on now and then, and the note follows; a copy from before is refused, alone as well."""
    counted: list[str] = []

    def count(path: Path) -> None:
        counted.append(path.parent.name)
        fake.counts_on()

    whole(fake)
    older, copy = fake.label(fake.disks[0])[2], Path(fake.disks[0]).read_bytes()
    monkeypatch.setattr(module, "_COUNT_S", 0.1)
    monkeypatch.setattr(module, "count_on", count)
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        await until(lambda: len(counted) >= 2 * md.COUNTS and life.note.events > older)

    life.lives(story)
    assert set(counted) == {"dev-vdb"}
    fake.stops()
    Path(fake.disks[0]).write_bytes(copy)
    fake.take(fake.disks[1])
    alone = Life(fake)

    async def refused() -> None:
        assert (await alone.mirror.ready()).outcome is Outcome.FAILED

    alone.lives(refused)
    assert alone.said[-1].state is MirrorState.OLD


def test_to_count_on_is_to_take_a_flag_away_that_is_not_there(tmp_path: Path) -> None:
    """md writes every superblock anew for that (tried on the pair, docs/experiments.md), and nothing else changes."""
    (tmp_path / "state").write_text("in_sync\n")
    module.count_on(tmp_path / "state")
    assert (tmp_path / "state").read_text() == "-failfast"


def test_a_disk_that_cannot_count_on_changes_nothing(fake: FakeMd, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs or is gone; the note stays as it is."""
    note = whole(fake)
    monkeypatch.setattr(module, "_COUNT_S", 0.05)
    tries: list[Path] = []

    def fails(path: Path) -> None:
        tries.append(path)
        raise OSError("no such device")

    monkeypatch.setattr(module, "count_on", fails)
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        await until(lambda: len(tries) > 2)

    life.lives(story)
    assert life.note == note


def test_the_current_half_that_returns_later_is_assembled_without_a_restart(fake: FakeMd) -> None:
    """And the old one beside it is rebuilt from it."""
    degraded(fake)
    fake.give(fake.disks[0])
    fake.take(fake.disks[1])
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.OLD, 0)
        fake.give(fake.disks[1])
        await life.becomes(MirrorState.CURRENT, 1)
        await until(lambda: "being rebuilt" in life.mirror.view.detail)
        assert len(life.note.current) == 1
        fake.completes(fake.disks[0])
        await life.becomes(MirrorState.CURRENT, 2)
        await until(lambda: len(life.note.current) == 2)

    life.lives(story)
    assert f"mdadm --assemble --run --uuid={md.uuid_argument(life.note.array)} /dev/md0 vdc" in fake.calls


def test_a_half_that_returns_to_the_running_mirror_is_re_added(fake: FakeMd) -> None:
    """It is not current before its copy is complete."""
    whole(fake)
    life, (first, second) = Life(fake), fake.disks

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        fake.take(first)
        fake.fails(first)
        await life.becomes(MirrorState.CURRENT, 1)
        fake.give(first)
        await until(lambda: "being rebuilt" in life.mirror.view.detail)
        assert life.note.current == (fake.label(second)[1],)
        fake.completes(first)
        await life.becomes(MirrorState.CURRENT, 2)
        await until(lambda: len(life.note.current) == 2)

    life.lives(story)
    managed = [call for call in fake.calls if call.startswith("mdadm /dev/md0")]
    assert managed == ["mdadm /dev/md0 --remove vdb", "mdadm /dev/md0 --re-add vdb"]


def test_a_foreign_disk_in_the_place_of_a_half_is_not_touched(fake: FakeMd) -> None:
    """It may hold somebody's data; the report says why the mirror stays degraded."""
    whole(fake)
    life, (first, _) = Life(fake), fake.disks
    foreign = superblock(FOREIGN, "e" * 32, 500)

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        fake.take(first)
        fake.fails(first)
        await life.becomes(MirrorState.CURRENT, 1)
        fake.put(first, foreign)
        await until(lambda: "may not overwrite" in life.mirror.view.detail)

    life.lives(story)
    assert Path(first).read_bytes()[4096:8192] == foreign
    assert not any(word in call for call in fake.calls for word in ("--zero-superblock", "--add", "--re-add"))


def test_a_blank_disk_in_the_place_of_a_half_is_copied_in_full(fake: FakeMd) -> None:
    """A replaced disk."""
    degraded(fake)
    fake.blank(fake.disks[0])
    life = Life(fake)

    async def story() -> None:
        await until(lambda: "being rebuilt" in life.mirror.view.detail)

    life.lives(story)
    assert fake.calls[-1] == "mdadm /dev/md0 --add vdb"


def test_nothing_is_taken_back_when_the_last_half_has_failed_too(fake: FakeMd) -> None:
    """md would give the returning half a newer count than the one that it cannot write to, and make it a spare."""
    note = degraded(fake)
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 1)
        before = len(fake.calls)
        (fake.sysfs / "array_state").write_text("broken\n")
        fake.give(fake.disks[0])
        await life.becomes(MirrorState.CURRENT, 0)
        await asyncio.sleep(0.3)
        assert fake.calls[before:] == []

    life.lives(story)
    assert life.note.current == note.current


def test_a_mirror_that_cannot_be_read_is_not_called_lost(fake: FakeMd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that may open no more files knows nothing of it: what it knew last stays, and nothing is done to it."""
    whole(fake)
    life = Life(fake)
    failed = []

    def fails(path: Path) -> str:
        failed.append(path)
        raise OSError(errno.EMFILE, "Too many open files")

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        said, calls = len(life.said), len(fake.calls)
        with monkeypatch.context() as without:
            without.setattr(module, "read_text", fails)
            await until(lambda: len(failed) > 3)
            assert (await life.mirror.reuse()).outcome is Outcome.UNKNOWN
        assert (life.said[said:], fake.calls[calls:]) == ([], [])
        fake.take(fake.disks[0])
        fake.fails(fake.disks[0], count=8)
        await life.becomes(MirrorState.CURRENT, 1)

    life.lives(story)


def test_one_half_alone_that_knows_of_no_loss_is_unproven_before_it_runs(fake: FakeMd) -> None:
    """The doubt is durable before md writes to the half; it stays over a restart, until the core ends it."""
    whole(fake)
    fake.take(fake.disks[0])
    for _ in range(2):
        life = Life(fake)

        async def story(life: Life = life) -> None:
            await life.becomes(MirrorState.UNPROVEN, 1)
            before = md.parse_note(md.read_note((fake.directory / "mirror.before").read_bytes()))
            assert before is not None
            assert before.doubt
            assert life.note.doubt
            assert (await life.mirror.ready()).outcome is Outcome.OK

        life.lives(story)
        fake.stops()

    async def ends() -> None:
        await life.becomes(MirrorState.UNPROVEN, 1)
        assert (await life.mirror.trust()).outcome is Outcome.OK
        assert life.mirror.view.state is MirrorState.CURRENT
        assert not life.note.doubt

    life = Life(fake)
    life.lives(ends)


def test_old_halves_become_an_empty_mirror_when_the_core_says_so(fake: FakeMd) -> None:
    """A new array with nothing of the old one; the half that comes back later has no say any more."""
    old = degraded(fake)
    fake.give(fake.disks[0])
    fake.take(fake.disks[1])
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.OLD, 0)
        assert (await life.mirror.reuse()).outcome is Outcome.OK
        await life.becomes(MirrorState.CURRENT, 1)
        assert life.note.array != old.array
        assert life.note.former == (old.array,)
        assert life.note.current == (fake.label(fake.disks[0])[1],)
        fake.give(fake.disks[1])
        await until(lambda: "being rebuilt" in life.mirror.view.detail)
        assert (await life.mirror.reuse()).outcome is Outcome.FAILED

    life.lives(story)
    made = [call for call in fake.calls if "--create" in call][-1]
    assert made.endswith("vdb missing")
    assert [call for call in fake.calls if "vdc" in call][-2:] == [
        "mdadm --zero-superblock vdc",
        "mdadm /dev/md0 --add vdc",
    ]


def test_an_empty_mirror_that_could_not_be_completed_is_not_current(fake: FakeMd) -> None:
    """The node may die in the middle: at its next start it has no copy either."""
    degraded(fake)
    fake.give(fake.disks[0])
    fake.take(fake.disks[1])
    (fake.directory / "failing").touch()
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.OLD, 0)
        assert (await life.mirror.reuse()).outcome is Outcome.FAILED
        await asyncio.sleep(0.3)

    life.lives(story)
    assert life.note.current == ()
    assert fake.calls[-1] == "mdadm --stop /dev/md0"
    fake.stops()
    (fake.directory / "failing").unlink()
    again = Life(fake)

    async def wakes() -> None:
        assert (await again.mirror.ready()).outcome is Outcome.FAILED
        assert (await again.mirror.reuse()).outcome is Outcome.OK

    again.lives(wakes)


def test_a_node_without_a_note_believes_what_its_peer_keeps_of_it(fake: FakeMd) -> None:
    """Its system disk was replaced: one half alone proves nothing, until the peer names the current one."""
    note = degraded(fake)
    (fake.directory / "mirror").unlink()
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.DOUBT, 0)
        assert (await life.mirror.use_note("no note")).outcome is Outcome.FAILED
        assert (await life.mirror.use_note(md.note_text(note))).outcome is Outcome.OK
        await life.becomes(MirrorState.CURRENT, 1)

    life.lives(story)


def test_the_peers_note_is_kept_over_a_restart(fake: FakeMd) -> None:
    """What is no note is refused."""
    text = md.note_text(Note(4, FOREIGN, ("e" * 32,), 7))
    life = Life(fake)

    async def story() -> None:
        assert (await life.mirror.keep_note("nonsense")).outcome is Outcome.FAILED
        assert (await life.mirror.keep_note(text)).outcome is Outcome.OK
        assert life.mirror.view.kept == text

    life.lives(story)
    again = Life(fake)

    async def knows() -> None:
        await again.becomes(MirrorState.CURRENT, 2)
        assert again.mirror.view.kept == text

    again.lives(knows)


def test_a_daemon_that_starts_again_goes_on_with_the_array_that_runs(fake: FakeMd) -> None:
    """Nothing is assembled or stopped, and a half that was lost meanwhile is noted."""
    whole(fake)
    life = Life(fake)

    async def first() -> None:
        await life.becomes(MirrorState.CURRENT, 2)

    life.lives(first)
    before = len(fake.calls)
    fake.take(fake.disks[1])
    fake.fails(fake.disks[1])
    again = Life(fake)

    async def second() -> None:
        await again.becomes(MirrorState.CURRENT, 1)
        await until(lambda: again.note.current == (fake.label(fake.disks[0])[1],))

    again.lives(second)
    assert fake.calls[before:] == []


def test_a_running_array_is_not_stopped_because_its_disks_are_slow(fake: FakeMd) -> None:
    """Only a half that contradicts the note ends it; a disk that does not answer says nothing."""
    whole(fake)
    life = Life(fake)

    async def first() -> None:
        await life.becomes(MirrorState.CURRENT, 2)

    life.lives(first)
    before, note = len(fake.calls), life.note
    for disk in fake.disks:
        fake.take(disk)
    again = Life(fake)

    async def second() -> None:
        await again.becomes(MirrorState.CURRENT, 2)
        await asyncio.sleep(0.2)
        assert again.note == note

    again.lives(second)
    assert fake.calls[before:] == []


def test_an_array_that_was_never_completed_is_stopped(fake: FakeMd) -> None:
    """The daemon died while it made an empty mirror: what runs is not the newest data."""
    note = degraded(fake)
    fake.give(fake.disks[0])
    fake.take(fake.disks[1])
    fake.write(fake.disks[0], superblock(FOREIGN, "e" * 32, 1, roles=(0, FAULTY)))
    fake.state(fake.disks[0], "in_sync")
    (fake.sysfs / "array_state").write_text("clean\n")
    (fake.directory / "mirror").write_bytes(md.note_bytes(md.note_text(begun(note, FOREIGN))))
    life = Life(fake)

    async def wakes() -> None:
        assert (await life.mirror.ready()).outcome is Outcome.FAILED

    life.lives(wakes)
    assert fake.calls[-1] == "mdadm --stop /dev/md0"
    assert life.said[-1].state is MirrorState.OLD
    assert life.note.current == ()


def test_a_note_that_cannot_be_written_is_written_later(fake: FakeMd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is told all the same, and why it is not durable."""
    whole(fake)
    life, refuse = Life(fake), [True]
    real = files.write_durably

    def write(path: Path, raw: bytes) -> None:
        if refuse:
            raise OSError(5, "the system disk refuses")
        real(path, raw)

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        monkeypatch.setattr(module, "write_durably", write)
        fake.take(fake.disks[0])
        fake.fails(fake.disks[0])
        await life.becomes(MirrorState.CURRENT, 1)
        await until(lambda: "was not written" in life.mirror.view.detail)
        assert len(life.note.current) == 2
        refuse.clear()
        await until(lambda: len(life.note.current) == 1)

    life.lives(story)

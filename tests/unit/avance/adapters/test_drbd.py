"""The disk adapter on stand-ins of LVM and DRBD: what it calls, and what it reports."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from avance.adapters import drbd as module
from avance.adapters.drbd import DrbdDisks
from avance.core.events import DiskChanged, DiskStreamReset, Event
from avance.core.model import DiskRole, Outcome
from avance.core.results import Done, InFlightCounted, VolumePrepared
from tests.playbook import WEB, in_sync, spec
from tests.unit.avance.adapters.tools import Tools, beside, until
from tests.unit.avance.site import config

GI = "{}:0000000000001B2C:0000000000000000:0000000000000000:1:1:0:1:0:0:0 \n"
CAPTURE = Path(__file__).parents[1] / "wire" / "data" / "events2-9.22-8.4.11-a.txt"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """All programs that the adapter uses."""
    monkeypatch.setattr(module, "RESOURCE_DIR", tmp_path)
    monkeypatch.setattr(module, "_LISTED_S", 0.01)
    names = ("lvs", "lvchange", "lvremove", "lvcreate", "lvrename", "dd", "drbdmeta", "drbdadm", "drbdsetup")
    return Tools(tmp_path, monkeypatch, *names)


def volume(words: str) -> VolumePrepared:
    """Return the answer for a volume that is fresh, or that has these generations."""
    if words == "fresh":
        return VolumePrepared(Outcome.OK, words, fresh=True)
    return VolumePrepared(Outcome.OK, words, generations=tuple(words.split()))


def disks(events: list[Event] | None = None) -> DrbdDisks:
    """Return the adapter of node a."""
    return DrbdDisks(config(), ([] if events is None else events).append)


def test_missing_volume_is_made_and_called_fresh(tools: Tools, tmp_path: Path) -> None:
    """A new volume gets its name only after it was zeroed and described."""
    tools.ends("lvs", 5)
    assert asyncio.run(disks().prepare(WEB)) == VolumePrepared(Outcome.OK, "fresh", fresh=True)
    assert [call.split()[0] for call in tools.calls] == ["lvs", "lvremove", "lvcreate", "dd", "drbdmeta", "lvrename"]
    assert "of=/dev/vg0/avance-web.part" in tools.calls[3]
    assert (tmp_path / "avance-web.res").read_text().startswith("resource avance-web {")


def test_a_resource_file_on_a_disk_that_hangs(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is unknown in time, and no second write is begun beside the first one."""
    answers, begun = threading.Event(), []

    def hangs(path: Path, raw: bytes) -> None:
        begun.append(path)
        answers.wait(10.0)

    monkeypatch.setattr(module, "write_durably", hangs)
    monkeypatch.setattr(module, "_SHORT_S", 0.05)
    one = disks()
    assert [asyncio.run(one.prepare(WEB)).outcome for _ in range(3)] == [Outcome.UNKNOWN] * 3
    assert len(begun) == 1
    assert not tools.calls, "nothing else was done"
    answers.set()
    monkeypatch.setattr(module, "_SHORT_S", 20.0)
    tools.says("drbdmeta", GI.format("7A0F5C8B1D2E3F40"))
    for _ in range(100):
        if asyncio.run(one.prepare(WEB)).outcome is Outcome.OK:
            break
    assert len(begun) == 2


def test_existing_volume_is_never_touched(tools: Tools) -> None:
    """A volume that is there is only activated, and its generations are read: nothing is created or zeroed."""
    tools.says("drbdmeta", GI.format("7A0F5C8B1D2E3F40"))
    assert asyncio.run(disks().prepare(WEB)) == volume("7A0F5C8B1D2E3F40 1B2C 0 0")
    assert [call.split()[0] for call in tools.calls] == ["lvs", "lvchange", "drbdmeta"]
    assert tools.calls[-1].endswith("get-gi")


def test_volume_whose_generations_cannot_be_read_is_not_prepared(tools: Tools) -> None:
    """What nobody can name must not be attached: a foreign disk would be taken for ours."""
    tools.ends("drbdmeta", 20)
    assert asyncio.run(disks().prepare(WEB)).outcome is Outcome.FAILED
    tools.ends("drbdmeta", 0)
    tools.says("drbdmeta", "something else")
    assert asyncio.run(disks().prepare(WEB)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("code", "generation", "detail"),
    [(0, "0000000000000004", "fresh"), (0, "7A0F5C8B1D2E3F40", "7A0F5C8B1D2E3F40 1B2C 0 0")],
    ids=["never used", "used"],
)
def test_a_volume_whose_daemon_died_before_it_was_used_is_still_fresh(
    tools: Tools, code: int, generation: str, detail: str
) -> None:
    """Its metadata says that no pair ever wrote it; what is attached or was used is never called fresh."""
    tools.says("drbdmeta", GI.format(generation))
    tools.ends("drbdmeta", code)
    assert asyncio.run(disks().prepare(WEB)) == volume(detail)


def test_a_version_that_is_given_up_is_copied_from_the_disk_and_named_at_last(tools: Tools) -> None:
    """Past the cache, which may hold what an earlier copy read; one that failed half-way never has the name."""
    tools.ends("lvs", 5)
    assert asyncio.run(disks().keep(WEB, 7)).detail == "kept as vg0/avance-web.kept-7"
    assert [call.split()[0] for call in tools.calls] == ["lvs", "lvremove", "lvcreate", "dd", "lvrename"]
    copied = tools.calls[3].split()
    assert {"if=/dev/vg0/avance-web", "of=/dev/vg0/avance-web.part", "iflag=direct", "conv=fsync"} <= set(copied)
    tools.ends("dd", 1)
    assert asyncio.run(disks().keep(WEB, 8)).outcome is Outcome.FAILED
    assert tools.calls[-1].split()[0] == "dd"
    tools.ends("lvs", 0)
    assert asyncio.run(disks().keep(WEB, 7)).detail == "vg0/avance-web.kept-7 is there already"


def test_failed_zeroing_is_not_fresh(tools: Tools) -> None:
    """A volume that could not be zeroed gets no name and is not called fresh."""
    tools.ends("lvs", 5)
    tools.ends("dd", 1)
    done = asyncio.run(disks().prepare(WEB))
    assert done.outcome is Outcome.FAILED
    assert not any(call.startswith("lvrename") for call in tools.calls)


def test_half_raised_resource_is_taken_down(tools: Tools) -> None:
    """An attach that fails in the middle leaves nothing behind."""
    tools.ends("drbdadm.attach", 1)
    assert asyncio.run(disks().attach(WEB)).outcome is Outcome.FAILED
    assert tools.calls[-1] == "drbdadm down avance-web"


def test_each_command_is_one_call(tools: Tools) -> None:
    """Each of them calls drbdadm once, outdate looks as well; nothing is forced but the end of a connection."""

    async def story() -> None:
        adapter = disks()
        assert (await adapter.attach(WEB)).outcome is Outcome.OK  # now it is known to have one writer
        tools.says("drbdadm", "Outdated/DUnknown")
        assert (await adapter.connect(WEB, discard=False)).outcome is Outcome.OK
        acts = [adapter.initialise, adapter.promote, adapter.demote, adapter.resume]
        for act in [*acts, adapter.disconnect, adapter.outdate, adapter.resync, adapter.invalidate]:
            assert (await act(WEB)).outcome is Outcome.OK

    asyncio.run(story())
    assert tools.calls[3:] == [
        "drbdadm connect avance-web",
        "drbdadm -- --clear-bitmap new-current-uuid avance-web",
        "drbdadm primary avance-web",
        "drbdadm secondary avance-web",
        "drbdadm resume-io avance-web",
        "drbdadm disconnect --force avance-web",
        "drbdadm outdate avance-web",
        "drbdadm dstate avance-web",
        "drbdadm invalidate-remote avance-web",
        "drbdadm invalidate avance-web",
    ]


_RESOURCE = "exists resource name:avance-web role:{} suspended:no\n"
_CONNECTION = "exists connection name:avance-web peer-node-id:0 conn-name:x connection:Connected role:{}\n"
YES, NO = (f"drbdadm net-options --allow-two-primaries={word} avance-web" for word in ("yes", "no"))


def test_resource_has_two_writers_for_a_move_only(tools: Tools) -> None:
    """After the demotion that ends a move it has one again, and no later demotion costs more than it did before."""

    async def story() -> None:
        adapter = disks()
        await adapter.attach(WEB)
        assert (await adapter.two_writers(WEB, allowed=True)).ok
        assert (await adapter.demote(WEB)).ok
        assert (await adapter.two_writers(WEB, allowed=False)).ok
        assert (await adapter.demote(WEB)).ok

    asyncio.run(story())
    assert tools.calls[3:] == [YES, "drbdadm secondary avance-web", NO, "drbdadm secondary avance-web"]


@pytest.mark.parametrize("late", [False, True])
def test_what_an_earlier_daemon_allowed_is_taken_back(tools: Tools, late: bool) -> None:
    """A daemon that finds a resource up sets it back once; refused while both nodes write, it does so afterwards."""
    if late:
        tools.ends("drbdadm.net-options", 10)

    async def story() -> None:
        adapter = disks()
        await adapter._follow_once()
        assert (await adapter.prepare(WEB)).ok
        tools.ends("drbdadm.net-options", 0)
        assert (await adapter.demote(WEB)).ok
        assert (await adapter.demote(WEB)).ok

    lines = [
        "exists resource name:avance-web role:Primary suspended:no",
        "exists connection name:avance-web peer-node-id:0 conn-name:x connection:Connected",
        "exists -",
    ]
    tools.says("drbdsetup", "".join(f"{line}\n" for line in lines))
    asyncio.run(story())
    down = "drbdadm secondary avance-web"
    assert [call for call in tools.calls if call.startswith("drbdadm")] == [NO, down, *([NO] if late else []), down]


def test_a_vm_that_has_left_does_not_wait_for_the_flag(tools: Tools) -> None:
    """The peer is the writer, and takes the flag back on both nodes when the VM runs there."""
    tools.says("drbdsetup", f"{_RESOURCE.format('Secondary')}{_CONNECTION.format('Primary')}exists -\n")

    async def story() -> None:
        adapter = disks()
        await adapter._follow_once()
        assert (await adapter.two_writers(WEB, allowed=True)).ok
        assert (await adapter.demote(WEB)).ok
        tools.says("drbdsetup", f"{_RESOURCE.format('Secondary')}{_CONNECTION.format('Secondary')}exists -\n")
        await adapter._follow_once()
        assert (await adapter.demote(WEB)).ok

    asyncio.run(story())
    down = "drbdadm secondary avance-web"
    assert [call for call in tools.calls if call.startswith("drbdadm")] == [YES, down, down, NO]


def test_refused_end_of_two_writers_is_told_and_tried_again(tools: Tools) -> None:
    """DRBD refuses it while both write; nobody takes that for done, and a demotion that is done stays so."""
    tools.ends("drbdadm.net-options", 10)

    async def story() -> None:
        adapter = disks()
        assert (await adapter.two_writers(WEB, allowed=False)).outcome is Outcome.FAILED
        done = await adapter.demote(WEB)
        assert done.ok
        assert "may still have two writers" in done.detail
        tools.ends("drbdadm.secondary", 1)
        assert (await adapter.demote(WEB)).outcome is Outcome.FAILED

    asyncio.run(story())
    down = "drbdadm secondary avance-web"
    assert tools.calls == [NO, down, NO, down]


def test_resource_that_stands_alone_has_one_writer(tools: Tools) -> None:
    """It has no such setting then, and connects with what its file says."""
    tools.ends("drbdadm.net-options", 10)
    tools.says("drbdsetup", "exists resource name:avance-web role:Secondary suspended:no\nexists -\n")

    async def story() -> None:
        adapter = disks()
        await adapter._follow_once()
        assert (await adapter.two_writers(WEB, allowed=True)).outcome is Outcome.FAILED
        assert (await adapter.two_writers(WEB, allowed=False)).outcome is Outcome.OK

    asyncio.run(story())


@pytest.mark.parametrize(
    ("states", "outcome"),
    [("Outdated/DUnknown", Outcome.OK), ("Inconsistent/DUnknown", Outcome.OK), ("Diskless/DUnknown", Outcome.OK),
     ("Unconfigured", Outcome.OK), ("Outdated", Outcome.OK),
     ("UpToDate/UpToDate", Outcome.FAILED), ("Consistent/DUnknown", Outcome.FAILED), ("Fine/Fine", Outcome.UNKNOWN)],
)  # fmt: skip
def test_worse_than_outdated_counts_as_outdated(tools: Tools, states: str, outcome: Outcome) -> None:
    """The state afterwards counts: a bad copy is as good as an outdated one, whatever drbdadm's exit code says."""
    tools.says("drbdadm", f"{states}\n")
    for code in (0, 17):
        tools.ends("drbdadm.outdate", code)
        assert asyncio.run(disks().outdate(WEB)).outcome is outcome


def test_copy_that_cannot_be_looked_at_is_not_outdated(tools: Tools) -> None:
    """Who cannot look does not know."""
    tools.ends("drbdadm.dstate", 10)
    assert asyncio.run(disks().outdate(WEB)).outcome is Outcome.UNKNOWN


def broken(events: list[Event]) -> list[DiskStreamReset]:
    """Return the breaks of the stream that were told."""
    return [event for event in events if isinstance(event, DiskStreamReset)]


def followed(events: list[Event], *, breaks: int = 1) -> None:
    """Follow the stream until it has broken."""

    async def story() -> None:
        await until(lambda: len(broken(events)) == breaks)

    beside(disks(events).follow(), story)


def test_stream_is_reported_and_its_break_too(tools: Tools) -> None:
    """Every VM is reported once the initial state is complete, then each change, then the break of the stream."""
    tools.says("drbdsetup", CAPTURE.read_text())
    events: list[Event] = []
    followed(events)
    assert events[0] == DiskChanged(WEB, None), "the resource did not exist when the capture began"
    assert events[-2:] == [DiskChanged(WEB, in_sync(DiskRole.PRIMARY)), *broken(events)]
    assert broken(events)[0].why == "`drbdsetup events2 --statistics all` ended with 0"


def test_incomplete_state_is_not_reported(tools: Tools) -> None:
    """Before the end mark of the initial state nothing is said: half a state would be a wrong one."""
    tools.says("drbdsetup", CAPTURE.read_text().replace("exists -\n", ""))
    events: list[Event] = []
    followed(events)
    assert events == broken(events)


STATE = "exists resource name:avance-web role:Primary suspended:no\nexists -\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"change device name:avance-web disk:Wonderful\n", "what this version does not understand: 'Wonderful'"),
        (b"change peer-device name:avance-web out-of-sync:1", "ended with 0"),  # cut: it was 1024
        (b"x" * 100_000, "bytes without a line end"),
        (b"change resource name:avance-web role:\xed\xa0\x80\n", "does not understand"),
    ],
    ids=["unknown word", "cut line", "no line end", "no text"],
)
def test_stream_that_is_not_understood_is_broken(tools: Tools, tmp_path: Path, text: bytes, why: str) -> None:
    """What DRBD says is not guessed: its state is unknown then, a person hears why, and the stream begins anew."""
    (tmp_path / "drbdsetup.out").write_bytes(STATE.encode() + text)
    events: list[Event] = []
    followed(events)
    known = [event for event in events if isinstance(event, DiskChanged)]
    assert [event.view.out_of_sync_kib for event in known if event.view is not None] == [0]
    assert why in broken(events)[0].why


def test_drbdsetup_that_cannot_be_started_is_told(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon lives on, and tries again."""
    monkeypatch.setattr(module, "_RESTART_S", 0.001)
    (tmp_path / "drbdsetup").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    events: list[Event] = []
    followed(events, breaks=3)
    assert "`drbdsetup events2 --statistics all` was not started" in broken(events)[0].why


def test_a_flood_of_changes_comes_in_portions(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core takes one event after the other, and only so many may wait: a stream that never stops is slowed down."""
    monkeypatch.setattr(module, "_BURST_S", 100.0)
    tools.says(
        "drbdsetup",
        STATE + "change resource name:avance-web role:Secondary\nchange resource name:avance-web role:Primary\n" * 5000,
    )
    events: list[Event] = []

    async def story() -> None:
        await until(lambda: len(events) == 1 + module._BURST)
        await asyncio.sleep(0.05)

    beside(disks(events).follow(), story)
    assert len(events) == 1 + module._BURST


@pytest.mark.parametrize("code", [1, 127])
def test_lvm_that_did_not_look_makes_no_volume(tools: Tools, code: int) -> None:
    """Only an LVM that has looked and found none may say that there is no volume."""
    tools.ends("lvs", code)
    for act in (disks().prepare(WEB), disks().keep(WEB, 4)):
        assert asyncio.run(act).outcome is Outcome.FAILED
    assert {call.split()[0] for call in tools.calls} == {"lvs"}


def test_added_vm_is_reported(tools: Tools) -> None:
    """A VM that is added later is known to have no resource yet."""
    events: list[Event] = []
    db = type(WEB)("db")
    disks(events).add(spec(db, 1))
    assert events == [DiskChanged(db, None)]


def test_requests_are_counted_without_a_program(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's text is read; what it does not say is unknown."""
    monkeypatch.setattr(module, "_COUNTERS", tmp_path / "counters")
    adapter = disks()
    minor = spec().minor
    assert asyncio.run(adapter.in_flight(WEB)).outcome is Outcome.UNKNOWN
    (tmp_path / "counters").write_text(f" {minor}: cs:Connected ro:Primary/Secondary\n    lo:1 pe:1 ua:0 ap:2 ep:1\n")
    assert asyncio.run(adapter.in_flight(WEB)) == InFlightCounted(Outcome.OK, "2 1 1", 2, 1, 1)
    (tmp_path / "counters").write_text("version: 8.4.11\n")
    assert asyncio.run(adapter.in_flight(WEB)).outcome is Outcome.UNKNOWN
    assert tools.calls == []


# ---------------------------------------------------------------- VMs that are changed and removed

CLEARED = ["drbdsetup resume-io 3", "drbdsetup down avance-web", "lvs --noheadings -o lv_name vg0"]


def removed(events: list[Event] | None = None) -> DrbdDisks:
    """Return the adapter of a node that has removed its VM."""
    adapter = disks(events)
    adapter.remove(WEB)
    return adapter


def test_nothing_is_left_of_a_removed_vm(tools: Tools, tmp_path: Path) -> None:
    """Neither resource, nor file, nor volume; what was kept beside the volume stays, and so do other volumes."""
    (tmp_path / "avance-web.res").write_text("resource avance-web {}")
    tools.says("lvs", "  avance-web\n  avance-web.part\n  avance-web.kept-4\n  avance-db\n")
    assert asyncio.run(removed().clear(WEB, 3)) == Done(Outcome.OK)
    assert tools.calls == [*CLEARED, "lvremove -fq vg0/avance-web", "lvremove -fq vg0/avance-web.part"]
    assert not (tmp_path / "avance-web.res").exists()


def test_what_is_gone_already_is_gone(tools: Tools) -> None:
    """No resource, no file, no volume: all of it counts as done; that there is no minor to resume is no failure."""
    tools.ends("drbdsetup.resume-io", 10)
    tools.says("lvs", "  avance-db\n")
    assert asyncio.run(removed().clear(WEB, 3)) == Done(Outcome.OK)
    assert tools.calls == CLEARED


@pytest.mark.parametrize("program", ["drbdsetup.down", "lvs", "lvremove"])
def test_step_that_fails_is_not_passed_over(tools: Tools, tmp_path: Path, program: str) -> None:
    """While the resource is up its file stays; without a volume group nobody knows that the volume is gone."""
    (tmp_path / "avance-web.res").write_text("resource avance-web {}")
    tools.says("lvs", "  avance-web\n")
    tools.ends(program, 5)
    done = asyncio.run(removed().clear(WEB, 3))
    assert done.outcome is Outcome.FAILED
    assert (tmp_path / "avance-web.res").exists() is (program == "drbdsetup.down")
    assert tools.calls[-1].startswith(program.replace(".", " "))


def test_vm_of_this_node_is_never_cleared(tools: Tools) -> None:
    """Only a removed one has nothing to lose."""
    assert asyncio.run(disks().clear(WEB, 0)).outcome is Outcome.FAILED
    assert tools.calls == []


def test_command_for_a_removed_vm_does_nothing(tools: Tools) -> None:
    """It was on its way when the VM was removed: nothing is made or attached any more."""

    async def story() -> None:
        adapter = removed()
        acts = (adapter.prepare, adapter.attach, adapter.generations, adapter.in_flight)
        for done in [await act(WEB) for act in acts] + [await adapter.keep(WEB, 4)]:
            assert done == Done(Outcome.FAILED, "nothing was done: web was removed")

    asyncio.run(story())
    assert tools.calls == []


def test_nothing_is_reported_of_a_removed_vm(tools: Tools) -> None:
    """DRBD may speak of it until it is cleared."""
    tools.says("drbdsetup", "exists resource name:avance-web role:Secondary suspended:no\nexists -\n")
    events: list[Event] = []
    adapter = removed(events)
    beside(adapter.follow(), lambda: until(lambda: any(isinstance(event, DiskStreamReset) for event in events)))
    assert not any(isinstance(event, DiskChanged) for event in events)


def test_changed_vm_keeps_its_resource(tools: Tools, tmp_path: Path) -> None:
    """Memory and kernel are none of DRBD's business; a VM that was removed meanwhile is not taken back."""
    adapter = disks()
    adapter.change(replace(spec(), memory_mib=512))
    tools.ends("lvs", 5)
    assert asyncio.run(adapter.prepare(WEB)).ok
    assert "device /dev/drbd0 minor 0;" in (tmp_path / "avance-web.res").read_text()
    adapter.remove(WEB)
    adapter.change(spec())
    assert not asyncio.run(adapter.prepare(WEB)).ok

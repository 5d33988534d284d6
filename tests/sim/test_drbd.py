"""What the model claims of DRBD 8.4, each claim with its place in the kernel's sources (drivers/block/drbd, Linux 6.1).

The daemons stand still in these stories, so nothing but the model acts. What the real one does is held against it in
`test_drbd_captured.py`.
"""

from __future__ import annotations

import pytest

from avance.core.model import DiskRole, DiskState, Outcome
from tests.playbook import WEB, A, B
from tests.sim.drbd import Resource
from tests.sim.drbd_compare import SPLIT, UNRELATED, compare
from tests.sim.drbd_side import Content, Side
from tests.sim.judges import Violation
from tests.sim.rows import WITNESS, Row
from tests.sim.writes import BLOCKS, EVERY_BLOCK, block_of, blocks_of


class Bare:
    """A protected pair whose daemons and watchdogs stand still; A writes."""

    def __init__(self, seed: int = 1) -> None:
        self.row = Row(WITNESS, seed)
        for machine in self.row.world.machines.values():
            machine.useless.add("watchdog")
            assert machine.daemon is not None
            machine.daemon.stop()
        self.resource: Resource = self.row.world.resources[WEB]
        self.a, self.b = self.resource.sides[A], self.resource.sides[B]

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.row.passes(seconds)

    def differ(self) -> set[int]:
        """Return the blocks in which the copies differ."""
        both = self.a.data.keys() | self.b.data.keys()
        return {block for block in both if self.a.data.get(block, 0) != self.b.data.get(block, 0)}

    def states(self, node: str) -> tuple[str, str, str, bool]:
        """Return what DRBD says on a node: own disk, peer's disk, connection, frozen."""
        view = self.row.world.machines[A if node == "a" else B].view(WEB)
        assert view is not None
        return view.disk.value, view.peer_disk.value, view.connection, view.suspended


def test_primary_without_a_disk_goes_on_over_the_link() -> None:
    """The peer begins a generation (after_state_ch) and marks each block (receive_Data); the guest notices nothing."""
    bare = Bare()
    before, acknowledged = bare.a.generations(), len(bare.row.world.acknowledged)
    bare.row.breaks("disk.gone", "a")
    bare.passes(6.0)
    assert bare.states("a") == ("Diskless", "UpToDate", "Connected", False)
    assert bare.states("b") == ("UpToDate", "Diskless", "Connected", False)
    written = bare.row.world.acknowledged[acknowledged:]
    assert len(written) > 5
    assert bare.b.dirty == {block_of(number) for number in written}
    assert bare.a.generations() == before, "a disk that is gone cannot be told"
    assert bare.b.generations()[:2] == (bare.b.current, before[0])
    assert bare.b.current != before[0]
    assert bare.a.exposed == bare.b.current
    assert bare.b.primary_mark, "the half that carries a writer without a disk has the writer's mark"


def test_old_disk_is_attached_and_gets_what_it_lacks() -> None:
    """While connected both halves negotiate: the old disk's generation is the peer's bitmap generation (rule 50)."""
    bare = Bare()
    bare.row.breaks("disk.gone", "a")
    bare.passes(6.0)
    bare.a.gone = 0
    assert bare.differ()
    assert bare.resource.attach(A)
    assert bare.a.disk is DiskState.NEGOTIATING
    bare.passes(0.1)
    assert bare.states("a")[:2] == ("Inconsistent", "UpToDate")
    bare.passes(8.0)
    assert bare.states("a") == ("UpToDate", "UpToDate", "Connected", False)
    assert bare.a.generations() == bare.b.generations()
    assert not bare.differ()


def test_a_block_that_is_in_no_bitmap_is_not_copied() -> None:
    """A resynchronisation copies the marked blocks and nothing else: a bitmap that lacks one loses it."""
    bare = Bare()
    bare.row.breaks("disk.gone", "a")
    bare.passes(6.0)
    bare.row.world.machines[A].domains.clear()
    kept = min(bare.differ() - blocks_of(bare.a.active))
    bare.b.dirty.discard(kept)
    bare.a.gone = 0
    assert bare.resource.attach(A)
    with pytest.raises(Violation, match="I6"):
        bare.passes(8.0)
    assert bare.differ() == {kept}


def test_stranger_is_refused_beside_a_copy_of_another_generation() -> None:
    """A foreign disk is dropped again while connected (-1000), and never attached to a writer without its peer."""
    bare = Bare()
    bare.row.breaks("disk.gone", "a")
    bare.passes(2.0)
    bare.a.gone = 0
    bare.a.put_in(Content(stored=DiskState.UP_TO_DATE, made=True, current=123456, history=(654321, 654322)))
    assert bare.resource.attach(A)
    bare.passes(0.1)
    assert bare.a.disk is DiskState.DISKLESS
    assert bare.row.world.judges.handshakes_refused[-1] in (UNRELATED, -UNRELATED)
    bare.row.breaks("link.cut", "a.priv0")
    bare.passes(7.0)
    assert not bare.resource.attach(A), "ERR_DATA_NOT_CURRENT (drbd_adm_attach)"


def test_writer_without_a_disk_freezes_with_its_link_and_asks_nobody() -> None:
    """No data are accessible: susp_nod, and conn_try_outdate_peer is not reached; resumed I/O ends with errors."""
    bare = Bare()
    asked = bare.row.world.machines[A]._asks
    bare.row.breaks("disk.gone", "a")
    bare.passes(2.0)
    bare.row.breaks("link.cut", "a.priv0")
    bare.passes(7.0)
    assert bare.states("a") == ("Diskless", "DUnknown", "Connecting", True)
    assert bare.states("b")[:2] == ("UpToDate", "DUnknown")
    assert bare.row.world.machines[A]._asks == asked
    count = len(bare.row.world.acknowledged)
    assert bare.resource.resume(A)
    bare.passes(2.0)
    assert len(bare.row.world.acknowledged) == count
    assert (A, WEB) in bare.row.world.judges.errors


def test_writer_without_a_disk_meets_only_the_generation_it_has_seen() -> None:
    """ "Can only connect to data with current UUID" (receive_uuids): a peer that went on without it is no help."""
    bare = Bare()
    bare.row.breaks("disk.gone", "a")
    bare.passes(2.0)
    cut = bare.row.breaks("link.cut", "a.priv0")
    bare.passes(7.0)
    bare.b.next_generation(bare.resource.fresh())
    bare.b.bitmap, bare.b.current = bare.b.current, bare.resource.fresh()
    bare.row.heals(cut)
    bare.passes(6.0)
    assert bare.states("a")[2] == "StandAlone"


def test_backups_disk_that_is_gone_marks_at_the_primary() -> None:
    """The primary begins a generation at once, without a question, and marks what the backup lacks."""
    bare = Bare()
    before = bare.a.current
    bare.row.breaks("disk.gone", "b")
    bare.passes(4.0)
    assert (bare.a.bitmap, bare.a.current != before) == (before, True)
    assert bare.states("a") == ("UpToDate", "Diskless", "Connected", False)
    assert bare.a.dirty
    assert bare.a.dirty == bare.differ()


def test_a_guest_has_three_writes_in_flight() -> None:
    """With a link that stands, three writes wait, on different blocks; a power cut may take these and no other."""
    bare = Bare()
    bare.row.breaks("link.no_streams", "priv0")
    bare.passes(3.0)
    assert len(bare.a.waiting) == 3
    assert len({block_of(number) for number in bare.a.waiting}) == 3
    flying, before = [*bare.a.waiting], dict(bare.a.data)
    bare.row.off(A)
    changed = {block for block in before if bare.a.data[block] != before[block]}
    assert changed <= {block_of(number) for number in flying}
    assert not bare.row.world.judges.missing(WEB, bare.a.data, A)


def test_crashed_primary_is_the_source_of_its_hot_extents() -> None:
    """Both lost power in one generation: what the activity log names is copied from the writer (rule 40, apply-al)."""
    bare = Bare()
    bare.row.breaks("link.no_streams", "priv0")
    bare.passes(2.0)
    hot = blocks_of(bare.a.active)
    assert bare.differ() <= hot
    bare.a.crash(power=False)
    bare.b.crash(power=False)
    assert (bare.a.read_disk(), bare.a.crashed_primary) == (DiskState.CONSISTENT, True)
    assert bare.a.dirty == hot
    bare.b.read_disk()
    assert compare(bare.a, bare.b) == 1


def test_invalidate_gives_the_copy_up() -> None:
    """Alone the copy is Inconsistent with every block marked; a writer and one that looks for its peer are refused."""
    bare = Bare()
    assert not bare.resource.invalidate(A)
    bare.resource.disconnect(B)
    assert bare.resource.invalidate(B)
    assert bare.b.disk is bare.b.stored is DiskState.INCONSISTENT
    assert bare.b.dirty == EVERY_BLOCK
    bare = Bare()
    bare.row.breaks("link.no_streams", "priv0")
    bare.passes(7.0)
    assert bare.states("b")[2] == "Connecting"
    assert not bare.resource.invalidate(B)


def test_invalidate_while_connected_copies_everything() -> None:
    """A connected backup becomes the target of a full resynchronisation, and repairs a block that nobody knew of."""
    bare = Bare()
    bare.row.world.loses(B, bare.row.world.acknowledged[-3])
    assert bare.resource.invalidate(B)
    assert bare.states("b")[:2] == ("Inconsistent", "UpToDate")
    assert len(bare.b.dirty) == BLOCKS
    bare.passes(8.0)
    assert bare.states("b")[:2] == ("UpToDate", "UpToDate")
    assert not bare.differ()


def test_outdated_copy_cannot_be_promoted() -> None:
    """`outdate` is durable and refused while connected; only a peer that is good makes the copy good again."""
    bare = Bare()
    assert not bare.resource.outdate(B)
    bare.resource.disconnect(B)
    assert bare.resource.outdate(B)
    assert bare.b.stored is DiskState.OUTDATED
    outcomes: list[Outcome] = []
    bare.resource.promote(B, lambda outcome, _: outcomes.append(outcome))
    bare.passes(1.0)
    assert outcomes == [Outcome.FAILED]
    bare.b.crash(power=True)
    assert bare.resource.attach(B)
    assert bare.b.disk is DiskState.OUTDATED


def test_interrupted_resync_leaves_a_mixture() -> None:
    """A target that loses its source half-way is Inconsistent: some blocks are new, the others old and still marked."""
    bare = Bare()
    cut = bare.row.breaks("disk.gone", "b")
    bare.passes(20.0)
    bare.b.gone = 0
    bare.row.world.machines[A].domains.clear()
    del cut
    before = len(bare.differ())
    assert bare.resource.attach(B)
    bare.row.world.run_until(lambda: 0 < len(bare.differ()) < before, 10.0)
    bare.row.breaks("link.no_streams", "priv0")
    bare.passes(7.0)
    assert bare.b.disk is DiskState.INCONSISTENT
    assert bare.differ() <= bare.b.dirty


def test_old_half_of_a_mirror_loses_data_under_one_generation() -> None:
    """md takes the old half, whose metadata know of no difference: DRBD calls it equal, and the judges find it."""
    row = Row(WITNESS)
    half = row.breaks("disk.half", "b")
    row.passes(30.0)
    row.heals(half)
    with pytest.raises(Violation, match=r"I6|I2"):
        row.passes(60.0)


def _side(
    current: int, bitmap: int, history: tuple[int, ...], *, crashed: bool = False, disk: str = "UpToDate"
) -> Side:
    side = Side(Row(WITNESS).world.machines[A])
    side.current, side.bitmap, side.history = current, bitmap, history
    side.disk, side.crashed_primary = DiskState(disk), crashed
    return side


@pytest.mark.parametrize(
    ("mine", "theirs", "verdict"),
    [
        (((0, 0, ()), {}), ((0, 0, ()), {}), 0),  # rule 10
        (((0, 0, ()), {}), ((16, 0, ()), {}), -2),  # rule 20
        (((16, 0, ()), {}), ((0, 0, ()), {}), 2),  # rule 30
        (((16, 0, ()), {}), ((16, 0, ()), {}), 0),
        (((32, 16, ()), {}), ((32, 0, (16,)), {}), 1),  # rule 34: missed the end of the resync
        (((32, 0, ()), {}), ((32, 16, ()), {}), -1),  # rule 37
        (((16, 0, ()), {"crashed": True}), ((16, 0, ()), {}), 1),  # rule 40
        (((16, 0, ()), {}), ((16, 0, ()), {"crashed": True}), -1),
        (((16, 0, ()), {}), ((32, 16, ()), {}), -1),  # rule 50
        (((16, 0, ()), {}), ((48, 33, (16, 32)), {}), -2),  # rule 60
        (((16, 0, ()), {}), ((48, 17, (16, 0)), {}), -1),  # rule 51: the target never heard of the resync
        (((32, 16, ()), {}), ((16, 0, ()), {}), 1),  # rule 70
        (((48, 33, (16, 32)), {}), ((16, 0, ()), {}), 2),  # rule 80
        (((48, 16, ()), {}), ((32, 16, ()), {}), SPLIT),  # rule 90
        (((48, 0, (16,)), {}), ((32, 0, (16,)), {}), -SPLIT),  # rule 100
        (((48, 0, ()), {}), ((32, 0, ()), {}), -SPLIT),  # rule 100: two empty slots are equal (seen on the pair)
        (((48, 0, (1, 2)), {}), ((32, 0, ()), {}), UNRELATED),
        (((16, 0, ()), {"disk": "Inconsistent"}), ((16, 0, ()), {}), -1),
        (((16, 0, ()), {"disk": "Inconsistent"}), ((0, 0, ()), {}), -2),
    ],
)
def test_generations_are_compared_as_the_kernel_does(mine: tuple, theirs: tuple, verdict: int) -> None:  # type: ignore[type-arg]  # a table
    """Each rule of drbd_uuid_compare has a row, and so has what an Inconsistent half makes of it."""
    assert compare(_side(*mine[0], **mine[1]), _side(*theirs[0], **theirs[1])) == verdict


def test_history_keeps_two_generations() -> None:
    """UI_HISTORY_START and UI_HISTORY_END: a copy that is three generations behind is unrelated."""
    side = _side(16, 0, ())
    for generation in (32, 48, 64):
        side.push_history(generation)
    assert side.generations() == (16, 0, 64, 48)


def test_clearing_of_a_role_is_told() -> None:
    """A primary that steps down is Secondary on both nodes, and its activity log is clean."""
    bare = Bare()
    bare.row.world.machines[A].domains.clear()
    assert bare.resource.demote(A)
    view = bare.row.world.machines[B].view(WEB)
    assert view is not None
    assert view.peer_role is DiskRole.SECONDARY
    assert not bare.a.active

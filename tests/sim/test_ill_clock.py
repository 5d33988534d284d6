"""The backup's clock starts anew with everything that can have renewed the primary's lease (row B16).

Only the watchdog stops the primary in these stories, and it stays away for 30 s: whoever starts a VM too early is seen.
"""

from __future__ import annotations

import pytest

from avance.core.model import LinkName
from tests.playbook import BIZ, PRIV, A, B
from tests.sim.links import LINKS
from tests.sim.rows import SEEDS, WITNESS, Row

LOSSES = (0.8, 0.85, 0.9, 0.93)


def _slow_to_stop(seed: int) -> Row:
    """Return a pair whose primary is stopped by its watchdog alone, and cannot reach the witness."""
    row = Row(WITNESS, seed)
    row.world.boot_s = (30.0, 30.0)
    row.world.machines[A].useless |= {"pause", "reset"}
    row.breaks("witness.cut", "a/w1")
    return row


def _apart_with_an_old_echo(row: Row) -> None:
    """A hears B no more, and one second later B hears A no more: what A has of B is the older."""
    for link in LINKS:
        row.breaks("link.apart", link, only_from="b")
    row.passes(1.0)
    for link in LINKS:
        row.breaks("link.apart", link, only_from="a")


def _slips(row: Row, first: LinkName, second: LinkName) -> None:
    """One heartbeat of A gets to B on a link, and then one of B, with its echo, to A."""
    world, network = row.world, row.world.network
    heard = world.engine(B).liveness.last_receipt_at
    network.singles[A, first] = 1
    world.run_until(lambda: world.engine(B).liveness.last_receipt_at != heard, 2.0)
    renewed = world.engine(A).liveness.lease_from_s
    network.singles[B, second] = 1
    world.run_until(lambda: not network.singles[B, second], 2.0)
    row.passes(0.1)
    if first == second:
        assert world.engine(A).liveness.lease_from_s != renewed, "the story needs a lease that begins anew"


@pytest.mark.parametrize(("first", "second"), [(PRIV, PRIV), (BIZ, BIZ), (PRIV, BIZ)])
@pytest.mark.parametrize("wait_s", [4.2, 5.4, 7.0, 8.8])  # A lives for 12 s without an echo
@pytest.mark.parametrize("seed", SEEDS)
def test_backup_that_waits_hears_a_primary(seed: int, wait_s: float, first: LinkName, second: LinkName) -> None:
    """B waits, A's heartbeat reaches it and its echo reaches A: B starts nothing before A's watchdog has bitten."""
    row = _slow_to_stop(seed)
    _apart_with_an_old_echo(row)
    row.passes(wait_s)
    _slips(row, first, second)
    row.passes(30.0)
    assert row.resets(A)
    row.taken_over(by_s=90.0, not_before_s=row.resets(A)[0])


@pytest.mark.parametrize("every_s", [0.4, 0.7, 1.3, 2.6])
@pytest.mark.parametrize("seed", SEEDS)
def test_openings_that_cross(seed: int, every_s: float) -> None:
    """Single frames, one way and then the other, on alternating links, for as long as B waits: one VM in any order."""
    row = _slow_to_stop(seed)
    fault = row.breaks("link.crossing", "both", first_s=4.0, every_s=every_s, first="a" if seed % 2 else "b")
    row.passes(60.0)
    row.heals(fault)
    row.world.boot_s = (6.0, 10.0)
    row.recovers()


@pytest.mark.parametrize("seed", range(1, 41))
def test_backup_that_waits_behind_very_lossy_links(seed: int) -> None:
    """The same by chance: both links lose nine of ten frames, and A has no way to the witness."""
    row = _slow_to_stop(seed)
    for port in ("a.priv0", "a.biz0"):
        row.breaks("link.loss", port, probability=LOSSES[seed % len(LOSSES)])
    row.passes(90.0)

"""Readiness: what is foreseen is kept up to date and told, the same on both nodes, and a calm pair stays calm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avance.core import arbiters
from avance.core import commands as c
from avance.core import events as e
from avance.core.model import DiskRole, DiskState, Forecast, NodePart, Outcome, Record, VmForecast
from avance.core.readiness import AGAIN_S, FILLS_S, TOLD_S
from avance.core.restarts import FAILURES_MAX
from avance.wire.frozen import freeze, thaw
from tests.playbook import WEB, A, B, Playbook, alerts, calm_pair, ended, in_sync, paired

SECOND = in_sync(DiskRole.SECONDARY, peer_role=DiskRole.PRIMARY)
FILLS = replace(SECOND, disk=DiskState.INCONSISTENT, replication="SyncTarget")
BEHIND = replace(SECOND, disk=DiskState.OUTDATED)
USUAL = Forecast(17.6, "policy availability")


def backup(*, power: bool = False, gateway: bool = False) -> Playbook:
    """Return the backup of a protected pair, whose free memory is known."""
    book = paired(B, owner=A, power=power, gateway=gateway)
    book.hears(e.MemorySeen(4096))
    return book


def told(commands: list[c.Command]) -> list[str]:
    """Return what was told of readiness."""
    return [code for code in alerts(commands) if code in ("not_ready", "ready_again")]


def test_what_is_usual_is_not_said() -> None:
    """Both nodes foresee it by themselves, so the heartbeat carries nothing."""
    book = backup()
    ready = book.engine.readiness
    assert ready.forecast == USUAL
    assert book.engine.view(book.now).forecast is None
    assert ready.seen(book.engine.sight, book.now) == (B, USUAL)
    owner = paired(A)
    assert owner.engine.readiness.forecast is None
    assert owner.engine.readiness.seen(owner.engine.sight, owner.now) == (B, USUAL)


def test_the_owner_shows_what_the_backup_says() -> None:
    """Word for word."""
    book = backup()
    book.hears(e.MemorySeen(10))
    said = book.engine.view(book.now).forecast
    assert said == replace(USUAL, vms=(VmForecast(WEB, "memory"),))
    owner = paired(A)
    owner.peer_says(forecast=said)
    assert owner.engine.readiness.seen(owner.engine.sight, owner.now) == (B, said)


def test_unknown_memory_is_said() -> None:
    """It is no refusal."""
    book = paired(B, owner=A)
    assert book.engine.view(book.now).forecast == replace(USUAL, memory=False)
    book.hears(e.MemorySeen(4096))
    assert book.engine.view(book.now).forecast is None
    book.hears(e.MemorySeen(None))
    assert book.engine.view(book.now).forecast == replace(USUAL, memory=False)


def test_nobody_foresees_anything_without_a_pair() -> None:
    """The node that is silent may be dead already."""
    for book in (backup(), paired(A)):
        book.pass_time(4.0)
        assert book.engine.readiness.seen(book.engine.sight, book.now) is None
        assert book.engine.view(book.now).forecast is None


def test_a_calm_pair_stays_calm() -> None:
    """It judges once a minute, and in no other turn."""
    book = _calm_backup()
    ready = book.engine.readiness
    due_s, forecast = ready.next_s, ready.forecast
    assert book.now < due_s <= book.now + AGAIN_S
    book.pass_time(due_s - book.now - 1.0, peer_alive=True)
    assert (ready.next_s, ready.forecast is forecast) == (due_s, True)
    assert book.engine.calm_until_s > book.now or book.engine.rest_until_s > book.now
    book.pass_time(3.0, peer_alive=True)
    assert ready.next_s > due_s


def _calm_backup() -> Playbook:
    book = calm_pair(B)
    book.hears(e.MemorySeen(4096))
    book.now += 0.1
    book.peer_says()
    book.hears(e.Tick())
    return book


def test_a_deadline_of_readiness_ends_the_calm() -> None:
    """As one of the witnesses does."""
    book = _calm_backup()
    book.engine.readiness.next_s = book.now + 0.05
    book.hears(e.Tick(1000.0))  # a whole turn
    assert book.engine.rest_until_s <= book.engine.readiness.next_s


# ---------------------------------------------------------------- people are told


def test_what_lasts_is_told_once_and_its_end_too() -> None:
    """By the backup, with the VM, why, and what to do."""
    book = backup()
    said = book.hears(e.MemorySeen(10))
    said += book.pass_time(TOLD_S - 1, peer_alive=True)
    assert told(said) == []
    said = book.pass_time(300.0, peer_alive=True)
    assert told(said) == ["not_ready"]
    alert = next(one.alert for one in said if isinstance(one, c.SendAlert) and one.alert.code == "not_ready")
    assert alert.about == WEB
    assert alert.severity == "warning"
    assert alert.text == (
        "If node a died now, VM web would not start on node b: the free memory there does not hold it beside those that"
        " are defined before it. Give that node more memory, or the VMs less."
    )
    assert told(book.hears(e.MemorySeen(4096))) == ["ready_again"]
    assert told(book.pass_time(100.0, peer_alive=True)) == []


def test_what_is_over_soon_is_not_told() -> None:
    """Neither that it was, nor that it is over."""
    book = backup()
    book.hears(e.MemorySeen(10))
    said = book.pass_time(TOLD_S - 5, peer_alive=True)
    said += book.hears(e.MemorySeen(4096)) + book.pass_time(100.0, peer_alive=True)
    assert told(said) == []


@pytest.mark.parametrize(("view", "after_s"), [(FILLS, FILLS_S), (BEHIND, TOLD_S)])
def test_a_copy_that_is_being_filled_is_told_late(view: object, after_s: float) -> None:
    """It ends by itself, and the pair says so anyway; it is the reason from the beginning on."""
    book = backup()
    said = book.hears(e.DiskChanged(WEB, view))  # type: ignore[arg-type]  # both are views
    assert book.engine.readiness.forecast is not None
    assert book.engine.readiness.forecast.vms[0].lacks == ("filling" if view is FILLS else "behind")
    said += book.pass_time(after_s - 5, peer_alive=True)
    assert told(said) == []
    said = book.pass_time(10.0, peer_alive=True)
    assert told(said) == ["not_ready"], "of the VM, and not of the takeover as well"


def test_a_refusal_is_one_story() -> None:
    """No VM would start: it is told once, not for each of them."""
    book = paired(B, owner=A, policy="safety")
    book.hears(e.MemorySeen(4096))
    said = book.pass_time(TOLD_S + 5, peer_alive=True)
    assert told(said) == ["not_ready"]
    alert = next(one.alert for one in said if isinstance(one, c.SendAlert) and one.alert.code == "not_ready")
    assert alert.about == ""
    assert alert.text.startswith("If node a died now, no VM would start on node b: site policy safety gives no right")


def test_the_owner_tells_nothing() -> None:
    """Each story is told by one node."""
    book = paired(A, policy="safety")
    assert told(book.pass_time(200.0, peer_alive=True)) == []


def test_a_vm_that_was_removed_is_no_story_any_more() -> None:
    """Nobody says that it would start again."""
    book = backup()
    book.hears(e.MemorySeen(10))
    book.pass_time(TOLD_S + 5, peer_alive=True)
    said = book.hears(e.VmRemoved(WEB, "c0ffee")) + book.pass_time(10.0, peer_alive=True)
    assert told(said) == []


# ---------------------------------------------------------------- what it rests on


def test_the_bmc_counts_when_it_was_seen_to_answer() -> None:
    """What nobody has looked at is not taken for good."""
    book = backup(power=True)
    assert book.engine.readiness.forecast == USUAL
    assert book.engine.view(book.now).forecast == USUAL, "the owner would expect less"
    book.hears(e.PartSeen(NodePart.BMC, ""))
    assert book.engine.readiness.forecast == Forecast(9.6, "power fence", off_s=5.6)
    assert book.engine.view(book.now).forecast is None
    book.hears(e.PartSeen(NodePart.BMC, "it does not answer"))
    assert book.engine.readiness.forecast == USUAL


def test_a_gateway_counts_as_it_was_seen_a_moment_ago() -> None:
    """It is looked for in a silence only: an older no says nothing."""
    book = backup(gateway=True)
    book.pass_time(3.2)
    book.hears(e.NeighboursSeen(gateway=False, claimed=()))
    book.pass_time(2.0, peer_alive=True)
    forecast = book.engine.readiness.forecast
    assert forecast is not None
    assert forecast.seconds is None
    book.pass_time(2 * AGAIN_S, peer_alive=True)
    assert book.engine.readiness.forecast == USUAL


def test_a_witness_out_of_reach_is_a_refusal() -> None:
    """As it is for the takeover."""
    record = Record(3, A, arbiters=(arbiters.witness("w1"),))
    book = paired(B, owner=A, record=record, witnesses=("w1",))
    forecast = book.engine.readiness.forecast
    assert forecast is not None
    assert forecast.reasons == ("witness w1 is in office and does not answer",)


def test_a_record_that_cannot_be_written_is_a_refusal() -> None:
    """No right counts before it is durable."""
    book = backup()
    book.engine.sight.durable.failing_from_s = book.now
    book.hears(e.Tick())
    assert book.engine.view(book.now).forecast == Forecast(None, reasons=("the record of node b cannot be written",))
    book.engine.sight.durable.failing_from_s = None
    book.hears(e.Tick())
    assert book.engine.view(book.now).forecast is None


def test_vms_that_failed_here_are_named() -> None:
    """They died, or could not be made."""
    book = backup()
    for _ in range(FAILURES_MAX):
        book.engine.restarts.failed(WEB, book.now)
    book.hears(e.Tick())
    assert book.engine.view(book.now).forecast == replace(USUAL, vms=(VmForecast(WEB, "left"),))
    book = backup()
    for _ in range(FAILURES_MAX):
        book.engine.restarts.done(c.StartDomain(WEB), ended(c.StartDomain(WEB), Outcome.FAILED).result, book.now)
    book.hears(e.Tick())
    assert book.engine.view(book.now).forecast == replace(USUAL, vms=(VmForecast(WEB, "unmade"),))


def test_the_last_start_is_remembered() -> None:
    """From the order to its end, if it went well."""
    book = paired(A)
    book.expect(e.DomainChanged(WEB, running=False), c.PromoteDisk(WEB))
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))
    book.pass_time(2.0, peer_alive=True)
    book.hears(ended(c.StartDomain(WEB), Outcome.UNKNOWN))
    assert book.engine.readiness._took_s == {}
    book = paired(A)
    book.hears(e.DomainChanged(WEB, running=False))
    book.done(c.PromoteDisk(WEB), c.StartDomain(WEB))
    book.pass_time(2.0, peer_alive=True)
    book.hears(ended(c.StartDomain(WEB)))
    assert book.engine.readiness._took_s == {WEB: 2.0}


def test_it_is_kept_with_the_engine() -> None:
    """A journal that begins in the middle has it, too."""
    book = backup()
    book.hears(e.MemorySeen(10))
    assert thaw(freeze(book.engine.readiness)) == book.engine.readiness

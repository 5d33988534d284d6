"""The one safety rule, tried on every combination of its small inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from avance.core.model import DiskRole, DiskState, DiskView, NodeId, Record, Timers, VmId
from avance.core.takeover import Allowed, Facts, Refused, Verdict, Wait, copy_refusals, decide
from tests.playbook import WEB, A, B

TIMERS = Timers()
DB = VmId("db")
SILENCES_S = (0.0, 4.999, 5.0, 16.999, 17.0, 1000.0)


def view(disk: DiskState) -> DiskView:
    """Return an unconnected resource in one disk state."""
    return DiskView(disk=disk)


def every_case() -> Iterator[tuple[Facts, float]]:
    """Yield all facts over the small inputs, with the silence in seconds."""
    disks: list[DiskView | None] = [None, *(view(state) for state in DiskState)]
    owners: tuple[NodeId | None, ...] = (None, A, B)
    for owner, outdated, first, second, policy, silence_s in itertools.product(
        owners, (False, True), disks, (view(DiskState.UP_TO_DATE), view(DiskState.OUTDATED), None),
        ("availability", "safety"), SILENCES_S,
    ):  # fmt: skip
        record = Record(0 if owner is None else 3, owner, peer_outdated=outdated)
        yield Facts(A, record, 1000.0 - silence_s, {WEB: first, DB: second}, policy), silence_s


def good_copies(facts: Facts) -> bool:
    """Say whether every copy is UpToDate and was not recorded as outdated by another owner (rule R3)."""
    current = all(disk is not None and disk.disk is DiskState.UP_TO_DATE for disk in facts.disks.values())
    return current and not (facts.record.owner != A and facts.record.peer_outdated) and facts.record.owner is not None


def permit(facts: Facts, silence_s: float) -> bool:
    """Say, in other words than the code, whether the site policy gives the right after this silence."""
    needed_s = TIMERS.peer_lost_s if facts.record.owner == A else TIMERS.peer_lost_s + TIMERS.takeover_wait_s
    return facts.policy == "availability" and silence_s >= needed_s


def verdict(facts: Facts) -> Verdict:
    """Ask the rule at the moment that the cases are counted from."""
    return decide(facts, TIMERS, 1000.0)


def test_never_allowed_without_a_permit() -> None:
    """No combination of inputs is allowed without a permit and a good copy of every VM."""
    allowed = [(facts, silence_s) for facts, silence_s in every_case() if isinstance(verdict(facts), Allowed)]
    wrong = [facts for facts, silence_s in allowed if not (permit(facts, silence_s) and good_copies(facts))]
    assert allowed
    assert wrong == []


def test_never_refused_with_a_permit_and_good_copies() -> None:
    """Every combination with a permit and good copies is allowed."""
    entitled = [facts for facts, silence_s in every_case() if permit(facts, silence_s) and good_copies(facts)]
    wrong = [facts for facts in entitled if not isinstance(verdict(facts), Allowed)]
    assert entitled
    assert wrong == []


def test_waiting_is_only_for_time() -> None:
    """The rule says Wait only when time alone is missing, and names the moment at which it will be allowed."""
    waits = 0
    for facts, silence_s in every_case():
        answer = verdict(facts)
        if isinstance(answer, Wait):
            waits += 1
            assert good_copies(facts)
            assert facts.policy == "availability"
            assert answer.until_s > 1000.0
            assert isinstance(decide(facts, TIMERS, answer.until_s), Allowed), silence_s
    assert waits > 0


def test_policy_safety_never_takes_over() -> None:
    """Under policy `safety` silence gives no right, to nobody and after no time."""
    assert all(isinstance(verdict(facts), Refused) for facts, _ in every_case() if facts.policy == "safety")


def test_refusal_names_every_reason() -> None:
    """A refusal lists all that stands against it, not only the first."""
    record = Record(3, B, peer_outdated=True)
    answer = verdict(Facts(A, record, 0.0, {WEB: view(DiskState.INCONSISTENT), DB: None}, "availability"))
    assert isinstance(answer, Refused)
    assert [word for word in ("outdated in epoch 3", "web", "db") if word not in " ".join(answer.reasons)] == []


def test_own_lone_copy_is_good() -> None:
    """The mark `peer outdated` is about the other node's copy, so it does not stop the owner itself."""
    assert copy_refusals(Record(3, A, peer_outdated=True), A, {WEB: view(DiskState.UP_TO_DATE)}) == ()
    assert copy_refusals(Record(3, A, peer_outdated=True), B, {WEB: view(DiskState.UP_TO_DATE)}) != ()


@pytest.mark.parametrize("state", [state for state in DiskState if state is not DiskState.UP_TO_DATE])
def test_only_an_up_to_date_copy_may_be_written_alone(state: DiskState) -> None:
    """Every disk state but UpToDate stops a takeover (rule R3)."""
    assert isinstance(verdict(Facts(A, Record(3, B), 0.0, {WEB: view(state)}, "availability")), Refused)
    assert isinstance(verdict(Facts(A, Record(3, A), 0.0, {WEB: view(state)}, "availability")), Refused)


def test_code_is_assumed_dead() -> None:
    """DRBD is told `assumed dead` (5), which has no effect on a copy that is not UpToDate."""
    disk = DiskView(DiskRole.SECONDARY, DiskState.UP_TO_DATE)
    answer = verdict(Facts(A, Record(3, B), 0.0, {WEB: disk}, "availability"))
    assert isinstance(answer, Allowed)
    assert answer.fence_code == 5

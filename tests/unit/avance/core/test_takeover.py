"""The one safety rule, tried on every combination of its small inputs.

What a permit is stands here in other words than in the code: as the list of ways in which a site may say yes. The rule
must never say Allowed without one of them and a usable copy, and never Refused when it has both.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from avance.core.arbiters import survivor, witness
from avance.core.model import DiskState, DiskView, NodeId, Record, Timers, VmId
from avance.core.takeover import (
    Allowed,
    Answer,
    Fetch,
    Need,
    Power,
    Refused,
    Situation,
    TakeoverFacts,
    Verdict,
    Wait,
    copy_refusals,
    decide,
)
from tests.playbook import WEB, A, B

TIMERS = Timers()
DB = VmId("db")
LOST, BOOT, NO_CONSENT = Situation.LOST, Situation.BOOT, Situation.NO_CONSENT
LOST_AT = 1000.0
W1, W2, SA, SB = witness("w1"), witness("w2"), survivor(A), survivor(B)
SETS: tuple[tuple[str, ...], ...] = ((W1,), (W1, W2), (SA,), (SB,), (W1, SA), (SA, W1), (W1, SB))
EARLY, LATE = LOST_AT - 1.5, LOST_AT + 9.5
# When the neighbours were looked at, whether a gateway answered, who answered for our addresses.
NEIGHBOURS: tuple[tuple[float | None, bool | None, tuple[str, ...]], ...] = (
    (None, None, ()),
    (EARLY, None, ()), (EARLY, True, ()), (EARLY, True, ("10.77.0.10",)), (EARLY, False, ()),
    (LATE, None, ()), (LATE, True, ()), (LATE, True, ("10.77.0.10",)), (LATE, False, ()),
)  # fmt: skip
AFTER_S = (-0.001, 0.0, 1.999, 2.0, 2.999, 3.0, 10.499, 10.5, 11.999, 12.0, 1000.0)
OFF = (Power.OFF, Power.OFF_EARLY)
BASE = TakeoverFacts(A, Record(3, A), LOST, LOST_AT, {WEB: DiskView(disk=DiskState.UP_TO_DATE)}, "availability")

Case = tuple[TakeoverFacts, float, Verdict]


def disks(state: DiskState | None, other: DiskState | None = None) -> dict[VmId, DiskView | None]:
    """Return the copies of one or two VMs; None is a resource that does not exist."""
    views = {WEB: None if state is None else DiskView(disk=state)}
    return views if other is None else {**views, DB: DiskView(disk=other)}


def answers(tokens: tuple[str, ...]) -> Iterator[dict[str, Answer]]:
    """Yield every way in which the witnesses among the tokens can have answered, or not."""
    names = [name for name in ("w1", "w2") if witness(name) in tokens]
    for said in itertools.product((None, *Answer), repeat=len(names)):
        yield {name: word for name, word in zip(names, said, strict=True) if word is not None}


def every_facts() -> Iterator[tuple[TakeoverFacts, tuple[float, ...]]]:
    """Yield all combinations of the small inputs, each with the times after the loss at which the rule is asked.

    With arbiters in office the neighbours decide nothing, so only two of their nine combinations are crossed with the
    answers of the witnesses; a split record and the override are crossed with a smaller set.
    """
    common = list(itertools.product((None, A, B), (False, True), Situation, ("availability", "safety")))
    states = (DiskState.UP_TO_DATE, DiskState.CONSISTENT, DiskState.OUTDATED, None)
    copies = [disks(state) for state in states]
    for (owner, old, why, policy), copy, power, (looked_at, gateway, claimed) in itertools.product(
        common, copies[:3], Power, NEIGHBOURS
    ):
        yield TakeoverFacts(
            A, Record(3, owner, peer_outdated=old), why, LOST_AT, copy, policy,
            power=power, looked_at=looked_at, gateway=gateway, claimed=claimed,
        ), AFTER_S  # fmt: skip
    words = [(tokens, said) for tokens in SETS for said in answers(tokens)]
    for (tokens, said), (owner, old, why, policy), copy, power, (looked_at, gateway, claimed) in itertools.product(
        words, common, copies[:2], Power, (NEIGHBOURS[0], (LATE, False, ("10.77.0.10",)))
    ):
        yield TakeoverFacts(
            A, Record(3, owner, peer_outdated=old, arbiters=tokens), why, LOST_AT, copy, policy,
            answers=said, power=power, looked_at=looked_at, gateway=gateway, claimed=claimed,
        ), (-0.001, 0.0, 2.999, 3.0, 12.0)  # fmt: skip
    for split, override, tokens, (owner, old, why, policy), copy, power in itertools.product(
        (False, True), (False, True), ((), (W1,), (SB,)), common, copies, (Power.NO_BMC, Power.OFF)
    ):
        yield TakeoverFacts(
            A, Record(3, owner, peer_outdated=old, split=split, arbiters=tokens), why, LOST_AT, copy, policy,
            power=power, override=override,
        ), (0.0, 12.0)  # fmt: skip


@cache
def every_case() -> tuple[Case, ...]:
    """Return what the rule says to all of them."""
    return tuple(
        (facts, after_s, decide(facts, TIMERS, LOST_AT + after_s))
        for facts, times in every_facts()
        for after_s in times
    )


# ---------------------------------------------------------------- what a permit is


def usable_copy(facts: TakeoverFacts) -> bool:
    """Say whether this node holds at least one copy that may be written alone (docs/safety.md, S8)."""
    if facts.record.owner is None or facts.record.split:
        return False
    if facts.record.owner == B and facts.record.peer_outdated:
        return False  # the other owner has written without us
    found = {view.disk for view in facts.disks.values() if view is not None}
    # A disk that was attached alone after a start cannot know that it is up to date.
    return DiskState.UP_TO_DATE in found or (facts.situation is BOOT and DiskState.CONSISTENT in found)


def arbiters_agree(facts: TakeoverFacts) -> bool:
    """Say whether there is an arbiter in office, and each of them has said yes to this node."""
    yes = {witness(name) for name, word in facts.answers.items() if word is Answer.GRANTED} | {SA}
    return facts.record.arbiters != () and set(facts.record.arbiters) <= yes


def last_man_standing(facts: TakeoverFacts) -> bool:
    """Say whether this node alone was in service before its start, and nobody who could know better says no."""
    if not (facts.record.owner == A and facts.record.peer_outdated):
        return False
    if not any(token.startswith("witness:") for token in facts.record.arbiters):
        return True
    said = {facts.answers.get(name) for name in ("w1", "w2") if witness(name) in facts.record.arbiters}
    mute = {Answer.SILENT, Answer.UNTAUGHT}  # one that knows nothing is not worse than one that says nothing
    vouched = said <= {Answer.GRANTED, *mute} and said & mute and SB not in facts.record.arbiters
    return facts.policy == "availability" and bool(vouched)


def permit(facts: TakeoverFacts, after_s: float) -> bool:
    """Say whether any of the ways to a right is open to node a, so long after the question became allowed."""
    owner = facts.record.owner == A
    if facts.override and facts.record.owner is not None and not facts.record.split:
        return True
    if facts.situation is BOOT:
        elected = facts.record.arbiters == (SA,)
        agreed = arbiters_agree(facts) and (not elected or facts.policy == "availability")
        return owner and after_s >= 0.0 and (agreed or last_man_standing(facts))
    if after_s < (0.0 if owner or facts.power is Power.OFF_EARLY else 3.0):
        return False  # the owner of running VMs asks first
    if facts.record.arbiters:
        stopped = facts.power in OFF or after_s >= 12.0
        return arbiters_agree(facts) and (owner or stopped)
    cut_off = not owner and facts.gateway is False  # then the owner may have gone on alone before its power was cut
    if facts.power is Power.OFF_EARLY or (facts.power is Power.OFF and not cut_off):
        return True
    if facts.policy != "availability" or facts.situation is NO_CONSENT:
        return False
    looked = facts.looked_at == LATE and facts.gateway is not False
    if owner:  # the fence comes first, but it may not use up the time until the grant deadline
        fence_is_over = facts.power in (Power.NO_BMC, Power.FAILED) or (facts.power is Power.CUTTING and after_s >= 2.0)
        return looked and fence_is_over
    return looked and facts.power is not Power.NOT_CUT and after_s >= 12.0 and facts.claimed == ()


@cache
def entitled() -> tuple[Case, ...]:
    """Return the cases with a permit and a usable copy."""
    return tuple(case for case in every_case() if permit(case[0], case[1]) and usable_copy(case[0]))


def test_never_allowed_without_a_permit() -> None:
    """No combination of inputs is allowed without a permit and, but for a person's word, a usable copy."""
    allowed = [case for case in every_case() if isinstance(case[2], Allowed)]
    wrong = [case for case in allowed if not (permit(case[0], case[1]) and (case[0].override or usable_copy(case[0])))]
    assert len(allowed) > 1000
    assert wrong == []


def test_never_refused_with_a_permit_and_a_good_copy() -> None:
    """No combination with a permit and a usable copy is refused."""
    wrong = [case for case in entitled() if isinstance(case[2], Refused)]
    assert len(entitled()) > 1000
    assert wrong == []


def test_permit_is_enough_once_all_evidence_is_there() -> None:
    """With a permit and a usable copy the rule asks for nothing but a fence that was not tried yet."""
    for facts, after_s, verdict in entitled():
        if not isinstance(verdict, Allowed):
            assert isinstance(verdict, Fetch), (facts, after_s, verdict)
            assert verdict.needs == (Need.CUT_POWER,)
            assert facts.power is Power.NOT_CUT


def test_split_node_is_never_allowed() -> None:
    """A node that knows that both wrote alone gets no right, by no means and no override."""
    for facts, _, verdict in every_case():
        if facts.record.split:
            assert isinstance(verdict, Refused), facts


def test_arbiters_cannot_be_overtaken_by_power_or_policy() -> None:
    """While arbiters are in office, neither a power fence nor the policy replaces the yes of any of them."""
    for facts, _, verdict in every_case():
        boot = facts.situation is BOOT
        if facts.record.arbiters and not boot and not facts.override and isinstance(verdict, Allowed):
            assert arbiters_agree(facts), facts


def test_backup_never_acts_before_the_old_primary_has_stopped() -> None:
    """A backup is allowed only after the take-over wait, or when the peer's power was read as off."""
    for facts, after_s, verdict in every_case():
        if isinstance(verdict, Allowed) and facts.record.owner == B and not facts.override:
            assert facts.power in OFF or after_s >= TIMERS.takeover_wait_s, facts


def test_boot_fences_nobody() -> None:
    """A node that came up alone never switches off a peer that it has not heard, and takes no right from the policy."""
    for facts, _, verdict in every_case():
        if facts.situation is BOOT and isinstance(verdict, Fetch):
            assert verdict.needs == (Need.WITNESSES,)
        if facts.situation is BOOT and isinstance(verdict, Allowed) and not facts.override:
            assert "policy" not in verdict.means
            assert "power" not in verdict.means


def test_waiting_is_only_for_time() -> None:
    """A Wait names a later moment, and at that moment the rule has something new to say."""
    waits = 0
    for facts, after_s, verdict in every_case():
        if isinstance(verdict, Wait):
            waits += 1
            assert verdict.until_s > LOST_AT + after_s
            again = decide(facts, TIMERS, verdict.until_s)
            assert not (isinstance(again, Wait) and again.until_s <= verdict.until_s), facts
    assert waits > 1000


def test_asking_is_only_for_missing_evidence() -> None:
    """A Fetch names evidence that is not there yet, so that fetching it brings the rule forward."""
    for facts, _, verdict in every_case():
        if isinstance(verdict, Fetch):
            missing = {
                Need.WITNESSES: not arbiters_agree(facts),
                Need.CUT_POWER: facts.power in (Power.NOT_CUT, Power.CUTTING),
                Need.NEIGHBOURS: facts.looked_at is None or facts.looked_at == EARLY,
            }
            assert verdict.needs
            assert all(missing[need] for need in verdict.needs), facts


def test_policy_safety_takes_no_risk() -> None:
    """Under policy `safety` silence alone gives no right, to nobody and after no time."""
    for facts, _, verdict in every_case():
        if facts.policy == "safety" and not facts.override and isinstance(verdict, Allowed):
            assert arbiters_agree(facts) or facts.power in OFF or last_man_standing(facts), facts


def test_power_is_cut_by_the_owner_first() -> None:
    """The backup asks for the peer's power only 3 s after the owner did (docs/safety.md, S17)."""
    for facts, after_s, verdict in every_case():
        if isinstance(verdict, Fetch) and Need.CUT_POWER in verdict.needs and facts.record.owner == B:
            assert after_s >= TIMERS.backup_delay_s, facts


# ---------------------------------------------------------------- means and codes


@pytest.mark.parametrize(
    ("changes", "after_s", "means", "code"),
    [
        ({"looked_at": LOST_AT}, 0.0, "policy availability", 5),
        ({"record": Record(3, B), "looked_at": LATE}, 12.0, "policy availability", 5),
        ({"power": Power.OFF}, 0.0, "power fence", 7),
        ({"record": Record(3, B), "power": Power.OFF_EARLY}, 0.0, "power fence", 7),
        ({"record": Record(3, A, arbiters=(W1,)), "answers": {"w1": Answer.GRANTED}}, 0.0, "witness w1", 4),
        ({"record": Record(3, A, arbiters=(SA,))}, 0.0, "survivor a", 5),
        (
            {"record": Record(3, B, arbiters=(W1,)), "answers": {"w1": Answer.GRANTED}, "power": Power.OFF},
            3.0, "witness w1", 7,
        ),
        (
            {"record": Record(3, A, arbiters=(W1, SA)), "answers": {"w1": Answer.GRANTED}},
            0.0, "witness w1 and survivor a", 4,
        ),
        ({"record": Record(3, A, peer_outdated=True), "situation": BOOT}, 0.0, "last man standing", 4),
        ({"record": Record(3, A, arbiters=(SA,)), "situation": BOOT}, 0.0, "survivor a", 4),
        ({"override": True}, -1.0, "operator override", 4),
    ],
)  # fmt: skip
def test_means_and_the_word_for_drbd(changes: dict[str, object], after_s: float, means: str, code: int) -> None:
    """Each means names itself and has its exit code for fence-peer (docs/safety.md, S10 and S7)."""
    verdict = decide(replace(BASE, **changes), TIMERS, LOST_AT + after_s)  # type: ignore[arg-type]  # single fields
    assert isinstance(verdict, Allowed), verdict
    assert (verdict.means, verdict.fence_code) == (means, code)


def test_lone_boot_is_never_told_assumed_dead() -> None:
    """At a lone boot DRBD is told 4: code 5 has no effect on a disk that is only Consistent (docs/safety.md, S7)."""
    for facts, _, verdict in every_case():
        if facts.situation is BOOT and not facts.override and isinstance(verdict, Allowed):
            assert verdict.fence_code == 4


def test_owner_gives_the_fence_its_time_before_the_policy() -> None:
    """With a BMC, policy lets the owner go on at once when the fence failed, else just before the grant deadline."""
    looked = replace(BASE, looked_at=LOST_AT, gateway=True)
    assert isinstance(decide(replace(looked, power=Power.FAILED), TIMERS, LOST_AT), Allowed)
    assert decide(replace(looked, power=Power.CUTTING), TIMERS, LOST_AT) == Wait(
        LOST_AT + 2.0, "the old primary may still be running; the take-over wait is not over"
    )
    assert isinstance(decide(replace(looked, power=Power.CUTTING), TIMERS, LOST_AT + 2.0), Allowed)


def test_backup_looks_at_its_neighbours_just_before_it_acts() -> None:
    """Evidence of the networks is fresh: the backup looks 2.5 s before it may act by policy, the owner at once."""
    backup = replace(BASE, record=Record(3, B), looked_at=EARLY, gateway=True)
    assert isinstance(decide(backup, TIMERS, LOST_AT + 9.4), Wait)
    assert decide(backup, TIMERS, LOST_AT + 9.5) == Fetch((Need.NEIGHBOURS,), "no arbiter is in office")
    assert decide(BASE, TIMERS, LOST_AT) == Fetch((Need.NEIGHBOURS,), "no arbiter is in office")


def test_backup_that_was_cut_off_itself_never_acts() -> None:
    """A gateway that was silent when the peer may have gone on alone is a no for this loss; no power undoes it."""
    backup = replace(BASE, record=Record(3, B))
    cut_off = replace(backup, looked_at=EARLY, gateway=False)
    searched = replace(backup, looked_at=LATE, gateway=True, searched=True)
    powers, times_s = (Power.NO_BMC, Power.NOT_CUT, Power.OFF), (3.0, 9.5, 12.0, 1000.0)
    for facts, power, after_s in itertools.product((cut_off, searched), powers, times_s):
        assert isinstance(decide(replace(facts, power=power), TIMERS, LOST_AT + after_s), Refused)
    assert isinstance(decide(replace(cut_off, power=Power.OFF_EARLY), TIMERS, LOST_AT), Allowed)


# ---------------------------------------------------------------- copies


def test_refusal_names_every_reason() -> None:
    """A refusal lists all that stands against it, not only the first."""
    record = Record(3, B, peer_outdated=True)
    facts = replace(BASE, record=record, disks=disks(None, DiskState.INCONSISTENT))
    verdict = decide(facts, TIMERS, LOST_AT + 100.0)
    assert isinstance(verdict, Refused)
    words = " ".join(verdict.reasons)
    assert [word for word in ("outdated in epoch 3", "web", "db", "Inconsistent") if word not in words] == []


def test_own_lone_copy_is_good() -> None:
    """The mark `peer outdated` is about the other node's copy, so it does not stop the owner itself."""
    good = disks(DiskState.UP_TO_DATE)
    assert copy_refusals(Record(3, A, peer_outdated=True), A, good, LOST) == []
    assert copy_refusals(Record(3, A, peer_outdated=True), B, good, LOST) != []


@pytest.mark.parametrize("situation", list(Situation))
@pytest.mark.parametrize("state", [None, *DiskState])
def test_which_copy_may_be_written_alone(state: DiskState | None, situation: Situation) -> None:
    """Only an UpToDate copy may be written alone; after a lone start also a Consistent one (docs/safety.md, S8)."""
    good = state is DiskState.UP_TO_DATE or (situation is BOOT and state is DiskState.CONSISTENT)
    for owner in (A, B):
        assert (copy_refusals(Record(3, owner), A, disks(state), situation) == []) is good


def test_one_usable_copy_is_enough_for_the_epoch() -> None:
    """A bad copy of one VM does not stop the others: each is promoted by its own copy."""
    assert copy_refusals(Record(3, B), A, disks(DiskState.INCONSISTENT, DiskState.UP_TO_DATE), LOST) == []
    assert copy_refusals(Record(3, B), A, {}, LOST) == ["there is no VM"]


@pytest.mark.parametrize("owner", [A, B])
def test_override_at_a_lone_boot_tells_drbd_outdated(owner: NodeId) -> None:
    """A person's word at a lone boot is code 4: 5 leaves a Consistent disk unpromotable (docs/safety.md, S7)."""
    facts = replace(BASE, record=Record(3, owner), situation=BOOT, disks=disks(DiskState.CONSISTENT), override=True)
    verdict = decide(facts, TIMERS, LOST_AT)
    assert isinstance(verdict, Allowed)
    assert verdict.fence_code == 4

"""The one safety rule: may this node take the next epoch now?

The answer is one of three: Wait (ask again later), Allowed (with the means that gives the right) or Refused (with
every reason). Further means of certainty (consent, witness, confirmed power fence, pre-elected survivor) are further
branches of `decide`; none of them may be bypassed by a caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from avance.core.model import DiskState, DiskView, NodeId, Record, Timers, VmId


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet; ask again at `until_s`."""

    until_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """This node may own epoch+1; `means` names what gives the right, `fence_code` is DRBD's word for it."""

    means: str
    fence_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This node must not take over; every reason is listed."""

    reasons: tuple[str, ...]


Verdict = Wait | Allowed | Refused


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the rule may look at. `last_receipt_at` is the last word of the peer on any link."""

    me: NodeId
    record: Record
    last_receipt_at: float
    disks: dict[VmId, DiskView | None]
    policy: str


# Exit code of fence-peer for "peer unreachable, assumed dead": effective only while the own disk is UpToDate
# (kernel source, conn_try_outdate_peer).
_ASSUMED_DEAD = 5


def copy_refusals(record: Record, me: NodeId, disks: dict[VmId, DiskView | None]) -> tuple[str, ...]:
    """Say why this node's copy of the data must not be written alone (rule R3); empty when it may."""
    reasons = []
    if record.owner is None:
        reasons.append("no owner was ever elected")
    if record.owner != me and record.peer_outdated:
        reasons.append(f"the owner {record.owner} recorded this copy as outdated in epoch {record.epoch}")
    for vm, view in sorted(disks.items()):
        state = view.disk if view is not None else DiskState.DISKLESS
        if state is not DiskState.UP_TO_DATE:
            reasons.append(f"the copy of {vm} on this node is {state}, not UpToDate")
    return tuple(reasons)


def decide(facts: Facts, timers: Timers, now: float) -> Verdict:
    """Judge the loss of the peer on all links.

    The owner of the running VMs goes on at once, because DRBD has frozen its I/O and the backup waits; the backup
    waits until the old primary must have stopped. Policy `safety` permits neither without a further means.
    """
    reasons = copy_refusals(facts.record, facts.me, facts.disks)
    if reasons:
        return Refused(reasons)
    if facts.policy != "availability":
        return Refused((f"site policy {facts.policy} gives no right without consent, witness or power fence",))
    lost_at = facts.last_receipt_at + timers.peer_lost_s
    if facts.record.owner == facts.me:
        if now < lost_at:
            return Wait(lost_at, "the peer was heard again")
        return Allowed("policy availability", _ASSUMED_DEAD, "this node owns the running VMs and the peer is silent")
    until_s = lost_at + timers.takeover_wait_s
    if now < until_s:
        return Wait(until_s, "the old primary may still be running; the take-over wait is not over")
    return Allowed(
        "policy availability",
        _ASSUMED_DEAD,
        f"the peer has been silent on every link for {now - facts.last_receipt_at:.1f} s, the whole take-over wait",
    )

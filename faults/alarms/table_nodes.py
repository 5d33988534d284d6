"""The table of alarms for whole nodes, power, processes, clocks, load, VMs, witnesses and persons. Pure data."""

from __future__ import annotations

from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Given, Spot, Teller, Unseen
from faults.alarms.stories import AWAY, CURE, LATE, LINK, MIRROR, MOVE, RECORDS, VM
from testbed.vocabulary import AlertCode

_SINGLE = "it tells of one moment"
_BACK: tuple[AlertCode, ...] = ("peer_returned",)
_WHOLE: tuple[AlertCode, ...] = ("protected", "two_copies")
_MAY = (*AWAY, *MOVE)


def _gone(*, lost_s: float = 10.0, mends: bool = False) -> tuple[AlarmDue, ...]:
    """The other node misses it, and has the VMs or keeps them; 0: it misses it even if the fault is over at once."""
    return (
        AlarmDue(("peer_lost",), Teller.PEER, lost_s, "Node {node}", _BACK, Teller.PEER, 90.0, mends, whole=True),
        AlarmDue(("takeover", "alone"), Teller.PEER, 3 * lost_s, over=_WHOLE, clear_s=150.0, mends=mends, whole=True),
    )


def _dead(fault: str, *, lost_s: float = 10.0, mends: bool = False) -> AlarmRow:
    """A node that is not there; the other one, if it is, tells of it."""
    return AlarmRow(fault, (AlarmCase(must=_gone(lost_s=lost_s, mends=mends), may=_MAY, may_hit=(*MIRROR, *LATE)),))


def _unseen(fault: str, unseen: Unseen, reason: str, *may: AlertCode) -> AlarmRow:
    return AlarmRow(fault, (AlarmCase(may=may, unseen=unseen, reason=reason),))


def _stopped(fault: str) -> AlarmRow:
    """It stands still, and notices it when it goes on; one that was switched off meanwhile does not."""
    woken = AlarmDue(
        ("machine_paused", "daemon_lag", "fenced", "resets_itself", "was_reset"), Teller.HIT, 10.0, ends=_SINGLE
    )
    may = (*_MAY, "machine_paused")
    return AlarmRow(
        fault,
        (
            AlarmCase(Given(power=True), _gone(), may, LATE),
            AlarmCase(Given(), (*_gone(), woken), may, LATE),
        ),
    )


CLOCKS = (
    _unseen(
        "clock.jump", Unseen.GAP,
        "Nothing is decided by the time of day, so nothing follows. That the times in alerts are wrong is not told"
        " yet.",
    ),
    _unseen(
        "clock.drift", Unseen.GAP, "Timers have room for it. Nobody compares the clock with another one yet.", *LATE,
        *LINK,
    ),
    _unseen(
        "clock.apart", Unseen.GAP,
        "Nothing is decided by the time of day, so nothing follows. That the nodes differ is not told yet.",
    ),
)  # fmt: skip
_CRASHED = AlarmDue(("vm_crashed",), Teller.EITHER, 0.0, "VM {vm}", ("vm_started",), clear_s=60.0, mends=True)
_SHUT_DOWN = AlarmDue(("off_by_guest",), Teller.EITHER, 0.0, "VM {vm}", ("vm_started",), clear_s=60.0, mends=True)
GUESTS = (
    AlarmRow("guest.crash", (AlarmCase(must=(_CRASHED,), may=VM),)),
    _unseen(
        "guest.hang", Unseen.GAP, "Xen sees it run. Nobody looks yet whether the guest answers.", *VM,
    ),
    AlarmRow(
        "guest.crash_loop",
        (
            AlarmCase(
                Given(least=("crashes", 7)),
                (
                    _CRASHED,
                    AlarmDue(("vm_left",), Teller.EITHER, 150.0, "VM {vm}", ("vm_started",), clear_s=240.0),
                ),
                (*VM, "takeover", "copy_behind"),
            ),
            AlarmCase(must=(_CRASHED,), may=(*VM, "takeover")),
        ),
    ),
    AlarmRow("guest.shutdown", (AlarmCase(must=(_SHUT_DOWN,), may=VM),)),
    _unseen(
        "guest.refuses_to_die", Unseen.GAP,
        "Nobody looks whether Xen's tools answer as long as no VM is to be started or stopped.", *AWAY, *VM,
    ),
)  # fmt: skip
_BUSY = "Load is no fault. What it does to the daemon is told when the daemon is late by 2 s."
LOADS = (
    _unseen("load.cpu", Unseen.HARMLESS, _BUSY, *LATE, *AWAY),
    _unseen("load.memory", Unseen.HARMLESS, _BUSY, *LATE, *AWAY),
    _unseen("load.io", Unseen.HARMLESS, _BUSY, *LATE, *AWAY),
    _unseen("load.host", Unseen.HARMLESS, "It is outside of the nodes; to them it is load.", *LATE, *AWAY),
)
NODES = (
    _dead("node.panic", mends=True),
    _dead("node.hypervisor_panic", mends=True),
    _dead("node.hypervisor_hang"),
    _unseen("node.nmi", Unseen.HARMLESS, "The node goes on, and the kernel's own log tells of it."),
    _unseen(
        "node.slow", Unseen.GAP, "Heartbeats each 0.5 s do not feel a node that works in short turns.", *LATE, *AWAY
    ),
    AlarmRow(
        "node.stale_burst",
        (
            AlarmCase(
                Given(least=("freeze_s", 5)),
                (
                    AlarmDue(
                        ("machine_paused", "daemon_lag", "fenced", "resets_itself", "was_reset"), Teller.HIT,
                        ends=_SINGLE,
                    ),
                ),
                _MAY, LATE,
            ),
            AlarmCase(
                may=_MAY, may_hit=LATE, unseen=Unseen.HARMLESS,
                reason="A node that stands still for so short a time is not missed.",
            ),
        ),
    ),
    _dead("node.replaced"),
    _dead("node.kill"),
    _stopped("node.pause"),
    _stopped("node.freeze"),
)  # fmt: skip
POWER = (
    AlarmRow(
        "bmc.dead_with_node",
        (
            AlarmCase(
                Given(power=True),
                (
                    *_gone(lost_s=10.0),
                    AlarmDue(("fence_failed",), Teller.PEER, 30.0, "Node {node}", _BACK, Teller.PEER, 90.0, whole=True),
                ),
                (*_MAY, "bmc_failed", "bmc_restored"),
            ),
            AlarmCase(must=_gone(), may=_MAY),
        ),
    ),
    _dead("power.cut"),
    AlarmRow(
        "power.cut_both",
        (
            AlarmCase(
                must=(
                    AlarmDue(("vm_started",), Teller.EITHER, 0.0, "VM", ("protected", "two_copies"), clear_s=150.0),
                ),
                may=_MAY, may_hit=(*MIRROR, *LATE),
            ),
        ),
    ),
    _dead("power.flicker", lost_s=0.0, mends=True),
    _dead("power.reset", lost_s=0.0, mends=True),
    AlarmRow(
        "power.shutdown",
        (
            AlarmCase(
                must=(
                    AlarmDue(
                        ("operator_leave", "peer_resets", "peer_lost"), Teller.EITHER, 90.0,
                        over=("peer_returned", "protected"), clear_s=150.0,
                    ),
                ),
                may=_MAY,
            ),
        ),
    ),
)  # fmt: skip


def _order(word: AlertCode, *more: AlarmDue) -> tuple[AlarmDue, ...]:
    return (AlarmDue((word,), Teller.HIT, ends="what a person decided stays"), *more)


_ON_THE_WAY = AlarmDue(
    ("vms_move", "hands_over", "move_failed", "vms_stay"), Teller.EITHER, over=("vm_started", "protected"),
    clear_s=90.0, mends=True,
)  # fmt: skip
PERSONS = (
    AlarmRow(
        "person.orders",
        (
            AlarmCase(Given(values={"order": "move"}), _order("operator_move", _ON_THE_WAY), MOVE),
            AlarmCase(Given(values={"order": "keep"}), _order("operator_keep"), (*_MAY, "split")),
            AlarmCase(Given(values={"order": "override"}), _order("operator_override"), (*_MAY, "split")),
            AlarmCase(must=_order("operator_reset_device"), may=(*_MAY, "vm_left")),
        ),
    ),
)
_AGAIN = "It is started again within seconds, and the VMs do not notice. That it had ended is not told yet."
_DAEMON = (*CURE, *LATE, *MOVE)
_THREADS = AlarmCase(
    Given((Spot.KERNEL,)), may=CURE, unseen=Unseen.GAP,
    reason="Heartbeats do not pass through these threads, and their latency is not measured yet.",
)  # fmt: skip
PROCESSES = (
    AlarmRow(
        "process.slow",
        (
            _THREADS,
            AlarmCase(
                may=_DAEMON, unseen=Unseen.GAP, reason="A daemon that is late by less than 2 s at a time tells nobody.",
            ),
        ),
    ),
    _unseen("process.out_of_memory", Unseen.GAP, _AGAIN, *_DAEMON),
    _unseen("process.no_file_descriptors", Unseen.GAP, _AGAIN, *_DAEMON, *RECORDS),
    AlarmRow(
        "process.file_system_full",
        (
            AlarmCase(
                must=(
                    AlarmDue(
                        ("journal_failed", "alerts_failed", "record_failed", "store_failed", "configuration_failed"),
                        Teller.HIT, 15.0,
                        over=("journal_restored", "alerts_restored", "record_restored", "configuration_restored"),
                        over_from=Teller.HIT,
                    ),
                ),
                may=_MAY, may_hit=RECORDS,
            ),
        ),
    ),
    _unseen("process.kill", Unseen.GAP, _AGAIN, *_DAEMON),
    AlarmRow("process.stop", (AlarmCase(must=_gone(), may=_DAEMON),)),
    AlarmRow(
        "process.stop_for",
        (
            AlarmCase(
                Given(least=("seconds", 3)), (AlarmDue(("daemon_lag",), Teller.HIT, ends=_SINGLE),),
                (*_MAY, "machine_paused"),
            ),
            AlarmCase(
                may=(*LATE, *LINK), unseen=Unseen.HARMLESS,
                reason="A daemon that is late by less than 2 s is late, and no more.",
            ),
        ),
    ),
)  # fmt: skip
_NO_WITNESS = AlarmDue(("witness_failed",), Teller.EITHER, 45.0, "{witness}", ("witness_restored",), clear_s=45.0)
WITNESSES = (
    AlarmRow("witness.stop", (AlarmCase(must=(_NO_WITNESS,)),)),
    AlarmRow("witness.kill", (AlarmCase(must=(_NO_WITNESS,)),)),
    _unseen(
        "witness.lost_storage", Unseen.HARMLESS, "It is back at once, and the pair teaches it again within seconds.",
        "witness_failed", "witness_restored",
    ),
)  # fmt: skip
ROWS = (*CLOCKS, *GUESTS, *LOADS, *NODES, *POWER, *PERSONS, *PROCESSES, *WITNESSES)

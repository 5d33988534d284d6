"""The table of alarms for the parts of a node: disks, hardware, the BMC, and what Linux has of it. Pure data."""

from __future__ import annotations

from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Given, Spot, Teller, Unseen
from faults.alarms.stories import AWAY, CURE, LATE, LINK, MIRROR, MOVE, RECORDS
from testbed.vocabulary import AlertCode

_SENSORS_AGAIN_S = 90.0  # a condition is over after 60 s, a reading comes each 20 s, and the alert needs a moment
_DISK_S = 5.0  # with 20 writes a second a disk that fails is met at once
_COPY = AlarmDue(("copy_lost",), Teller.HIT, _DISK_S, "VM", over=("two_copies", "protected"), clear_s=90.0)
_HALF = AlarmDue(("mirror_degraded",), Teller.HIT, _DISK_S, "{disk}", over=("mirror_whole",), over_from=Teller.HIT)
# A node that cannot write cannot keep an alert either, so often only the other one tells.
_RECORD = AlarmDue(
    ("record_failed", "store_failed", "alerts_failed", "peer_resets", "hands_over", "takeover", "alone", "peer_lost"),
    Teller.EITHER, 30.0, over=("record_restored", "peer_returned", "protected"), clear_s=120.0,
)  # fmt: skip
_DISK_MAY = (*AWAY, *MOVE)
_DISK_HIT = (*MIRROR, "command_failed")
_OF_RECORDS = AlarmCase(Given((Spot.SYSTEM,)), (_RECORD,), (*AWAY, *MOVE), RECORDS)


def _lost(fault: str) -> AlarmRow:
    """A disk that md takes out of the mirror; DRBD has no copy any more when the second one goes, too."""
    return AlarmRow(
        fault,
        (
            _OF_RECORDS,
            AlarmCase(Given((Spot.MIRROR,)), (_COPY,), _DISK_MAY, _DISK_HIT),
            AlarmCase(Given(), (_HALF,), MOVE, ("last_disk",)),
        ),
    )


def _gap(fault: str, reason: str, *may: AlertCode) -> AlarmRow:
    return AlarmRow(fault, (AlarmCase(may=may, unseen=Unseen.GAP, reason=reason),))


_HUNG = AlarmDue(("copy_lost",), Teller.HIT, 15.0, "VM", over=("two_copies", "protected"), clear_s=120.0)
DISKS = (
    AlarmRow(
        "disk.set_back",
        (
            AlarmCase(
                Given((Spot.SYSTEM,)), may=AWAY, unseen=Unseen.HARMLESS,
                reason="Its record of the pair is older than that of the other node, whose word counts.",
            ),
            AlarmCase(
                Given((Spot.MIRROR,)), may=AWAY, may_hit=MIRROR, unseen=Unseen.HARMLESS,
                reason="Both halves are equally old: the copy gets from the other node what it lacks.",
            ),
            AlarmCase(
                must=(
                    AlarmDue(
                        ("mirror_degraded", "mirror_refused", "mirror_reused"), Teller.HIT,
                        over=("mirror_whole", "protected", "two_copies"), clear_s=90.0, mends=True,
                    ),
                ),
                may=AWAY, may_hit=MIRROR,
            ),
        ),
    ),
    _lost("disk.gone"),
    _gap(
        "disk.read_error",
        "md takes the data from the other half, and takes a disk out only where it cannot mend it by writing. How often"
        " it mends is not counted yet.",
        "mirror_degraded", "mirror_whole",
    ),
    _lost("disk.write_error"),
    AlarmRow(
        "disk.metadata_error",
        (
            AlarmCase(
                Given((Spot.SYSTEM,)), may=AWAY, may_hit=RECORDS, unseen=Unseen.GAP,
                reason="Nobody reads the whole disk with the records, so a small bad range is met by chance.",
            ),
            AlarmCase(
                must=(
                    AlarmDue(
                        ("mirror_degraded", "copy_lost"), Teller.HIT, 60.0,
                        over=("mirror_whole", "two_copies", "protected"),
                    ),
                ),
                may=_DISK_MAY, may_hit=_DISK_HIT,
            ),
        ),
    ),
    _lost("disk.full"),
    AlarmRow(
        "disk.hang",
        (
            AlarmCase(Given((Spot.SYSTEM,)), (_RECORD,), (*AWAY, *MOVE), (*RECORDS, *LATE)),
            AlarmCase(must=(_HUNG,), may=_DISK_MAY, may_hit=MIRROR),
        ),
    ),
    _gap("disk.slow", "The latencies of the disks are not compared yet.", *LATE, *LINK),
    _gap("disk.slow_heavy_tailed", "The latencies of the disks are not compared yet.", *LATE, *LINK),
    _gap("disk.bit_rot", "Nobody reads both copies and compares them yet: the product has no scrub."),
    _gap("disk.lost_write", "The disk says that it has written. Only a scrub, which is not there yet, would find it."),
    _gap("disk.torn_write", "The disk says that it has written. Only a scrub, which is not there yet, would find it."),
    AlarmRow(
        "disk.return_after_absence",
        (
            _OF_RECORDS,
            AlarmCase(
                Given((Spot.MIRROR,)),
                (AlarmDue(_COPY.codes, Teller.HIT, 5.0, "VM", over=_COPY.over, clear_s=90.0, mends=True),),
                _DISK_MAY, _DISK_HIT,
            ),
            AlarmCase(
                Given(),
                (AlarmDue(_HALF.codes, Teller.HIT, 5.0, "{disk}", _HALF.over, Teller.HIT, mends=True),),
                MOVE, ("last_disk",),
            ),
        ),
    ),
    AlarmRow(
        "disk.wrong_disk",
        (
            AlarmCase(
                Given((Spot.SYSTEM,)), may=AWAY, may_hit=RECORDS, unseen=Unseen.GAP,
                reason="A running node has its records in memory, and does not look whether the disk is the same.",
            ),
            AlarmCase(
                must=(
                    AlarmDue(
                        ("mirror_degraded", "mirror_refused", "foreign_disk", "copy_lost"), Teller.HIT, 60.0,
                        over=("mirror_whole", "two_copies", "protected"), clear_s=90.0,
                    ),
                ),
                may=_DISK_MAY, may_hit=_DISK_HIT,
            ),
        ),
    ),
)  # fmt: skip


def _condition(code: AlertCode, over: AlertCode, within_s: float, names: str) -> AlarmDue:
    return AlarmDue((code,), Teller.HIT, within_s, names, (over,), Teller.HIT, _SENSORS_AGAIN_S)


_NO_BMC = AlarmCase(
    Given(power=False), unseen=Unseen.HARMLESS, reason="A site that names no BMC has none, as far as the product knows."
)
_NO_ANSWER = AlarmDue(("bmc_failed",), Teller.PEER, 250.0, "BMC", ("bmc_restored",), Teller.PEER, 70.0)
HARDWARE = (
    AlarmRow(
        "hardware.fan_stopped",
        (_NO_BMC, AlarmCase(must=(_condition("fan_failed", "fan_failed_over", 35.0, "Fan {fan}"),), may=MOVE)),
    ),
    AlarmRow(
        "hardware.power_supply_lost",
        (
            _NO_BMC,
            AlarmCase(
                must=(_condition("power_supply_failed", "power_supply_failed_over", 25.0, "PSU {supply}"),), may=MOVE
            ),
        ),
    ),
    AlarmRow(
        "hardware.overheating",
        (
            _NO_BMC,
            AlarmCase(
                Given(values={"where": "inlet"}, least=("celsius", 47)),
                (_condition("overheated", "overheated_over", 30.0, "Inlet"),), MOVE,
            ),
            AlarmCase(
                Given(least=("celsius", 100)), (_condition("overheated", "overheated_over", 30.0, "Temp"),), MOVE
            ),
            AlarmCase(must=(_condition("much_too_warm", "much_too_warm_over", 35.0, "Temp"),), may=MOVE),
        ),
    ),
    AlarmRow(
        "hardware.memory_error",
        (
            _NO_BMC,
            AlarmCase(
                Given(values={"correctable": False}),
                (_condition("memory_failed", "memory_failed_over", 25.0, "Memory"),), MOVE,
            ),
            AlarmCase(must=(_condition("memory_corrects", "memory_corrects_over", 25.0, "Memory"),), may=MOVE),
        ),
    ),
    AlarmRow("bmc.unreachable", (_NO_BMC, AlarmCase(must=(_NO_ANSWER,)))),
    AlarmRow(
        "bmc.slow",
        (
            _NO_BMC,
            AlarmCase(
                must=(
                    AlarmDue(
                        ("sensors_silent",), Teller.HIT, 85.0, "bmc", ("sensors_silent_over",), Teller.HIT, 40.0,
                    ),
                    _NO_ANSWER,
                ),
                may=MOVE,
            ),
        ),
    ),
    AlarmRow(
        "bmc.lying",
        (
            _NO_BMC,
            AlarmCase(
                unseen=Unseen.GAP,
                reason="Nobody compares yet what the BMC says of the power with the heartbeats of that node.",
            ),
        ),
    ),
)  # fmt: skip
LINUX = (
    AlarmRow(
        "linux.address_deleted",
        (
            AlarmCase(
                must=(
                    AlarmDue(
                        ("address_failed",), Teller.HIT, 5.0, "address", ("address_restored",), Teller.HIT, 15.0,
                        mends=True,
                    ),
                )
            ),
        ),
    ),
    AlarmRow(
        "linux.card_gone",
        (
            AlarmCase(
                must=(
                    AlarmDue(("device_failed",), Teller.HIT, 10.0, "priv0", ("device_restored",), Teller.HIT, 30.0),
                    AlarmDue(("link_down",), Teller.EITHER, 6.0, "priv0", ("link_up",), clear_s=180.0),
                ),
                may=CURE, may_hit=("command_failed",),
            ),
        ),
    ),
    AlarmRow(
        "linux.foreign_domain",
        (AlarmCase(unseen=Unseen.HARMLESS, reason="A domain of somebody else is no business of the pair."),),
    ),
)  # fmt: skip
ROWS = (*DISKS, *HARDWARE, *LINUX)

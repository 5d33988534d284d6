"""The table of alarms for links: what is cut, and what a link does to frames. Pure data."""

from __future__ import annotations

from faults.alarms.row import AlarmCase, AlarmDue, AlarmRow, Given, Kept, Spot, Teller, Unseen
from faults.alarms.stories import AWAY, CURE, LATE, LINK, MOVE
from testbed.vocabulary import AlertCode

_LINKS = (Spot.PRIVATE, Spot.PUBLIC)
_HOLD_S = 180.0  # a link that falls again and again is trusted again after up to 160 s
_DOWN = AlarmDue(("link_down",), Teller.EITHER, 6.0, "link {link}", ("link_up",), clear_s=_HOLD_S)
_OUTSIDE = AlarmCase(
    may=("alerts_failed", "alerts_restored"), unseen=Unseen.HARMLESS,
    reason="Clients and the outside world are no part of the pair.",
)  # fmt: skip
_WITNESS = AlarmCase(
    Given((Spot.WITNESS,)),
    (AlarmDue(("witness_failed",), Teller.EITHER, 45.0, "{witness}", ("witness_restored",), clear_s=45.0),),
)
_BMC = (
    AlarmCase(
        Given((Spot.BMC,), power=False), unseen=Unseen.HARMLESS,
        reason="A site that names no BMC has none, as far as the product knows.",
    ),
    AlarmCase(
        Given((Spot.BMC,)),
        (AlarmDue(("bmc_failed",), Teller.PEER, 250.0, "BMC", ("bmc_restored",), Teller.PEER, 70.0),),
    ),
)  # fmt: skip
_LOST = (
    AlarmCase(Given((Spot.PRIVATE,)), (_DOWN,), CURE),
    AlarmCase(Given((Spot.PUBLIC,)), (_DOWN,), (*AWAY, "witness_failed", "witness_restored")),
    _WITNESS,
    *_BMC,
    _OUTSIDE,
)
# DRBD has no acknowledgement for six seconds while the VM writes.
_ALONE = AlarmDue(("alone",), Teller.EITHER, 20.0, over=("protected", "two_copies"), clear_s=180.0, whole=True)


def _worse(fault: str, reason: str, *may: AlertCode, unseen: Unseen = Unseen.GAP) -> AlarmRow:
    """A link that works badly: what follows may be told, and that it works badly is not."""
    return AlarmRow(fault, (AlarmCase(Given(_LINKS), (), (*CURE, *LATE, *may), (), unseen, reason), _OUTSIDE))


def _some(fault: str) -> AlarmRow:
    """Some frames do not arrive, chosen by what they are."""
    return AlarmRow(
        fault,
        (
            AlarmCase(Given((Spot.PRIVATE,), (Kept.REPLICATION,)), (_ALONE,), CURE),
            AlarmCase(Given(_LINKS, (Kept.ALL, Kept.HEARTBEATS, Kept.PEER)), (_DOWN,), CURE),
            AlarmCase(
                Given(_LINKS), (), CURE, (), Unseen.GAP,
                "Only heartbeats and the replication are looked at: what else a link does not carry is not noticed.",
            ),
            _WITNESS, *_BMC, _OUTSIDE,
        ),
    )  # fmt: skip


_HOURLY = "it is told once an hour while it lasts"
_LOSSES = "Lost, late and damaged frames of a link are not counted yet; only a link that is silent is told."
ROWS = (
    AlarmRow(
        "link.carrier_loss",
        (
            AlarmCase(Given((Spot.PRIVATE,)), (_DOWN,), CURE),
            AlarmCase(
                Given((Spot.PUBLIC,)),
                (
                    AlarmDue(
                        ("network_lost",), Teller.HIT, 5.0, "{link}", ("network_lost_over",), Teller.HIT, 75.0,
                    ),
                    _DOWN,
                ),
                (*AWAY, *MOVE, "witness_failed", "witness_restored"),
            ),
            _WITNESS, *_BMC, _OUTSIDE,
        ),
    ),
    AlarmRow("link.cut", _LOST),
    AlarmRow("link.cut_one_way", _LOST),
    _worse("link.foreign_host", "Frames of a stranger that ask for nothing change nothing.", unseen=Unseen.HARMLESS),
    AlarmRow(
        "link.forged",
        (
            AlarmCase(
                Given(_LINKS, values={"port": 7780}),
                (
                    AlarmDue(
                        ("datagrams_refused",), Teller.HIT, 5.0, "link {link}", ends=_HOURLY,
                    ),
                ),
                LINK,
            ),
            AlarmCase(
                may=(*LINK, "datagrams_refused"), unseen=Unseen.HARMLESS,
                reason="Who speaks to nobody of the pair changes nothing, and nobody of the pair hears it.",
            ),
        ),
    ),
    AlarmRow(
        "link.replay",
        (
            AlarmCase(
                Given(_LINKS, (Kept.HEARTBEATS,)),
                (
                    AlarmDue(
                        ("datagrams_refused",), Teller.PEER, 5.0, "link {link}", ends=_HOURLY,
                    ),
                ),
                LINK,
            ),
            AlarmCase(
                may=(*LINK, "datagrams_refused"), unseen=Unseen.HARMLESS,
                reason="TCP and the kernel drop what they have had already.",
            ),
        ),
    ),
    _worse("link.storm", "The load of a network is not measured yet; only a link that is silent is told."),
    _worse("link.loss", _LOSSES),
    _worse("link.burst_loss", _LOSSES),
    _worse("link.delay", _LOSSES),
    _worse("link.duplicate", "A heartbeat that comes twice counts once.", "datagrams_refused", unseen=Unseen.HARMLESS),
    _worse("link.reorder", "A heartbeat that is overtaken is not missed.", unseen=Unseen.HARMLESS),
    _worse("link.corrupt", _LOSSES, "datagrams_refused"),
    _worse(
        "link.corrupt_valid_checksum",
        "Heartbeats are signed, and with `data_integrity` DRBD finds what was damaged: both only fetch it again.",
        "datagrams_refused", "out_of_sync",
    ),
    _worse("link.rate_limit", _LOSSES),
    AlarmRow(
        "link.mtu_black_hole",
        (
            AlarmCase(
                Given((Spot.PRIVATE,)),
                (
                    _ALONE,
                    AlarmDue(
                        ("replication_unsteady",), Teller.EITHER, 150.0, "link", ("two_copies", "protected"),
                        clear_s=_HOLD_S,
                    ),
                ),
                CURE,
            ),
            AlarmCase(Given((Spot.PUBLIC,)), (), AWAY, (), Unseen.GAP, "Heartbeats are short, so they pass."),
            _OUTSIDE,
        ),
    ),
    AlarmRow(
        "link.flap",
        (
            AlarmCase(
                Given((Spot.PRIVATE,)),
                (
                    AlarmDue(
                        ("link_down", "alone", "replication_unsteady", "peer_resets"), Teller.EITHER, 30.0,
                        over=("link_up", "two_copies", "protected"), clear_s=_HOLD_S, mends=True,
                    ),
                ),
                CURE,
            ),
            AlarmCase(
                Given((Spot.PUBLIC,)), (), AWAY, (), Unseen.GAP, "A link that is silent for 2 s is not called down."
            ),
            _OUTSIDE,
        ),
    ),
    _some("link.hold_and_release"),
    _some("link.match_drop"),
)  # fmt: skip

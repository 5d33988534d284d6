"""What can be wrong with a node, as a table: which sensor says what, how bad that is, and what a person should do.

The table is data. The score, the alerts, the status and docs/health.md follow from it. `unsound_reason` is asked at
each start. Nothing here looks at anything: `core/health.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from avance.core.model import AilmentSeverity


class HealthSensor(StrEnum):
    """Where it is read."""

    CARRIER = "carrier"  # the device of a public network; the subject is the network
    MIRROR = "mirror"  # the two halves of the data disks
    COPY = "copy"  # DRBD's local copy; the subject is the VM
    RECORD = "record"  # the disk with this node's own records
    FAN = "fan"  # of the BMC, as all that follow; the subject is the BMC's own name of the sensor
    POWER_SUPPLY = "power supply"
    TEMPERATURE = "temperature"
    MEMORY = "memory"
    SOURCE = "source"  # one that speaks for several sensors; the subject is its name


class Moves(StrEnum):
    """What a condition of the primary is a reason for, where the backup has no such."""

    RESTART = "restart"  # clients miss the VMs already, or soon: to restart them on the backup is better than to wait
    LIVE = "live"  # nobody misses anything yet: it is worth a move that nobody notices, and no restart
    OWN_RULE = "own rule"  # another rule moves the VMs, with proofs of its own (docs/safety.md, S34, S40)


@dataclass(frozen=True, slots=True)
class Condition:
    """One row: what a sensor reads, and what follows.

    `code` names it in alerts, heartbeats and status. `hold_s`: so long it must be read before it counts. `clear_s`: so
    long it must not be read any more before it is over; both in seconds at dilation 1. `told`: an alert of its own is
    sent; otherwise the one that belongs to the sensor tells already. `part`: what is replaced or mended.
    """

    code: str
    sensor: HealthSensor
    reading: str
    severity: AilmentSeverity
    moves: Moves
    hold_s: float
    clear_s: float
    text: str
    part: str
    action: str
    told: bool = True

    @property
    def over(self) -> str:
        """The code of the alert that says that it is over."""
        return f"{self.code}_over"


SOUND = ""  # what every sensor reads while nothing is wrong
BMC = "bmc"
PERIODS_S = {BMC: 20.0}  # how often each source speaks, at dilation 1
SILENT_PERIODS = 3  # a source that says nothing for so many is ill itself
SILENT = "silent"
# The readings of one sensor stand in the order of harm, the least first.
TABLE = (
    Condition(
        "network_lost", HealthSensor.CARRIER, "down", AilmentSeverity.DEGRADED, Moves.RESTART, 2.0, 60.0,
        "The public network {subject} has no carrier on this node: clients of that network do not reach it here",
        "network card, cable or switch port",
        "Look at the cable, at both of its ends, and at the port of the switch",
    ),
    Condition(
        "mirror_degraded", HealthSensor.MIRROR, "degraded", AilmentSeverity.DEGRADED, Moves.LIVE, 0.0, 10.0,
        "The data disks of this node are no mirror any more", "data disk", "Replace the missing disk", told=False,
    ),
    Condition(
        "copy_lost", HealthSensor.COPY, "lost", AilmentSeverity.BAD, Moves.OWN_RULE, 0.0, 10.0,
        "DRBD has no local copy of VM {subject} any more", "data disk", "Replace the data disks", told=False,
    ),
    Condition(
        "record_failed", HealthSensor.RECORD, "failed", AilmentSeverity.BAD, Moves.OWN_RULE, 0.0, 10.0,
        "The records of this node cannot be written", "system disk", "Replace the system disk", told=False,
    ),
    Condition(
        "fan_slow", HealthSensor.FAN, "low", AilmentSeverity.POTENTIAL, Moves.LIVE, 10.0, 60.0,
        "{subject} turns more slowly than it should", "fan", "Plan to replace the fan, and clear its way",
    ),
    Condition(
        "fan_failed", HealthSensor.FAN, "lost", AilmentSeverity.DEGRADED, Moves.LIVE, 10.0, 60.0,
        "{subject} does not turn, or hardly", "fan", "Replace the fan",
    ),
    Condition(
        "power_supply_failed", HealthSensor.POWER_SUPPLY, "failed", AilmentSeverity.DEGRADED, Moves.LIVE, 0.0, 60.0,
        "{subject} gives no power: the node has no second power supply any more", "power supply",
        "Look whether it is plugged in, and replace it otherwise",
    ),
    Condition(
        "too_warm", HealthSensor.TEMPERATURE, "high", AilmentSeverity.POTENTIAL, Moves.LIVE, 10.0, 60.0,
        "{subject} is warmer than it should be", "cooling", "Look at the air flow and at the room",
    ),
    Condition(
        "much_too_warm", HealthSensor.TEMPERATURE, "critical", AilmentSeverity.DEGRADED, Moves.LIVE, 10.0, 60.0,
        "{subject} is so warm that parts of the node age fast", "cooling", "Look at the air flow and at the room now",
    ),
    Condition(
        "overheated", HealthSensor.TEMPERATURE, "fatal", AilmentSeverity.BAD, Moves.RESTART, 5.0, 60.0,
        "{subject} is so warm that the node may switch itself off", "cooling", "Cool the node, or switch it off",
    ),
    Condition(
        "memory_corrects", HealthSensor.MEMORY, "correctable", AilmentSeverity.POTENTIAL, Moves.LIVE, 0.0, 60.0,
        "{subject} has corrected an error", "memory module", "Plan to replace the module that the BMC's log names",
    ),
    Condition(
        "memory_failed", HealthSensor.MEMORY, "uncorrectable", AilmentSeverity.BAD, Moves.RESTART, 0.0, 60.0,
        "{subject} has an error that it could not correct", "memory module",
        "Replace the module that the BMC's log names",
    ),
    Condition(
        "sensors_silent", HealthSensor.SOURCE, SILENT, AilmentSeverity.DEGRADED, Moves.LIVE, 0.0, 10.0,
        "The sensors of the {subject} of this node say nothing: what is wrong there is not seen", "BMC or its driver",
        "Look at the BMC and at the device /dev/ipmi0",
    ),
)  # fmt: skip


def unsound_reason(table: Iterable[Condition] = TABLE) -> str | None:
    """Say why a table must not be used, or None.

    A worse reading of a sensor is never less severe than a lesser one, and never counts later; codes are unique.
    """
    last: dict[HealthSensor, Condition] = {}
    codes: set[str] = set()
    for row in table:
        if row.code in codes:
            return f"two conditions are called {row.code}"
        codes.add(row.code)
        if row.reading == SOUND:
            return f"{row.code} is what a sound {row.sensor} reads"
        if row.hold_s < 0 or row.clear_s < 0:
            return f"{row.code} has a negative time"
        before = last.get(row.sensor)
        if before is not None and row.severity.rank < before.severity.rank:
            return f"{row.code} is worse than {before.code} and called less severe"
        if before is not None and row.hold_s > before.hold_s:
            return f"{row.code} is worse than {before.code} and counts later"
        last[row.sensor] = row
    return None


_BY_READING = {(row.sensor, row.reading): row for row in TABLE}
_BY_CODE = {row.code: row for row in TABLE}


def of(sensor: HealthSensor, reading: str) -> Condition | None:
    """Return what a reading means, or None: it is sound, or a reading that the table does not know."""
    return _BY_READING.get((sensor, reading))


def named(code: str) -> Condition | None:
    """Return the condition with this code; None where a peer of another version knows more."""
    return _BY_CODE.get(code)


__all__ = ["SOUND", "TABLE", "Condition", "HealthSensor", "Moves", "named", "of", "unsound_reason"]

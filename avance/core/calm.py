"""When the engine next wants to be told that time has passed: soon, unless the pair is calm.

A pair is *calm* when it is whole and nothing is under way, wanted or in doubt. Then time alone can change only two
things: a heartbeat becomes due, or a silence becomes long enough to matter. The shortest silence that matters is
`suspect_s`. So nothing happens before the oldest link, receipt or lease is that old. From then on the pair is not calm,
and ticks are short again.

The watchdog is fed, and witnesses are taught, in the turns in which heartbeats are sent. Both may be some tenths of a
second late; for the watchdog this errs on the side of stopping. A whole turn, which judges everything, comes at least
every 1.2 s (times the dilation).

A mistake here cannot break the inequality (docs/safety.md, S18): while the pair is calm, the last echoed heartbeat is
younger than `suspect_s`, so the node has its right. Any other rule that is forgotten here acts at most 1.2 s late.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from avance.core.model import LinkState, PairState

if TYPE_CHECKING:
    from avance.core.engine import Engine
    from avance.core.unit import VmUnit

_SHORT = 0.2  # of a heartbeat: how finely time passes while anything is under way
_SHORT_S_MAX = 0.5  # far below the lag at which a loop is not trusted with the watchdog (core/guard.py)
_REST_S_MAX = 1.2  # between two whole turns in any case; below that lag, too
NOT_CALM = -inf


def short_s(heartbeat_s: float) -> float:
    """Return the time between two ticks while anything is under way."""
    return min(_SHORT * heartbeat_s, _SHORT_S_MAX)


def until(engine: Engine, now: float, *, quiet: bool) -> float:
    """Return until when time alone changes nothing that is judged, or `NOT_CALM`; asked at the end of a whole turn.

    A heartbeat that says the same as the one before can only move that moment further away.
    """
    silence = engine.liveness.unbroken_until()
    if silence <= now or not _is_calm(engine, now, quiet=quiet):
        return NOT_CALM
    return min(silence, engine.care.unchanged_until(now), now + _REST_S_MAX * engine.setup.timers.second_s)


def _is_calm(engine: Engine, now: float, *, quiet: bool) -> bool:
    if engine.pair is not PairState.PAIRED or not engine.protected or not quiet:
        return False
    return (
        _nothing_wanted(engine)
        and _nothing_doubtful(engine, now)
        and engine.guard.at_rest
        and engine.arbitration.at_rest
        and all(state is LinkState.UP for state in engine.liveness.states.values())
        and all(_unit_rests(unit, now, engine.setup.timers.retry_s) for unit in engine.units.values())
    )


def _nothing_wanted(engine: Engine) -> bool:
    """Neither side asks for anything, and no work of the node itself is on its way."""
    assert engine.peer is not None, "a protected pair has heard its peer"
    busy = engine.durable.saving is not None or engine.address_busy or bool(engine.asks) or bool(engine.zeroed)
    busy = busy or engine.mirror.busy is not None
    wants = bool(engine.wants or engine.peer.wants or engine.cure_due or engine.override or engine.yields)
    address = engine.address_held if engine.is_owner else engine.address_down
    return address and not busy and not wants and engine.granted is None


def _nothing_doubtful(engine: Engine, now: float) -> bool:
    """The record is durable as it stands, nothing is being waited for, and the peer has proven itself."""
    record = engine.record
    doubt = engine.durable.unsure is not None or engine.durable.dirty or engine.unreplicated is not None
    late = engine.dropped_at is not None or engine.liveness.was_late(now)
    marked = record.split or record.quarantined or bool(record.discard) or bool(engine.behind) or engine.solo
    late = late or engine.unfit_from_s is not None or bool(engine.leaving)
    settled_at = max(engine.durable.retry_at, engine.address_retry_at, engine.mirror.retry_at)
    return not doubt and not late and not marked and engine.partner.rests(now) and now >= settled_at


def _unit_rests(unit: VmUnit, now: float, retry_s: float) -> bool:
    quiet = unit.busy is None and unit.failures == 0 and unit.prepared and unit.known and unit.read_for == unit.disk
    well = not unit.gone and not unit.dropped and unit.stuck_looks == 0
    return quiet and well and now >= unit.settled_at + retry_s

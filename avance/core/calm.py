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

from avance.core.care import Care

_SHORT = 0.2  # of a heartbeat: how finely time passes while anything is under way
_SHORT_S_MAX = 0.5  # far below the lag at which a loop is not trusted with the watchdog (core/guard.py)
_REST_S_MAX = 1.2  # between two whole turns in any case; below that lag, too
NOT_CALM = -inf


def short_s(heartbeat_s: float) -> float:
    """Return the time between two ticks while anything is under way."""
    return min(_SHORT * heartbeat_s, _SHORT_S_MAX)


def until(silence_s: float, care: Care, now: float, second_s: float) -> float:
    """Return until when time alone changes nothing that is judged while nothing is under way, wanted or in doubt.

    `silence_s`: when a silence begins to matter, if nothing comes any more. A heartbeat that says the same as the one
    before can only move that moment further away.
    """
    return min(silence_s, care.unchanged_until(now), now + _REST_S_MAX * second_s)


__all__ = ["NOT_CALM", "short_s", "until"]

"""What stands in the place of a datagram that must not be believed, whether of the peer or of a witness.

Nothing of such a datagram may be used: it has no field but the reason.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejected:
    """A datagram that must not be believed, and why."""

    reason: str

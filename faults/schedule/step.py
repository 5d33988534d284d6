"""One step of a schedule as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from faults.schedule.trigger import Trigger


@dataclass(frozen=True)
class Step:
    """One fault: what, where, with which parameters, from when and until when (None: until the end)."""

    name: str
    fault: str
    target: str
    when: Trigger
    until: Trigger | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)

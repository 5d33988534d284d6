"""The recovery times that a person reads are those of the timers, term by term."""

from __future__ import annotations

from dataclasses import fields, replace

from avance.core.model import Timers
from avance.core.timers_text import inequality, text

DEFAULTS = Timers()


def test_inequality_has_its_numbers() -> None:
    """The one condition of safety is printed with every term and its slack."""
    left, right = "peer_lost 5 + takeover_wait 12 = 17 s", "lease 6 + watchdog 10 + margin 1 = 17 s"
    assert inequality(DEFAULTS) == f"{left}  >=  {right}  (holds, 0 s to spare)"
    assert "(holds, 3 s to spare)" in inequality(replace(DEFAULTS, takeover_wait_s=15.0))


def test_unsafe_set_is_called_unsafe() -> None:
    """A set that the configuration would refuse is never printed as if it held."""
    wrong = inequality(replace(DEFAULTS, takeover_wait_s=11.5))
    assert wrong.startswith("UNSAFE: ")
    assert "16.5 s  <  " in wrong


def test_worst_cases_are_those_of_the_brief() -> None:
    """Without dilation the page promises 5, 8 and 17 s for a takeover, and 8 s of frozen I/O."""
    page = text(DEFAULTS, 1.0)
    for line in (
        "  5 s = peer_lost 5, when its power reads as off",
        "  8 s = peer_lost 5 + backup_delay 3, plus what the BMC takes",
        "  17 s = peer_lost 5 + takeover_wait 12, when nothing is known of it",
        "  8 s = grant 8; a witness has 8 s = 5 + 3 x try 1",
        "13 s = link_down 3 + watchdog 10:",
    ):
        assert line in page, line


def test_every_timer_is_listed_as_it_runs() -> None:
    """Each timer of the product stands on the page with its dilated value."""
    slow = Timers(**{field.name: getattr(DEFAULTS, field.name) * 10.0 for field in fields(Timers)})
    page = text(slow, 10.0)
    assert "declared dilation 10" in page
    for field in fields(Timers):
        assert f"{field.name.removesuffix('_s')} " in page
    assert "170 s = peer_lost 50 + takeover_wait 120" in page

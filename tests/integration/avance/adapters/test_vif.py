"""The domains' network on a real bridge in a private network: theirs and nothing else goes down, and comes back."""

from __future__ import annotations

from tests.integration.avance.adapters.lan import lan


def test_domains_go_off_the_wire_at_once() -> None:
    """The domain's back end is down within a moment; the node's own devices stay up."""
    outcome, detail, domain, outside, bridge, took_s = lan()["down"]
    assert (outcome, detail) == ("OK", "vif1.0")
    assert (domain, outside, bridge) == (False, True, True)
    assert took_s < 1.0


def test_domains_come_back() -> None:
    """What was taken down is up again."""
    assert lan()["up"] == ["OK", "vif1.0", True]

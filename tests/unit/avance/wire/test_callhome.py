"""An alert goes out as published."""

from __future__ import annotations

import json

from avance.core import alerts
from avance.wire.callhome import TEXT_MAX, Envelope, body
from tests.playbook import WEB, A
from tests.schema_check import complaints

ENVELOPE = Envelope("0" * 32, A, 5, 4, "2026-01-01T00:00:00.000+00:00")


def test_body_matches_its_schema() -> None:
    """The body has the published keys and words."""
    assert complaints("alert", json.loads(body(alerts.takeover(4, "policy availability"), ENVELOPE))) == []


def test_body_carries_alert_and_envelope() -> None:
    """What happened, where and in which epoch all arrive."""
    fields = json.loads(body(alerts.vm_crashed(WEB), ENVELOPE))
    assert (fields["id"], fields["node"], fields["seq"], fields["epoch"]) == ("0" * 32, "a", 5, 4)
    assert (fields["code"], fields["severity"]) == ("vm_crashed", "critical")


def test_no_text_is_too_long_for_the_service_centre() -> None:
    """One that it refused would hold up all alerts behind it."""
    alert = alerts.command_failed("KeepCopy", WEB, "e" * 10_000)
    assert len(json.loads(body(alert, ENVELOPE))["text"]) == TEXT_MAX

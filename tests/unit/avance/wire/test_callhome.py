"""An alert goes out as published."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from avance.core import alerts
from avance.core.model import Alert
from avance.wire.callhome import TEXT_MAX, Envelope, body, told
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


def test_a_repeat_says_how_often_and_since_when() -> None:
    """The count stands in fields of its own, and in the sentence that a person reads."""
    often = replace(ENVELOPE, count=7, since="2025-12-31T23:00:00.000+00:00")
    raw = body(alerts.vm_crashed(WEB), often)
    fields = json.loads(raw)
    assert complaints("alert", fields) == []
    assert (fields["about"], fields["count"], fields["since"]) == ("web", 7, often.since)
    assert fields["text"].endswith(f"It has happened 7 times since {often.since}.")
    assert told(raw) == (("vm_crashed", "web"), 7, often.since)


def test_a_long_text_is_cut() -> None:
    """What a tool said may be longer than the published contract allows; the beginning is kept."""
    fields = json.loads(body(Alert("fault", "command_failed", "critical", "x" * 9000), ENVELOPE))
    assert complaints("alert", fields) == []
    assert fields["text"] == "x" * TEXT_MAX + " ..."


@pytest.mark.parametrize("raw", [b"", b"\x00" * 40, b"{}", b"[]", b"7", b'{"code": "x", "about": "", "count": "many"}'])
def test_what_is_no_body_is_refused(raw: bytes) -> None:
    """A damaged file is no story."""
    with pytest.raises((ValueError, LookupError, TypeError)):
        told(raw)

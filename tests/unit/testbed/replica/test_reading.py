"""Tests of testbed.replica.reading: what the readers gave, as it was."""

from __future__ import annotations

from testbed.client.ledger import ReadBack
from testbed.replica.reading import Reading, from_service


def test_the_service_and_a_replica_become_readings() -> None:
    """An incomplete read back stays incomplete."""
    reading = from_service("survivor", 5.0, ReadBack(False, ("w0",), (2,), "1 of 2"))
    assert reading == Reading("survivor", 5.0, ("w0",), False, "1 of 2", (2,))

"""What the tests of whole runs share: no unit test draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.run import ending

PNG_START = b"\x89PNG"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is ordered and not drawn, which takes longer than all the rest of a run's end."""

    def order(_result: object, _records: object, out_png: Path, *, zero_at_s: float) -> Path:
        assert zero_at_s > 0.0
        out_png.write_bytes(PNG_START)
        return out_png

    monkeypatch.setattr(ending, "draw_timeline", order)

"""Proves that every run ends with a picture, however early it ended. To draw takes long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.faults.run.test_ending import ENDS, end

PNG_START = b"\x89PNG"


@pytest.mark.parametrize("chosen", [ENDS[0][0], ENDS[-1][0]], ids=["booting", "refused by a slow host"])
def test_a_run_that_never_had_a_client_has_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any]
) -> None:
    """Also with next to nothing to draw, wherever it ended."""
    end(tmp_path / "run", monkeypatch, **chosen)
    assert (tmp_path / "run" / "timeline.png").read_bytes().startswith(PNG_START)

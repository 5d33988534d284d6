"""DRBD's handler says exactly what the daemon said, and `denied` when it said nothing."""

from __future__ import annotations

from typing import Any

import pytest

from avance import fence_peer


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | Exception) -> list[dict[str, Any]]:
    """Let the daemon give this answer; returns what it is asked."""
    asked: list[dict[str, Any]] = []

    def ask(request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        assert timeout_s > 20.0 * 40, "the daemon's own deadline at the highest dilation comes first"
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(fence_peer, "ask", ask)
    monkeypatch.setenv("DRBD_RESOURCE", "web")
    return asked


def test_answer_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's code goes to DRBD unchanged, for the resource that DRBD named."""
    asked = answer_with(monkeypatch, {"code": 5})
    assert fence_peer.main() == 5
    assert asked == [{"op": "fence-peer", "resource": "web"}]


@pytest.mark.parametrize(
    "answer",
    [OSError("no daemon"), TimeoutError("no answer"), ValueError("no JSON"), {}, {"error": "no right"}, {"code": "5"},
     {"code": None}],
)  # fmt: skip
def test_anything_else_is_denied(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | Exception) -> None:
    """Without a clear code the handler ends with 1, so that I/O stays frozen."""
    answer_with(monkeypatch, answer)
    assert fence_peer.main() == 1

"""Proves the verbs `inject` and `heal`: what they ask for, what they print, and their exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from faults.verbs import live
from faults.verbs.live import parameters
from testbed.errors import UsageError


def parse(*argv: str) -> argparse.Namespace:
    """What the verbs make of a command line."""
    parser = argparse.ArgumentParser()
    live.register(parser.add_subparsers(dest="verb", required=True))
    return parser.parse_args(list(argv))


def test_parameters_are_numbers_words_and_booleans() -> None:
    """They become what a schedule would hold; a word without a value is refused."""
    found = parameters(["probability=0.5", "direction=in", "tear=true", "image=/x=y"])
    assert found == {"probability": 0.5, "direction": "in", "tear": True, "image": "/x=y"}
    with pytest.raises(UsageError, match="'fast' is no parameter; write name=value"):
        parameters(["fast"])


@pytest.mark.parametrize(("verdict", "code"), [("confirmed", 0), ("mismatch", 1), ("inconclusive", 3)])
def test_inject_asks_the_bed_and_its_code_is_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: str, code: int
) -> None:
    """The order carries fault, target and parameters, and the number for the heal is printed."""
    asked: list[Mapping[str, object]] = []

    async def ask(socket: Path, order: Mapping[str, object]) -> dict[str, Any]:
        assert socket == tmp_path
        asked.append(order)
        proof = {"verdict": verdict, "evidence": {"missing": 7}}
        return {"number": 3, "fault": "link.loss on a.priv0", "armed": {}, **proof}

    monkeypatch.setattr(live, "ask", ask)
    monkeypatch.setattr(live, "control_socket", lambda: tmp_path)
    args = parse("inject", "link.loss", "a.priv0", "probability=0.5")
    assert args.act(args) == code
    assert asked == [{"order": "inject", "fault": "link.loss", "target": "a.priv0", "with": {"probability": 0.5}}]
    out = capsys.readouterr().out
    assert f"3: link.loss on a.priv0 is {verdict}; `testbed heal 3` ends it" in out
    assert '"missing": 7' in out


def test_heal_tells_what_was_healed_and_what_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a number it asks for all."""

    async def ask(_socket: Path, order: Mapping[str, object]) -> dict[str, Any]:
        assert order == {"order": "heal", "number": None}
        return {"healed": ["link.cut on a.priv0"], "armed": {"2": "node.freeze on b"}}

    monkeypatch.setattr(live, "ask", ask)
    monkeypatch.setattr(live, "control_socket", lambda: tmp_path)
    args = parse("heal")
    assert args.act(args) == 0
    assert capsys.readouterr().out == "healed: link.cut on a.priv0; still there: node.freeze on b\n"

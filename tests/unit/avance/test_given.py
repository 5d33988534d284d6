"""What a person has written is taken as it stands, or refused with the reason; never half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avance import command_line, show_secret, show_timers
from avance.given import read_given

BAD = {
    "twice": (b'{"secret": "a", "nodes": {}, "secret": "b"}', "the key 'secret' is given twice in one object"),
    "twice, deep": (b'{"nodes": {"a": {"links": 1, "links": 1}}}', "the key 'links' is given twice"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "no number": (b'{"dilation": NaN}', "NaN is no number"),
    "no UTF-8": (b'{"secret": "\xff"}', "can't decode byte 0xff"),
    "cut": (b'{"secret": ', "Expecting value"),
    "empty": (b"", "Expecting value"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_clear_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each verb that takes a file says why it does not take this one, and asks the daemon nothing."""
    text, why = BAD[case]
    path = tmp_path / "site.json"
    path.write_bytes(text)
    asked: list[object] = []
    monkeypatch.setattr(command_line, "ask", lambda request, **_: asked.append(request))
    verbs: tuple[Callable[[], int], ...] = (
        lambda: command_line.main(["pair", "--node", "a", "--site", str(path)]),
        lambda: command_line.main(["vm", "change", "--file", str(path)]),
        lambda: command_line.main(["site", "change", "--site", str(path)]),
        lambda: command_line.main(["vm", "add", "--file", str(path)]),
        lambda: show_timers.main(path),
        lambda: show_secret.main("witness", "w1", path),
    )
    for verb in verbs:
        assert verb() == 1
        told = capsys.readouterr().err
        assert why in told
        assert str(path) in told
    assert not asked


def test_the_same_key_in_two_objects_is_no_fault(tmp_path: Path) -> None:
    """Both nodes have links, and a text may hold what looks like a key."""
    path = tmp_path / "site.json"
    path.write_text('{"a": {"links": 1}, "b": {"links": "links"}, "n": 1e9}', encoding="utf-8")
    assert read_given(path) == {"a": {"links": 1}, "b": {"links": "links"}, "n": 1e9}

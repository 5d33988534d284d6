"""No secret passes the filter, however the text around it was cut; everything else does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from avance.core import commands as c
from avance.core.events import CommandDone, Event, MirrorChanged
from avance.core.model import MirrorState, MirrorView, Outcome
from avance.core.results import Done, GenerationsRead
from avance.wire.masked import MARK, Mask
from tests.playbook import WEB

SECRET, PASSWORD = "5e8f2b90c1d7463aa7", "Pass-Of-A"
MASK = Mask([SECRET, PASSWORD, ""])
FOR_PEOPLE = {"detail", "why", "text", "said", "problem"}  # names of fields


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"--shared-secret={SECRET} failed", f"--shared-secret={MARK} failed"),
        (f"--shared-secret={SECRET.upper()}", f"--shared-secret={MARK}"),
        (f"{SECRET[:9]}\n   {SECRET[9:]} and {PASSWORD}", f"{MARK} and {MARK}"),
        (f"{SECRET[:9]}\r\n{SECRET[9:]}", MARK),
        (repr(f"x{SECRET[:3]}\n{SECRET[3:]}"), f"'x{MARK}'"),
        (f"...{SECRET[4:]}", f"...{MARK}"),
        (f"{SECRET[:-5]}", MARK),
        (f"{SECRET}{SECRET}", MARK),
        ("p a s s - o f - a", MARK),
    ],
)
def test_a_secret_is_hidden(given: str, shown: str) -> None:
    """Whole or cut, in any case, once or twice, also a part of it that somebody cut off."""
    assert MASK.text(given) == shown


@pytest.mark.parametrize("text", ["", "drbdadm ended with 10:\n\tno such resource", "5e8f2b9", "İ and ﬁ", "pass of a"])
def test_everything_else_stays(text: str) -> None:
    """Letter by letter, with its line ends."""
    assert MASK.text(text) == text


def test_short_or_absent_secrets_hide_nothing() -> None:
    """A mark in ordinary words would only make them riddles."""
    assert Mask(["", "on", " a\n"]).text("power is on") == "power is on"
    assert Mask([]).text(SECRET) == SECRET


def test_texts_for_people_are_filtered_and_values_are_not() -> None:
    """What decides something must never change because it looks like a secret."""
    read = GenerationsRead(Outcome.OK, f"said {SECRET}", generations=(SECRET,))
    hidden = MASK.event(CommandDone(c.ReadGeneration(WEB), read))
    assert isinstance(hidden, CommandDone)
    assert hidden.result == GenerationsRead(Outcome.OK, f"said {MARK}", generations=(SECRET,))
    same = CommandDone(c.DemoteDisk(WEB), Done(Outcome.FAILED, "no secret"))
    assert MASK.event(same) is same
    view = MirrorView(MirrorState.NONE, 0, 2, "", "", f"mdadm said {SECRET}")
    assert MASK.event(MirrorChanged(view)) == MirrorChanged(dataclasses.replace(view, detail=f"mdadm said {MARK}"))


def texts(kind: Any, seen: set[Any]) -> Iterator[str]:  # noqa: ANN401 - a type hint is any object
    """Yield Class.field of each text for people that a value of this type can hold."""
    for part in get_args(kind):
        yield from texts(part, seen)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for name, hint in get_type_hints(kind).items():
            if name in FOR_PEOPLE:
                yield f"{'Done' if issubclass(kind, Done) else kind.__name__}.{name}"
            yield from texts(hint, seen)


def test_every_text_for_people_is_known() -> None:
    """A new one in any event has to be filtered, or this fails."""
    assert set(texts(Event, set())) == {
        "Done.detail", "MirrorView.detail", "DiskStreamReset.why", "PartSeen.problem", "ChangeAsked.text",
        "DocumentHeard.problem",
    }  # fmt: skip

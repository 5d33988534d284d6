"""The end of a command carries the command and an answer that belongs to it."""

from __future__ import annotations

import pytest

from avance.core import commands as c
from avance.core import events as e
from avance.core import results as r
from avance.core.model import Outcome, Record
from tests.playbook import WEB, ended


@pytest.mark.parametrize("command", [c.PrepareVolume(WEB), c.ReadPeerPower(), c.SaveRecord(Record())])
def test_an_answer_to_another_command_makes_no_event(command: c.Work) -> None:
    """It would be taken for what it is not."""
    with pytest.raises(AssertionError, match=f"{type(command).__name__} is answered by"):
        e.CommandDone(command, r.WitnessTaught(Outcome.OK, "taught 4 a", taught=True))
    assert ended(command).command == command

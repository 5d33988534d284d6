"""The table of a VM's life is complete, has no contradiction, and its picture in docs/ is up to date."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avance.core.model import VmState
from avance.core.vm import IGNORED, ROWS, Action, VmTrigger, diagram, step

PICTURE = Path(__file__).resolve().parents[4] / "docs" / "vm-states.md"
EVER_ASKED = {
    # What can happen at all in a state: outcomes only where a command can be in flight.
    VmState.CHECKING: {VmTrigger.FOUND_RUNNING, VmTrigger.FOUND_GONE, VmTrigger.FOUND_HALF_MADE, VmTrigger.NOT_DONE},
    VmState.PROMOTING: {VmTrigger.DONE, VmTrigger.DONE_UNWANTED, VmTrigger.NOT_DONE},
    VmState.STARTING: {VmTrigger.DONE, VmTrigger.DONE_UNWANTED, VmTrigger.NOT_DONE},
    VmState.STOPPING: {VmTrigger.DONE, VmTrigger.DONE_UNWANTED, VmTrigger.NOT_DONE},
    VmState.DEMOTING: {VmTrigger.DONE, VmTrigger.DONE_UNWANTED, VmTrigger.NOT_DONE},
    VmState.SENDING: {VmTrigger.DONE, VmTrigger.NOT_DONE},
    VmState.RECEIVING: {VmTrigger.DONE, VmTrigger.NOT_DONE},
    VmState.RECEIVED: set(),
    VmState.STANDBY: set(),
    VmState.RUNNING: set(),
    VmState.FAILED: set(),
}
ALWAYS_POSSIBLE = {
    VmTrigger.RUN, VmTrigger.STOP, VmTrigger.DOMAIN_GONE, VmTrigger.RETRY, VmTrigger.SEND, VmTrigger.RECEIVE,
}  # fmt: skip


def page() -> str:
    """Return the text of docs/vm-states.md as it must be."""
    return (
        "# The life of a VM on one node\n\n"
        "Generated from the table in `avance/core/vm.py`; `tests/unit/avance/core/test_vm.py` keeps it up to date\n"
        "(run that test with `AVANCE_REGENERATE=1` after a change). An arrow is labelled `trigger / command`.\n\n"
        f"```mermaid\n{diagram()}```\n"
    )


@pytest.mark.parametrize("state", list(VmState))
def test_every_possible_pair_is_a_row_or_ignored(state: VmState) -> None:
    """Whatever can happen in a state has a row or a reason to be ignored."""
    for trigger in EVER_ASKED[state] | ALWAYS_POSSIBLE:
        assert ((state, trigger) in ROWS) is not ((state, trigger) in IGNORED), f"{state} + {trigger}"


def test_no_pair_is_both_row_and_ignored() -> None:
    """A row is never hidden by an entry that ignores it."""
    assert ROWS.keys().isdisjoint(IGNORED)


def test_an_impossible_pair_is_a_programmer_error() -> None:
    """An outcome without a command in flight stops the daemon and changes nothing."""
    impossible = [(s, t) for s in VmState for t in VmTrigger if t not in EVER_ASKED[s] | ALWAYS_POSSIBLE]
    assert impossible
    for state, trigger in impossible:
        with pytest.raises(AssertionError, match="no row"):
            step(state, trigger)


def test_every_reason_to_ignore_is_a_sentence() -> None:
    """Nothing is ignored without a reason."""
    assert all(len(reason) > 10 for reason in IGNORED.values())


def test_a_domain_is_started_only_by_a_writer() -> None:
    """StartDomain follows PromoteDisk and nothing else."""
    assert [pair for pair, (_, action) in ROWS.items() if action is Action.START] == [
        (VmState.PROMOTING, VmTrigger.DONE)
    ]


def test_a_disk_is_demoted_only_without_a_domain() -> None:
    """DemoteDisk comes only where no domain can be there: it was destroyed, it has left, or it was never created.

    One that died by itself is still listed by Xen and holds the disk open, so STANDBY destroys it first.
    """
    before = {state for (state, _), (_, action) in ROWS.items() if action is Action.DEMOTE}
    assert before == {VmState.PROMOTING, VmState.STOPPING, VmState.SENDING}


def test_what_was_taken_in_is_let_go_on_from_one_state_only() -> None:
    """ResumeDomain needs a domain that is complete, and the wish to run it."""
    resumes = [pair for pair, (_, action) in ROWS.items() if action is Action.RESUME]
    assert resumes == [(VmState.RECEIVED, VmTrigger.RUN)]


def test_every_failure_leads_to_a_look() -> None:
    """A command that did not succeed is followed by ReadDomain before anything else is done."""
    failures = [after for (_, trigger), (after, _) in ROWS.items() if trigger is VmTrigger.NOT_DONE]
    assert set(failures) == {VmState.FAILED}
    assert ROWS[VmState.FAILED, VmTrigger.RETRY] == (VmState.CHECKING, Action.READ_DOMAIN)


def test_picture_is_up_to_date() -> None:
    """The diagram in docs/ is the table drawn."""
    if os.environ.get("AVANCE_REGENERATE"):
        PICTURE.write_text(page())
    assert PICTURE.read_text() == page()

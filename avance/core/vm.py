"""The life of one VM on this node, as one table; the diagram in docs/ is this table drawn.

`step` is total: every (state, trigger) pair is either a row or listed in IGNORED with the reason; anything else is a
programmer error and stops the daemon.
"""

from __future__ import annotations

from enum import StrEnum

from avance.core.model import VmState


class VmTrigger(StrEnum):
    """What can move a VM from one state to another."""

    RUN = "RUN"
    STOP = "STOP"
    DONE = "DONE"
    DONE_UNWANTED = "DONE_UNWANTED"
    NOT_DONE = "NOT_DONE"
    FOUND_RUNNING = "FOUND_RUNNING"
    FOUND_GONE = "FOUND_GONE"
    FOUND_HALF_MADE = "FOUND_HALF_MADE"
    DOMAIN_GONE = "DOMAIN_GONE"
    RETRY = "RETRY"
    SEND = "SEND"
    RECEIVE = "RECEIVE"


class Action(StrEnum):
    """The command that belongs to a row; the names are those of the command classes."""

    NOTHING = "Nothing"
    READ_DOMAIN = "ReadDomain"
    PROMOTE = "PromoteDisk"
    DEMOTE = "DemoteDisk"
    START = "StartDomain"
    DESTROY = "DestroyDomain"
    SEND = "SendDomain"
    RECEIVE = "ReceiveDomain"
    RESUME = "ResumeDomain"


S = VmState
T = VmTrigger

ROWS: dict[tuple[VmState, VmTrigger], tuple[VmState, Action]] = {
    # A daemon that has just started, or whose last command failed, looks before it acts.
    (S.CHECKING, T.FOUND_RUNNING): (S.RUNNING, Action.NOTHING),
    (S.CHECKING, T.FOUND_GONE): (S.STANDBY, Action.NOTHING),
    (S.CHECKING, T.FOUND_HALF_MADE): (S.STOPPING, Action.DESTROY),  # its creation did not end well, and it stands still
    (S.CHECKING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    # The way up: become the writer, then create the domain.
    (S.STANDBY, T.RUN): (S.PROMOTING, Action.PROMOTE),
    (S.PROMOTING, T.DONE): (S.STARTING, Action.START),
    (S.PROMOTING, T.DONE_UNWANTED): (S.DEMOTING, Action.DEMOTE),
    (S.PROMOTING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    (S.STARTING, T.DONE): (S.RUNNING, Action.NOTHING),
    (S.STARTING, T.DONE_UNWANTED): (S.STOPPING, Action.DESTROY),
    (S.STARTING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    (S.RUNNING, T.DOMAIN_GONE): (S.STANDBY, Action.NOTHING),
    # A live move: the domain leaves while it runs, and stands still on the other node until the right has followed it.
    (S.RUNNING, T.SEND): (S.SENDING, Action.SEND),
    (S.SENDING, T.DONE): (S.DEMOTING, Action.DEMOTE),
    (S.SENDING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    (S.STANDBY, T.RECEIVE): (S.RECEIVING, Action.RECEIVE),
    (S.RECEIVING, T.DONE): (S.RECEIVED, Action.NOTHING),
    (S.RECEIVING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    (S.RECEIVED, T.RUN): (S.STARTING, Action.RESUME),
    (S.RECEIVED, T.STOP): (S.STOPPING, Action.DESTROY),
    (S.RECEIVED, T.DOMAIN_GONE): (S.STANDBY, Action.NOTHING),
    # The way down: the domain first, then the right to write.
    (S.RUNNING, T.STOP): (S.STOPPING, Action.DESTROY),
    # A domain that died by itself is gone for us, but Xen lists it until it is destroyed, and it holds the disk open.
    (S.STANDBY, T.STOP): (S.STOPPING, Action.DESTROY),
    (S.STOPPING, T.DONE): (S.DEMOTING, Action.DEMOTE),
    (S.STOPPING, T.DONE_UNWANTED): (S.DEMOTING, Action.DEMOTE),
    (S.STOPPING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    (S.DEMOTING, T.DONE): (S.STANDBY, Action.NOTHING),
    (S.DEMOTING, T.DONE_UNWANTED): (S.STANDBY, Action.NOTHING),
    (S.DEMOTING, T.NOT_DONE): (S.FAILED, Action.NOTHING),
    (S.FAILED, T.RETRY): (S.CHECKING, Action.READ_DOMAIN),
}

_IN_FLIGHT = "a command is in flight; its outcome decides"

IGNORED: dict[tuple[VmState, VmTrigger], str] = {
    **{
        (state, trigger): _IN_FLIGHT
        for state in (S.CHECKING, S.PROMOTING, S.STARTING, S.STOPPING, S.DEMOTING, S.SENDING, S.RECEIVING)
        for trigger in (T.RUN, T.STOP, T.DOMAIN_GONE, T.RETRY, T.SEND, T.RECEIVE)
    },
    **{(S.RUNNING, trigger): "it runs already" for trigger in (T.RUN, T.RETRY, T.RECEIVE)},
    **{
        (S.STANDBY, trigger): "there is no domain to lose or to send, and nothing to retry"
        for trigger in (T.DOMAIN_GONE, T.RETRY, T.SEND)
    },
    **{(S.RECEIVED, trigger): "it is here, and waits for the right" for trigger in (T.RETRY, T.SEND, T.RECEIVE)},
    **{(S.FAILED, trigger): "the retry looks first" for trigger in (T.RUN, T.STOP, T.DOMAIN_GONE, T.SEND, T.RECEIVE)},
}


def step(state: VmState, trigger: VmTrigger) -> tuple[VmState, Action]:
    """Return the next state and the command to give; an ignored pair stays where it is.

    Raises:
        AssertionError: the pair is neither a row nor ignored: a programmer error.
    """
    if (state, trigger) in IGNORED:
        return state, Action.NOTHING
    assert (state, trigger) in ROWS, f"no row for {state} + {trigger}"
    return ROWS[state, trigger]


def diagram() -> str:
    """Draw the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> CHECKING: ReadDomain"]
    for (before, trigger), (after, action) in ROWS.items():
        label = trigger if action is Action.NOTHING else f"{trigger} / {action}"
        lines.append(f"    {before} --> {after}: {label}")
    return "\n".join(lines) + "\n"

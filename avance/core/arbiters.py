"""Who decides when the nodes no longer hear each other: the arbiters in office, agreed while they still do.

An arbiter is a token: `witness:<name>` or `survivor:<node>`. While any are in office, the next epoch needs *all* of
them (docs/safety.md, S12). They change only while both nodes are paired, in two steps: old -> old and new -> new. Each
step is durable on both nodes before the next one begins. So at every moment of a crash both nodes name at least one
common arbiter, and that arbiter says yes to only one of them (docs/safety.md, S13; the idea is the joint consensus of
Raft, section 6 of its paper).
"""

from __future__ import annotations

from avance.core.model import NodeId

_WITNESS, _SURVIVOR = "witness:", "survivor:"


def witness(name: str) -> str:
    """Return the token of a witness."""
    return _WITNESS + name


def survivor(node: NodeId) -> str:
    """Return the token of a pre-elected survivor."""
    return _SURVIVOR + node


def witnesses(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the witnesses among the tokens."""
    return tuple(token.removeprefix(_WITNESS) for token in tokens if token.startswith(_WITNESS))


def survivors(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the pre-elected survivors among the tokens."""
    return tuple(token.removeprefix(_SURVIVOR) for token in tokens if token.startswith(_SURVIVOR))


def wanted(
    current: tuple[str, ...],
    owner: NodeId,
    *,
    configured: tuple[str, ...],
    up: tuple[str, ...],
    lost: tuple[str, ...],
) -> tuple[str, ...]:
    """Return who should be in office: the witness in office while it is not lost, else the first that both nodes reach.

    `up` are the witnesses that both nodes reach now, `lost` those that one of them has missed for long; in between
    nothing changes. Without any witness the owner is elected to survive.
    """
    for name in witnesses(current):
        if name in configured and name not in lost:
            return (witness(name),)
    for name in configured:
        if name in up:
            return (witness(name),)
    if not configured:
        return ()
    if any(name not in lost for name in configured) and not current:
        return ()  # the witnesses have not been asked for long enough
    return (survivor(owner),)


def step(current: tuple[str, ...], target: tuple[str, ...]) -> tuple[str, ...]:
    """Return the next safe set on the way from `current` to `target`; both nodes must hold `current`."""
    if set(target) <= set(current):
        return target
    return (*current, *(token for token in target if token not in current))

"""Defects of live moves outside the core: the connection, xl, what is looked at, the second writer."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_OUTSIDE = "the simulator has a hypervisor and a link of its own"
_MOVING = "avance/adapters/moving.py"
_TESTS = ("tests/unit/avance/adapters/test_moving.py",)

MUTANTS = (
    Mutant(
        "left-by-the-word-of-xl",
        "a domain that was sent counts as gone because xl says so, although Xen lists it",
        (Edit(_MOVING, "        if not listed:\n", "        if not listed or sent.outcome is Outcome.OK:\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "came-by-the-word-of-xl",
        "a domain counts as taken in because xl says so, although it runs already or is not there",
        (Edit(_MOVING, " and not isinstance(listed, Done) and _is_complete(listed):", ":"),),
        _OUTSIDE,
    ),
    Mutant(
        "half-a-domain-stays",
        "what has come of a domain when the move broke is not destroyed",
        (Edit(_MOVING, "destroyed = await self._destroy(vm)\n", "destroyed = Done(Outcome.OK)\n"),),
        _OUTSIDE,
    ),
    Mutant(
        "anybody-may-connect",
        "a domain is taken in from an address that is not the peer's",
        (Edit(_MOVING, "if address != self._peer:", "if not address:"),),
        _OUTSIDE,
    ),
    Mutant(
        "nobody-has-to-prove-anything",
        "whoever says something counts as the peer, without the secret and for any move",
        (Edit(_MOVING, "if not moving.is_word(said, self._key, side, name, vm):", "if not said:"),),
        _OUTSIDE,
    ),
    Mutant(
        "slow-link-counts-as-broken",
        "bytes that move do not begin the time anew after which a connection counts as broken",
        (Edit(_MOVING, "moved, since = now_moved, loop.time()", "moved = now_moved"),),
        _OUTSIDE,
    ),
    Mutant(
        "domains-move-at-once",
        "a second domain is sent while xl takes in the first, and its connection counts as broken while it waits",
        (
            Edit(
                _MOVING,
                "async with self._turn_of(move), self._connected(spec, name, move) as line:",
                "async with self._connected(spec, name, move) as line:",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "xl-outlives-the-daemon",
        "an xl that moves a domain goes on when its daemon was killed",
        (Edit("avance/wire/xl.py", '["setpriv", "--pdeathsig", "KILL", "sh", "-c"]', '["sh", "-c"]'),),
        _OUTSIDE,
        units=_TESTS,
    ),
    Mutant(
        "suspended-domain-escapes-the-pause",
        "a domain that is suspended to move is not paused with the others, and runs when xl lets it go on",
        (Edit("avance/adapters/xen.py", "(domain.alive or self._moves.has(vm)) and", "domain.alive and"),),
        _OUTSIDE,
        units=_TESTS,
    ),
    Mutant(
        "goes-on-where-all-stands-still",
        "a domain that was taken in goes on although the domains of the node are to stand still",
        (
            Edit(
                "avance/adapters/xen.py",
                "            if vm not in self._specs or self._halted:\n                return",
                "            if vm not in self._specs:\n                return",
            ),
        ),
        _OUTSIDE,
        units=("tests/unit/avance/adapters/test_resume.py", *_TESTS),
    ),
    Mutant(
        "two-writers-stay-allowed",
        "after a move DRBD goes on to allow two writers",
        (
            Edit(
                "avance/adapters/drbd.py",
                "        one = await self.two_writers(vm, allowed=False)\n",
                "        one = done\n",
            ),
        ),
        _OUTSIDE,
    ),
    Mutant(
        "receiver-stays-a-writer",
        "a node that could not take a domain in stays the second writer of its volume",
        (
            Edit(
                "avance/domain_work.py",
                "await self._disks.demote(vm) if promoted else Done(Outcome.OK)",
                "Done(Outcome.OK)",
            ),
        ),
        _OUTSIDE,
    ),
)

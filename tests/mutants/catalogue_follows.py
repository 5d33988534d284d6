"""Defects of live moves in the core: which node may let a VM go on, and who may start it while it is away."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_MIGRATION, _UNIT = "avance/core/migration.py", "avance/core/unit.py"
_TOLD = ("tests/unit/avance/core/test_migration.py",)

MUTANTS = (
    Mutant(
        "goes-on-without-the-record",
        "a VM that was taken in goes on as soon as it is complete, before the right is durable here",
        (Edit(_UNIT, "if around.goal is Goal.RUN and around.adopts:", "if around.takes == self.move:"),),
        units=_TOLD,
    ),
    Mutant(
        "goes-on-for-any-move",
        "a VM that was taken in goes on although the owner says another move",
        (
            Edit(_MIGRATION, "not self.takes or peer.moves != self.takes or sight", "not self.takes or sight"),
            Edit(_MIGRATION, "        return same and peer.moves == self.takes\n", "        return same\n"),
            Edit(
                _MIGRATION,
                "sight.pairing.pair is not PairState.PAIRED or peer is None or peer.moves != self.takes:\n",
                "sight.pairing.pair is not PairState.PAIRED or peer is None:\n",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "given-before-all-are-away",
        "the owner gives the right away when the first of its VMs has left",
        (Edit(_MIGRATION, "away = all(self._is_away(unit)", "away = any(self._is_away(unit)"),),
        units=_TOLD,
    ),
    Mutant(
        "kept-although-the-move-is-over",
        "the backup keeps what it has taken in when the owner is gone, or has ended the move",
        (
            Edit(
                _UNIT,
                "stays = around.takes == self.move and (around.adopts or not around.i_am_owner)",
                "stays = around.adopts or not around.i_am_owner",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "started-while-it-is-away",
        "the owner starts a VM that it has sent, as long as it still owns the epoch",
        (Edit(_UNIT, "if fit and not around.sends else None", "if fit else None"),),
        units=_TOLD,
    ),
    Mutant(
        "gives-and-keeps",
        "who gives the right away calls its own copy good, although the peer can take that epoch alone and write",
        (
            Edit(
                _MIGRATION,
                "epoch=record.epoch + 1, owner=peer, peer_outdated=True, cure=0)",
                "epoch=record.epoch + 1, owner=peer, peer_outdated=False, cure=0)",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "given-to-the-dead",
        "the right is given to a peer that may have died since all has left",
        (
            Edit(
                _MIGRATION,
                "if (sight.liveness.lease_from_s or 0.0) < self._away_from_s:",
                "if sight.liveness.lease_from_s is None:",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "moves-without-a-record",
        "nodes that cannot write their records begin a move, and nobody can give or take the right in the end",
        (
            Edit(
                _MIGRATION,
                "return saved_at is not None and saved_at >= self._proving[1] and sight.durable.failing_from_s is None",
                "return saved_at is None or self._proving[1] > 0",
            ),
        ),
        units=_TOLD,
    ),
    Mutant(
        "frozen-until-it-took-too-long",
        "a move goes on although the nodes have lost the replication: both writers stand still until its time is over",
        (Edit(_MIGRATION, '.disk is not None and unit.disk.connection != "Connected"\n', ".disk is False\n"),),
        units=_TOLD,
    ),
    Mutant(
        "stays-a-writer-for-the-move",
        "an owner that could not stop writing, because a write was in flight when its VM left, never tries again",
        (Edit(_UNIT, "and self.moved and around.sends == self.move:\n", "and not self.move and around.sends:\n"),),
        units=_TOLD,
    ),
    Mutant(
        "frozen-copy-never-consents",
        "a second writer that froze and was demoted never counts as read, and so never consents",
        (
            Edit(
                "avance/core/consent.py",
                "frozen = view is not None and view.suspended and view.role is DiskRole.PRIMARY",
                "frozen = view is not None and view.suspended",
            ),
        ),
    ),
)

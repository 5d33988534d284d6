"""All seeded defects of the product."""

from __future__ import annotations

from tests.mutants import (
    catalogue_agreed,
    catalogue_copies,
    catalogue_damping,
    catalogue_data,
    catalogue_ends,
    catalogue_follows,
    catalogue_foreseen,
    catalogue_health,
    catalogue_live,
    catalogue_mirror,
    catalogue_moves,
    catalogue_outside,
    catalogue_removed,
    catalogue_right,
    catalogue_serves,
    catalogue_stop,
    catalogue_told,
)

MUTANTS = (
    *catalogue_right.MUTANTS,
    *catalogue_stop.MUTANTS,
    *catalogue_data.MUTANTS,
    *catalogue_copies.MUTANTS,
    *catalogue_mirror.MUTANTS,
    *catalogue_outside.MUTANTS,
    *catalogue_serves.MUTANTS,
    *catalogue_damping.MUTANTS,
    *catalogue_told.MUTANTS,
    *catalogue_agreed.MUTANTS,
    *catalogue_removed.MUTANTS,
    *catalogue_health.MUTANTS,
    *catalogue_ends.MUTANTS,
    *catalogue_live.MUTANTS,
    *catalogue_moves.MUTANTS,
    *catalogue_follows.MUTANTS,
    *catalogue_foreseen.MUTANTS,
)

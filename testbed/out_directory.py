"""The directory that a person names for what a verb leaves: made before anything runs, or refused with a sentence."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import UsageError


def made(out: Path) -> Path:
    """Return this directory, which is there now.

    Raises:
        UsageError: it cannot be made, or is no directory; nothing was begun.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be a directory here: {error.strerror}.") from error
    return out

"""Files that are whole or not there: the one way in which the product writes what must survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, raw: bytes) -> None:
    """Replace a file so that after a power cut either the old or the new content is there, whole.

    Raises:
        OSError: the disk refused.
    """
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

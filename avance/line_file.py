"""A file of lines with a bound: when it is full it becomes `NAME.1`, and a new one begins.

A line that a power cut or a full disk tore is never joined with the next one. It blocks; it is for a thread.
"""

from __future__ import annotations

import os
from pathlib import Path


class LineFile:
    """Appends lines to one file, opened when the first one comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._torn = False

    @property
    def earlier(self) -> Path:
        """Where the lines before the last rotation stand."""
        return earlier(self._path)

    def size_bytes(self) -> int:
        """How much the file holds now; none, or one that cannot be looked at, counts as empty."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def append(self, text: str) -> None:
        """Write one line.

        Raises:
            OSError: the line was not written, or only a part of it.
        """
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._torn = self._torn or self._ends_torn()
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = ("\n" if self._torn else "").encode() + text.encode() + b"\n"
        self._torn = True
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise OSError(f"{self._path}: only {written} of {len(data)} bytes were written")
        self._torn = False

    def rotate(self) -> None:
        """Let the file become the earlier one, whose content is given up.

        Raises:
            OSError: the directory refused; the file goes on to grow.
        """
        self.close()
        self._path.replace(self.earlier)
        self._torn = False

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _ends_torn(self) -> bool:
        if not self._path.is_file() or not self.size_bytes():
            return False
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


def earlier(path: Path) -> Path:
    """Return where the lines before the last rotation stand."""
    return path.with_name(path.name + ".1")

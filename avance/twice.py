"""A text that is kept twice, so that one bad copy harms nobody: the durable record, and the configuration.

Each copy carries a number and a checksum. One is written after the other, in the place where it is, so that a full disk
cannot refuse it and a power cut tears one at most. What was saved is in every copy that is there: a copy that cannot be
written is taken away, because an older one must never come back. When a copy is missing, older or unreadable at a
start, it is made anew from the better one before anybody acts on that.

It blocks; where a disk may hang, it is for a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from avance.errors import StoreError
from avance.files import overwrite, read_small, remove_durably
from avance.wire.summed import UnknownFormat

T = TypeVar("T")


class TwoCopies(Generic[T]):
    """Two copies of one text. `decode` returns number and value of a copy, or raises ValueError with the reason.

    `lost` says, after a colon, what it means that no copy can be used, and what to do. `problem` says what is wrong
    with one of the copies while the other one is good, "" for nothing; `found` what was wrong at the start, and mended.
    """

    def __init__(self, paths: tuple[Path, Path], decode: Callable[[bytes], tuple[int, T]], lost: str) -> None:
        self._paths = paths
        self._decode = decode
        self._lost = lost
        self.problem = ""
        self.found = ""

    def load(self, *, mend: bool) -> tuple[int, T] | None:
        """Return the newest copy; None when there never was one. Who does not write them does not `mend` them.

        Raises:
            StoreError: there are copies and none can be used, or a later release has written a newer one.
        """
        whole: dict[Path, tuple[int, T, bytes]] = {}
        bad: dict[Path, str] = {}
        later: list[int] = []
        for path in self._paths:
            try:
                raw = read_small(path)
                seq, value = self._decode(raw)
                whole[path] = (seq, value, raw)
            except FileNotFoundError:
                continue
            except OSError as error:
                bad[path] = f"{path} cannot be read ({error.strerror or error})"
            except UnknownFormat as error:
                bad[path] = f"{path} is of a later release ({error})"
                later.append(error.seq)
            except ValueError as error:
                bad[path] = f"{path} is damaged ({error})"
        newest = max((seq for seq, _, _ in whole.values()), default=None)
        if newest is None and not bad:
            return None
        if newest is None or any(seq > newest for seq in later):
            raise StoreError(f"{' and '.join(bad.values())}: {self._lost}")
        seq, value, raw = next(entry for entry in whole.values() if entry[0] == newest)
        worse = [path for path in self._paths if path not in whole or whole[path][0] != newest]
        if worse and mend:
            told = bad.get(worse[0]) or f"{worse[0]} was {'older' if worse[0] in whole else 'missing'}"
            self._mend(raw, worse[0], told)
        return seq, value

    def _mend(self, raw: bytes, path: Path, told: str) -> None:
        try:
            overwrite(path, raw.rstrip(b"\n") + b"\n")
            self.found = f"{told}; it was written anew from the other copy"
        except OSError as error:
            self.problem = _one_copy(f"{told}, and it cannot be written anew ({error.strerror or error})")
            with contextlib.suppress(OSError):  # as in `save`; a disk that takes nothing leaves it as it is
                remove_durably(path)

    def save(self, raw: bytes) -> None:
        """Write both copies.

        Raises:
            OSError: no copy was written, or an older one could not be taken away: nobody knows what a start will find.
        """
        refused: dict[Path, OSError] = {}
        for path in self._paths:
            try:
                overwrite(path, raw)
            except OSError as error:
                refused[path] = error
        self.problem = ""
        for path, why in refused.items():
            if len(refused) == len(self._paths):
                raise why
            remove_durably(path)
            self.problem = _one_copy(f"{path} cannot be written ({why.strerror or why})")


def _one_copy(why: str) -> str:
    return f"{why}: there is one copy only, and everything works; look at the disk before that one is lost, too"

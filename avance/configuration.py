"""Where the configuration of this node is kept: two copies, in two directories (avance/twice.py)."""

from __future__ import annotations

from pathlib import Path

from avance.errors import ConfigError
from avance.parsed import Json
from avance.twice import TwoCopies
from avance.wire import configuration as wire

TWIN = Path("/var/lib/avance/config.twin.json")
_LOST = (
    "this node does not know its site and serves nothing. Copy the file of the other node here, put this node's name"
    " into it as `node`, leave out `seq` and `sum`, and start the service again"
)


class Configuration:
    """The configuration as it was given: the node's name, its site and its VMs; nothing of it is checked here."""

    def __init__(self, path: Path, twin: Path) -> None:
        self._copies = TwoCopies((path, twin), wire.decode, _LOST)
        self._seq = 0

    @property
    def problem(self) -> str:
        """What is wrong with one of the copies while the other one is good; "" while both are."""
        return self._copies.problem

    @property
    def found(self) -> str:
        """What was wrong with one of the copies at the start, and is mended."""
        return self._copies.found

    def load(self, *, mend: bool) -> dict[str, Json] | None:
        """Return it, None when this node is not paired. Only the daemon mends a bad copy.

        Raises:
            StoreError: there are copies, and none can be used.
        """
        self._seq, raw = self._copies.load(mend=mend) or (0, None)
        return raw

    def save(self, raw: dict[str, Json]) -> None:
        """Make it durable. It blocks.

        Raises:
            ConfigError: the disk refused it.
        """
        self._seq += 1
        try:
            self._copies.save(wire.encode(raw, self._seq))
        except OSError as error:
            told = f"the configuration could not be written: {error}; this node goes on with the one that it has"
            raise ConfigError(f"{told}. Make room, or mend the disk, and ask again") from error

"""Which module of DRBD the kernel runs: the one that is built with images/recipes/drbd.patch, or Debian's own."""

from __future__ import annotations

from pathlib import Path

from avance.files import read_text

VERSION = Path("/sys/module/drbd/version")
_MENDED = "+avance"  # what drbd.patch adds to the version (docs/decisions/0022-a-mended-drbd.md)


class DrbdModule:
    """The module that is loaded, as its version says."""

    def __init__(self, path: Path = VERSION) -> None:
        self._path = path

    @property
    def version(self) -> str:
        """The version of the loaded module; empty while none is loaded, or when it cannot be read."""
        try:
            return read_text(self._path)
        except OSError:
            return ""

    @property
    def problem(self) -> str:
        """What a person has to know of this module; empty while none is loaded."""
        version = self.version
        if not version or version.endswith(_MENDED):
            return ""
        return (
            f"DRBD's module on this node is {version}, without the patch of this product: a flush of a VM may never end"
            " when the replication breaks, and then only the reset of the node by itself ends that. Use an image with"
            " the mended module"
        )

"""`avance timers`: prints the worst-case recovery time of the site in use, of a site file, or of the defaults."""

from __future__ import annotations

import sys
from pathlib import Path

from avance.config import CONFIG_PATH, Config, parse
from avance.configuration import TWIN, Configuration
from avance.core.model import Timers
from avance.core.timers_text import text
from avance.errors import AvanceError
from avance.given import read_given


def main(site: Path | None) -> int:
    """Print the page; returns 0, 1 for an unreadable file, 2 for a site that is refused."""
    try:
        config = _config(site)
    except AvanceError as error:
        print(f"avance: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"avance: {site or CONFIG_PATH} cannot be read: {error}", file=sys.stderr)
        return 1
    if config is None:
        print("this node is not paired; these are the defaults")
        print(text(Timers(), 1.0))
    else:
        print(text(config.timers, config.dilation))
    return 0


def _config(site: Path | None) -> Config | None:
    """A site file is read from the side of its first node: the timers are the same for both."""
    if site is not None:
        raw = read_given(site)
        nodes = raw.get("nodes") if isinstance(raw, dict) else None
        names = sorted(nodes) if isinstance(nodes, dict) else []
        return parse(names[0] if names else "", raw, [])
    kept = Configuration(CONFIG_PATH, TWIN).load(mend=False)
    return None if kept is None else parse(kept["node"], kept["site"], kept["vms"])

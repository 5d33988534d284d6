"""`avance secret`: prints what a witness or a BMC has to be given; the site's secret stays on the nodes."""

from __future__ import annotations

import sys
from pathlib import Path

from avance.config import CONFIG_PATH, parse
from avance.configuration import TWIN, Configuration
from avance.errors import AvanceError, ConfigError
from avance.given import read_given
from avance.parsed import Json
from avance.wire import derived


def main(kind: str, name: str, site: Path | None) -> int:
    """Print the secret of this witness, or of this node's BMC; returns 0, 1 for an unreadable file, 2 for a refusal."""
    try:
        print(_secret(kind, name, _site(site)))
    except AvanceError as error:
        print(f"avance: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"avance: {site or CONFIG_PATH} cannot be read: {error}", file=sys.stderr)
        return 1
    return 0


def _site(path: Path | None) -> Json:
    """Return the site of a file, or else the one in use, checked from the side of its first node."""
    if path is None:
        kept = Configuration(CONFIG_PATH, TWIN).load(mend=False)
        if kept is None:
            raise ConfigError("this node is not paired; name the site file with --site")
        site = kept["site"]
    else:
        site = read_given(path)
    nodes = site.get("nodes") if isinstance(site, dict) else None
    parse(min(nodes, default="") if isinstance(nodes, dict) else "", site, [])
    return site


def _secret(kind: str, name: str, site: Json) -> str:
    secret, nodes = bytes.fromhex(site["secret"]), site["nodes"]
    possible = [one["name"] for one in site.get("witnesses", [])] if kind == "witness" else _with_bmc(nodes)
    if name not in possible:
        raise ConfigError(f"the site has no {kind} {name!r}; possible are {', '.join(possible) or 'none'}")
    if kind == "witness":
        return derived.of_witness(secret, name).hex()
    given: str = nodes[name]["bmc"].get("password", derived.of_bmc(secret, name))
    return given


def _with_bmc(nodes: Json) -> list[str]:
    return [name for name, entry in nodes.items() if entry.get("bmc") is not None]

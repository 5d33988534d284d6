"""One secret for each use, derived from the site's secret. Pure.

Each is HMAC-SHA256(site's secret, label), so whoever learns one of them, on a witness that was stolen or from a BMC,
learns neither the site's secret nor any other. The site's secret itself is for nothing else, and leaves the nodes
never. The rule is published: `avance/schema/site.json`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from avance.parsed import Json

_REPLICATION_DIGITS = 60  # DRBD takes texts shorter than 64 characters (linux/drbd_limits.h, SHARED_SECRET_MAX)
_BMC_LETTERS = 16  # also older BMCs take so many (IPMI 1.5); 80 bits


def of_heartbeats(site_secret: bytes) -> bytes:
    """Return the key that authenticates heartbeats."""
    return _derived(site_secret, "avance heartbeat 1")


def of_documents(site_secret: bytes) -> tuple[bytes, bytes]:
    """Return the key that seals the definitions on their way to the peer, and the one that authenticates them."""
    return _derived(site_secret, "avance document 1 sealed"), _derived(site_secret, "avance document 1 signed")


def of_moves(site_secret: bytes) -> bytes:
    """Return the key by which both nodes prove who they are before a domain moves."""
    return _derived(site_secret, "avance move 1")


def of_replication(site_secret: bytes) -> str:
    """Return the shared secret of DRBD's connections, as hexadecimal digits."""
    return _derived(site_secret, "avance drbd 1").hex()[:_REPLICATION_DIGITS]


def of_witness(site_secret: bytes, witness: str) -> bytes:
    """Return all that the witness of this name is given; each has one of its own."""
    return _derived(site_secret, f"avance witness 2 {witness}")


def of_bmc(site_secret: bytes, node: str) -> str:
    """Return the password of a node's BMC, where the site names none: letters and digits that every BMC takes."""
    return base64.b32encode(_derived(site_secret, f"avance bmc 1 {node}")).decode().lower()[:_BMC_LETTERS]


def every(site: Json) -> tuple[str, ...]:
    """Return all secrets of a checked site file as the texts in which they could be printed."""
    secret, nodes = bytes.fromhex(site["secret"]), site["nodes"]
    derived = [secret, of_heartbeats(secret), *of_documents(secret), of_moves(secret)]
    derived += [of_witness(secret, witness["name"]) for witness in site.get("witnesses", [])]
    found = [value.hex() for value in derived] + [of_replication(secret)]
    for node, entry in nodes.items():
        bmc = entry.get("bmc")
        found += [] if bmc is None else [bmc.get("password", of_bmc(secret, node))]
    call_home = site.get("call_home")
    return (*found, *([] if call_home is None else [call_home["token"]]))


def _derived(site_secret: bytes, label: str) -> bytes:
    return hmac.digest(site_secret, label.encode(), hashlib.sha256)

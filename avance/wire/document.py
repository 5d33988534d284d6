"""The definitions as a datagram: sealed, compressed, and without the site's secret, which never leaves a node. Pure.

Layout: b"AVD1", 32 bytes HMAC-SHA256 over all the rest, 16 random bytes, and the sealed text: JSON, compressed (zlib),
combined with a key stream of HMAC-SHA256 over the random bytes and a counter. Both keys are derived from the site's
secret for this use alone (wire/derived.py). Whoever receives one puts the secret in its place again: it has the same.

It is for nothing but the receiver's question for it: `key` is what was asked for (core/agreement.py).
"""

from __future__ import annotations

import hmac
import json
import zlib
from dataclasses import dataclass
from itertools import count

from avance.core.model import Version
from avance.parsed import Json
from avance.wire import derived
from avance.wire.rejected import Rejected

MAGIC = b"AVD1"
BYTES_MAX = 32 << 10  # of a datagram
NONCE_BYTES = 16
_TEXT_BYTES_MAX = 1 << 20  # of the text in it
_MAC_BYTES = 32
_HASH = "sha256"


@dataclass(frozen=True, slots=True)
class Document:
    """Definitions on their way to the peer; site and VMs as in the configuration, the number and what it comes from."""

    key: str
    number: int
    history: tuple[Version, ...]
    site: Json
    vms: Json


def seal(secret: bytes, document: Document, nonce: bytes) -> bytes | None:
    """Return the datagram; None when it would be too large. A nonce is random, and is used once."""
    site = {key: value for key, value in document.site.items() if key != "secret"}
    history = [[version.number, version.hash] for version in document.history]
    values = {"key": document.key, "number": document.number, "history": history, "site": site, "vms": document.vms}
    text = json.dumps(values, separators=(",", ":")).encode()
    sealing, signing = derived.of_documents(secret)
    data = nonce + _combined(sealing, nonce, zlib.compress(text, 9))
    whole = b"".join((MAGIC, hmac.digest(signing, data, _HASH), data))
    return None if len(whole) > BYTES_MAX or len(text) > _TEXT_BYTES_MAX else whole


def is_document(datagram: bytes) -> bool:
    """Say whether a datagram wants to be one of these."""
    return datagram.startswith(MAGIC)


def unseal(secret: bytes, datagram: bytes) -> Document | Rejected:
    """Return what is in a datagram, or why it must not be believed; never raises on outside data."""
    head = len(MAGIC) + _MAC_BYTES
    if not is_document(datagram) or not head + NONCE_BYTES < len(datagram) <= BYTES_MAX:
        return Rejected("not a document")
    sealing, signing = derived.of_documents(secret)
    data = datagram[head:]
    if not hmac.compare_digest(datagram[len(MAGIC) : head], hmac.digest(signing, data, _HASH)):
        return Rejected("a document with a wrong authentication code")
    nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
    try:
        return _read(secret, _combined(sealing, nonce, sealed))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, zlib.error) as error:
        kind = type(error).__name__  # not its text: the number of different reasons must stay small
        return Rejected(f"a document that is authentic but not understood ({kind}): does the peer run another version?")


def _read(secret: bytes, packed: bytes) -> Document:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, _TEXT_BYTES_MAX)
    if not unpacker.eof:
        raise ValueError("it is longer than a document may be, or cut")
    values = json.loads(text)
    number, site = values["number"], values["site"]
    if type(number) is not int or not isinstance(site, dict):
        raise ValueError("no number, or no site")
    history = tuple(Version(int(one), str(contents)) for one, contents in values["history"])
    return Document(str(values["key"]), number, history, {**site, "secret": secret.hex()}, values["vms"])


def _combined(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """Combine bytes with the key stream; the same again gives them back."""
    stream = bytearray()
    for number in count():
        if len(stream) >= len(data):
            break
        stream += hmac.digest(key, nonce + number.to_bytes(8), _HASH)
    mixed = int.from_bytes(data) ^ int.from_bytes(stream[: len(data)])
    return mixed.to_bytes(len(data))


__all__ = ["BYTES_MAX", "MAGIC", "NONCE_BYTES", "Document", "is_document", "seal", "unseal"]

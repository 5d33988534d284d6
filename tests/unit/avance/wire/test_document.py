"""Definitions travel sealed: they come back unchanged, nothing secret can be read on the way, and junk is refused."""

from __future__ import annotations

import hmac
import json
import random
import zlib
from dataclasses import replace

import pytest

from avance.core.model import Version
from avance.wire import derived
from avance.wire.document import BYTES_MAX, MAGIC, NONCE_BYTES, Document, _combined, is_document, seal, unseal
from avance.wire.heartbeat import MAGIC as HEARTBEAT
from avance.wire.rejected import Rejected
from tests.unit.avance.adapters import nasty
from tests.unit.avance.site import SECRET, full_site, vm

KEY = bytes.fromhex(SECRET)
NONCE = bytes(range(NONCE_BYTES))
DOCUMENT = Document("4711", 3, (Version(1, "aa"), Version(2, "bb")), full_site(), [vm(number=0, name="wéb")])


def sent(document: Document = DOCUMENT) -> bytes:
    """Return its datagram."""
    datagram = seal(KEY, document, NONCE)
    assert datagram is not None
    return datagram


def authentic(text: bytes) -> bytes:
    """Return an authentic datagram with anything in it."""
    sealing, signing = derived.of_documents(KEY)
    data = NONCE + _combined(sealing, NONCE, text)
    return MAGIC + hmac.digest(signing, data, "sha256") + data


def test_round_trip() -> None:
    """What was sent is what is read, with the site's secret in its place."""
    assert unseal(KEY, sent()) == DOCUMENT
    assert is_document(sent())
    assert not is_document(HEARTBEAT + b"x" * 40)


def test_nothing_can_be_read_on_the_way() -> None:
    """Neither a secret nor anything else of the text is in the bytes, as they are or unpacked; no two are the same."""
    datagram = sent()
    for text in (SECRET, "t0ken-of-the-tests", "pass-of-a", "web", "10.77"):
        assert text.encode() not in datagram
    with pytest.raises(zlib.error):
        zlib.decompress(datagram[36 + NONCE_BYTES :])
    assert seal(KEY, DOCUMENT, bytes(NONCE_BYTES)) != datagram


def test_the_sites_secret_is_not_even_inside() -> None:
    """Whoever had the derived keys would not learn it."""
    sealing, _ = derived.of_documents(KEY)
    text = zlib.decompress(_combined(sealing, NONCE, sent()[36 + NONCE_BYTES :]))
    assert SECRET.encode() not in text
    assert b"pass-of-a" in text


def test_every_changed_byte_is_noticed() -> None:
    """A datagram with any one byte changed, cut short or of another site is refused."""
    whole = sent()
    for index in range(0, len(whole), 7):
        changed = whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :]
        assert isinstance(unseal(KEY, changed), Rejected), index
        assert isinstance(unseal(KEY, whole[:index]), Rejected), index
    assert unseal(b"t" * 32, whole) == Rejected("a document with a wrong authentication code")


def test_what_strangers_send_is_refused() -> None:
    """As it is, and behind the first bytes of a document."""
    for datagram in nasty.DATAGRAMS:
        for bytes_ in (datagram, MAGIC + datagram, MAGIC + bytes(32) + datagram):
            assert isinstance(unseal(KEY, bytes_), Rejected)


def test_large_one_is_not_sent() -> None:
    """What does not fit into a datagram is known before anybody is asked to agree; what repeats packs well."""
    noise = random.Random(1).randbytes(BYTES_MAX).hex()
    assert seal(KEY, replace(DOCUMENT, vms=[noise]), NONCE) is None
    assert seal(KEY, replace(DOCUMENT, vms=["x" * (2 << 20)]), NONCE) is None
    assert seal(KEY, replace(DOCUMENT, vms=["x" * 100_000]), NONCE) is not None


@pytest.mark.parametrize(
    "values",
    [None, [], {}, 5, {"key": "k"}, {"key": "k", "number": "1", "history": [], "site": {}, "vms": []},
     {"key": "k", "number": True, "history": [], "site": {}, "vms": []},
     {"key": "k", "number": 1, "history": [[1]], "site": {}, "vms": []},
     {"key": "k", "number": 1, "history": [["x", "y"]], "site": {}, "vms": []},
     {"key": "k", "number": 1, "history": 7, "site": {}, "vms": []},
     {"key": "k", "number": 1, "history": [], "site": [], "vms": []}],
)  # fmt: skip
def test_authentic_nonsense_is_refused(values: object) -> None:
    """Another version may have sent it."""
    refused = unseal(KEY, authentic(zlib.compress(json.dumps(values).encode())))
    assert isinstance(refused, Rejected)
    assert "not understood" in refused.reason


@pytest.mark.parametrize("packed", [b"", b"x", zlib.compress(b"[" * 100_000), zlib.compress(b"\xff"),
                                    zlib.compress(bytes(4 << 20)), zlib.compress(b"{}")[:-2]])  # fmt: skip
def test_odd_packing_is_refused(packed: bytes) -> None:
    """Whatever was packed, however large, there is a reason and no exception."""
    assert isinstance(unseal(KEY, authentic(packed)), Rejected)

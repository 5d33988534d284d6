"""One question to a witness, `look`: what does it know? It changes nothing there.

The datagram is laid out as the product publishes it (`avance/schema/witness.json`). It must never ask for a right.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import time
from dataclasses import dataclass

from testbed import pace
from testbed.lan import packets
from testbed.lan.endpoint import Endpoint

MAGIC = b"AVW1"
CLUSTER_BYTES, MAC_BYTES = 8, 32
AGAIN_S = 0.5  # then the question is put again: a datagram may be lost
_numbers = itertools.count(1)


@dataclass(frozen=True)
class WitnessView:
    """What a witness says that it knows; `life` changes with each start of its process."""

    taught: bool
    epoch: int
    owner: str | None
    life: str
    answer_s: float


def derived(secret: bytes) -> tuple[bytes, bytes]:
    """The name of the pair and the key of its datagrams."""
    name = hmac.new(secret, b"avance witness cluster 1", hashlib.sha256).digest()[:CLUSTER_BYTES]
    return name, hmac.new(secret, b"avance witness 1", hashlib.sha256).digest()


def question(secret: bytes, number: int) -> bytes:
    """The datagram of `look` with this number."""
    name, key = derived(secret)
    fields = {"k": "look", "n": "bed", "b": "bed", "q": number, "w": ""}
    body = json.dumps(fields, separators=(",", ":")).encode()
    return MAGIC + name + hmac.new(key, name + body, hashlib.sha256).digest() + body


def answer(secret: bytes, number: int, payload: bytes, took_s: float) -> WitnessView | None:
    """What an answer to this question says, or None for anything else, forged or late."""
    name, key = derived(secret)
    start = len(MAGIC) + CLUSTER_BYTES
    head, code, body = payload[:start], payload[start : start + MAC_BYTES], payload[start + MAC_BYTES :]
    if head != MAGIC + name or not hmac.compare_digest(code, hmac.new(key, name + body, hashlib.sha256).digest()):
        return None
    fields = json.loads(body)
    if (fields["k"], fields["b"], fields["q"]) != ("reply", "bed", number):
        return None
    return WitnessView(fields["a"] == "taught", fields["e"], fields["o"], fields["w"], took_s)


async def look(client: Endpoint, ip: str, port: int, secret: bytes, *, timeout_s: float) -> WitnessView | None:
    """Ask from a host of the bed until an answer comes; None when time is up."""
    number, own_port = next(_numbers), client.free_port()
    begun_s = time.monotonic()
    found: asyncio.Future[WitnessView] = asyncio.get_running_loop().create_future()

    def heard(datagram: packets.Udp, now_s: float) -> None:
        view = answer(secret, number, datagram.payload, now_s - begun_s)
        if view is not None and not found.done():
            found.set_result(view)

    client.listen(own_port, heard)
    try:
        with contextlib.suppress(TimeoutError):
            async with pace.timeout(timeout_s):
                while not found.done():
                    client.udp_send(ip, port, own_port, question(secret, number))
                    await asyncio.wait({found}, timeout=AGAIN_S)
        return found.result() if found.done() else None
    finally:
        found.cancel()
        client.stop_listening(own_port)

"""Questions to the witnesses of the site: one datagram, one answer, one time limit; silence is UNKNOWN, no refusal.

Each question has a socket of its own, so that a late answer finds nobody, and a number and the run of the daemon, which
the answer must repeat. A witness in a life that this daemon does not know yet says so; then the question is put again
within the same time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import Callable

from avance.config import Config, WitnessSite
from avance.core.model import NodeId, Outcome
from avance.core.register import Word
from avance.core.results import Done, WitnessAsked, WitnessTaught
from avance.wire import derived
from avance.wire.rejected import Rejected
from avance.wire.witness import (
    DATAGRAM_BYTES_MAX,
    Ask,
    Keys,
    Question,
    Reply,
    Sender,
    Teach,
    decode_reply,
    encode,
    keys,
)

_AGAIN_MAX = 2  # a life that is learned, and one start of the witness meanwhile
_ERROR_PAUSE_S = 0.05


class WitnessClient:
    """The port `Witness` over UDP."""

    def __init__(self, config: Config, boot: str) -> None:
        self._sites = {site.name: site for site in config.witnesses}
        self._node, self._boot = config.node, boot
        self._try_s = config.timers.witness_try_s
        self._keys = {site.name: keys(derived.of_witness(config.secret, site.name)) for site in config.witnesses}
        self._numbers = itertools.count(1)
        self._lives: dict[str, str] = {}
        self.rejected: Counter[str] = Counter()

    async def ask(self, witness: str, epoch: int, nonce: str) -> WitnessAsked:
        """Ask for the right to an epoch, once; no answer in time is UNKNOWN."""
        said, word = await self._put(witness, lambda sender: Ask(sender, epoch, nonce))
        return WitnessAsked(said.outcome, said.detail, word)

    async def teach(
        self, witness: str, epoch: int, owner: NodeId, *, paired: bool, alone: bool = False
    ) -> WitnessTaught:
        """Tell which epoch this node knows, once; no answer in time is UNKNOWN."""
        said, word = await self._put(witness, lambda sender: Teach(sender, epoch, owner, paired, alone))
        return WitnessTaught(said.outcome, said.detail, taught=word is Word.TAUGHT)

    async def _put(self, witness: str, make: Callable[[Sender], Question]) -> tuple[Done, Word | None]:
        site = self._sites.get(witness)
        if site is None:  # the record of an earlier configuration has it in office
            return Done(Outcome.UNKNOWN, f"the site names no witness {witness}, so nobody was asked"), None
        try:
            async with asyncio.timeout(self._try_s):
                reply = await self._converse(site, make)
        except TimeoutError:
            where = f"{site.address}:{site.port}"
            return Done(Outcome.UNKNOWN, f"witness {witness} ({where}) did not answer within {self._try_s:g} s"), None
        except OSError as error:
            return Done(Outcome.UNKNOWN, f"witness {witness} was not asked: {error}"), None
        return Done(Outcome.OK, f"{reply.word} {reply.epoch} {reply.owner or '-'}"), Word(reply.word)

    async def _converse(self, site: WitnessSite, make: Callable[[Sender], Question]) -> Reply:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            for _ in range(_AGAIN_MAX + 1):
                sender = Sender(self._node, self._boot, next(self._numbers), self._lives.get(site.name, ""))
                with contextlib.suppress(OSError):  # no route now: silence, until the time limit
                    sock.connect((str(site.address), site.port))
                    sock.send(encode(self._keys[site.name], make(sender)))
                reply = await self._reply(sock, sender, self._keys[site.name])
                self._lives[site.name] = reply.life
                if reply.word != "again":
                    return reply
        forever: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        return await forever  # it begins a new life again and again: as good as silent

    async def _reply(self, sock: socket.socket, sender: Sender, pair: Keys) -> Reply:
        loop = asyncio.get_running_loop()
        while True:
            try:
                datagram = await loop.sock_recv(sock, DATAGRAM_BYTES_MAX + 1)
            except OSError:  # nobody listens there just now, as ICMP says
                await asyncio.sleep(_ERROR_PAUSE_S)
                continue
            reply = decode_reply(pair, datagram)
            if isinstance(reply, Rejected):
                self.rejected[reply.reason] += 1
            elif (reply.boot, reply.number) != (sender.boot, sender.number):
                self.rejected["an answer to another question"] += 1
            else:
                return reply

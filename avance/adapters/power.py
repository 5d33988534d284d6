"""The peer's power, through the peer's BMC: read it, or cut it and read it back.

A BMC that cannot be reached, or that merely accepts an order, has confirmed nothing: the outcome is UNKNOWN then. It
must never say `off` of a power that was not read as off in this very moment (docs/safety.md, S15).

It is needed when the peer is dead, and then it is too late to mend it. So it is asked once a minute, and its silence is
told.
"""

from __future__ import annotations

import asyncio

from avance.adapters.process import Completed, Lines, run
from avance.config import BmcConfig
from avance.core.model import Outcome
from avance.core.results import Done, PowerRead
from avance.wire import ipmi
from avance.wire.quoted import quoted

READ_S = 2.0  # deadline of one question
CUT_S = 3.0  # deadline of the whole cut
_PATIENCE_S = 1.0  # how long ipmitool waits for one datagram
_LOOK_S = 60.0  # between two looks whether it answers, while nobody needs it
_MISSED_MAX = 3  # looks without an answer, after which people are told


class PeerBmc:
    """The port `PeerPower`."""

    def __init__(self, bmc: BmcConfig, dilation: float) -> None:
        self._account = (str(bmc.address), bmc.user)
        self._secret = {ipmi.PASSWORD_VARIABLE: bmc.password}
        self._patience_s = _PATIENCE_S * dilation
        self._slow = dilation
        self.problem: str | None = None  # why it is of no use, for a person; empty while it is, None: unknown

    async def follow(self) -> None:
        """Ask for ever whether it answers; nothing is decided by that."""
        missed = 0
        while True:
            seen = await self.read()
            missed = 0 if seen.ok else missed + 1
            if seen.ok:
                self.problem = ""
            elif missed >= _MISSED_MAX:
                self.problem = (
                    f"The BMC of the other node does not answer this node ({seen.detail}): a takeover cannot be made"
                    " sure by switching that node off. Look at its address, its account and the way to it"
                )
            await asyncio.sleep(_LOOK_S * self._slow)

    async def read(self) -> PowerRead:
        """Ask whether the peer's power is on."""
        completed = await self._ask(ipmi.status_argv(*self._account, patience_s=self._patience_s))
        if completed.outcome is not Outcome.OK:
            return PowerRead(Outcome.UNKNOWN, completed.detail)
        try:
            word = ipmi.parse_power(completed.stdout)
        except ValueError as error:
            return PowerRead(Outcome.UNKNOWN, str(error))
        return PowerRead(Outcome.OK, word, off=word == "off")

    async def cut(self) -> Done:
        """Switch the peer off, and be sure: OK only when its power was read as off afterwards.

        It is read also when the order was refused: some BMCs do not switch off what is off.
        """
        last, argv = "nothing", ipmi.cut_argv(*self._account, patience_s=self._patience_s)
        lines = Lines(argv, environment=self._secret, given=ipmi.CUT_SCRIPT.encode())
        try:
            async with asyncio.timeout(CUT_S * self._slow), lines:
                async for line in lines:
                    if ipmi.is_off(line):
                        return Done(Outcome.OK, "off")
                    last = quoted(line)
        except TimeoutError:
            return Done(Outcome.UNKNOWN, f"not read as off within {CUT_S * self._slow:g} s; the BMC said last: {last}")
        if not lines.started:
            return Done(Outcome.FAILED, lines.why)
        return Done(Outcome.UNKNOWN, f"not read as off: {lines.why}; the BMC said last: {last}")

    async def restore(self) -> Done:
        """Switch the peer on; what comes of it is seen when it speaks."""
        return (await self._ask(ipmi.on_argv(*self._account, patience_s=self._patience_s))).done

    async def _ask(self, argv: list[str]) -> Completed:
        return await run(argv, timeout_s=READ_S * self._slow, environment=self._secret)

"""Questions to a node on a virtio-serial port of its own: no program is started in the node to answer them.

The image has a small service that answers (its manifest names the questions): the product's status by the product's
control socket, the domains by Xen. A question ends with its answer, or with GuestCommandError at its deadline; what an
earlier question is answered late is passed over, because each has a number. This module must never use a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from typing import TYPE_CHECKING, Any, Self

from testbed import pace
from testbed.errors import GuestCommandError
from testbed.socket_line import LineSocket, connect, parsed

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

ANSWER_BYTES_MAX = 4 << 20
AGAIN_S = 2.0  # a question is lost when its node is reset over it: put it again
INSIDE = 0.8  # this part of the deadline is the node's own, so that its reason arrives before ours is over


class ControlPort:
    """The control port of one node; questions are put one after the other."""

    def __init__(self, socket_path: Path, *, node: str) -> None:
        self._path = socket_path
        self._node = node
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(secrets.randbelow(2**30))  # a restored node may still answer an earlier run
        self._line: LineSocket | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect without asking anything, so that QEMU sees the port as connected before a guest is loaded."""
        if self._line is None or self._line.closing:
            self._line = await connect(self._path, bytes_max=ANSWER_BYTES_MAX)

    async def close(self) -> None:
        """Close the connection; the next question makes a new one."""
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def ask(self, question: str, *, timeout_s: float) -> dict[str, Any]:
        """Put a question (one line) and return its answer.

        Raises GuestCommandError when the node answers with an error, and when it does not answer in time.
        """
        try:
            async with pace.timeout(timeout_s), self._lock:
                answer = await self._answer(question, timeout_s)
        except TimeoutError as error:
            raise GuestCommandError(
                f"Nothing answered on the control port of node {self._node} within {pace.scaled(timeout_s):g} s."
            ) from error
        except OSError as error:
            await self.close()
            raise GuestCommandError(f"The control port of node {self._node} failed: {error}") from error
        if "error" in answer:
            raise GuestCommandError(f"Node {self._node} did not answer {question}: {answer['error']}")
        return answer

    async def _answer(self, question: str, timeout_s: float) -> dict[str, Any]:
        await self.open()
        assert self._line is not None
        asked: set[bytes] = set()
        while True:
            number = next(self._numbers)
            asked.add(b"%d" % number)
            # The line end before it ends half a question that was left in the node.
            await self._line.send(f"\n{number} {pace.scaled(timeout_s) * INSIDE:g} {question}".encode())
            with contextlib.suppress(TimeoutError):
                async with pace.timeout(AGAIN_S):
                    return await self._heard(asked)

    async def _heard(self, asked: set[bytes]) -> dict[str, Any]:
        assert self._line is not None
        while True:
            first, _, text = (await self._line.read()).partition(b" ")
            if first.strip(b"\0") in asked:
                return parsed(text)
